package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// held makes a payment of 10.00 USD that its customer has paid and nobody has captured.
func (d *desk) held(service string) (id uuid.UUID, intent string) {
	d.t.Helper()

	status, made := d.create(service, `{"amount":10,"currency":"USD","capture_method":"manual","idempotency_key":"order_1"}`)
	require.Equal(d.t, http.StatusCreated, status, made)

	intent = text(d.t, made, "stripe_payment_intent_id")
	d.post(d.stripe.URL+"/v1/payment_intents/"+intent+"/confirm", "application/x-www-form-urlencoded",
		"payment_method=pm_card_visa&return_url=https://example.com/")

	return uuid.MustParse(text(d.t, made, "id")), intent
}

// capturing writes down a capture that needs attention.
func (d *desk) capturing(paymentID uuid.UUID, intent string) ports.Operation {
	d.t.Helper()

	id, err := uuid.NewV7()
	require.NoError(d.t, err)

	mark := operation.Installation{ID: d.installation()}.Mark(
		operation.DefaultTenant, operation.Capture, id, operation.Fingerprint{})
	op, err := d.store.Begin(d.t.Context(), ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id, Kind: operation.Capture, Subject: paymentID, Key: "capture_1",
		Call: ports.Call{
			Key: "mf_capture_" + id.String(), Path: "/v1/payment_intents/" + intent + "/capture",
			Params: url.Values{"metadata[marketflow_capture]": {mark.String()}}.Encode(),
		},
		Lease: ports.Lease{Token: uuid.New()}, CreatedAt: time.Now().Add(-25 * time.Hour),
	})
	require.NoError(d.t, err)
	require.NoError(d.t, d.store.GiveUp(d.t.Context(), id, errors.New("nobody knows")))

	return op
}

func (d *desk) installation() uuid.UUID {
	d.t.Helper()

	id, err := d.store.InstallationID(d.t.Context())
	require.NoError(d.t, err)

	return id
}

func TestOperations_OnAPayment(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()
	id, intent := d.held(service)
	op := d.capturing(id, intent)

	require.Equal(t, []string{op.ID.String()}, d.ids("operations", "list", "--needs-attention"))

	shown := d.object("operations", "show", "--key", "capture_1")
	require.Equal(t, "capture", shown["kind"])
	require.Equal(t, id.String(), shown["payment_id"])
	require.Nil(t, shown["amount"])

	told := d.run("operations", "show", op.ID.String()).stdout
	for _, part := range []string{"capture", "needs_attention", id.String(), "nobody knows"} {
		require.Contains(t, told, part)
	}

	d.fails("does not show that operation "+op.ID.String()+" was done", "operations", "adopt", op.ID.String(), "--reason", "found")

	// It has arrived after all.
	d.post(d.stripe.URL+op.Call.Path, "application/x-www-form-urlencoded", op.Call.Params)
	d.fails("has done what it asked for. Adopt that instead: marketflow operations adopt "+op.ID.String(),
		"operations", "close", op.ID.String(), "--reason", "gone")

	adopted := d.object("operations", "adopt", op.ID.String(), "--reason", "seen in the dashboard")
	require.Equal(t, "finished", adopted["state"])
	require.InDelta(t, http.StatusOK, adopted["response_status"], 0)

	story := d.object("payments", "show", id.String())
	require.Equal(t, "succeeded", at(t, story, "payment", "status"))
	require.Contains(t, d.run("payments", "show", id.String()).stdout, "capture finished")
}

func TestOperations_CloseOnAPayment(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()
	id, intent := d.held(service)
	op := d.capturing(id, intent)

	require.Equal(t, "finished", d.object("operations", "close", op.ID.String(), "--reason", "gone")["state"])

	// The payment is free again.
	status, captured := d.post(service+"/payments/"+id.String()+"/capture", "application/json", `{"amount":4}`)
	require.Equal(t, http.StatusOK, status, captured)
	require.InDelta(t, 4, captured["amount_captured"], 0)
}

func TestPayments_Accept(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	id, intent := d.held(d.serve())

	d.fails(`required flag(s) "reason" not set`, "payments", "accept", id.String())
	d.fails("is not an id", "payments", "accept", "order_1", "--reason", "seen")
	d.fails("there is no payment "+uuid.Nil.String(), "payments", "accept", uuid.Nil.String(), "--reason", "seen")

	_, err := d.db.Pool().Exec(t.Context(), "UPDATE payments SET amount = 12, status = 'cancelled'")
	require.NoError(t, err)
	d.park("evt_odd", intent, ports.ParkedContradiction)

	_, err = d.stripe.Dashboard("/v1/payment_intents/"+intent+"/capture", url.Values{"amount_to_capture": {"400"}})
	require.NoError(t, err)

	accepted := d.object("payments", "accept", id.String(), "--reason", "Stripe is right", "--actor", "jane")
	require.Equal(t, "succeeded", accepted["status"])
	require.InDelta(t, 10, accepted["amount"], 0)
	require.InDelta(t, 4, accepted["amount_captured"], 0)
	require.Equal(t, []string{"evt_odd"}, d.ids("inbox", "list", "--outcome", "dismissed"))

	entry := d.audit(id.String())[0]
	require.Equal(t, "jane", entry.Actor)
	require.Equal(t, "Stripe is right", entry.Reason)
	require.Equal(t, "12.00 USD", entry.Before["amount"])

	told := d.run("payments", "show", id.String()).stdout
	require.Contains(t, told, "payment.accept")
	require.Contains(t, told, "Stripe is right")
	d.fails("there is nothing to accept", "payments", "accept", id.String(), "--reason", "again")

	_, err = d.db.Pool().Exec(t.Context(), "UPDATE payments SET amount = 12")
	require.NoError(t, err)
	require.Contains(t, d.run("payments", "accept", id.String(), "--reason", "again").stdout, "10.00 USD")
}

func TestInbox_ReprocessType(t *testing.T) {
	t.Parallel()

	const eventType = "payment_intent.succeeded"

	d := newDesk(t)
	id, intent := d.held(d.serve())

	_, err := d.stripe.Dashboard("/v1/payment_intents/"+intent+"/capture", url.Values{})
	require.NoError(t, err)

	d.fails("an id is needed, or --type", "inbox", "reprocess")
	d.fails("not both", "inbox", "reprocess", "evt_1", "--type", eventType)

	require.Equal(t, map[string]any{"type": eventType, "events": 0.0, "outcomes": map[string]any{}, "failed": 0.0},
		d.object("inbox", "reprocess", "--type", eventType))

	body := func(id, intent string) string {
		return fmt.Sprintf(`{"id":%q,"type":%q,"data":{"object":{"id":%q,"amount":1000,"currency":"usd"}}}`, id, eventType, intent)
	}
	d.unhandled("evt_1", eventType, body("evt_1", intent))
	d.unhandled("evt_2", eventType, body("evt_2", "pi_2"))
	d.unhandled("evt_odd", eventType, "{}")

	got := d.run("inbox", "reprocess", "--type", eventType)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stdout, eventType+": 3 unhandled events: 1 applied, 1 parked, 1 failed")
	require.Contains(t, got.stderr, "evt_odd")
	require.Equal(t, []string{"evt_odd"}, d.ids("inbox", "list", "--outcome", "unhandled"))

	p, err := d.store.Payment(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, p.Status)

	d.unhandled("evt_3", "charge.captured", `{"id":"evt_3","type":"charge.captured","data":{"object":{}}}`)
	d.fails("does not handle events of type charge.captured", "inbox", "reprocess", "--type", "charge.captured")
}

// unhandled stores an event as a release did that did not handle its type.
func (d *desk) unhandled(id, eventType, body string) {
	d.t.Helper()

	_, err := d.db.Pool().Exec(d.t.Context(),
		"INSERT INTO stripe_events (id, type, object_id, payload, outcome) VALUES ($1, $2, '', $3, 'unhandled')",
		id, eventType, []byte(body))
	require.NoError(d.t, err)
}

// What people see of an attempt: the card, and why it was declined.
func TestPayments_ShowAnAttempt(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	service := d.serve()

	status, declined := d.create(service, `{"amount":10,"currency":"USD","idempotency_key":"order_1","confirm":true,`+
		`"payment_method":"pm_card_visa_chargeDeclinedInsufficientFunds","description":"a bicycle","receipt_email":"ann@example.com"}`)
	require.Equal(t, http.StatusPaymentRequired, status, declined)

	id := text(t, declined, "payment_id")
	told := d.run("payments", "show", id).stdout
	require.Regexp(t, `declined +insufficient_funds: .*funds`, told)
	require.Regexp(t, `paid by +visa card, ends in 9995, expires \d\d/20\d\d`, told)
	require.Regexp(t, `description +a bicycle`, told)
	require.NotContains(t, told, "ann@example.com")
	require.NotContains(t, d.run("payments", "show", id, "-o", "json").stdout, "ann@example.com")
}
