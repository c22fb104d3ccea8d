package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Payments is the contract of ports.Payments. Each call of newBed gives an
// empty store.
func Payments(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Payment/as it was finished":         paymentAsFinished,
		"Payment/follows what happens":       paymentFollows,
		"Payment/follows its attempts":       paymentAttempts,
		"Payment/none is NotFound":           paymentNotFound,
		"History/in order, with its causes":  historyInOrder,
		"History/none for no payment":        historyOfNothing,
		"History/of one payment alone":       historyOfOne,
		"History/begins where Stripe stands": historyBeginsAnywhere,
	})
}

func paymentAsFinished(t *testing.T, b StoreBed) {
	t.Helper()

	for _, key := range []operation.Key{"order_1", ""} {
		op := b.mustBegin(t, newOperation(t, key))
		want := completionOf(op).Payment
		b.mustFinish(t, completionOf(op))

		for _, store := range []Store{b.Store, b.Twin} {
			got, err := store.Payment(t.Context(), op.ID)
			require.NoError(t, err)
			require.Equal(t, time.UTC, got.CreatedAt.Location())
			require.Equal(t, time.UTC, got.UpdatedAt.Location())

			want.UpdatedAt = got.UpdatedAt
			require.Equal(t, want, got)
		}
	}
}

func paymentFollows(t *testing.T, b StoreBed) {
	t.Helper()

	before := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, before, payment.Failed))

	after := b.paymentNow(t, before.ID)
	require.True(t, after.UpdatedAt.After(before.UpdatedAt))

	require.Greater(t, after.Version, before.Version)

	before.Status, before.Declined, before.Version, before.UpdatedAt = payment.Failed, true, after.Version, after.UpdatedAt
	require.Equal(t, before, after, "nothing else has changed")

	b.mustApply(t, eventOf(t, before, payment.Succeeded))
	after = b.paymentNow(t, before.ID)
	require.Equal(t, payment.Succeeded, after.Status)

	b.mustApply(t, eventOf(t, before, payment.Failed))
	require.Equal(t, after, b.paymentNow(t, before.ID), "a stale event changes nothing")
}

func paymentNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Payment(t.Context(), uuid.New())
	requireNotFound(t, err)

	op := b.mustBegin(t, newOperation(t, "order_1"))
	_, err = b.Payment(t.Context(), op.ID)
	requireNotFound(t, err)
}

func historyInOrder(t *testing.T, b StoreBed) {
	t.Helper()

	began := time.Now()
	p := b.mustPay(t, "order_1")
	failed, succeeded := eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded)

	b.mustApply(t, failed)
	b.mustApply(t, succeeded)

	history := b.history(t, p.ID)
	for _, step := range history {
		require.WithinDuration(t, began, step.At, time.Minute)
		require.Equal(t, time.UTC, step.At.Location())
	}

	b.requireTrueHistory(t, p.ID)
	require.Len(t, history, 3)
	require.Equal(t, []ports.Transition{
		{To: payment.Pending, Cause: "request", At: history[0].At},
		{From: payment.Pending, To: payment.Failed, Cause: failed.ID, At: history[1].At},
		{From: payment.Failed, To: payment.Succeeded, Cause: succeeded.ID, At: history[2].At},
	}, history)
}

func historyOfNothing(t *testing.T, b StoreBed) {
	t.Helper()

	require.Empty(t, b.history(t, uuid.New()))
	require.Empty(t, b.history(t, b.mustBegin(t, newOperation(t, "order_1")).ID))
}

func historyOfOne(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := b.mustPay(t, "order_1"), b.mustPay(t, "order_2")
	b.mustApply(t, eventOf(t, second, payment.Succeeded))

	require.Len(t, b.history(t, first.ID), 1)
	require.Len(t, b.history(t, second.ID), 2)
}

// An intent that recovery finds may have been paid long ago.
func historyBeginsAnywhere(t *testing.T, b StoreBed) {
	t.Helper()

	for _, status := range payment.Statuses() {
		completion := completionOf(b.mustBegin(t, newOperation(t, "")))
		completion.Payment.Status, completion.Cause = status, "recovery"
		b.mustFinish(t, completion)

		require.Equal(t, status, b.paymentNow(t, completion.Payment.ID).Status)
		b.requireTrueHistory(t, completion.Payment.ID)
		require.Equal(t, "recovery", b.history(t, completion.Payment.ID)[0].Cause)
	}
}

// mustPay begins an operation under key and finishes it with a payment.
func (b StoreBed) mustPay(tb testing.TB, key operation.Key) payment.Payment {
	tb.Helper()

	op := b.mustBegin(tb, newOperation(tb, key))
	b.mustFinish(tb, completionOf(op))

	return b.paymentNow(tb, op.ID)
}

func (b StoreBed) paymentNow(tb testing.TB, id uuid.UUID) payment.Payment {
	tb.Helper()

	p, err := b.Payment(tb.Context(), id)
	require.NoError(tb, err)

	return p
}

// requireNoPayment requires that there is neither the payment nor a history of it.
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

// requireTrueHistory requires that each step begins where the last one ended, that the
// state machine allows it, and that the payment is where the last step led.
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
