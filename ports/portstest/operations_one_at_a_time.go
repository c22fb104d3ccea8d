package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// requireInProgress requires that c cannot be begun and that nothing was written.
func (b StoreBed) requireInProgress(tb testing.TB, c ports.NewOperation) {
	tb.Helper()

	_, err := b.Begin(tb.Context(), c)
	require.ErrorIs(tb, err, ports.ErrInProgress)

	_, err = b.FindByID(tb.Context(), c.ID)
	requireNotFound(tb, err)

	if c.Key != "" {
		_, err = b.Find(tb.Context(), operation.DefaultTenant, c.Key)
		requireNotFound(tb, err)
	}
}

func beginOneAtATime(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCancel(t, p, "cancel_1"))

	b.requireBlocked(t, p)
	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("no answer")))
	b.requireBlocked(t, p)
	b.Elapse(t, 2*lease)
	b.requireBlocked(t, p) // nobody holds it, but it may have been sent
	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))
	b.requireBlocked(t, p)

	b.mustBegin(t, newCapture(t, b.mustHold(t, "order_2"), "capture of another payment"))

	b.mustFinishOn(t, op, func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		return p, rejection(), nil
	})
	capture := b.mustBegin(t, newCapture(t, p, "capture_1"))
	b.requireBlocked(t, p)

	_, err := b.FinishRejected(t.Context(), capture, rejection())
	require.NoError(t, err)
	b.mustBegin(t, newCancel(t, p, ""))
}

func (b StoreBed) requireBlocked(tb testing.TB, p payment.Payment) {
	tb.Helper()

	for _, key := range []operation.Key{"another key", ""} {
		b.requireInProgress(tb, newCapture(tb, p, key))
		b.requireInProgress(tb, newCancel(tb, p, key))
		b.requireInProgress(tb, newConfirm(tb, p, key))
	}
}

// A rejected operation was not done, and nobody sends it before it is opened again.
func beginAfterReject(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	rejected := b.mustReject(t, newCapture(t, p, "capture_1"))
	cancel := b.mustBegin(t, newCancel(t, p, "cancel_1"))

	_, err := b.Reopen(t.Context(), rejected.ID, newLease(), nil)
	require.ErrorIs(t, err, ports.ErrInProgress)
	requireSameOperation(t, rejected, b.operationNow(t, rejected.ID))

	b.mustFinishOn(t, cancel, cancelling)

	reopened, err := b.Reopen(t.Context(), rejected.ID, newLease(), nil)
	require.NoError(t, err)
	require.True(t, reopened.Held())
	b.requireBlocked(t, p)
}

// A payment that the webhook has found can be cancelled while its create still waits for
// its answer, and any number of payments can be created meanwhile.
func beginBesideACreate(t *testing.T, b StoreBed) {
	t.Helper()

	create := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionOf(create)
	open.Response = nil
	b.mustFinish(t, open)

	p := b.paymentNow(t, create.ID)
	b.mustBegin(t, newCancel(t, p, "cancel_1"))
	b.mustBegin(t, newOperation(t, "order_2"))
	b.mustBegin(t, newOperation(t, ""))
	require.Equal(t, operation.Finished, b.mustFinish(t, completionOf(create)).Operation.State)
}

// The operation that has the key is found, whatever is asked for and whatever is under
// way.
func beginWithAnothersKey(t *testing.T, b StoreBed) {
	t.Helper()

	p, other := b.mustHold(t, "order_1"), b.mustHold(t, "order_2")
	capture := b.mustBegin(t, newCapture(t, p, "capture_1"))
	create, err := b.Find(t.Context(), operation.DefaultTenant, "order_1")
	require.NoError(t, err)

	capture.Lease = uuid.Nil

	for _, step := range []struct {
		ask  ports.NewOperation
		want ports.Operation
	}{
		{newCancel(t, p, "capture_1"), capture},
		{newCapture(t, p, "capture_1"), capture},
		{newCapture(t, other, "capture_1"), capture},
		{newOperation(t, "capture_1"), capture},
		{newCapture(t, p, "order_1"), create},
		{newCancel(t, other, "order_1"), create},
	} {
		found, err := b.Begin(t.Context(), step.ask)
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameOperation(t, step.want, found)
	}

	// Only the same request takes it over, once its holder is gone.
	b.Elapse(t, lease)

	for _, ask := range []ports.NewOperation{
		newCancel(t, p, "capture_1"), newCapture(t, other, "capture_1"),
		newChange(t, operation.Capture, p, "capture_1", operation.Order{Amount: p.Amount}),
	} {
		found, err := b.Begin(t.Context(), ask)
		require.NoError(t, err)
		require.False(t, found.Held())
		require.NotEqual(t, ask.Fingerprint(), found.Fingerprint)
	}

	taken := b.mustBegin(t, newCapture(t, p, "capture_1"))
	require.Equal(t, capture.ID, taken.ID)
	require.Equal(t, capture.Call, taken.Call)
	require.Equal(t, 2, taken.Attempts)
}

func beginChangeRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	for _, key := range []operation.Key{"capture_1", ""} {
		c := newCapture(t, b.mustHold(t, "order of "+key), key)
		first := b.mustBegin(t, c)
		requireSameOperation(t, first, b.mustBegin(t, c))
	}
}

func beginOneOfMany(t *testing.T, b StoreBed) {
	t.Helper()

	const payments, callers = 10, 16

	for range payments {
		p := b.mustHold(t, "")
		asked := make([]ports.NewOperation, callers)

		for i := range asked {
			switch i % 4 {
			case 0:
				asked[i] = newCapture(t, p, operation.Key(uuid.NewString()))
			case 1:
				asked[i] = newCancel(t, p, operation.Key(uuid.NewString()))
			case 2:
				asked[i] = newCapture(t, p, "")
			default:
				asked[i] = newCancel(t, p, "")
			}
		}

		ops, errs := atOnce(callers, func(i int) (ports.Operation, error) {
			return b.either(i/4).Begin(t.Context(), asked[i])
		})

		require.Equal(t, 1, count(ops, ports.Operation.Held), "%v", errs)

		written, err := b.OperationsOn(t.Context(), p.ID)
		require.NoError(t, err)
		require.Len(t, written, 1)

		for i, err := range errs {
			if err == nil {
				require.Equal(t, written[0].ID, ops[i].ID)
			} else {
				require.ErrorIs(t, err, ports.ErrInProgress)
			}
		}
	}
}
