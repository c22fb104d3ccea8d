package apptest

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// RequestID is the id of every request that these helpers make.
const RequestID = "request-1"

// Order asks for an amount of dollars, in cents.
func Order(tb testing.TB, cents int64) payment.Order {
	tb.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(tb, err)

	amount, err := money.NewPrice(cents, usd)
	require.NoError(tb, err)

	return payment.Order{Amount: amount, Metadata: payment.Metadata{"order": "42"}}
}

// NewOperation is the operation to write down for an order, without a lease.
func (w *World) NewOperation(key operation.Key, order payment.Order) ports.NewOperation {
	w.tb.Helper()

	id := NewID(w.tb)

	return ports.NewOperation{
		PaymentID: id, Key: key, Order: order, Request: w.Gateway.Prepare(id, order),
		Origin: ports.Origin{RequestID: RequestID},
	}
}

// Request asks for an order under a key.
func (w *World) Request(key operation.Key, order payment.Order) operations.Request {
	return operations.Request{
		Key: key, Fingerprint: order.Fingerprint(),
		New: func() (ports.NewOperation, error) { return w.NewOperation(key, order), nil },
	}
}

// Create makes a payment of ten dollars under a key.
func (w *World) Create(key operation.Key) payment.Payment {
	w.tb.Helper()

	answer, err := w.Engine().Do(w.tb.Context(), w.Request(key, Order(w.tb, 10_00)))
	require.NoError(w.tb, err)
	require.Equal(w.tb, http.StatusCreated, answer.Response.Status, "%s", answer.Response.Body)

	return w.Payment(answer.PaymentID)
}

// Begin writes down an operation of ten dollars and does not send it, like a process that
// dies at that moment.
func (w *World) Begin(key operation.Key) ports.Operation {
	w.tb.Helper()

	wanted := w.NewOperation(key, Order(w.tb, 10_00))
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

	intent, err := w.Gateway.CreateIntent(w.tb.Context(), op.Request, false)
	require.NoError(w.tb, err)

	return intent
}

// GiveUp makes an operation need attention.
func (w *World) GiveUp(op ports.Operation) {
	w.tb.Helper()
	require.NoError(w.tb, w.Store.GiveUp(w.tb.Context(), op.PaymentID, ports.ErrContradiction))
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
	w.Exec(`UPDATE payment_requests SET created_at = created_at - $1::interval,
		leased_until = leased_until - $1::interval, retry_at = retry_at - $1::interval`, by)
	w.Exec(`UPDATE stripe_events SET received_at = received_at - $1::interval, processed_at = processed_at - $1::interval`, by)
}

// Exec runs SQL for what no use case does.
func (w *World) Exec(statement string, args ...any) {
	w.tb.Helper()

	_, err := w.db.Pool().Exec(w.tb.Context(), statement, args...)
	require.NoError(w.tb, err)
}

// RequireFault requires an error of a kind.
func RequireFault(tb testing.TB, kind fault.Kind, err error) {
	tb.Helper()
	require.Error(tb, err)
	require.Equal(tb, kind, fault.KindOf(err), "%v", err)
}
