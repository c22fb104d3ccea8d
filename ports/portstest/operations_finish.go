package portstest

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func finishWritesAll(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)

	done, err := b.Finish(t.Context(), completion)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.False(t, done.Parked)
	require.True(t, done.Operation.Finished())

	want := op
	want.State, want.Lease, want.Response = operation.Finished, uuid.Nil, *completion.Response
	requireSameOperation(t, want, done.Operation)
	requireSameOperation(t, want, b.operationNow(t, op.ID))

	p := b.paymentNow(t, op.ID)
	require.False(t, p.UpdatedAt.Before(p.CreatedAt))

	completion.Payment.UpdatedAt = p.UpdatedAt
	require.Equal(t, completion.Payment, p)

	history := b.history(t, op.ID)
	require.Len(t, history, 1)
	require.Equal(t, ports.Transition{To: payment.Pending, Cause: "request", At: history[0].At}, history[0])
}

func finishTwice(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	first := b.mustFinish(t, completionOf(op))
	p, history := b.paymentNow(t, op.ID), b.history(t, op.ID)

	second := completionOf(op)
	second.Response, second.Cause, second.Payment.Status = created("another"), "recovery", payment.Succeeded

	done := b.mustFinish(t, second)
	require.False(t, done.Created)
	requireSameOperation(t, first.Operation, done.Operation)

	require.Equal(t, p, b.paymentNow(t, op.ID))
	require.Equal(t, history, b.history(t, op.ID))
}

// The request, recovery and the webhook may all have found the intent.
func finishByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers = 40, 8

	for range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
			c := completionOf(op)
			c.Response = created(strconv.Itoa(i))

			return b.either(i).Finish(t.Context(), c)
		})

		require.Equal(t, 1, count(done, func(d ports.Finished) bool { return d.Created }))
		require.Len(t, b.history(t, op.ID), 1)

		stands := b.operationNow(t, op.ID)
		for _, d := range done {
			requireSameOperation(t, stands, d.Operation)
		}
	}
}

func finishKeepsBytes(t *testing.T, b StoreBed) {
	t.Helper()

	for name, body := range map[string][]byte{
		"none":   nil,
		"empty":  {},
		"spaced": []byte("{ \"b\":1.00,\t\"a\" : 1e2,\r\n\"b\":\"\\u00e9é\" }\n\n"),
		"binary": {0, 0xff, 0xfe, '\\', 'x', '0', '0'},
		"long":   bytes.Repeat([]byte("0123456789abcdef"), 10_000),
	} {
		completion := completionOf(b.mustBegin(t, newOperation(t, operation.Key("finished "+name))))
		completion.Response = &ports.FrozenResponse{Status: http.StatusCreated, Body: body}
		b.mustFinish(t, completion)
		requireResponse(t, *completion.Response, b.operationNow(t, completion.Payment.ID).Response)

		no := ports.FrozenResponse{Status: http.StatusBadGateway, Body: body}
		op, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, operation.Key("rejected "+name))), no)
		require.NoError(t, err)
		requireResponse(t, no, op.Response)
	}
}

func finishWithoutResponse(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	op := b.mustBegin(t, c)
	whole := completionOf(op)
	open := whole
	open.Response, open.Cause = nil, "webhook"

	done := b.mustFinish(t, open)
	require.True(t, done.Created)
	require.False(t, done.Operation.Finished())
	require.Equal(t, operation.Pending, done.Operation.State)
	require.Zero(t, done.Operation.Response)
	require.Equal(t, payment.Pending, b.paymentNow(t, op.ID).Status)

	requireSameOperation(t, op, b.mustBegin(t, c)) // its holder can go on

	again := b.mustFinish(t, open)
	require.False(t, again.Created)
	require.False(t, again.Operation.Finished())

	b.Elapse(t, lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{op.ID}, idsOf(taken))

	finished := b.mustFinish(t, whole)
	require.False(t, finished.Created, "its payment was there")
	require.Equal(t, operation.Finished, finished.Operation.State)
	require.Equal(t, *whole.Response, finished.Operation.Response)
	require.Len(t, b.history(t, op.ID), 1)
}

func finishAfterGiveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))

	completion := completionOf(op)
	open := completion
	open.Response = nil
	require.Equal(t, operation.NeedsAttention, b.mustFinish(t, open).Operation.State)

	done := b.mustFinish(t, completion)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, *completion.Response, done.Operation.Response)
}

// The operation was opened again and done, and the database has lost that.
func finishAfterReject(t *testing.T, b StoreBed) {
	t.Helper()

	rejected := b.mustReject(t, newOperation(t, "order_1"))
	whole := completionOf(rejected)
	open := whole
	open.Response = nil

	_, err := b.Finish(t.Context(), open)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireSameOperation(t, rejected, b.operationNow(t, rejected.ID))
	b.requireNoPayment(t, rejected.ID)

	done := b.mustFinish(t, whole)
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, *whole.Response, done.Operation.Response)
	require.Len(t, b.history(t, rejected.ID), 1)
}

// The database has lost a request, and the order of another one under its key was refused.
// What the first has made counts.
func finishAfterRefusalOfAnother(t *testing.T, b StoreBed) {
	t.Helper()

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "order_1")), rejection())
	require.NoError(t, err)

	whole := completionOf(no)
	whole.Fingerprint[0]++
	open := whole
	open.Response = nil

	_, err = b.Finish(t.Context(), open)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireSameOperation(t, no, b.operationNow(t, no.ID))

	done := b.mustFinish(t, whole)
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, whole.Fingerprint, done.Operation.Fingerprint)
	require.Equal(t, *whole.Response, done.Operation.Response)
	requireSameOperation(t, done.Operation, b.operationNow(t, no.ID))

	again := b.mustFinish(t, whole)
	require.False(t, again.Created)
	requireSameOperation(t, done.Operation, again.Operation)
}

func finishWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	first := b.mustFinish(t, completionWith(op, "pi_first"))
	p, history := b.paymentNow(t, op.ID), b.history(t, op.ID)

	_, err := b.Finish(t.Context(), completionWith(op, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)

	requireSameOperation(t, first.Operation, b.operationNow(t, op.ID))
	require.Equal(t, p, b.paymentNow(t, op.ID))
	require.Equal(t, history, b.history(t, op.ID))
}

func finishOpenWithAnotherIntent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionWith(op, "pi_first")
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.Finish(t.Context(), completionWith(op, "pi_second"))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.Pending, b.operationNow(t, op.ID).State)
	require.Equal(t, "pi_first", b.paymentNow(t, op.ID).IntentID)
}

// The first intent wins: the payment, its history and the frozen response are all of
// that one. Every other caller gets ErrContradiction.
func finishWithManyIntents(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers = 10, 8

	for n := range ops {
		op := b.mustBegin(t, newOperation(t, ""))
		_, errs := atOnce(callers, func(i int) (ports.Finished, error) {
			c := completionWith(op, intentOf(uuid.New()))
			if n%2 == 0 && i%2 == 0 {
				c.Response = nil
			}

			return b.either(i).Finish(t.Context(), c)
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for _, err := range errs {
			if err != nil {
				require.ErrorIs(t, err, ports.ErrContradiction)
			}
		}

		require.Len(t, b.history(t, op.ID), 1)

		if now := b.operationNow(t, op.ID); now.Finished() {
			require.Equal(t, *created(b.paymentNow(t, op.ID).IntentID), now.Response)
		}
	}
}

func finishWithTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	other := b.mustBegin(t, newOperation(t, "order_2"))

	_, err := b.Finish(t.Context(), completionWith(other, p.IntentID))
	require.ErrorIs(t, err, ports.ErrContradiction)

	b.requireNoPayment(t, other.ID)
	require.Equal(t, operation.Pending, b.operationNow(t, other.ID).State)
	require.Equal(t, p, b.paymentNow(t, p.ID))
}

func finishTwoWithOneIntent(t *testing.T, b StoreBed) {
	t.Helper()

	const rounds, callers = 10, 4

	for range rounds {
		var ops [callers]ports.Operation
		for i := range ops {
			ops[i] = b.mustBegin(t, newOperation(t, ""))
		}

		intent := intentOf(uuid.New())
		_, errs := atOnce(callers, func(i int) (ports.Finished, error) {
			return b.either(i).Finish(t.Context(), completionWith(ops[i], intent))
		})

		require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }), "%v", errs)

		for i, err := range errs {
			if err == nil {
				require.Equal(t, intent, b.paymentNow(t, ops[i].ID).IntentID)

				continue
			}

			require.ErrorIs(t, err, ports.ErrContradiction)
			b.requireNoPayment(t, ops[i].ID)
			require.Equal(t, operation.Pending, b.operationNow(t, ops[i].ID).State)
		}
	}
}

func finishWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")

	_, err := b.Finish(t.Context(), completionOf(ports.Operation{
		ID: c.ID, Kind: c.Kind, Key: c.Key, Order: c.Order, CreatedAt: time.Now(),
	}))
	requireNotFound(t, err)
	b.requireNoPayment(t, c.ID)
}
