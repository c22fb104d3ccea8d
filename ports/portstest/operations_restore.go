package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// lostOperation is an operation of order_1 that the database has lost, as its object says,
// and what finishes it.
func lostOperation(tb testing.TB) (ports.NewOperation, ports.Completion) {
	tb.Helper()

	lost := newOperation(tb, "order_1")
	lost.Lease = ports.Lease{}
	lost.CreatedAt = time.Now().Add(-25 * time.Hour).UTC().Truncate(time.Second)
	lost.Copied = operation.Fingerprint{1}

	return lost, completionOf(ports.Operation{
		ID: lost.ID, Key: lost.Key, Order: lost.Order, Fingerprint: lost.Fingerprint(), CreatedAt: lost.CreatedAt,
	})
}

func restoreWritesAll(t *testing.T, b StoreBed) {
	t.Helper()

	lost, completion := lostOperation(t)

	done, err := b.Restore(t.Context(), lost, &completion, nil)
	require.NoError(t, err)
	require.True(t, done.Created)

	op := b.operationNow(t, lost.ID)
	requireSameOperation(t, done.Operation, op)
	require.Equal(t, operation.Finished, op.State)
	require.Equal(t, lost.Copied, op.Fingerprint, "the object's own, not computed")
	require.Equal(t, lost.Key, op.Key)
	require.Equal(t, lost.Order, op.Order)
	require.Equal(t, lost.CreatedAt, op.CreatedAt)
	require.Equal(t, *completion.Response, op.Response)
	require.Equal(t, completion.Payment.IntentID, b.paymentNow(t, lost.ID).IntentID)
	require.Len(t, b.history(t, lost.ID), 1)

	// Nobody sends it.
	b.Elapse(t, time.Hour)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)
}

// The operation is there, so Restore is Finish.
func restoreWhatIsThere(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	lost := newOperation(t, "order_1")
	lost.ID, lost.Lease = op.ID, ports.Lease{}

	for _, created := range []bool{true, false} {
		done, err := b.Twin.Restore(t.Context(), lost, &completion, nil)
		require.NoError(t, err)
		require.Equal(t, created, done.Created)
		require.Equal(t, operation.Finished, done.Operation.State)
		require.Equal(t, op.Call, done.Operation.Call, "as it was written down before")
	}
}

func restoreWhatDoesNotFit(t *testing.T, b StoreBed) {
	t.Helper()

	lost, _ := lostOperation(t)

	for range 2 {
		_, err := b.Restore(t.Context(), lost, nil, errUndecided)
		require.NoError(t, err)
		require.Equal(t, operation.NeedsAttention, b.operationNow(t, lost.ID).State)
		b.requireNoPayment(t, lost.ID)
	}

	b.Elapse(t, time.Hour)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "it is never sent")

	// What is there is left as it is.
	held := b.mustBegin(t, newOperation(t, "order_2"))
	lost.ID, lost.Key = held.ID, "order_2"

	_, err = b.Restore(t.Context(), lost, nil, errUndecided)
	require.NoError(t, err)
	requireStateOf(t, b, held, operation.Pending)
}

// The other one is from a release that made ids without the key.
func restoreWithAnothersKey(t *testing.T, b StoreBed) {
	t.Helper()

	other := b.mustBegin(t, newOperation(t, "order_1"))
	lost, completion := lostOperation(t)

	_, err := b.Restore(t.Context(), lost, &completion, nil)
	require.ErrorIs(t, err, ports.ErrContradiction)
	_, err = b.Restore(t.Context(), lost, nil, errUndecided)
	require.NoError(t, err)

	b.requireNoPayment(t, lost.ID)
	_, err = b.FindByID(t.Context(), lost.ID)
	requireNotFound(t, err)
	requireStateOf(t, b, other, operation.Pending)
}

// Many find the lost operation at the same time.
func restoreByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 16

	lost, completion := lostOperation(t)

	done := allAtOnce(t, callers, func(i int) (ports.Finished, error) {
		return b.either(i).Restore(t.Context(), lost, &completion, nil)
	})

	require.Equal(t, 1, count(done, func(f ports.Finished) bool { return f.Created }))

	for _, f := range done {
		require.Equal(t, operation.Finished, f.Operation.State)
	}

	require.Len(t, b.history(t, lost.ID), 1)
}

// An operation takes the order that its object was made for.
func finishTakesTheOrder(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	completion := completionOf(op)
	completion.Fingerprint = operation.Fingerprint{1}
	completion.Order = operation.Order{Amount: amount(t, 5_00, "EUR"), Metadata: map[string]string{"order": "43"}}
	completion.Payment.Amount, completion.Payment.Metadata = completion.Order.Amount, completion.Order.Metadata

	done := b.mustFinish(t, completion)
	require.Equal(t, completion.Fingerprint, done.Operation.Fingerprint)
	requireSameOperation(t, done.Operation, b.operationNow(t, op.ID))
	require.Equal(t, completion.Order, b.operationNow(t, op.ID).Order)
	require.Equal(t, completion.Order.Amount, b.paymentNow(t, op.ID).Amount)
}

func finishOnTakesTheOrder(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustHold(t, "order_1")
	op := b.mustBegin(t, newCapture(t, p, "capture_1"))
	part := amount(t, 100_00, "USD")
	change := ports.Change{
		Fingerprint: operation.Fingerprint{1}, Order: operation.Order{Amount: part}, Decide: capturing(part),
	}

	done, err := b.FinishOn(t.Context(), op.ID, "request", change)
	require.NoError(t, err)
	require.Equal(t, change.Fingerprint, done.Operation.Fingerprint)
	requireSameOperation(t, done.Operation, b.operationNow(t, op.ID))
	require.Equal(t, part, b.operationNow(t, op.ID).Order.Amount)
}
