package portstest

import (
	"errors"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func finishOnWritesAll(t *testing.T, b StoreBed) {
	t.Helper()

	before := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, before, "capture_1"))

	var locked payment.Payment

	part := amount(t, 100_00, "USD")
	done, err := b.FinishOn(t.Context(), op.ID, "request",
		ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
			locked = p

			return capturing(part)(p)
		}})
	require.NoError(t, err)

	// The payment comes with the version and the time that it will have.
	require.Greater(t, locked.Version, before.Version)
	require.False(t, locked.UpdatedAt.Before(before.UpdatedAt))

	want := before
	want.Version, want.UpdatedAt = locked.Version, locked.UpdatedAt
	require.Equal(t, want, locked)

	after, response, err := capturing(part)(locked)
	require.NoError(t, err)
	require.Equal(t, before, done.Before)
	require.Equal(t, after, done.After)
	require.False(t, done.Created)
	require.Equal(t, after, b.paymentNow(t, before.ID))
	require.Equal(t, part.Money(), b.paymentNow(t, before.ID).Captured)

	finished := op
	finished.State, finished.Lease, finished.Response = operation.Finished, uuid.Nil, response
	requireSameOperation(t, finished, done.Operation)
	requireSameOperation(t, finished, b.operationNow(t, op.ID))

	b.requireTrueHistory(t, before.ID)

	history := b.history(t, before.ID)
	require.Len(t, history, 2)
	require.Equal(t, ports.Transition{
		From: payment.Pending, To: payment.Succeeded, Cause: "request", At: history[1].At,
	}, history[1])
}

// The request, recovery and a person may all have learned that it was done.
func finishOnTwice(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCancel(t, p, "cancel_1"))
	first := b.mustFinishOn(t, op, cancelling)
	cancelled, history := b.paymentNow(t, p.ID), b.history(t, p.ID)

	for _, store := range []Store{b.Store, b.Twin} {
		again, err := store.FinishOn(t.Context(), op.ID, "recovery",
			ports.Change{Decide: func(payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
				t.Error("it is finished: there is nothing to decide")

				return payment.Payment{}, ports.FrozenResponse{}, errUndecided
			}})
		require.NoError(t, err)
		require.Equal(t, again.Before, again.After, "this call changed nothing")
		requireSameOperation(t, first.Operation, again.Operation)
	}

	no, err := b.FinishRejected(t.Context(), op, rejection())
	require.NoError(t, err)
	requireSameOperation(t, first.Operation, no)

	require.Equal(t, cancelled, b.paymentNow(t, p.ID))
	require.Equal(t, history, b.history(t, p.ID))
}

var errUndecided = errors.New("it cannot be decided")

func finishOnUndecided(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, p, "capture_1"))

	for _, cause := range []error{errUndecided, ports.ErrContradiction} {
		_, err := b.FinishOn(t.Context(), op.ID, "request",
			ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
				p, response, _ := capturing(p.Amount)(p)

				return p, response, cause
			}})
		require.ErrorIs(t, err, cause)
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
	require.Len(t, b.history(t, p.ID), 1)

	found := op
	found.Lease = uuid.Nil
	requireSameOperation(t, found, b.operationNow(t, op.ID))
	require.NoError(t, b.Extend(t.Context(), op, lease), "its holder goes on")
	require.Equal(t, payment.Succeeded, b.mustFinishOn(t, op, capturing(p.Amount)).After.Status)
}

// A cancel of what Stripe has cancelled already changes nothing and has its answer.
func finishOnWithoutChange(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCancel(t, p, ""))
	b.mustApply(t, eventOf(t, p, payment.Cancelled))

	cancelled := b.paymentNow(t, p.ID)

	done := b.mustFinishOn(t, op, func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		return p, showing(p), nil
	})
	require.True(t, done.Operation.Finished())
	require.Equal(t, showing(cancelled), done.Operation.Response)
	require.Equal(t, cancelled, done.Before)
	require.Equal(t, cancelled, done.After)
	require.Equal(t, cancelled, b.paymentNow(t, p.ID), "no change, no version")
	require.Len(t, b.history(t, p.ID), 2)
	b.requireTrueHistory(t, p.ID)
}

func finishOnAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, p, "capture_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))

	require.Equal(t, operation.Finished, b.mustFinishOn(t, op, capturing(p.Amount)).Operation.State)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
}

func finishOnRejectedOrder(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, p, "capture_1"))

	no, err := b.FinishRejected(t.Context(), op, rejection())
	require.NoError(t, err)
	require.Equal(t, rejection(), no.Response)
	require.Equal(t, p, b.paymentNow(t, p.ID), "a rejected capture leaves its payment alone")

	done := b.mustFinishOn(t, op, capturing(p.Amount))
	requireSameOperation(t, no, done.Operation)
	require.Equal(t, p, b.paymentNow(t, p.ID))
}

// It was opened again and done, and the database has lost that.
func finishOnRejected(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	rejected := b.mustReject(t, newCapture(t, p, "capture_1"))

	done := b.mustFinishOn(t, rejected, capturing(p.Amount))
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
	requireSameOperation(t, done.Operation, b.operationNow(t, rejected.ID))
}

// What was refused is not what the object was changed for: that one is lost.
func finishOnRefusedForAnother(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, p, "capture_1"))

	_, err := b.FinishRejected(t.Context(), op, rejection())
	require.NoError(t, err)

	made := op.Fingerprint
	made[0]++

	done, err := b.FinishOn(t.Context(), op.ID, "request", ports.Change{Fingerprint: made, Decide: capturing(p.Amount)})
	require.NoError(t, err)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, made, done.Operation.Fingerprint)
	require.NotEqual(t, rejection(), done.Operation.Response)
	require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
}

func finishOnNothing(t *testing.T, b StoreBed) {
	t.Helper()

	create := b.mustBegin(t, newOperation(t, "order_1"))
	orphan := b.mustBegin(t, newCapture(t, payment.Payment{ID: uuid.New(), IntentID: "pi_none"}, "capture_1"))
	early := b.mustBegin(t, newCancel(t, completionOf(create).Payment, "cancel_1"))

	for name, id := range map[string]uuid.UUID{
		"no operation": uuid.New(), "no payment": orphan.ID, "no payment yet": early.ID, "a create": create.ID,
	} {
		_, err := b.FinishOn(t.Context(), id, "request", ports.Change{Decide: cancelling})
		requireNotFound(t, err)
		b.requireNoPayment(t, create.ID)

		if name != "no operation" {
			requireStateOf(t, b, ports.Operation{ID: id}, operation.Pending)
		}
	}
}

func finishOnByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 20, 8

	for range payments {
		p := b.mustHold(t, "")
		op := b.mustBegin(t, newCapture(t, p, ""))

		var effects atomic.Int64

		done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
			finished, err := b.either(i).FinishOn(t.Context(), op.ID, strconv.Itoa(i),
				ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
					p, _, err := capturing(p.Amount)(p)

					return p, *created(strconv.Itoa(i)), err
				}})
			if err == nil && finished.Before.Version != finished.After.Version {
				effects.Add(1)
			}

			return finished, err
		})

		require.EqualValues(t, 1, effects.Load(), "one effect")
		require.Len(t, b.history(t, p.ID), 2)
		b.requireTrueHistory(t, p.ID)

		stands := b.operationNow(t, op.ID)
		require.Equal(t, *created(b.history(t, p.ID)[1].Cause), stands.Response, "the answer and the effect are of one call")

		for _, d := range done {
			requireSameOperation(t, stands, d.Operation)
		}
	}
}

// The provider's event and its answer to the capture come at the same moment.
func finishOnAgainstEvents(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 30

	for n := range payments {
		p := b.mustHold(t, "")
		op := b.mustBegin(t, newCapture(t, p, ""))
		e := eventOf(t, p, payment.Succeeded)

		allAtOnce(t, 2, func(i int) (struct{}, error) {
			if i == n%2 {
				_, err := b.FinishOn(t.Context(), op.ID, "request", ports.Change{Decide: capturing(p.Amount)})

				return struct{}{}, err
			}

			_, err := b.Twin.Apply(t.Context(), e)

			return struct{}{}, err
		})

		after := b.paymentNow(t, p.ID)
		require.Equal(t, payment.Succeeded, after.Status)
		require.Equal(t, p.Amount.Money(), after.Captured)
		require.True(t, b.operationNow(t, op.ID).Finished())
		require.Len(t, b.history(t, p.ID), 2)
		b.requireTrueHistory(t, p.ID)
	}
}

func finishOnAgainstFinishRejected(t *testing.T, b StoreBed) {
	t.Helper()

	const payments = 20

	for range payments {
		p := b.mustHold(t, "")
		op := b.mustBegin(t, newCapture(t, p, ""))

		allAtOnce(t, 2, func(i int) (struct{}, error) {
			if i == 0 {
				_, err := b.FinishRejected(t.Context(), op, rejection())

				return struct{}{}, err
			}

			_, err := b.Twin.FinishOn(t.Context(), op.ID, "recovery", ports.Change{Decide: capturing(p.Amount)})

			return struct{}{}, err
		})

		if b.operationNow(t, op.ID).Response.Status == rejection().Status {
			require.Equal(t, p, b.paymentNow(t, p.ID))
		} else {
			require.Equal(t, payment.Succeeded, b.paymentNow(t, p.ID).Status)
			b.requireTrueHistory(t, p.ID)
		}
	}
}

func (b StoreBed) mustFinishOn(tb testing.TB, op ports.Operation, decide ports.Decide) ports.Finished {
	tb.Helper()

	done, err := b.FinishOn(tb.Context(), op.ID, "request", ports.Change{Decide: decide})
	require.NoError(tb, err)

	return done
}
