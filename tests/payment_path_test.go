package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

const order = `{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1"}`

func TestCreatePaymentSuccess(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":1000.00,"currency":"usd","idempotency_key":"order_123_attempt_1","metadata":{"order":"123"}}`)

	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	require.Equal(t, "application/json", created.header.Get("Content-Type"))
	require.Equal(t, "/payments/"+created.text("id"), created.header.Get("Location"))
	require.Empty(t, created.header.Get("Idempotent-Replayed"))
	require.Regexp(t, `^\{"id":"[0-9a-f-]{36}","stripe_payment_intent_id":"pi_\w+",`+
		`"client_secret":"pi_\w+_secret_\w+","amount":1000\.00,"currency":"USD","status":"pending","created_at":"[^"]+Z"\}$`,
		string(created.body))

	id, err := uuid.Parse(created.text("id"))
	require.NoError(t, err)
	require.Equal(t, uuid.Version(8), id.Version(), "it is made of the key")

	// Stripe has the same payment, with our id, our mark and the client's key in its metadata.
	var intent struct {
		ID       string
		Amount   int
		Currency string
		Metadata map[string]string
	}

	require.Equal(t, 1, w.intents())

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{"intent"}}) {
		require.NoError(t, json.Unmarshal(entry.Object, &intent))
	}

	require.Equal(t, created.text("stripe_payment_intent_id"), intent.ID)
	require.Equal(t, 100000, intent.Amount)
	require.Equal(t, "usd", intent.Currency)
	require.Regexp(t, `^1\.[\w-]{22}\.1\.create\.[\w-]{22}\.[\w-]{43}$`, intent.Metadata["marketflow"])
	delete(intent.Metadata, "marketflow")
	require.Equal(t, map[string]string{
		"payment_id": id.String(), "marketflow_key": "order_123_attempt_1", "order": "123",
	}, intent.Metadata)

	require.Equal(t, 1, w.count("SELECT count(*) FROM payments WHERE id = $1 AND amount = 1000 AND currency = 'USD'", id))
	require.Equal(t, 1, w.count("SELECT count(*) FROM payment_transitions WHERE payment_id = $1", id))
}

func TestIdempotencySameKeyReturnsSamePayment(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	first := w.create(order)
	require.Equal(t, http.StatusCreated, first.status, "%s", first.body)

	// The order of the fields, the spelling of the number and the place of the key do
	// not matter.
	for _, again := range []answer{
		w.create(order),
		w.create(`{"currency":"usd","idempotency_key":"order_123_attempt_1","amount":"1e3"}`),
		w.create(`{"currency":"USD","amount":1000}`, "Idempotency-Key", "order_123_attempt_1"),
		w.create(`{"currency":"USD","amount":1000}`, "Idempotency-Key", `"order_123_attempt_1"`),
	} {
		require.Equal(t, first.status, again.status)
		require.Equal(t, string(first.body), string(again.body))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	}

	// Another payload under the key: 422, and nothing is sent to Stripe.
	w.create(`{"amount":1000.01,"currency":"USD","idempotency_key":"order_123_attempt_1"}`).
		problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.create(`{"amount":1000.00,"currency":"EUR","idempotency_key":"order_123_attempt_1"}`).
		problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	w.create(`{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1","metadata":{"a":"b"}}`).
		problem(http.StatusUnprocessableEntity, "idempotency-key-reused")

	require.Equal(t, 1, w.count("SELECT count(*) FROM payments"))
	require.Equal(t, 1, w.count("SELECT count(*) FROM operations"))
	require.Equal(t, 1, w.intents())
}

// The answer comes from the database and depends on no cache.
func TestIdempotencySameKeyWithoutRedis(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.RedisURL = "" })
	first := w.create(order)
	require.Equal(t, http.StatusCreated, first.status)

	second := w.second()
	again := second.create(order)
	require.Equal(t, string(first.body), string(again.body))
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, "disabled", second.get("/health").text("redis"))
}

func TestIdempotencyDifferentKeysCreateDifferentPayments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	seen := map[string]bool{}

	for _, body := range []string{
		`{"amount":10,"currency":"USD","idempotency_key":"a"}`,
		`{"amount":10,"currency":"USD","idempotency_key":"A"}`,
		`{"amount":10,"currency":"USD","idempotency_key":"a "}`,
		`{"amount":10,"currency":"USD"}`, // without a key every request is a payment
		`{"amount":10,"currency":"USD","idempotency_key":null}`,
	} {
		created := w.create(body)
		require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
		seen[created.text("id")] = true
		seen[created.text("stripe_payment_intent_id")] = true
	}

	require.Len(t, seen, 10)
	require.Equal(t, 5, w.count("SELECT count(*) FROM payments"))
}

func TestWebhookSignatureValid(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) {
		c.StripeWebhookSecrets = append(c.StripeWebhookSecrets, "whsec_next_next_next_next")
	})
	event := `{"id":"evt_1","type":"invoice.created","data":{"object":{"id":"in_1"}}}`

	taken := w.webhook(event)
	require.Equal(t, http.StatusOK, taken.status, "%s", taken.body)
	require.JSONEq(t, `{"status":"ok"}`, string(taken.body))
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE id = 'evt_1' AND outcome = 'unhandled'"))

	// While a secret is rolled, either one is valid, and an event may have both signatures.
	now := time.Now()
	rolled := sandbox.Sign([]byte(event), "whsec_next_next_next_next", now)
	require.Equal(t, http.StatusOK, w.webhookSigned(event, rolled).status)

	both := sandbox.Sign([]byte(event), "whsec_of_somebody_else", now) + rolled[len("t=1700000000"):]
	require.Equal(t, http.StatusOK, w.webhookSigned(event, both).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events"))
}

func TestWebhookSignatureInvalid(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(order)
	event := minimalEvent("succeeded", created.text("stripe_payment_intent_id"), "succeeded")
	now := time.Now()
	good := sandbox.Sign([]byte(event), webhookSecret, now)

	for name, signature := range map[string]string{
		"missing":      "",
		"malformed":    "nonsense",
		"no timestamp": good[len("t=1700000000,"):],
		"no v1":        good[:len("t=1700000000")],
		"old":          sandbox.Sign([]byte(event), webhookSecret, now.Add(-6*time.Minute)),
		"future":       sandbox.Sign([]byte(event), webhookSecret, now.Add(6*time.Minute)),
		"wrong secret": sandbox.Sign([]byte(event), "whsec_wrong", now),
		"empty secret": sandbox.Sign([]byte(event), "", now),
		"other body":   sandbox.Sign([]byte(event+" "), webhookSecret, now),
	} {
		answered := w.webhookSigned(event, signature)
		require.Equal(t, http.StatusUnauthorized, answered.status, name)
		answered.problem(http.StatusUnauthorized, "invalid-signature")
	}

	require.Equal(t, "pending", w.status(created.text("id")))
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events"))
}

func TestWebhookPaymentSucceededUpdatesStatus(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(order)
	id, intent := created.text("id"), created.text("stripe_payment_intent_id")

	taken := w.webhook(minimalEvent("succeeded", intent, "succeeded"))
	require.Equal(t, http.StatusOK, taken.status, "%s", taken.body)
	require.JSONEq(t, `{"status":"ok"}`, string(taken.body))
	require.Equal(t, "succeeded", w.status(id))

	// The same event again, and late ones of other kinds, change nothing.
	for _, event := range []string{
		minimalEvent("succeeded", intent, "succeeded"),
		minimalEvent("payment_failed", intent, "requires_payment_method"),
		minimalEvent("canceled", intent, "canceled"),
		minimalEvent("created", intent, "requires_payment_method"),
	} {
		require.Equal(t, http.StatusOK, w.webhook(event).status)
		require.Equal(t, "succeeded", w.status(id))
	}

	require.Equal(t, 2, w.count("SELECT count(*) FROM payment_transitions WHERE payment_id = $1", id))
	require.Equal(t, 4, w.count("SELECT count(*) FROM stripe_events"))

	// The key keeps its first answer.
	require.Equal(t, string(created.body), string(w.create(order).body))
}

// The sandbox sends the webhooks itself: the payment is declined, then paid.
func TestWebhookFromStripeDeclinedThenPaid(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	created := w.create(order)
	id, intent := created.text("id"), created.text("stripe_payment_intent_id")

	w.confirm(intent, "pm_card_chargeDeclined")
	w.eventually(func() bool { return w.status(id) == "failed" }, "the decline arrives")
	w.confirm(intent, "pm_card_visa")
	w.eventually(func() bool { return w.status(id) == "succeeded" }, "the payment arrives")
}

func TestGetPaymentByID(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":"1000","currency":"JPY","metadata":{"b":"2","a":"1"}}`, "Idempotency-Key", "k")
	read := w.get("/payments/" + created.text("id"))

	require.Equal(t, http.StatusOK, read.status)
	require.Regexp(t, `^\{"id":"`+created.text("id")+`","stripe_payment_intent_id":"pi_\w+",`+
		`"idempotency_key":"k","amount":1000,"currency":"JPY","status":"pending","metadata":\{"a":"1","b":"2"\},`+
		`"created_at":"[^"]+Z","updated_at":"[^"]+Z","description":null,"customer_id":null,"capture_method":"automatic",`+
		`"intent_status":"requires_payment_method","amount_capturable":0,"amount_captured":0,`+
		`"amount_refunded":0,"amount_refund_pending":0,"amount_refundable":0,"amount_disputed":0,"capture_before":null,`+
		`"payment_method":null,"decline":null,"dispute_status":null,"version":\d+\}$`, string(read.body))
	require.Equal(t, created.text("created_at"), read.text("created_at"))

	bare := w.get("/payments/" + w.create(`{"amount":1.5,"currency":"KWD"}`).text("id"))
	require.Contains(t, string(bare.body),
		`"idempotency_key":null,"amount":1.500,"currency":"KWD","status":"pending","metadata":null`)

	w.get("/payments/"+uuid.NewString()).problem(http.StatusNotFound, "not-found")

	for _, other := range []string{
		"nonsense", "urn:uuid:" + created.text("id"), strings.ReplaceAll(created.text("id"), "-", ""),
	} {
		w.get("/payments/"+other).problem(http.StatusBadRequest, "invalid-request")
	}

	// The client sends braces escaped, and no route has an escape.
	w.get("/payments/{"+created.text("id")+"}").problem(http.StatusNotFound, "not-found")
}

func TestWebhook_TrailingSlashWorksAndThinEventsAreNamed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	event := minimalEvent("succeeded", w.create(order).text("stripe_payment_intent_id"), "succeeded")

	signed := w.request(http.MethodPost, "/webhooks/stripe/", event,
		"Content-Type", "application/json", "Stripe-Signature", sandbox.Sign([]byte(event), webhookSecret, time.Now()))
	require.Equal(t, http.StatusOK, w.do(signed).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'applied'"))
	require.Equal(t, http.StatusMethodNotAllowed, w.get("/webhooks/stripe/").status)
	require.Contains(t, string(w.get("/metrics").body), `{method="POST",route="/webhooks/stripe",status="200"}`)

	thin := w.webhook(`{"id":"evt_1","object":"v2.core.event","type":"v1.billing.meter.no_meter_found",` +
		`"created":"2024-09-17T06:20:52.246Z","related_object":null}`)
	thin.problem(http.StatusBadRequest, "invalid-request")
	require.Contains(t, thin.text("detail"), "thin event")
}

func TestCreatePayment_RupiahMayHaveTwelveDigits(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":25000000.50,"currency":"IDR","idempotency_key":"dear"}`)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	require.Equal(t, "25000000.50", fmt.Sprint(created.field("amount")))
}

func TestHealthCheck(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	healthy := w.get("/health")
	require.Equal(t, http.StatusOK, healthy.status)
	require.JSONEq(t, `{"status":"healthy","database":"connected","redis":"connected"}`, string(healthy.body))
	require.Equal(t, http.StatusOK, w.get("/livez").status)
	require.Equal(t, http.StatusOK, w.get("/readyz").status)

	w.redis.Stop()

	degraded := w.get("/health")
	require.Equal(t, http.StatusOK, degraded.status)
	require.JSONEq(t, `{"status":"degraded","database":"connected","redis":"disconnected"}`, string(degraded.body))

	// Payments work without Redis.
	require.Equal(t, http.StatusCreated, w.create(order).status)
	require.Equal(t, "true", w.create(order).header.Get("Idempotent-Replayed"))
}
