package portstest

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Store is the ports that share one database. They are tested together:
// what one writes the others read.
type Store interface {
	ports.Operations
	ports.Payments
	ports.Inbox
	ports.Backlog
	ports.Reconciliation
	ports.Decisions
	ports.Audit
	ports.Installation
}

// StoreBed is an empty store and what a test needs to steer it.
type StoreBed struct {
	Store

	// Twin is the same store through connections of its own, as another process
	// has it.
	Twin Store
	// Elapse lets time pass for the operations and events that are in the store.
	Elapse func(tb testing.TB, by time.Duration)
	// Severed is the same store over a way to its database that Sever cuts: after so
	// many answers from now on, of which the last is lost, nobody gets through until
	// mend is called. After none nobody gets through at all.
	Severed Store
	Sever   func(tb testing.TB, answers int) (mend func())
}

// lease is how long the operations of these tests are held: longer than any test.
const lease = time.Hour

// runStore runs each test on a store of its own.
func runStore(t *testing.T, newBed func(tb testing.TB) StoreBed, tests map[string]func(*testing.T, StoreBed)) {
	t.Helper()

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newBed(t))
		})
	}
}

// either is the store for odd, and its twin for even callers.
func (b StoreBed) either(i int) Store {
	if i%2 == 0 {
		return b.Twin
	}

	return b.Store
}

// atOnce calls do n times at the same moment. Whoever hears that the store is
// overloaded asks again, as the contract wants it.
func atOnce[T any](n int, do func(i int) (T, error)) ([]T, []error) {
	const patience = 20

	var all sync.WaitGroup

	results, errs, start := make([]T, n), make([]error, n), make(chan struct{})

	for i := range n {
		all.Go(func() {
			<-start

			for range patience {
				results[i], errs[i] = do(i)
				if errs[i] == nil || fault.KindOf(errs[i]) != fault.Unavailable {
					return
				}
			}
		})
	}

	close(start)
	all.Wait()

	return results, errs
}

// allAtOnce is atOnce for calls of which none may fail.
func allAtOnce[T any](tb testing.TB, n int, do func(i int) (T, error)) []T {
	tb.Helper()

	results, errs := atOnce(n, do)
	require.NoError(tb, errors.Join(errs...))

	return results
}

func count[T any](values []T, is func(T) bool) int {
	n := 0

	for _, value := range values {
		if is(value) {
			n++
		}
	}

	return n
}

// newOperation asks for 123.45 USD under key.
func newOperation(tb testing.TB, key operation.Key) ports.NewOperation {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return ports.NewOperation{
		PaymentID: id,
		Key:       key,
		Order:     payment.Order{Amount: amount(tb, 123_45, "USD"), Metadata: payment.Metadata{"order": "42"}},
		Request: ports.IntentRequest{
			IdempotencyKey: "payment-" + id.String(),
			Params:         "amount=12345&currency=usd&metadata[payment_id]=" + id.String(),
		},
		Origin: ports.Origin{
			RequestID:   "request-" + id.String(),
			TraceParent: fmt.Sprintf("00-%x-%x-01", id[:], id[:8]),
		},
		Lease: newLease(),
	}
}

func newLease() ports.Lease { return ports.Lease{Token: uuid.New(), For: lease} }

// mustOperation writes an operation down and holds it.
func (b StoreBed) mustBegin(tb testing.TB, c ports.NewOperation) ports.Operation {
	tb.Helper()

	op, err := b.Begin(tb.Context(), c)
	require.NoError(tb, err)
	require.True(tb, op.Held())

	return op
}

// operationNow is the operation as anybody sees it.
func (b StoreBed) operationNow(tb testing.TB, id uuid.UUID) ports.Operation {
	tb.Helper()

	op, err := b.FindByPayment(tb.Context(), id)
	require.NoError(tb, err)

	return op
}

// completionOf is the payment that operation becomes through an intent of its own.
func completionOf(op ports.Operation) ports.Completion {
	return completionWith(op, intentOf(op.PaymentID))
}

func completionWith(op ports.Operation, intentID string) ports.Completion {
	return ports.Completion{
		Payment: payment.Payment{
			ID:        op.PaymentID,
			IntentID:  intentID,
			Key:       op.Key,
			Amount:    op.Order.Amount,
			Metadata:  op.Order.Metadata,
			Status:    payment.Pending,
			CreatedAt: op.CreatedAt,
		},
		Response: created(intentID),
		Cause:    "request",
	}
}

func intentOf(id uuid.UUID) string { return "pi_" + id.String() }

func created(content string) *ports.FrozenResponse {
	return &ports.FrozenResponse{Status: http.StatusCreated, Body: []byte(`{"id":"` + content + "\"}\n")}
}

func rejection() ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusBadGateway, Body: []byte(`{"title":"Rejected"}`)}
}

// mustFinish makes a payment of an operation.
func (b StoreBed) mustFinish(tb testing.TB, c ports.Completion) ports.Finished {
	tb.Helper()

	done, err := b.Finish(tb.Context(), c)
	require.NoError(tb, err)

	return done
}

// mustPay makes an operation under key and a payment of it.
func (b StoreBed) mustPay(tb testing.TB, key operation.Key) payment.Payment {
	tb.Helper()

	b.mustFinish(tb, completionOf(b.mustBegin(tb, newOperation(tb, key))))

	op, err := b.Find(tb.Context(), key)
	require.NoError(tb, err)

	return b.paymentNow(tb, op.PaymentID)
}

func (b StoreBed) paymentNow(tb testing.TB, id uuid.UUID) payment.Payment {
	tb.Helper()

	p, err := b.Payment(tb.Context(), id)
	require.NoError(tb, err)

	return p
}

// requireNoPayment: nothing of the payment is written down.
func (b StoreBed) requireNoPayment(tb testing.TB, id uuid.UUID) {
	tb.Helper()

	_, err := b.Payment(tb.Context(), id)
	requireNotFound(tb, err)
	require.Empty(tb, b.history(tb, id))
}

func (b StoreBed) history(tb testing.TB, id uuid.UUID) []ports.Transition {
	tb.Helper()

	history, err := b.History(tb.Context(), id)
	require.NoError(tb, err)

	return history
}

// requireTrueHistory: each step begins where the last one ended, the state
// machine allows it, and the payment is where the last one led.
func (b StoreBed) requireTrueHistory(tb testing.TB, id uuid.UUID) {
	tb.Helper()

	history := b.history(tb, id)
	require.NotEmpty(tb, history)
	require.Empty(tb, history[0].From)

	for i, step := range history[1:] {
		require.Equal(tb, history[i].To, step.From, "step %d begins where the last ended", i+1)
		require.True(tb, step.From.CanBecome(step.To), "%s → %s", step.From, step.To)
		require.False(tb, step.At.Before(history[i].At), "step %d is not before the last", i+1)
	}

	require.Equal(tb, history[len(history)-1].To, b.paymentNow(tb, id).Status)
}

func amount(t require.TestingT, minor int64, code string) money.Amount {
	currency, err := money.ParseCurrency(code)
	require.NoError(t, err)

	a, err := money.New(minor, currency)
	require.NoError(t, err)

	return a
}

func requireNotFound(t require.TestingT, err error) {
	require.Error(t, err)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)
}
