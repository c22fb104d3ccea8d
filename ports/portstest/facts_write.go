package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func writeFacts(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	s := held(p)

	hold := p
	hold.IntentStatus, hold.CaptureMethod, hold.Capturable, hold.CaptureBefore =
		s.IntentStatus, s.CaptureMethod, s.Capturable, s.CaptureBefore

	require.True(t, b.write(t, hold, ports.EventApplied))
	now := b.requireWritten(t, hold)
	require.Len(t, b.history(t, p.ID), 1, "its status is the same")

	now = paid(now, 100_00)
	now.Capturable, now.CaptureBefore = p.Capturable, p.CaptureBefore
	require.True(t, b.write(t, now, ports.EventApplied))
	b.requireWritten(t, now)
	b.requireTrueHistory(t, p.ID)

	history := b.history(t, p.ID)
	require.Len(t, history, 2)
	require.Equal(t, ports.Transition{
		From: payment.Pending, To: payment.Succeeded, Cause: "recovery", At: history[1].At,
	}, history[1])
}

// A declined payment that is tried again is pending, until it is declined again.
func writeBackAndForth(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustDecline(t, "order_1")
	require.True(t, p.Declined)

	for range 2 {
		again := tryingAgain(p)
		require.True(t, b.write(t, again, ports.EventApplied))

		declined := b.requireWritten(t, again)
		declined.Status, declined.IntentStatus = payment.Failed, payment.IntentRequiresPaymentMethod
		require.True(t, b.write(t, declined, ports.EventApplied))

		p = b.requireWritten(t, declined)
	}

	require.Len(t, b.history(t, p.ID), 6)
	b.requireTrueHistory(t, p.ID)
}

func writeOldVersion(t *testing.T, b StoreBed) {
	t.Helper()

	loaded := b.mustPay(t, "order_1")
	b.mustApply(t, eventOf(t, loaded, payment.Succeeded))
	now := b.paymentNow(t, loaded.ID)

	ahead := tryingAgain(now)
	ahead.Version++

	for _, read := range []payment.Payment{tryingAgain(loaded), loaded, ahead} {
		require.False(t, b.write(t, read, ports.EventApplied))
	}

	require.Equal(t, now, b.paymentNow(t, loaded.ID))
	require.Len(t, b.history(t, loaded.ID), 2)
}

// Repeating a call changes nothing.
func writeNothingNew(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustDecline(t, "order_1")

	for range 2 {
		require.True(t, b.write(t, p, ports.EventStale))
		require.Equal(t, p, b.paymentNow(t, p.ID))
	}

	again := tryingAgain(p)
	require.True(t, b.write(t, again, ports.EventApplied))

	now := b.requireWritten(t, again)
	require.False(t, b.write(t, again, ports.EventApplied))
	require.Equal(t, now, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 3)
}

// The intent was read before what the hint tells of has happened.
func writeOverHint(t *testing.T, b StoreBed) {
	t.Helper()

	loaded := b.mustDecline(t, "order_1")
	hint := b.mustHint(t, loaded)

	for _, read := range []payment.Payment{tryingAgain(loaded), loaded} {
		require.False(t, b.write(t, read, ports.EventStale))
		b.requireStored(t, hint, ports.EventHint, "")
		require.Equal(t, []string{hint.ID}, eventIDs(b.hints(t, 10)))
	}

	require.Equal(t, payment.Failed, b.paymentNow(t, loaded.ID).Status)

	again := tryingAgain(b.paymentNow(t, loaded.ID))
	require.True(t, b.write(t, again, ports.EventApplied))
	b.requireWritten(t, again)
	b.requireStored(t, hint, ports.EventApplied, "")
	require.Empty(t, b.hints(t, 10))
}

func writeResolvesHints(t *testing.T, b StoreBed) {
	t.Helper()

	other := b.mustDecline(t, "order_2")
	others := b.mustHint(t, other)

	p := b.mustDecline(t, "order_1")
	declined := b.event(t, b.history(t, p.ID)[1].Cause)

	for _, outcome := range []ports.EventOutcome{ports.EventStale, ports.EventApplied} {
		hints := []ports.Event{b.mustHint(t, p), b.mustHint(t, p)}
		stored := b.event(t, hints[0].ID)

		now := b.paymentNow(t, p.ID)
		if outcome == ports.EventApplied {
			now = tryingAgain(now)
		}

		require.True(t, b.write(t, now, outcome))

		for _, hint := range hints {
			b.requireStored(t, hint, outcome, "")
		}

		done := b.event(t, hints[0].ID)
		require.Equal(t, stored.ReceivedAt, done.ReceivedAt)
		require.True(t, done.ProcessedAt.After(stored.ProcessedAt))
		require.Equal(t, ports.EventDuplicate, b.mustApply(t, hints[0]).Outcome)
	}

	require.Equal(t, []string{others.ID}, eventIDs(b.hints(t, 10)), "another payment's")
	require.Equal(t, declined, b.event(t, declined.ID), "no hint")
}

// What was read contradicts what we have: the hints wait for a person.
func writeContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustDecline(t, "order_1")
	hints := []ports.Event{b.mustHint(t, p), b.mustHint(t, p)}
	p = b.paymentNow(t, p.ID)

	require.True(t, b.write(t, p, ports.EventParked))
	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Empty(t, b.hints(t, 10))
	require.Empty(t, b.ready(t), "trying them again would not help")
	require.Empty(t, b.readyFor(t, p.IntentID))
	b.Elapse(t, time.Hour)
	b.requireBacklog(t, ports.BacklogStats{Parked: 2, OldestParked: time.Hour})

	for _, hint := range hints {
		b.requireStored(t, hint, ports.EventParked, ports.ParkedContradiction)
		require.NoError(t, b.Dismiss(t.Context(), hint.ID, entryFor(t, ports.AuditEventDismissed, hint.ID)))
	}
}

func writeWithoutPayment(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))

	for _, id := range []uuid.UUID{op.ID, uuid.New()} {
		p := completionOf(op).Payment
		p.ID = id

		_, err := b.Write(t.Context(), ports.FullPayment{Payment: p}, nil, ports.EventApplied, "recovery")
		requireNotFound(t, err)
		b.requireNoPayment(t, id)
	}
}

// All have loaded the same version and read the intent.
func writeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 20, 8

	for range payments {
		p := b.mustHold(t, "")
		written := allAtOnce(t, callers, func(i int) (bool, error) {
			return b.either(i).Write(t.Context(), ports.FullPayment{Payment: paid(p, int64(1_00*(i+1)))}, nil,
				ports.EventApplied, "recovery")
		})

		require.Equal(t, 1, count(written, func(written bool) bool { return written }))
		require.Len(t, b.history(t, p.ID), 2)

		for i, written := range written {
			if written {
				require.Equal(t, int64(1_00*(i+1)), b.paymentNow(t, p.ID).Captured.Minor())
			}
		}
	}
}

// The intent was read before the hint was stored, so that it is still to be read.
func writeAgainstHints(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	for n := range payments {
		p := b.mustDecline(t, "")
		hint := stepOf(t, p, payment.IntentProcessing)

		allAtOnce(t, 2, func(i int) (struct{}, error) {
			if i == n%2 {
				_, err := b.Apply(t.Context(), hint)

				return struct{}{}, err
			}

			_, err := b.Twin.Write(t.Context(), ports.FullPayment{Payment: tryingAgain(p)}, nil, ports.EventApplied, "recovery")

			return struct{}{}, err
		})

		b.requireStored(t, hint, ports.EventHint, "")
	}
}

// Whoever reads the intent before it is paid, and writes after the event has said so,
// undoes nothing.
func writeAgainstEvents(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 20, 4

	for n := range payments {
		p := b.mustDecline(t, "")
		e := eventOf(t, p, payment.Succeeded)

		_, errs := atOnce(callers, func(i int) (struct{}, error) {
			if i == n%callers {
				applied, err := b.Twin.Apply(t.Context(), e)
				if err == nil && applied.Outcome != ports.EventApplied {
					err = errors.New(string(applied.Outcome))
				}

				return struct{}{}, err
			}

			_, err := b.either(i).Write(t.Context(), ports.FullPayment{Payment: tryingAgain(p)}, nil, ports.EventApplied, "recovery")

			return struct{}{}, err
		})
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
	}
}
