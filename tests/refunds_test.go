package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// paid is a payment of 10.00 USD that its customer has paid, and the webhook has said so.
func (w *world) paid(card string) (id, intent string) {
	w.t.Helper()

	made := w.create(`{"amount":10.00,"currency":"USD"}`)
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)

	id, intent = made.text("id"), made.text("stripe_payment_intent_id")
	w.confirm(intent, card)
	w.eventually(func() bool { return w.status(id) == "succeeded" }, "the payment succeeds")

	return id, intent
}

// given is how much Stripe has given back of a payment, in minor units.
func (w *world) given(intent string) (sum int64) {
	w.t.Helper()

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		var one struct {
			Amount int64  `json:"amount"`
			Intent string `json:"payment_intent"`
			Status string `json:"status"`
		}
		require.NoError(w.t, json.Unmarshal(entry.Object, &one))

		if one.Intent == intent && one.Status != "failed" && one.Status != "canceled" {
			sum += one.Amount
		}
	}

	return sum
}

func TestRefunds_ThroughTheFrontDoor(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	id, _ := w.paid("pm_card_visa")

	w.on(id, "refunds", `{"amount":4.00}`).problem(http.StatusBadRequest, "key-required")
	w.on(id, "refunds", `{"idempotency_key":"r1"}`).problem(http.StatusBadRequest, "invalid-request")
	w.on(id, "refunds", `{"amount":1,"reason":"bored","idempotency_key":"r1"}`).problem(http.StatusBadRequest, "invalid-request")
	w.on(id, "refunds", `{"amount":1,"metadata":{"marketflow":"x"},"idempotency_key":"r1"}`).
		problem(http.StatusBadRequest, "invalid-request")

	over := w.on(id, "refunds", `{"amount":10.01,"idempotency_key":"r1"}`)
	over.problem(http.StatusUnprocessableEntity, "amount-exceeded")
	require.Equal(t, json.Number("10.00"), over.field("available"))

	made := w.on(id, "refunds", `{"amount":"4.00","reason":"duplicate","metadata":{"ticket":"7"},"idempotency_key":"r1"}`)
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	require.Equal(t, "/refunds/"+made.text("id"), made.header.Get("Location"))
	require.Equal(t, json.Number("4.00"), made.field("amount"))
	require.Equal(t, "api", made.text("origin"))

	read := w.get("/refunds/" + made.text("id"))
	require.Equal(t, string(made.body), string(read.body))
	require.NotEmpty(t, read.header.Get("ETag"))

	payment := w.get("/payments/" + id)
	require.Equal(t, json.Number("4.00"), payment.field("amount_refunded"))
	require.Equal(t, json.Number("6.00"), payment.field("amount_refundable"))

	stale := w.on(id, "refunds", `{"expected_refundable":10.00,"idempotency_key":"r2"}`)
	stale.problem(http.StatusPreconditionFailed, "precondition-failed")

	old := w.on(id, "refunds", `{"amount":1,"idempotency_key":"r2"}`, "If-Match", `"1"`)
	old.problem(http.StatusPreconditionFailed, "precondition-failed")

	rest := w.on(id, "refunds", `{"expected_refundable":6.00,"idempotency_key":"r2"}`, "If-Match", payment.header.Get("ETag"))
	require.Equal(t, http.StatusCreated, rest.status, "%s", rest.body)

	all := w.get("/payments/" + id + "/refunds")
	require.Equal(t, http.StatusOK, all.status)
	require.Contains(t, string(all.body), `{"data":[{"id":"`+rest.text("id")+`"`, "the newest first")

	w.on(id, "cancel", "").problem(http.StatusConflict, "invalid-state")
	w.do(w.request(http.MethodPost, "/refunds/"+made.text("id")+"/cancel", "")).problem(http.StatusConflict, "invalid-state")
	w.get("/refunds/0190d5a5-7c1f-7000-8000-0000000000aa").problem(http.StatusNotFound, "not-found")
	w.get("/refunds/x").problem(http.StatusBadRequest, "invalid-request")
}

// Stripe tells us of our own refunds too. That is nothing new: the payment keeps its ETag, and Stripe
// is not asked.
func TestRefunds_OurOwnEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	id, _ := w.paid("pm_card_visa")

	const delay = time.Minute

	_, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.WebhookDelay, Event: "charge.refunded", Delay: delay, Count: -1})
	require.NoError(t, err)
	// It counts, and does nothing.
	reads, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.Latency, Method: http.MethodGet, Path: "/v1/refunds", Nth: 1000, P50: 1,
	})
	require.NoError(t, err)

	for n, amount := range []string{"4.00", "3.00"} {
		made := w.on(id, "refunds", fmt.Sprintf(`{"amount":%s,"idempotency_key":"r%d"}`, amount, n))
		require.Equal(t, http.StatusCreated, made.status, "%s", made.body)
	}

	read := w.get("/payments/" + id)
	w.stripe.Advance(delay)
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE type = 'charge.refunded' AND outcome = 'stale'") == 2
	}, "both events are taken")

	require.Equal(t, string(read.body), string(w.get("/payments/"+id).body))

	rest := w.on(id, "refunds", `{"amount":3.00,"idempotency_key":"r2"}`, "If-Match", read.header.Get("ETag"))
	require.Equal(t, http.StatusCreated, rest.status, "%s", rest.body)

	counted, err := w.stripe.Fault(reads.ID)
	require.NoError(t, err)
	require.Zero(t, counted.Matched, "nothing was read")
}

// An event that comes before the answer to our call tells of a refund that nobody has written. It is
// a hint, and the payment keeps its ETag all the same.
func TestRefunds_TheEventIsFaster(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	id, _ := w.paid("pm_card_visa")

	held, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.Hold, Method: http.MethodPost, Path: "/v1/refunds"})
	require.NoError(t, err)

	answered := make(chan answer, 1)

	go func() { answered <- w.on(id, "refunds", `{"amount":4.00,"idempotency_key":"r1"}`) }()

	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE type = 'charge.refunded'") == 1
	}, "the event is here")
	require.NoError(t, w.stripe.ReleaseFault(held.ID))

	made := <-answered
	require.Equal(t, http.StatusCreated, made.status, "%s", made.body)

	read := w.get("/payments/" + id)
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'hint'") == 0
	}, "the hint is read")
	require.Equal(t, string(read.body), string(w.get("/payments/"+id).body))
}

// What is done in Stripe's Dashboard is read within seconds, by charge.refunded alone.
func TestRefunds_InTheDashboard(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	id, intent := w.paid("pm_card_visa")

	_, err := w.stripe.Dashboard("/v1/refunds", url.Values{"payment_intent": {intent}, "amount": {"400"}})
	require.NoError(t, err)
	w.eventually(func() bool {
		return w.get("/payments/"+id).field("amount_refunded") == json.Number("4.00")
	}, "the refund is here")
	require.Contains(t, string(w.get("/payments/"+id+"/refunds").body), `"origin":"stripe"`)
}

// Two processes, fifty refunds at once: what was captured goes back once.
func TestRefunds_FiftyAtOnceInTwoProcesses(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()
	id, intent := w.paid("pm_card_visa")
	worlds := []*world{w, w.second()}

	var wait sync.WaitGroup

	answers := make([]answer, 50)
	for i := range answers {
		wait.Go(func() {
			answers[i] = worlds[i%2].on(id, "refunds", fmt.Sprintf(`{"amount":2.50,"idempotency_key":"r%d"}`, i))
		})
	}

	wait.Wait()

	made := 0

	for _, a := range answers {
		if a.status == http.StatusCreated {
			made++

			continue
		}

		a.problem(http.StatusUnprocessableEntity, "amount-exceeded")
	}

	require.Equal(t, 4, made)
	require.Equal(t, int64(10_00), w.given(intent))
	require.Equal(t, json.Number("0.00"), w.get("/payments/"+id).field("amount_refundable"))
}
