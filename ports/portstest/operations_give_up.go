package portstest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
)

func giveUp(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))

	for range 2 {
		require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New("lost")))

		given := b.operationNow(t, op.ID)
		require.Equal(t, operation.NeedsAttention, given.State)
		require.False(t, given.Finished())
		require.Zero(t, given.Response)
	}

	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	require.NoError(t, b.Extend(t.Context(), op, lease))
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.ID).State)
}

func giveUpFinished(t *testing.T, b StoreBed) {
	t.Helper()

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished")))).Operation
	require.NoError(t, b.GiveUp(t.Context(), done.ID, errors.New("late")))
	requireSameOperation(t, done, b.operationNow(t, done.ID))

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), no.ID, errors.New("late")))
	requireSameOperation(t, no, b.operationNow(t, no.ID))
}
