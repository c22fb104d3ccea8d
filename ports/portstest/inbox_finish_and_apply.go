package portstest

import (
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func finishAndApply(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	completion.Cause = "webhook"
	e := eventOf(t, completion.Payment, payment.Succeeded)

	done, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.True(t, done.Created)
	b.requireApplied(t, completion.Payment, e, applied)

	want := op
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, *completion.Response
	requireSameOperation(t, want, done.Operation)
	requireSameOperation(t, want, b.operationNow(t, op.ID))

	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.ID).Status)
	b.requireStored(t, e, ports.EventApplied, "")
	b.requireTrueHistory(t, op.ID)

	history := b.history(t, op.ID)
	require.Len(t, history, 2)
	require.Equal(t, "webhook", history[0].Cause)
	require.Equal(t, e.ID, history[1].Cause)
}

func finishAndApplyOpen(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	completion.Response = nil

	done, applied, err := b.FinishAndApply(t.Context(), completion, eventOf(t, completion.Payment, payment.Succeeded))
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, operation.Pending, done.Operation.State)
	require.Equal(t, ports.EventApplied, applied.Outcome)

	// The provider's answer arrives after the event and still says pending.
	require.Equal(t, operation.Finished, b.mustFinish(t, completionOf(op)).Operation.State)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, op.ID).Status)
	require.Len(t, b.history(t, op.ID), 2)
}

func finishAndApplyStep(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	e := stepOf(t, completion.Payment, payment.IntentProcessing)

	done, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.True(t, done.Operation.Finished())
	b.requireApplied(t, completion.Payment, e, applied)
	require.Equal(t, payment.IntentProcessing, b.paymentNow(t, op.ID).IntentStatus)
	require.Len(t, b.history(t, op.ID), 1)
}

func finishAndApplyContradiction(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	op := b.mustBegin(t, newOperation(t, "order_2"))

	taken := completionWith(op, p.IntentID)
	e := eventOf(t, taken.Payment, payment.Succeeded)

	_, _, err := b.FinishAndApply(t.Context(), taken, e)
	require.ErrorIs(t, err, ports.ErrContradiction)

	second := completionWith(b.operationNow(t, p.ID), "pi_second")
	f := eventOf(t, second.Payment, payment.Succeeded)

	_, _, err = b.FinishAndApply(t.Context(), second, f)
	require.ErrorIs(t, err, ports.ErrContradiction)

	for _, event := range []ports.Event{e, f} {
		_, err = b.Event(t.Context(), event.ID)
		requireNotFound(t, err)
	}

	b.requireNoPayment(t, op.ID)
	require.Equal(t, operation.Pending, b.operationNow(t, op.ID).State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 1)
}

func finishAndApplyParks(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)
	e.Intent.Amount = amount(t, 1_00, "USD")

	done, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, ports.EventParked, applied.Outcome)
	require.Equal(t, ports.ParkedContradiction, applied.Reason)
	require.Equal(t, payment.Pending, b.paymentNow(t, completion.Payment.ID).Status)
	b.requireStored(t, e, ports.EventParked, ports.ParkedContradiction)
}

func finishAndApplyParked(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedUnknown))

	require.Equal(t, ports.EventUnfinished, b.mustApply(t, e).Outcome)

	_, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.Equal(t, ports.EventApplied, applied.Outcome)
	b.requireStored(t, e, ports.EventApplied, "")
}

func finishAndApplyTwice(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	e := eventOf(t, completion.Payment, payment.Succeeded)

	first, _, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)

	completion.Response = created("another")
	again, applied, err := b.FinishAndApply(t.Context(), completion, e)
	require.NoError(t, err)
	require.False(t, again.Created)
	require.Equal(t, ports.EventDuplicate, applied.Outcome)
	requireSameOperation(t, first.Operation, again.Operation)
	require.Len(t, b.history(t, completion.Payment.ID), 2)
}

// The request, recovery and the deliveries of two events finish one payment at once.
func finishAndApplyByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 15, 8

	for range payments {
		op := b.mustBegin(t, newOperation(t, ""))
		p := completionOf(op).Payment
		first, second := eventOf(t, p, payment.Failed), eventOf(t, p, payment.Succeeded)

		done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
			completion := completionOf(op)
			completion.Response = created(strconv.Itoa(i))

			switch i % 4 {
			case 0, 1:
				return b.either(i/4).Finish(t.Context(), completion)
			case 2:
				finished, _, err := b.either(i/4).FinishAndApply(t.Context(), completion, first)

				return finished, err
			default:
				finished, _, err := b.either(i/4).FinishAndApply(t.Context(), completion, second)

				return finished, err
			}
		})

		require.Equal(t, 1, count(done, func(d ports.Finished) bool { return d.Created }))

		for _, d := range done {
			requireSameOperation(t, b.operationNow(t, op.ID), d.Operation)
		}

		require.Equal(t, payment.Succeeded, b.paymentNow(t, op.ID).Status)
		b.requireTrueHistory(t, op.ID)
		b.requireStored(t, second, ports.EventApplied, "")
	}
}
