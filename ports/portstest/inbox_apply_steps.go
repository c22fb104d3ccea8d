package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// A step changes the payment, but not its status, so that the history stays as it is.
func applySteps(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	for _, step := range []payment.IntentStatus{payment.IntentRequiresAction, payment.IntentProcessing} {
		e := stepOf(t, p, step)
		applied := b.mustApply(t, e)

		b.requireApplied(t, p, e, applied)
		require.Equal(t, step, applied.After.IntentStatus)
		require.Equal(t, payment.Pending, applied.After.Status)

		p = b.paymentNow(t, p.ID)
	}

	late := stepOf(t, p, payment.IntentRequiresAction)
	require.Equal(t, ports.EventStale, b.mustApply(t, late).Outcome)
	b.requireStored(t, late, ports.EventStale, "")

	require.Equal(t, p, b.paymentNow(t, p.ID), "a step that is past")
	require.Len(t, b.history(t, p.ID), 1)
}

// The event says how much is held. Only the intent says for how long.
func applyHold(t *testing.T, b StoreBed) {
	t.Helper()

	for key, outcome := range map[operation.Key]ports.EventOutcome{"until": ports.EventApplied, "for a time": ports.EventHint} {
		p := b.mustPay(t, key)
		e := stepOf(t, p, payment.IntentRequiresCapture)

		if outcome == ports.EventHint {
			e.Intent.CaptureBefore = time.Time{}
		}

		applied := b.mustApply(t, e)
		require.Equal(t, outcome, applied.Outcome)
		requireSamePayment(t, p, applied.Before)
		b.requireStored(t, e, outcome, "")

		after := b.paymentNow(t, p.ID)
		requireSamePayment(t, after, applied.After)
		require.Equal(t, payment.IntentRequiresCapture, after.IntentStatus)
		require.Equal(t, payment.CaptureManual, after.CaptureMethod)
		require.Equal(t, p.Amount.Money(), after.Capturable)
		require.Equal(t, e.Intent.CaptureBefore, after.CaptureBefore)
		require.Len(t, b.history(t, p.ID), 1)
	}
}

// A capture of less is no contradiction, whether we know that the payment has succeeded or
// not. More than was asked for is one.
func applyLessCaptured(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	succeeded := func(minor int64) ports.Event {
		e := eventOf(t, p, payment.Succeeded)
		e.Intent.Captured = money.Of(minor, p.Amount.Currency())

		return e
	}

	for _, minor := range []int64{100_00, 99_00} {
		before, e := b.paymentNow(t, p.ID), succeeded(minor)
		applied := b.mustApply(t, e)

		b.requireApplied(t, before, e, applied)
		require.Equal(t, money.Of(minor, p.Amount.Currency()), applied.After.Captured)
		require.Equal(t, money.Of(0, p.Amount.Currency()), applied.After.Capturable)
		require.True(t, applied.After.CaptureBefore.IsZero())
	}

	after := b.paymentNow(t, p.ID)
	require.Equal(t, payment.Succeeded, after.Status)
	require.Equal(t, p.Amount, after.Amount, "it is what was asked for")
	require.Len(t, b.history(t, p.ID), 2)
	b.requireTrueHistory(t, p.ID)

	require.Equal(t, ports.EventStale, b.mustApply(t, succeeded(99_00)).Outcome)

	for _, minor := range []int64{100_00, 200_00} {
		more := succeeded(minor)
		require.Equal(t, ports.ParkedContradiction, b.mustApply(t, more).Reason)
		b.requireStored(t, more, ports.EventParked, ports.ParkedContradiction)
	}

	require.Equal(t, after, b.paymentNow(t, p.ID))
}

func applyAnotherEnd(t *testing.T, b StoreBed) {
	t.Helper()

	for end, another := range map[payment.Status]payment.Status{
		payment.Succeeded: payment.Cancelled, payment.Cancelled: payment.Succeeded,
	} {
		p := b.mustPay(t, operation.Key(end))
		b.mustApply(t, eventOf(t, p, end))
		p = b.paymentNow(t, p.ID)

		e := eventOf(t, p, another)

		for range 2 { // a second delivery parks it again
			require.Equal(t, ports.Applied{
				Outcome: ports.EventParked, Reason: ports.ParkedContradiction, PaymentID: p.ID,
				Origin: b.operationNow(t, p.ID).Origin,
			}, b.mustApply(t, e))
		}

		b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
		require.Equal(t, p, b.paymentNow(t, p.ID))
		require.Len(t, b.history(t, p.ID), 2)
	}
}

// After a decline an event may be older than what we know, so that it changes nothing but
// the version: whoever has read the intent before must read it again.
func applyHint(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, p, payment.Failed))

	for _, e := range []ports.Event{
		eventOf(t, p, ""), eventOf(t, p, payment.Failed), stepOf(t, p, payment.IntentProcessing),
	} {
		before := b.paymentNow(t, p.ID)
		applied := b.mustApply(t, e)

		require.Equal(t, ports.EventHint, applied.Outcome)
		require.Equal(t, p.ID, applied.PaymentID)
		requireSamePayment(t, before, applied.Before)
		b.requireStored(t, e, ports.EventHint, "")

		after := b.paymentNow(t, p.ID)
		requireSamePayment(t, after, applied.After)
		requireNewer(t, before, after)

		before.Version, before.UpdatedAt = after.Version, after.UpdatedAt
		require.Equal(t, before, after, "nothing else has changed")

		require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
		require.Equal(t, after, b.paymentNow(t, p.ID), "the second delivery changes nothing")
	}

	require.Len(t, b.history(t, p.ID), 2)
	b.requireBacklog(t, ports.BacklogStats{})

	// What is final needs no reading.
	require.Equal(t, ports.EventApplied, b.mustApply(t, eventOf(t, p, payment.Succeeded)).Outcome)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
}

// An event of a type that we do not handle is kept whole. A later release that handles the
// type processes it.
func applyUnhandled(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)
	e.Handled = false

	refund := eventOf(t, p, "")
	refund.Type, refund.ObjectID, refund.Handled = "charge.refunded", "ch_1", false
	refund.IsIntent, refund.Intent = false, ports.Intent{}

	for _, unhandled := range []ports.Event{e, refund} {
		require.Equal(t, ports.EventUnhandled, b.mustApply(t, unhandled).Outcome)

		stored := b.requireStored(t, unhandled, ports.EventUnhandled, "")
		require.Equal(t, ports.EventDuplicate, b.mustApply(t, unhandled).Outcome, "it is no better known than before")
		require.Equal(t, stored, b.event(t, unhandled.ID))
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Empty(t, b.ready(t))
	b.requireBacklog(t, ports.BacklogStats{})

	stored := b.event(t, e.ID)
	e.Handled = true
	b.requireApplied(t, p, e, b.mustApply(t, e))
	require.Equal(t, stored.ReceivedAt, b.event(t, e.ID).ReceivedAt)
	require.True(t, b.event(t, e.ID).ProcessedAt.After(stored.ProcessedAt))

	refund.Handled = true
	require.Equal(t, ports.EventIgnored, b.mustApply(t, refund).Outcome)
	b.requireStored(t, refund, ports.EventIgnored, "")

	for _, done := range []ports.Event{e, refund} {
		require.Equal(t, ports.EventDuplicate, b.mustApply(t, done).Outcome)

		done.Handled = false
		require.Equal(t, ports.EventDuplicate, b.mustApply(t, done).Outcome)
	}

	require.Len(t, b.history(t, p.ID), 2)
}

// An intent with metadata in which nothing is ours is another program's on our account.
func applyForeign(t *testing.T, b StoreBed) {
	t.Helper()

	for _, change := range []payment.Status{"", payment.Failed, payment.Succeeded} {
		e := eventOf(t, payment.Payment{IntentID: "pi_of_another_program", Amount: amount(t, 1_00, "USD")}, change)
		e.Intent.Unmarked = true

		require.Equal(t, ports.Applied{Outcome: ports.EventForeign}, b.mustApply(t, e))
		b.requireForeign(t, e)
		require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
		b.requireForeign(t, e)
	}

	require.Empty(t, b.ready(t))
	b.requireBacklog(t, ports.BacklogStats{})
}

// requireForeign requires that only the id, the type and the time of e are kept.
func (b StoreBed) requireForeign(tb testing.TB, e ports.Event) {
	tb.Helper()

	stored := b.event(tb, e.ID)
	require.Equal(tb, ports.StoredEvent{
		ID: e.ID, Type: e.Type, Outcome: ports.EventForeign, Raw: []byte{}, CreatedAt: e.CreatedAt,
		ReceivedAt: stored.ReceivedAt, ProcessedAt: stored.ProcessedAt,
	}, stored)
}

// An earlier release has parked an event that this one knows to be foreign.
func applyParkedThenForeign(t *testing.T, b StoreBed) {
	t.Helper()

	e := b.mustPark(t, payment.Payment{IntentID: "pi_of_another_program", Amount: amount(t, 1_00, "USD")})
	e.Intent.Unmarked = true

	require.Equal(t, ports.Applied{Outcome: ports.EventForeign}, b.mustApply(t, e))
	b.requireForeign(t, e)
	b.requireBacklog(t, ports.BacklogStats{})
	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
}

// Somebody may have removed our metadata at the provider. A payment of ours stays one.
func applyUnmarkedOfOurs(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)
	e.Intent.PaymentID, e.Intent.Unmarked = uuid.Nil, true

	b.requireApplied(t, p, e, b.mustApply(t, e))
}
