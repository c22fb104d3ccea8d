package observability

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// What clients and Stripe send must not be found again in any line, span or
// metric. Each of these is sent somewhere below.
const (
	metadataName  = "favouriteBiscuit"
	metadataValue = "hobnob-7731"
	cardNumber    = "4242424242424242"
	keyValue      = "order-of-Jane-Roe-5521"
	queryValue    = "pushed-into-the-query-8812"
	headerValue   = "secret-in-a-header-9934"
	garbage       = "garbage-body-1147"
)

// A whole scenario at level debug, with everything that goes wrong in it,
// leaves no secret and nothing of a body in what is logged, traced and exported.
func TestSecrets_AreNowhere(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	secrets := w.everythingThatHappens()

	database, err := url.Parse(w.db.URL)
	require.NoError(t, err)

	password, ok := database.User.Password()
	require.True(t, ok, "a database with a password")

	secrets = append(secrets, secretKey, webhookSecret, oldWebhookSecret, password,
		metadataName, metadataValue, cardNumber, keyValue, queryValue, headerValue, garbage)

	metrics := w.metrics()

	// The last line and span have arrived once this request's have.
	last := received.tree(t, w.do(http.MethodGet, "/payments/"+w.created(`{"amount":1,"currency":"USD"}`).text(t, "id"), "").parent)
	require.Equal(t, getTree, last.shape())

	for where, text := range map[string]string{"log": w.lines.String(), "traces": received.everything(), "metrics": metrics} {
		for _, secret := range secrets {
			requireNowhere(t, where, text, secret)
		}
	}

	require.NotRegexp(t, `pi_\w+|evt_\w+|[0-9a-f]{8}-[0-9a-f]{4}|127\.0\.0\.1`, withoutExemplars(metrics),
		"an id or address is a label")
	w.requireOneLineEach()
}

// everythingThatHappens returns the client secrets that were handed out.
func (w *world) everythingThatHappens() []string {
	w.t.Helper()

	w.stripe.AddWebhook(w.url+"/webhooks/stripe", oldWebhookSecret)

	metadata := `"metadata":{"` + metadataName + `":"` + metadataValue + `"}`
	body := `{"amount":10,"currency":"USD","idempotency_key":"` + keyValue + `",` + metadata + `}`
	made := w.created(body)
	secrets := []string{made.text(w.t, "client_secret")}
	w.created(body)                                               // a replay
	w.create(strings.Replace(body, `10,`, `11,`, 1))              // another payload
	w.create(`{"amount":0.01,"currency":"USD",` + metadata + `}`) // too small

	paid, declined := w.created(`{"amount":1,"currency":"USD"}`), w.created(`{"amount":2,"currency":"USD"}`)
	secrets = append(secrets, paid.text(w.t, "client_secret"), declined.text(w.t, "client_secret"))
	w.atStripe("/v1/payment_intents/"+paid.text(w.t, "stripe_payment_intent_id")+"/confirm",
		"payment_method_data[type]=card&payment_method_data[card][number]="+cardNumber)
	w.confirm(paid.text(w.t, "stripe_payment_intent_id"), "pm_card_visa")
	w.confirm(declined.text(w.t, "stripe_payment_intent_id"), "pm_card_chargeDeclined")
	w.finished(paid.text(w.t, "id"), "succeeded")
	w.finished(declined.text(w.t, "id"), "failed")

	w.mistakes(made.text(w.t, "id"))

	return append(secrets, w.unknownOutcomes()...)
}

// mistakes are what clients and forgers send.
func (w *world) mistakes(paymentID string) {
	w.t.Helper()

	for _, bad := range []string{
		garbage, `{"` + garbage + `":1}`, `{"amount":"` + garbage + `","currency":"USD"}`,
		`{"amount":1,"currency":"` + garbage + `"}`,
		`{"amount":1,"currency":"USD","metadata":{"` + metadataName + `":` + cardNumber + `}}`,
		`{"amount":1,"currency":"USD","idempotency_key":"` + strings.Repeat(keyValue, 50) + `"}`,
		`{"amount":1,"currency":"USD","metadata":{"a":"` + strings.Repeat(metadataValue, 100) + `"}}`,
	} {
		require.Equal(w.t, http.StatusBadRequest, w.create(bad).status, bad)
	}

	w.do(http.MethodGet, "/payments/"+paymentID+"?client_secret="+queryValue, "", "Authorization", "Bearer "+headerValue,
		"Cookie", headerValue, "Baggage", "key="+headerValue)
	w.do(http.MethodPost, "/payments", `{"amount":1,"currency":"USD"}`, "Idempotency-Key", "\""+keyValue+" in a header\"")
	w.webhook(`{"`+garbage+`"`, webhookSecret)
	w.webhook(`{"type":"payment_intent.succeeded","data":{"object":{"id":"pi_1","client_secret":"`+garbage+`"}}}`, webhookSecret)
	w.webhook(succeeded("pi_1"), headerValue)
	w.do(http.MethodPost, "/webhooks/stripe", garbage, "Stripe-Signature", "t=1,v1="+headerValue)
}

// unknownOutcomes are what goes wrong at Stripe, until recovery has finished it.
func (w *world) unknownOutcomes() []string {
	w.t.Helper()

	for i, fault := range []sandbox.Fault{
		{Action: sandbox.DropAfter},
		{Action: sandbox.Truncate},
		{Action: sandbox.ResetBody},
		{Action: sandbox.HTML, Status: http.StatusBadGateway},
		{Action: sandbox.Error, Status: http.StatusUnauthorized, Type: "invalid_request_error", Message: "Invalid API Key provided"},
	} {
		fault.Method, fault.Path, fault.Count = http.MethodPost, "/v1/payment_intents", 3
		w.fault(fault)
		w.create(`{"amount":3,"currency":"USD","idempotency_key":"` + keyValue + " unknown " + string(rune('a'+i)) + `"}`)
		w.stripe.ClearFaults()
	}

	var secrets []string

	for i := range 5 {
		w.eventually(func() bool {
			again := w.create(`{"amount":3,"currency":"USD","idempotency_key":"` + keyValue + " unknown " + string(rune('a'+i)) + `"}`)
			if again.status == http.StatusCreated {
				secrets = append(secrets, again.text(w.t, "client_secret"))
			}

			return again.status == http.StatusCreated
		}, "an unknown outcome is not finished")
	}

	return secrets
}

// withoutExemplars: a trace's id is no label.
func withoutExemplars(metrics string) string {
	var rest strings.Builder

	for line := range strings.Lines(metrics) {
		sample, _, _ := strings.Cut(line, " # {")
		rest.WriteString(sample + "\n")
	}

	return rest.String()
}

// requireOneLineEach: one access line for each request, whatever became of it.
func (w *world) requireOneLineEach() {
	w.t.Helper()

	seen := map[any]int{}

	for _, line := range w.lines.named(w.t, "request") {
		seen[line["request_id"]]++

		require.NotEmpty(w.t, line["route"])
		require.NotEmpty(w.t, line["method"])
		require.NotZero(w.t, line["status"])
	}

	require.Greater(w.t, len(seen), 25)

	for id, lines := range seen {
		require.Equal(w.t, 1, lines, id)
	}
}

// requireNowhere shows only the place, should a secret be found.
func requireNowhere(t *testing.T, where, text, secret string) {
	t.Helper()

	const around = 150

	if at := strings.Index(text, secret); at >= 0 {
		require.Fail(t, "a secret leaks", "the %s has %q: …%q…", where, secret,
			text[max(0, at-around):min(len(text), at+around)])
	}
}
