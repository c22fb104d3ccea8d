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

func takeUnfinished(t *testing.T, b StoreBed) {
	t.Helper()

	taken, err := b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken)

	b.mustFinish(t, completionOf(b.mustBegin(t, newOperation(t, "finished"))))
	_, err = b.FinishRejected(t.Context(), b.mustBegin(t, newOperation(t, "rejected order")), rejection())
	require.NoError(t, err)
	require.NoError(t, b.GiveUp(t.Context(), b.mustBegin(t, newOperation(t, "given up")).ID, errors.New("lost")))

	want := b.mustBegin(t, newOperation(t, "pending"))

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "somebody works on it")

	b.Elapse(t, lease)

	heir := newLease()
	taken, err = b.Take(t.Context(), 10, heir)
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.True(t, taken[0].Held())
	require.GreaterOrEqual(t, taken[0].Age, lease)

	want.Lease, want.Attempts, want.CreatedAt = heir.Token, 2, taken[0].CreatedAt
	requireSameOperation(t, want, taken[0])

	taken, err = b.Take(t.Context(), 10, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "the heir works on it")

	found, err := b.Begin(t.Context(), newOperation(t, "pending"))
	require.NoError(t, err)
	require.False(t, found.Held(), "the heir works on it")
}

// A taken operation is sent as it was begun, whatever its kind.
func takeEveryKind(t *testing.T, b StoreBed) {
	t.Helper()

	first, second := b.mustHold(t, "order_1"), b.mustHold(t, "order_2")
	part := newCapture(t, first, "capture_1")
	part.Order = operation.Order{Amount: amount(t, 100_00, "USD")}

	want := map[uuid.UUID]ports.Operation{}

	for _, c := range []ports.NewOperation{newOperation(t, "order_3"), part, newCancel(t, second, "cancel_1")} {
		want[c.ID] = b.mustBegin(t, c)
	}

	b.Elapse(t, lease)

	heir := newLease()
	taken, err := b.Take(t.Context(), 10, heir)
	require.NoError(t, err)
	require.Len(t, taken, len(want))

	for _, op := range taken {
		begun := want[op.ID]
		begun.Lease, begun.Attempts, begun.CreatedAt = heir.Token, 2, op.CreatedAt
		requireSameOperation(t, begun, op)
	}
}

func takeLongestWaiting(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, batch = 40, 15

	want := make([]uuid.UUID, ops)

	// They are written in another order than they become due.
	for i := range ops {
		place := i * 7 % ops
		op := b.mustBegin(t, newOperation(t, ""))
		want[place] = op.ID

		due := time.Duration(place) * time.Minute
		require.NoError(t, b.Release(t.Context(), op, due, errors.New("no answer")))
	}

	b.Elapse(t, (ops-2)*time.Minute+time.Second) // all but the last are due

	for _, size := range []int{batch, batch, ops - 1 - 2*batch, 0} {
		taken, err := b.Take(t.Context(), batch, newLease())
		require.NoError(t, err)
		require.Equal(t, want[:size], idsOf(taken))

		want = want[size:]
	}

	b.Elapse(t, time.Minute)

	taken, err := b.Take(t.Context(), batch, newLease())
	require.NoError(t, err)
	require.Equal(t, want, idsOf(taken))
}

func takeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const ops, callers, batch = 60, 16, 5

	want, got := make([]uuid.UUID, 0, ops), make([]uuid.UUID, 0, ops)

	for range ops {
		want = append(want, b.mustBegin(t, newOperation(t, "")).ID)
	}

	b.Elapse(t, lease)

	for _, taken := range allAtOnce(t, callers, func(i int) ([]ports.Operation, error) {
		return b.either(i).Take(t.Context(), batch, newLease())
	}) {
		require.LessOrEqual(t, len(taken), batch)

		got = append(got, idsOf(taken)...)
	}

	// A caller skips what others are taking at the same moment, so some may be left.
	rest, err := b.Take(t.Context(), ops, newLease())
	require.NoError(t, err)
	require.ElementsMatch(t, want, append(got, idsOf(rest)...), "each once")
}

// An event has written the payment without the client's secret, so the operation is not
// finished. Whoever gets it must know.
func takeWritten(t *testing.T, b StoreBed) {
	t.Helper()

	open := completionOf(b.mustBegin(t, newOperation(t, "order_1")))
	open.Response = nil
	b.mustFinish(t, open)
	b.mustBegin(t, newOperation(t, "order_2"))
	b.Elapse(t, 2*lease)

	taken, err := b.Take(t.Context(), 2, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 2)

	for _, op := range taken {
		if op.ID == open.Payment.ID {
			require.Equal(t, open.Payment.IntentID, op.IntentID)
		} else {
			require.Empty(t, op.IntentID)
		}
	}
}

func takeOverWritten(t *testing.T, b StoreBed) {
	t.Helper()

	asked := newOperation(t, "order_1")
	open := completionOf(b.mustBegin(t, asked))
	open.Response = nil
	b.mustFinish(t, open)
	b.Elapse(t, 2*lease)

	asked.Lease = newLease()
	op, err := b.Begin(t.Context(), asked)
	require.NoError(t, err)
	require.True(t, op.Held())
	require.Equal(t, open.Payment.IntentID, op.IntentID)
}
