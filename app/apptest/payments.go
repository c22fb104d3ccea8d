package apptest

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// RequestID is the id of every request that these helpers make.
const RequestID = "request-1"

// Dollars is an amount of cents.
func Dollars(tb testing.TB, cents int64) money.Price {
	tb.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(tb, err)

	amount, err := money.NewPrice(cents, usd)
	require.NoError(tb, err)

	return amount
}

// Price is an amount in major units of a currency.
func Price(tb testing.TB, text, code string) money.Price {
	tb.Helper()

	currency, err := money.ParseCurrency(code)
	require.NoError(tb, err)

	price, err := money.ParsePrice(text, currency)
	require.NoError(tb, err)

	return price
}

// Order asks for an amount of dollars, in cents.
func Order(tb testing.TB, cents int64) operation.Order {
	tb.Helper()

	return operation.Order{Amount: Dollars(tb, cents), Metadata: map[string]string{"order": "42"}}
}

// Manual is an order that is captured by hand.
func Manual(order operation.Order) operation.Order {
	order.Options = map[string]string{payments.OptionCaptureMethod: string(payment.CaptureManual)}

	return order
}

// NewOperation is the operation to write down for the order of a payment, without a lease.
func (w *World) NewOperation(key operation.Key, order operation.Order) ports.NewOperation {
	w.tb.Helper()

	id := NewID(w.tb)
	call, err := w.Calls.CreatePayment(w.Mark(operation.Create, id, uuid.Nil, order), key, order)
	require.NoError(w.tb, err)

	return ports.NewOperation{
		Tenant: operation.DefaultTenant,
		ID:     id, Kind: operation.Create, Key: key, Order: order, Call: call, Origin: ports.Origin{RequestID: RequestID},
	}
}

// Mark is the mark of an operation of this world.
func (w *World) Mark(kind operation.Kind, id, subject uuid.UUID, order operation.Order) operation.Mark {
	return w.Installation.Mark(operation.DefaultTenant, kind, id, order.Fingerprint(kind, subject))
}

// NewCapture is a capture to write down, without a lease. cents is zero for all that is held.
func (w *World) NewCapture(key operation.Key, p payment.Payment, cents int64) ports.NewOperation {
	w.tb.Helper()

	var order operation.Order
	if cents != 0 {
		order.Amount = Dollars(w.tb, cents)
	}

	return w.newChange(operation.Capture, key, p, order, w.Calls.CapturePayment)
}

// NewCancel is a cancel to write down, without a lease.
func (w *World) NewCancel(key operation.Key, p payment.Payment) ports.NewOperation {
	w.tb.Helper()

	return w.newChange(operation.Cancel, key, p, operation.Order{}, w.Calls.CancelPayment)
}

// Cards of Stripe's test mode (https://docs.stripe.com/testing).
const (
	GoodCard   = "pm_card_visa"
	PoorCard   = "pm_card_visa_chargeDeclinedInsufficientFunds"
	StolenCard = "pm_card_visa_chargeDeclinedStolenCard"
	// SecureCard has its customer authenticate.
	SecureCard = "pm_card_authenticationRequired"
)

// Paying are the options of an attempt to pay with a card.
func Paying(card string) map[string]string {
	return map[string]string{payments.OptionPaymentMethod: card, payments.OptionReturnURL: "https://shop.example/"}
}

// NewConfirm is a confirm to write down, without a lease, as the payment's intent stands.
func (w *World) NewConfirm(key operation.Key, p payment.Payment, card string) ports.NewOperation {
	w.tb.Helper()

	intent, err := w.Provider.Intent(w.tb.Context(), p.IntentID)
	require.NoError(w.tb, err)

	op := w.newChange(operation.Confirm, key, p, operation.Order{Options: Paying(card)}, w.Calls.ConfirmPayment)
	op.Before = ports.Before{IntentStatus: intent.IntentStatus, LatestCharge: intent.LatestCharge}

	return op
}

// NewUpdate is an update to write down, without a lease.
func (w *World) NewUpdate(key operation.Key, p payment.Payment, order operation.Order) ports.NewOperation {
	w.tb.Helper()

	return w.newChange(operation.Update, key, p, order, w.Calls.UpdatePayment)
}

func (w *World) newChange(
	kind operation.Kind, key operation.Key, p payment.Payment, order operation.Order,
	build func(operation.Mark, string, operation.Order) (ports.Call, error),
) ports.NewOperation {
	w.tb.Helper()

	id := NewID(w.tb)
	call, err := build(w.Mark(kind, id, p.ID, order), p.IntentID, order)
	require.NoError(w.tb, err)

	return ports.NewOperation{
		Tenant: operation.DefaultTenant,
		ID:     id, Kind: kind, Subject: p.ID, Key: key, Order: order, Call: call, Origin: ports.Origin{RequestID: RequestID},
	}
}

// Request asks for an order under a key.
func (w *World) Request(key operation.Key, order operation.Order) operations.Request {
	return operations.Request{
		Tenant: operation.DefaultTenant, Key: key, Fingerprint: order.Fingerprint(operation.Create, uuid.Nil),
		New: func(context.Context) (ports.NewOperation, error) { return w.NewOperation(key, order), nil },
	}
}

// Create makes a payment of ten dollars under a key.
func (w *World) Create(key operation.Key) payment.Payment {
	w.tb.Helper()

	return w.CreateFor(key, Order(w.tb, 10_00))
}

// CreateFor makes the payment of an order under a key.
func (w *World) CreateFor(key operation.Key, order operation.Order) payment.Payment {
	w.tb.Helper()

	answer, err := w.Engine().Do(w.tb.Context(), w.Request(key, order))
	require.NoError(w.tb, err)
	require.Equal(w.tb, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

	return w.Payment(answer.PaymentID)
}

// Held makes a payment of ten dollars that the customer has authorised. Stripe's event about
// it has been applied, and its intent read.
func (w *World) Held(key operation.Key) payment.Payment {
	w.tb.Helper()

	p := w.CreateFor(key, Manual(Order(w.tb, 10_00)))
	w.Authorize(p)

	read, _, err := w.Refresh().Do(w.tb.Context(), p.ID, "test")
	require.NoError(w.tb, err)
	require.Equal(w.tb, payment.IntentRequiresCapture, read.IntentStatus)

	return w.Payment(p.ID)
}

// Authorize is what the customer's browser does to a payment that is captured by hand. It
// returns Stripe's event, which is not here yet.
func (w *World) Authorize(p payment.Payment) ports.Event {
	w.tb.Helper()
	w.Confirm(p.IntentID, "pm_card_visa")

	return w.Event(p.IntentID, "payment_intent.amount_capturable_updated")
}

// Begin writes down an operation of ten dollars and does not send it, like a process that
// dies at that moment.
func (w *World) Begin(key operation.Key) ports.Operation {
	w.tb.Helper()

	return w.BeginOne(w.NewOperation(key, Order(w.tb, 10_00)))
}

// BeginOne is Begin for any operation.
func (w *World) BeginOne(wanted ports.NewOperation) ports.Operation {
	w.tb.Helper()

	wanted.Lease = ports.Lease{Token: uuid.New(), For: time.Minute}

	op, err := w.Store.Begin(w.tb.Context(), wanted)
	require.NoError(w.tb, err)
	require.True(w.tb, op.Held())

	return op
}

// Send makes Stripe execute an operation's call and writes nothing down, as if the answer
// were lost.
func (w *World) Send(op ports.Operation) ports.Intent {
	w.tb.Helper()

	object, err := w.Provider.Send(w.tb.Context(), op.Call, false)
	require.NoError(w.tb, err)

	return object.Intent
}

// GiveUp makes an operation need attention.
func (w *World) GiveUp(op ports.Operation) {
	w.tb.Helper()
	require.NoError(w.tb, w.Store.GiveUp(w.tb.Context(), op.ID, ports.ErrContradiction))
}

// Payment reads a payment.
func (w *World) Payment(id uuid.UUID) payment.Payment {
	w.tb.Helper()

	p, err := w.Store.Payment(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return p
}

// RequireNoPayment requires that a payment was not written.
func (w *World) RequireNoPayment(id uuid.UUID) {
	w.tb.Helper()

	_, err := w.Store.Payment(w.tb.Context(), id)
	RequireFault(w.tb, fault.NotFound, err)
}

// Operation reads an operation with its details.
func (w *World) Operation(id uuid.UUID) ports.OperationDetails {
	w.tb.Helper()

	op, err := w.Store.Operation(w.tb.Context(), id)
	require.NoError(w.tb, err)

	return op
}

// History returns the causes of a payment's transitions, and where they led.
func (w *World) History(id uuid.UUID) []string {
	w.tb.Helper()

	transitions, err := w.Store.History(w.tb.Context(), id)
	require.NoError(w.tb, err)

	steps := make([]string, 0, len(transitions))
	for _, one := range transitions {
		steps = append(steps, one.Cause+": "+string(one.To))
	}

	return steps
}

// Audit returns what was decided about something.
func (w *World) Audit(objectID string) []ports.AuditEntry {
	w.tb.Helper()

	entries, err := w.Store.AuditOf(w.tb.Context(), objectID)
	require.NoError(w.tb, err)

	return entries
}

// Elapse makes the operations and events older, as the database's clock cannot be moved.
func (w *World) Elapse(by time.Duration) {
	w.tb.Helper()
	w.Exec(`UPDATE operations SET created_at = created_at - $1::interval,
		leased_until = leased_until - $1::interval, retry_at = retry_at - $1::interval`, by)
	w.Exec(`UPDATE stripe_events SET received_at = received_at - $1::interval, processed_at = processed_at - $1::interval`, by)
}

// Exec runs SQL for what no use case does.
func (w *World) Exec(statement string, args ...any) {
	w.tb.Helper()

	w.db.Exec(statement, args...)
}

// RequireFault requires an error of a kind.
func RequireFault(tb testing.TB, kind fault.Kind, err error) {
	tb.Helper()
	require.Error(tb, err)
	require.Equal(tb, kind, fault.KindOf(err), "%v", err)
}
