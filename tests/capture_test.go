package tests

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// on sends an operation on a payment. An empty body has no Content-Type.
func (w *world) on(id, operation, body string, header ...string) answer {
	w.t.Helper()

	if body != "" {
		header = append(header, "Content-Type", "application/json")
	}

	return w.do(w.request(http.MethodPost, "/payments/"+id+"/"+operation, body, header...))
}

// unpaid is a payment of 10.00 USD whose money will only be held.
func (w *world) unpaid() (id, intent string) {
	w.t.Helper()

	made := w.create(`{"amount":10.00,"currency":"USD","capture_method":"manual"}`)
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)

	return made.text("id"), made.text("stripe_payment_intent_id")
}

// held is one that its customer has paid. No webhook has said so.
func (w *world) held() (id, intent string) {
	w.t.Helper()

	id, intent = w.unpaid()
	w.confirm(intent, "pm_card_visa")

	return id, intent
}

// Stripe's trouble is not ours, and nothing was done: the client is told to come again.
func TestCapture_WhereTheIntentCannotBeRead(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]sandbox.Fault{
		"an error":       {Action: sandbox.Error, Status: http.StatusInternalServerError},
		"no answer":      {Action: sandbox.DropBefore},
		"not our key":    {Action: sandbox.Error, Status: http.StatusUnauthorized},
		"half an answer": {Action: sandbox.Truncate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			id, intent := w.held()

			fault.Method, fault.Path, fault.Count = http.MethodGet, "/v1/payment_intents/"+intent, -1
			added, err := w.stripe.AddFault(fault)
			require.NoError(t, err)

			away := w.on(id, "capture", "", "Idempotency-Key", "capture")
			away.problem(http.StatusServiceUnavailable, "unavailable")
			require.NotEmpty(t, away.header.Get("Retry-After"))

			require.NoError(t, w.stripe.RemoveFault(added.ID))
			require.Equal(t, http.StatusOK, w.on(id, "capture", "", "Idempotency-Key", "capture").status)
		})
	}
}

func TestCapture_OneAtATime(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id, intent := w.held()

	added, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.HoldBefore, Method: http.MethodPost, Path: "/v1/payment_intents/" + intent + "/capture",
	})
	require.NoError(t, err)

	captured := make(chan answer)
	go func() { captured <- w.on(id, "capture", `{"amount":4.00,"idempotency_key":"one"}`) }()

	w.eventually(func() bool { return w.count("SELECT count(*) FROM operations WHERE kind = 'capture'") == 1 }, "it has begun")

	for operation, key := range map[string]string{"capture": "two", "cancel": "three"} {
		late := w.on(id, operation, "", "Idempotency-Key", key)
		late.problem(http.StatusConflict, "operation-in-progress")
		require.Equal(t, id, late.text("payment_id"))
		require.NotEmpty(t, late.header.Get("Retry-After"))
	}

	w.on(id, "capture", `{"amount":4.00,"idempotency_key":"one"}`).problem(http.StatusConflict, "idempotency-key-in-use")
	require.NoError(t, w.stripe.ReleaseFault(added.ID))

	first := <-captured
	require.Equal(t, http.StatusOK, first.status, "%s", first.body)
	require.Equal(t, json.Number("4.00"), first.field("amount_captured"))

	w.on(id, "cancel", "", "Idempotency-Key", "three").problem(http.StatusConflict, "invalid-state")
}

// Somebody cancels in Stripe's dashboard, and we do not hear of it.
func TestCapture_ARejectionIsLookedUpAndKept(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id, intent := w.held()
	w.deliverWebhooks()
	require.Equal(t, http.StatusUnprocessableEntity, w.on(id, "capture", `{"amount":10.01}`).status) // reads the intent

	_, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.WebhookLose, Event: "payment_intent.canceled"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, w.callStripe("/"+intent+"/cancel", ""))

	first := w.on(id, "capture", "", "Idempotency-Key", "late")
	first.problem(http.StatusConflict, "invalid-state")
	require.Equal(t, "canceled", first.text("intent_status"))
	require.Empty(t, first.field("allowed"))
	require.Equal(t, "cancelled", w.status(id))

	again := w.on(id, "capture", "", "Idempotency-Key", "late")
	require.Equal(t, first.body, again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
}

func TestKey_BelongsToOneRequest(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id, _ := w.held()
	other, _ := w.held()

	require.Equal(t, http.StatusOK, w.on(id, "capture", `{"amount":4.00,"idempotency_key":"mine"}`).status)

	require.Equal(t, http.StatusOK, w.on(other, "capture", "", "Idempotency-Key", "all").status)

	for _, reused := range []answer{
		w.on(id, "capture", `{"amount":5.00,"idempotency_key":"mine"}`),
		w.on(id, "capture", "", "Idempotency-Key", "mine"),
		w.on(id, "cancel", "", "Idempotency-Key", "mine"),
		w.on(other, "capture", `{"amount":4.00,"idempotency_key":"mine"}`),
		w.create(`{"amount":4.00,"currency":"USD","idempotency_key":"mine"}`),
		w.on(other, "cancel", "", "Idempotency-Key", "all"),
	} {
		reused.problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
}

// A cancel of what is cancelled already has nothing to do. Its key is used all the same.
func TestKey_BelongsToACancelThatHadNothingToDo(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	id, _ := w.held()
	other, _ := w.held()
	require.Equal(t, http.StatusOK, w.on(id, "cancel", "").status)

	first := w.on(id, "cancel", `{"idempotency_key":"mine"}`)
	require.Equal(t, http.StatusOK, first.status, "%s", first.body)

	again := w.on(id, "cancel", `{"idempotency_key":"mine"}`)
	require.Equal(t, string(first.body), string(again.body))
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))

	for _, reused := range []answer{
		w.on(id, "cancel", `{"reason":"duplicate","idempotency_key":"mine"}`),
		w.on(id, "capture", `{"idempotency_key":"mine"}`),
		w.on(other, "cancel", `{"idempotency_key":"mine"}`),
		w.create(`{"amount":4.00,"currency":"USD","idempotency_key":"mine"}`),
	} {
		reused.problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
}

// A hold that nobody captures is let go by Stripe. The payment is cancelled, and nothing can be
// captured any more.
func TestCapture_AfterTheHoldHasLapsed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.deliverWebhooks()

	id, intent := w.held()
	w.eventually(func() bool { return w.get("/payments/"+id).field("capture_before") != nil }, "it is known when the hold lapses")

	require.NoError(t, w.stripe.Lapse(intent))
	w.eventually(func() bool { return w.status(id) == "cancelled" }, "the payment is cancelled")

	late := w.on(id, "capture", "", "Idempotency-Key", "capture")
	late.problem(http.StatusConflict, "invalid-state")

	after := w.get("/payments/" + id)
	require.Equal(t, "canceled", after.text("intent_status"))
	require.Contains(t, string(after.body), `"amount_capturable":0.00,"amount_captured":0.00,`)
}
