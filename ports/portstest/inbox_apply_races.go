package portstest

import (
	"errors"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func applyCopiesAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, copies = 10, 20

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
		e := eventOf(t, p, payment.Succeeded)

		applied := allAtOnce(t, copies, func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), e) })

		require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
		require.Equal(t, copies-1, count(applied, outcome(ports.EventDuplicate)))
		require.Len(t, b.history(t, p.ID), 2)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, e, ports.EventApplied, "")
	}
}

func applyParkedCopiesAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const copies = 20

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := eventOf(t, completionOf(op).Payment, payment.Succeeded)
	e.Intent.PaymentID = uuid.Nil // so that the operation cannot be found by it

	apply := func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), e) }

	require.Equal(t, copies, count(allAtOnce(t, copies, apply), outcome(ports.EventParked)))
	require.True(t, b.mustFinish(t, completionOf(op)).Parked)

	applied := allAtOnce(t, copies, apply)
	require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
	require.Equal(t, copies-1, count(applied, outcome(ports.EventDuplicate)))
	require.Len(t, b.history(t, op.ID), 2)
	b.requireTrueHistory(t, op.ID)
}

// A release that handles the type processes what is stored, while Stripe sends it again.
func applyUnhandledCopiesAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, copies = 5, 20

	for range payments {
		p := b.mustPay(t, "")
		e := eventOf(t, p, payment.Succeeded)
		e.Handled = false
		require.Equal(t, ports.EventUnhandled, b.mustApply(t, e).Outcome)

		e.Handled = true
		applied := allAtOnce(t, copies, func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), e) })

		require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
		require.Equal(t, copies-1, count(applied, outcome(ports.EventDuplicate)))
		require.Len(t, b.history(t, p.ID), 2)
	}
}

// Of hints that are told at once none is lost.
func applyHintsAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const events = 20

	p := b.mustDecline(t, "order_1")
	hints := make([]ports.Event, events)

	for i := range hints {
		hints[i] = stepOf(t, p, payment.IntentProcessing)
	}

	applied := allAtOnce(t, events, func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), hints[i]) })
	require.Equal(t, events, count(applied, outcome(ports.EventHint)))
	require.Len(t, b.hints(t, 2*events), events)
	require.GreaterOrEqual(t, b.paymentNow(t, p.ID).Version, p.Version+events, "each has raised the version")
}

func applyDifferentAtOnce(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	changes := []payment.Status{payment.Failed, payment.Succeeded, "", payment.Failed}

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))

		events := make([]ports.Event, 0, len(changes))
		for _, change := range changes {
			events = append(events, eventOf(t, p, change))
		}

		allAtOnce(t, len(events), func(i int) (ports.Applied, error) { return b.either(i).Apply(t.Context(), events[i]) })

		require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
		b.requireTrueHistory(t, p.ID)
		b.requireStored(t, events[1], ports.EventApplied, "")
	}
}

func applyOneChangeTwice(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 20

	for n := range payments {
		p := b.mustPay(t, operation.Key(strconv.Itoa(n)))
		events := []ports.Event{eventOf(t, p, payment.Succeeded), eventOf(t, p, payment.Succeeded)}

		applied := allAtOnce(t, len(events), func(i int) (ports.Applied, error) {
			return b.either(i).Apply(t.Context(), events[i])
		})

		require.Equal(t, 1, count(applied, outcome(ports.EventApplied)))
		require.Equal(t, 1, count(applied, outcome(ports.EventStale)))
		require.Len(t, b.history(t, p.ID), 2)
	}
}

// In whatever order Finish and the event come, the event ends up applied: at once,
// through FinishAndApply, or because Ready lists it.
func applyAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	for n := range payments {
		op := b.mustBegin(t, newOperation(t, ""))
		e := eventOf(t, completionOf(op).Payment, payment.Succeeded)

		if n%2 == 0 {
			e.Intent.PaymentID = uuid.Nil
		}

		_, errs := atOnce(2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.Finish(t.Context(), completionOf(op))

				return struct{}{}, err
			}

			applied, err := b.Twin.Apply(t.Context(), e)
			if err == nil && applied.Outcome == ports.EventUnfinished {
				_, _, err = b.Twin.FinishAndApply(t.Context(), completionOf(op), e)
			}

			return struct{}{}, err
		})
		require.NoError(t, errors.Join(errs...))

		for _, stored := range b.ready(t) {
			require.Equal(t, e.ID, stored.ID)
			require.Equal(t, ports.EventApplied, b.mustApply(t, e).Outcome)
		}

		require.Equal(t, payment.Succeeded, b.paymentNow(t, op.ID).Status)
		require.Len(t, b.history(t, op.ID), 2)
		b.requireTrueHistory(t, op.ID)
	}
}
