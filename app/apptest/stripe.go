package apptest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// RequireIntents requires that Stripe made these intents and no others.
func (w *World) RequireIntents(ids ...string) {
	w.tb.Helper()
	require.ElementsMatch(w.tb, ids, w.Intents())
}

// Intents returns the ids of the intents that Stripe has.
func (w *World) Intents() []string {
	ids := []string{}
	for entry := range w.Stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		ids = append(ids, entry.ID)
	}

	return ids
}

// AtStripe is what Stripe's books say about an intent.
type AtStripe struct {
	Status       string            `json:"status"`
	Amount       int64             `json:"amount"`
	Received     int64             `json:"amount_received"`
	CancelReason string            `json:"cancellation_reason"`
	Metadata     map[string]string `json:"metadata"`
	// Charges counts those that went through.
	Charges int `json:"-"`
}

// AtStripe reads Stripe's books about an intent.
func (w *World) AtStripe(intentID string) AtStripe {
	w.tb.Helper()

	var found AtStripe

	for entry := range w.Stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}}) {
		if entry.ID == intentID {
			require.NoError(w.tb, json.Unmarshal(entry.Object, &found))
			found.Charges = entry.SucceededCharges
		}
	}

	return found
}

// Dashboard does what somebody does to an intent in Stripe's Dashboard: capture or cancel it,
// or, without an action, change it. No event of it arrives.
func (w *World) Dashboard(intentID, action string, form url.Values) {
	w.tb.Helper()

	_, err := w.Stripe.Dashboard(path.Join("/v1/payment_intents", intentID, action), form)
	require.NoError(w.tb, err)
}

// The paths of the calls, for Fault.
const (
	CreatePath  = "/v1/payment_intents"
	CapturePath = "/v1/payment_intents/*/capture"
	CancelPath  = "/v1/payment_intents/*/cancel"
	ConfirmPath = "/v1/payment_intents/*/confirm"
	UpdatePath  = "/v1/payment_intents/*"

	RefundsPath      = "/v1/refunds"
	CancelRefundPath = "/v1/refunds/*/cancel"

	CustomersPath = "/v1/customers"
	CustomerPath  = "/v1/customers/*"
	SetupsPath    = "/v1/setup_intents"
	DetachPath    = "/v1/payment_methods/*/detach"
)

// Fault makes each call of a path, of creates if it has none, run into a fault until repair
// is called.
func (w *World) Fault(f sandbox.Fault) (repair func()) {
	w.tb.Helper()

	f.Method, f.Path, f.Count = cmp.Or(f.Method, http.MethodPost), cmp.Or(f.Path, CreatePath), -1
	added, err := w.Stripe.AddFault(f)
	require.NoError(w.tb, err)

	return func() {
		w.tb.Helper()
		require.NoError(w.tb, w.Stripe.RemoveFault(added.ID))
	}
}

// AccountIncomplete is Stripe's answer if the account may not charge yet.
func AccountIncomplete() sandbox.Fault {
	return sandbox.Fault{
		Action: sandbox.Error, Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "testmode_charges_only",
		Message: "Your account cannot currently make live charges.",
	}
}

// Confirm is what the customer's browser does: it pays an intent with a test card.
func (w *World) Confirm(intentID, card string) {
	w.tb.Helper()

	status, answer := w.call("/v1/payment_intents/"+intentID+"/confirm",
		"payment_method="+card+"&return_url=https://example.com/")
	require.Contains(w.tb, []int{http.StatusOK, http.StatusPaymentRequired}, status, "%v", answer)
}

// StrangeIntent makes an intent from a form, as another program on the account would.
func (w *World) StrangeIntent(form string) (id string) {
	w.tb.Helper()

	status, answer := w.call("/v1/payment_intents", form)
	require.Equal(w.tb, http.StatusOK, status, "%v", answer)

	id, ok := answer["id"].(string)
	require.True(w.tb, ok)

	return id
}

func (w *World) call(path, form string) (status int, answer map[string]any) {
	w.tb.Helper()

	client := sandbox.Client{URL: w.Stripe.URL, Key: SecretKey}
	status, answer, err := client.Call(w.tb.Context(), http.MethodPost, path, form)
	require.NoError(w.tb, err)

	return status, answer
}

// Pay confirms an intent with a card that works, and returns the event about it.
func (w *World) Pay(intentID string) ports.Event {
	w.tb.Helper()
	w.Confirm(intentID, "pm_card_visa")

	return w.Event(intentID, "payment_intent.succeeded")
}

// Event returns Stripe's event of a type about an intent.
func (w *World) Event(intentID, eventType string) ports.Event {
	w.tb.Helper()

	at := w.Stripe.Now()

	for event, err := range w.Provider.Events(w.tb.Context(), at.Add(-30*24*time.Hour), at.Add(time.Hour)) {
		require.NoError(w.tb, err)

		if event.ObjectID == intentID && event.Type == eventType {
			return event
		}
	}

	require.FailNow(w.tb, "Stripe has no such event", "%s about %s", eventType, intentID)

	return ports.Event{}
}

// Stored reads an event of the inbox.
func (w *World) Stored(id string) ports.StoredEvent {
	w.tb.Helper()

	event, err := w.Store.Event(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return event
}

// RequireNotStored requires that the inbox does not have an event.
func (w *World) RequireNotStored(id string) {
	w.tb.Helper()

	_, err := w.Store.Event(w.tb.Context(), id)
	RequireFault(w.tb, fault.NotFound, err)
}

// Park stores an event that waits for its payment.
func (w *World) Park(e ports.Event) {
	w.tb.Helper()
	require.NoError(w.tb, w.Store.Park(w.tb.Context(), e, ports.ParkedUnknown))
}

// Signed is an event's body and signature as Stripe sends them now.
func Signed(body []byte) (payload []byte, signature string) {
	return slices.Clone(body), sandbox.Sign(body, WebhookSecret, time.Now())
}

// Hint declines a payment, twice: the second event is only a hint, which is stored.
func (w *World) Hint(p payment.Payment) ports.Event {
	w.tb.Helper()

	w.Confirm(p.IntentID, "pm_card_chargeDeclined")
	first := w.Event(p.IntentID, "payment_intent.payment_failed")
	applied, err := w.Apply().Do(w.tb.Context(), first)
	require.NoError(w.tb, err)
	require.Equal(w.tb, ports.EventApplied, applied.Outcome)

	w.Confirm(p.IntentID, "pm_card_authenticationRequired")
	second := w.Event(p.IntentID, "payment_intent.requires_action")
	applied, err = w.Apply().Do(w.tb.Context(), second)
	require.NoError(w.tb, err)
	require.Equal(w.tb, ports.EventHint, applied.Outcome)

	return second
}

// Retyped is an event with another type.
func (w *World) Retyped(e ports.Event, eventType string) ports.Event {
	w.tb.Helper()

	return w.Altered(e, `"type": "`+e.Type+`"`, `"type": "`+eventType+`"`)
}

// Altered is an event in whose body something else stands.
func (w *World) Altered(e ports.Event, old, replacement string) ports.Event {
	w.tb.Helper()
	require.Contains(w.tb, string(e.Raw), old)

	altered, err := w.Webhooks.Parse(bytes.ReplaceAll(e.Raw, []byte(old), []byte(replacement)))
	require.NoError(w.tb, err)

	return altered
}
