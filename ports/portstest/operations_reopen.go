package portstest

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/ports"
)

func reopenByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const callers = 64

	op := b.mustReject(t, newOperation(t, "order_1"))
	ops := allAtOnce(t, callers, func(i int) (ports.Operation, error) {
		return b.either(i).Reopen(t.Context(), op.ID, newLease(), nil)
	})

	require.Equal(t, 1, count(ops, ports.Operation.Held), "exactly one holder")

	for _, found := range ops {
		require.Equal(t, op.ID, found.ID)
		require.Equal(t, op.Call, found.Call)
	}

	require.Equal(t, 1, b.operationNow(t, op.ID).Attempts)
}

func reopenRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustReject(t, newOperation(t, "order_1"))
	token := newLease()

	for range 2 {
		reopened, err := b.Reopen(t.Context(), op.ID, token, nil)
		require.NoError(t, err)
		require.True(t, reopened.Held())
		require.Equal(t, 1, reopened.Attempts)
	}
}

func reopenOthers(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "pending"))
	b.Elapse(t, 2*lease)

	done := b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished")))).Operation

	no, err := b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)

	given := b.mustBegin(t, newOperation(t, "given up"))
	require.NoError(t, b.GiveUp(t.Context(), given.ID, errors.New("lost")))

	for _, id := range []uuid.UUID{pending.ID, done.ID, no.ID, given.ID} {
		before := b.operationNow(t, id)

		found, err := b.Reopen(t.Context(), id, newLease(), nil)
		require.NoError(t, err)
		require.False(t, found.Held())
		requireSameOperation(t, before, found)
		requireSameOperation(t, before, b.operationNow(t, id))
	}
}

func reopenWithoutOperation(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Reopen(t.Context(), uuid.New(), newLease(), nil)
	requireNotFound(t, err)
}
