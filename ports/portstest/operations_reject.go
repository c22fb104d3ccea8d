package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// A rejected request is no attempt. The next send is the first one again and has the
// same bytes.
func rejectAndReopen(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	for range 3 {
		rejected, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.False(t, rejected.Held())
		require.False(t, rejected.Finished())
		require.Zero(t, rejected.Response)

		want := held
		want.State, want.Lease, want.Attempts = operation.Rejected, uuid.Nil, 0
		requireSameOperation(t, want, rejected)
		requireSameOperation(t, want, b.operationNow(t, held.ID))

		found, err := b.Begin(t.Context(), newOperation(t, "order_1"))
		require.NoError(t, err)
		requireSameOperation(t, want, found)

		lease := newLease()
		reopened, err := b.Reopen(t.Context(), held.ID, lease, nil)
		require.NoError(t, err)
		require.True(t, reopened.Held())

		want.State, want.Lease, want.Attempts = operation.Pending, lease.Token, 1
		requireSameOperation(t, want, reopened)
		b.requireHeldByOther(t)

		held = reopened
	}

	done := b.mustFinish(t, completionOf(held))
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
}

func rejectedIsNotTaken(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))
	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	requireStateOf(t, b, op, operation.Rejected)

	// Once it is open again, recovery takes it over if its holder crashes.
	_, err = b.Reopen(t.Context(), op.ID, newLease(), nil)
	require.NoError(t, err)
	b.Elapse(t, lease)

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts, "it may have been sent")
}

// Somebody else may have sent it meanwhile, after the cause was repaired.
func rejectByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)
	holder := b.mustBegin(t, newOperation(t, "order_1"))

	for _, c := range []ports.Operation{former, b.operationNow(t, former.ID)} {
		stands, err := b.Reject(t.Context(), c, errRepairable)
		require.NoError(t, err)
		require.Equal(t, operation.Pending, stands.State)
		require.False(t, stands.Held())
	}

	b.requireHeldByOther(t)
	require.True(t, b.mustFinish(t, completionOf(holder)).Created)
}

func rejectFinished(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))
	done := b.mustFinish(t, completionOf(held)).Operation

	stands, err := b.Reject(t.Context(), held, errRepairable)
	require.NoError(t, err)
	requireSameOperation(t, done, stands)
}

func rejectAfterPayment(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))
	open := completionOf(held)
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.Reject(t.Context(), held, errRepairable)
	require.ErrorIs(t, err, ports.ErrContradiction)
	requireStateOf(t, b, held, operation.Pending)
}

func rejectRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	for range 2 {
		op, err := b.Reject(t.Context(), held, errRepairable)
		require.NoError(t, err)
		require.Equal(t, operation.Rejected, op.State)
	}
}

func rejectWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reject(t.Context(), ports.Operation{ID: uuid.New(), Lease: uuid.New()}, errRepairable)
	requireNotFound(t, err)
}
