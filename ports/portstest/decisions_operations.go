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

	shown := b.details(t, held.ID)
	require.True(t, shown.InHand)
	require.Empty(t, shown.LastError)
	require.True(t, shown.RetryAt.After(held.CreatedAt))

	want := b.operationNow(t, held.ID)
	want.Age, shown.Age = 0, 0
	require.Equal(t, want, shown.Operation)

	require.NoError(t, b.Release(t.Context(), held, time.Hour, errors.New("no answer")))

	shown = b.details(t, held.ID)
	require.False(t, shown.InHand)
	require.Equal(t, "no answer", shown.LastError)

	given := b.mustGiveUp(t, "order_2")
	require.False(t, b.details(t, given.ID).InHand)
	require.Zero(t, b.details(t, given.ID).RetryAt, "nobody tries it again")

	byKey, err := b.Twin.OperationByKey(t.Context(), operation.DefaultTenant, "order_2")
	require.NoError(t, err)
	require.Equal(t, given.ID, byKey.ID)
	require.Equal(t, "not to be found", byKey.LastError)

	paid := b.mustPay(t, "order_3")
	require.True(t, b.details(t, paid.ID).Finished())
	require.False(t, b.details(t, paid.ID).InHand)
}

func operationNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Operation(t.Context(), uuid.New())
	requireNotFound(t, err)

	_, err = b.OperationByKey(t.Context(), operation.DefaultTenant, "order_1")
	requireNotFound(t, err)
}

func operationsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Operations(t.Context(), 0, everyState, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	want := make([]uuid.UUID, 0, 5)

	// Each is a minute older than the next.
	for _, key := range []operation.Key{"first", "second", "third"} {
		want = append(want, b.mustBegin(t, newOperation(t, key)).ID)
		b.Elapse(t, time.Minute)
	}

	require.NoError(t, b.GiveUp(t.Context(), want[1], errors.New("given up")))

	older, newer := b.mustPay(t, "paid first"), b.mustPay(t, "paid then")
	want = append(want, newer.ID, older.ID)

	listed, err := b.Operations(t.Context(), 0, everyState, 10)
	require.NoError(t, err)
	require.Equal(t, want, operationIDs(listed))
}

func operationsFiltered(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "pending")).ID
	given := b.mustGiveUp(t, "given up").ID
	paid := b.mustPay(t, "paid").ID
	rejected := b.mustBegin(t, newOperation(t, "rejected order"))
	turnedDown := rejected.ID
	_, err := b.FinishRejected(t.Context(), rejected, rejection())
	require.NoError(t, err)

	for state, want := range map[operation.State][]uuid.UUID{
		operation.Pending:        {pending},
		operation.NeedsAttention: {given},
		operation.Finished:       {turnedDown, paid},
	} {
		listed, err := b.Operations(t.Context(), 0, []operation.State{state}, 10)
		require.NoError(t, err)
		require.Equal(t, want, operationIDs(listed), state)
	}

	for limit := 1; limit <= 5; limit++ {
		listed, err := b.Operations(t.Context(), 0, everyState, limit)
		require.NoError(t, err)
		require.Len(t, listed, min(limit, 4))
	}
}

func operationsOn(t *testing.T, b StoreBed) {
	t.Helper()

	p, other := b.mustHold(t, "order_1"), b.mustHold(t, "order_2")

	for _, id := range []uuid.UUID{p.ID, uuid.New()} {
		none, err := b.OperationsOn(t.Context(), id)
		require.NoError(t, err)
		require.Empty(t, none, "its create is not on it")
	}

	rejected := b.mustBegin(t, newCapture(t, p, "capture_1"))
	_, err := b.FinishRejected(t.Context(), rejected, rejection())
	require.NoError(t, err)
	b.Elapse(t, time.Minute)
	b.mustBegin(t, newCancel(t, other, "cancel_of_another"))

	cancel := b.mustBegin(t, newCancel(t, p, "cancel_1"))
	require.NoError(t, b.Release(t.Context(), cancel, time.Hour, errors.New("no answer")))

	listed, err := b.Twin.OperationsOn(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{rejected.ID, cancel.ID}, operationIDs(listed))
	require.Equal(t, "no answer", listed[1].LastError)

	for i, op := range []ports.Operation{b.operationNow(t, rejected.ID), b.operationNow(t, cancel.ID)} {
		requireSameOperation(t, op, listed[i].Operation)
	}
}

func operationsOnMany(t *testing.T, b StoreBed) {
	t.Helper()

	const most = 100

	p := b.mustHold(t, "order_1")
	want := make([]uuid.UUID, 0, most+2)

	for range cap(want) {
		op := b.mustBegin(t, newCapture(t, p, ""))
		_, err := b.FinishRejected(t.Context(), op, rejection())
		require.NoError(t, err)

		want = append(want, op.ID)
	}

	listed, err := b.OperationsOn(t.Context(), p.ID)
	require.NoError(t, err)
	require.Equal(t, want[len(want)-most:], operationIDs(listed))
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
		ids = append(ids, op.ID)
	}

	return ids
}
