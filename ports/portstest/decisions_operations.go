package portstest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

func operationShown(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	shown := b.details(t, held.PaymentID)
	require.True(t, shown.InHand)
	require.Empty(t, shown.LastError)
	require.True(t, shown.RetryAt.After(held.CreatedAt))

	want := b.operationNow(t, held.PaymentID)
	want.Age, shown.Age = 0, 0
	require.Equal(t, want, shown.Operation)

	require.NoError(t, b.Release(t.Context(), held, time.Hour, errors.New("no answer")))

	shown = b.details(t, held.PaymentID)
	require.False(t, shown.InHand)
	require.Equal(t, "no answer", shown.LastError)

	given := b.mustGiveUp(t, "order_2")
	require.False(t, b.details(t, given.PaymentID).InHand)
	require.Zero(t, b.details(t, given.PaymentID).RetryAt, "nobody tries it again")

	byKey, err := b.Twin.OperationByKey(t.Context(), "order_2")
	require.NoError(t, err)
	require.Equal(t, given.PaymentID, byKey.PaymentID)
	require.Equal(t, "not to be found", byKey.LastError)

	paid := b.mustPay(t, "order_3")
	require.True(t, b.details(t, paid.ID).Finished())
	require.False(t, b.details(t, paid.ID).InHand)
}

func operationNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Operation(t.Context(), uuid.New())
	requireNotFound(t, err)

	_, err = b.OperationByKey(t.Context(), "order_1")
	requireNotFound(t, err)
}

func operationsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Operations(t.Context(), everyState, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	want := make([]uuid.UUID, 0, 5)

	// Each is a minute older than the next.
	for _, key := range []operation.Key{"first", "second", "third"} {
		want = append(want, b.mustBegin(t, newOperation(t, key)).PaymentID)
		b.Elapse(t, time.Minute)
	}

	require.NoError(t, b.GiveUp(t.Context(), want[1], errors.New("given up")))

	older, newer := b.mustPay(t, "paid first"), b.mustPay(t, "paid then")
	want = append(want, newer.ID, older.ID)

	listed, err := b.Operations(t.Context(), everyState, 10)
	require.NoError(t, err)
	require.Equal(t, want, operationIDs(listed))
}

func operationsFiltered(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "pending")).PaymentID
	given := b.mustGiveUp(t, "given up").PaymentID
	paid := b.mustPay(t, "paid").ID
	turnedDown := b.mustBegin(t, newOperation(t, "rejected order")).PaymentID
	_, err := b.FinishRejected(t.Context(), turnedDown, rejection())
	require.NoError(t, err)

	for state, want := range map[operation.State][]uuid.UUID{
		operation.Pending:        {pending},
		operation.NeedsAttention: {given},
		operation.Finished:       {turnedDown, paid},
	} {
		listed, err := b.Operations(t.Context(), []operation.State{state}, 10)
		require.NoError(t, err)
		require.Equal(t, want, operationIDs(listed), state)
	}

	for limit := 1; limit <= 5; limit++ {
		listed, err := b.Operations(t.Context(), everyState, limit)
		require.NoError(t, err)
		require.Len(t, listed, min(limit, 4))
	}
}

func (b StoreBed) details(tb testing.TB, id uuid.UUID) ports.OperationDetails {
	tb.Helper()

	op, err := b.Operation(tb.Context(), id)
	require.NoError(tb, err)

	return op
}

var everyState = []operation.State{
	operation.Pending, operation.NeedsAttention, operation.Finished,
}

func operationIDs(operations []ports.OperationDetails) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(operations))
	for _, op := range operations {
		ids = append(ids, op.PaymentID)
	}

	return ids
}
