package portstest

import (
	"errors"
	"slices"
	"strconv"
	"testing"
	"time"

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
		applied := b.mustApply(t, e)

		b.requireApplied(t, p, e, applied)
		require.Equal(t, change, applied.After.Status)
		require.Equal(t, e.Intent.IntentStatus, applied.After.IntentStatus)
		require.Equal(t, change == payment.Failed, applied.After.Declined)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, e, ports.EventApplied, "")
	}
}

// requireApplied requires that e has changed p as applied says.
func (b StoreBed) requireApplied(tb testing.TB, p payment.Payment, e ports.Event, applied ports.Applied) {
	tb.Helper()

	require.Equal(tb, ports.Applied{
		Outcome: ports.EventApplied, PaymentID: p.ID, Before: applied.Before, After: applied.After,
		Origin: b.operationNow(tb, p.ID).Origin,
	}, applied)
	requireSamePayment(tb, p, applied.Before)
	requireSamePayment(tb, b.paymentNow(tb, p.ID), applied.After)
	requireNewer(tb, p, applied.After)
	b.requireStored(tb, e, ports.EventApplied, "")
}

// requireSamePayment compares what an event knows of a payment.
func requireSamePayment(tb testing.TB, want, got payment.Payment) {
	tb.Helper()

	want.Key, want.Metadata, want.CreatedAt, want.UpdatedAt = "", nil, time.Time{}, time.Time{}
	got.Key, got.Metadata, got.CreatedAt, got.UpdatedAt = "", nil, time.Time{}, time.Time{}
	require.Equal(tb, want, got)
}

func applyStale(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, p, payment.Succeeded))

	finished := b.paymentNow(t, p.ID)

	for _, e := range []ports.Event{
		eventOf(t, p, ""), eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded),
		stepOf(t, p, payment.IntentProcessing), stepOf(t, p, payment.IntentRequiresCapture),
	} {
		applied := b.mustApply(t, e)
		require.Equal(t, ports.Applied{
			Outcome: ports.EventStale, PaymentID: p.ID, Origin: b.operationNow(t, p.ID).Origin,
		}, applied)
		b.requireStored(t, e, ports.EventStale, "")
	}

	require.Equal(t, finished, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 2)
}

func applyIgnored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	// An event of a type that we handle is about another object than it should be, or about
	// none at all.
	for _, object := range []string{"ch_1", "", p.IntentID} {
		e := eventOf(t, p, "")
		e.ObjectID, e.IsIntent, e.Intent = object, false, ports.Intent{}

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
	require.NoError(t, b.GiveUp(t.Context(), given.ID, errors.New("lost")))

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
	b.requireNoPayment(t, op.ID)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)

	b.Elapse(t, lease)
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome, "a stored event is not handled again")
}

func applyFailedThenPaid(t *testing.T, b StoreBed) {
	t.Helper()

	for _, final := range []payment.Status{payment.Succeeded, payment.Cancelled} {
		p := b.mustPay(t, operation.Key(final))
		require.Equal(t, payment.Pending, b.mustApply(t, eventOf(t, p, payment.Failed)).Before.Status)
		require.Equal(t, ports.EventHint, b.mustApply(t, eventOf(t, p, payment.Failed)).Outcome, "declined once more")

		applied := b.mustApply(t, eventOf(t, p, final))
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Failed, applied.Before.Status)
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
				require.Contains(t, []ports.EventOutcome{ports.EventApplied, ports.EventStale, ports.EventHint}, applied.Outcome)
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
