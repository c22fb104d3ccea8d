package portstest

import (
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func applyApplied(t *testing.T, b StoreBed) {
	t.Helper()

	for _, change := range []payment.Status{payment.Succeeded, payment.Failed, payment.Cancelled} {
		p := b.mustPay(t, operation.Key(change))
		e := eventOf(t, p, change)

		require.Equal(t, ports.Applied{
			Outcome: ports.EventApplied, PaymentID: p.ID, From: payment.Pending, Amount: p.Amount,
			Origin: b.operationNow(t, p.ID).Origin,
		}, b.mustApply(t, e))

		require.Equal(t, change, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, e, ports.EventApplied, "")
	}
}

func applyStale(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, p, payment.Succeeded))

	finished := b.paymentNow(t, p.ID)

	for _, change := range []payment.Status{"", payment.Failed, payment.Succeeded, payment.Cancelled} {
		e := eventOf(t, p, change)
		applied := b.mustApply(t, e)
		require.Equal(t, ports.EventStale, applied.Outcome)
		require.Equal(t, p.ID, applied.PaymentID)
		b.requireStored(t, e, ports.EventStale, "")
	}

	require.Equal(t, finished, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 2)
}

func applyIgnored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	// A refund is about a charge, and an event may have no object at all.
	for _, object := range []string{"ch_1", "", p.IntentID} {
		e := eventOf(t, p, "")
		e.Type, e.ObjectID, e.IsIntent, e.Intent = "charge.refunded", object, false, ports.Intent{}

		require.Equal(t, ports.Applied{Outcome: ports.EventIgnored}, b.mustApply(t, e))
		b.requireStored(t, e, ports.EventIgnored, "")
	}

	// An event about a foreign intent that asks for no change is ignored.
	e := eventOf(t, payment.Payment{IntentID: "pi_foreign", Amount: p.Amount}, "")
	require.Equal(t, ports.Applied{Outcome: ports.EventIgnored}, b.mustApply(t, e))
	require.Len(t, b.history(t, p.ID), 1)
}

func applyDuplicate(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	foreign := eventOf(t, p, "")
	foreign.IsIntent = false

	events := []ports.Event{
		eventOf(t, p, ""), foreign, eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded), eventOf(t, p, payment.Failed),
	}

	for _, e := range events {
		b.mustApply(t, e)
	}

	p = b.paymentNow(t, p.ID)

	for _, e := range events {
		before := b.event(t, e.ID)

		for range 2 {
			applied := b.mustApply(t, e)
			require.Equal(t, ports.EventDuplicate, applied.Outcome)
			require.Empty(t, applied.Reason)
		}

		require.Equal(t, before, b.event(t, e.ID))
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 3)
}

func applyUnfinished(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "held"))
	b.requireUnfinished(t, eventOf(t, completionOf(held).Payment, payment.Succeeded))

	given := b.mustBegin(t, newOperation(t, "given up"))
	require.NoError(t, b.GiveUp(t.Context(), given.PaymentID, errors.New("lost")))

	for _, change := range []payment.Status{"", payment.Failed} {
		b.requireUnfinished(t, eventOf(t, completionOf(given).Payment, change))
	}

	released := b.mustBegin(t, newOperation(t, "released"))
	require.NoError(t, b.Release(t.Context(), released, lease, errors.New("no answer")))
	b.requireUnfinished(t, eventOf(t, completionOf(released).Payment, ""))

	b.Elapse(t, lease)
	b.requireUnfinished(t, eventOf(t, completionOf(held).Payment, ""))
}

func (b StoreBed) requireUnfinished(tb testing.TB, e ports.Event) {
	tb.Helper()

	applied := b.mustApply(tb, e)
	require.Equal(tb, ports.EventUnfinished, applied.Outcome)
	require.Equal(tb, uuid.Nil, applied.PaymentID)

	_, err := b.Event(tb.Context(), e.ID)
	requireNotFound(tb, err)
	b.requireNoPayment(tb, e.Intent.PaymentID)
}

// An event that asks for no change leaves an operation to its holder.
func applyConfirms(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, "")

	require.Equal(t, ports.EventStale, b.mustApply(t, e).Outcome)
	b.requireStored(t, e, ports.EventStale, "")
	b.requireNoPayment(t, op.PaymentID)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)

	b.Elapse(t, lease)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome, "a stored event is not handled again")
}

func applyFailedThenPaid(t *testing.T, b StoreBed) {
	t.Helper()

	for _, final := range []payment.Status{payment.Succeeded, payment.Cancelled} {
		p := b.mustPay(t, operation.Key(final))
		require.Equal(t, payment.Pending, b.mustApply(t, eventOf(t, p, payment.Failed)).From)
		require.Equal(t, ports.EventStale, b.mustApply(t, eventOf(t, p, payment.Failed)).Outcome, "declined once more")

		applied := b.mustApply(t, eventOf(t, p, final))
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Failed, applied.From)
		require.Equal(t, final, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
	}
}

func applyInEveryOrder(t *testing.T, b StoreBed) {
	t.Helper()

	for _, final := range []payment.Status{payment.Succeeded, payment.Cancelled} {
		for i, changes := range permutations([]payment.Status{"", "", payment.Failed, final}) {
			p := b.mustPay(t, operation.Key(string(final)+strconv.Itoa(i)))

			for _, change := range changes {
				e := eventOf(t, p, change)
				applied := b.mustApply(t, e)
				require.Contains(t, []ports.EventOutcome{ports.EventApplied, ports.EventStale}, applied.Outcome)
			}

			require.Equal(t, final, b.paymentNow(t, p.ID).Status, "%q", changes)
			b.requireTrueHistory(t, p.ID)
		}
	}
}

// permutations gives the values in every order.
func permutations[T any](values []T) [][]T {
	if len(values) == 0 {
		return [][]T{nil}
	}

	var all [][]T

	for i := range values {
		rest := slices.Concat(values[:i], values[i+1:])
		for _, tail := range permutations(rest) {
			all = append(all, append([]T{values[i]}, tail...))
		}
	}

	return all
}
