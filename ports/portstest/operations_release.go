package portstest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

func releaseByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), op, time.Minute, errors.New("no answer")))
	require.False(t, b.operationNow(t, op.ID).Held())

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Empty(t, taken, "not due yet")

	// A client that repeats its request need not wait for recovery.
	again := b.mustBegin(t, newOperation(t, "order_1"))
	require.Equal(t, 2, again.Attempts)

	require.NoError(t, b.Release(t.Context(), again, time.Minute, errors.New("no answer")))
	b.Elapse(t, time.Minute)

	taken, err = b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 3, taken[0].Attempts)
}

// A call that was not sent is no attempt. The next one is the first send, and a
// rejection of it is believed.
func releaseUnsent(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Release(t.Context(), op, 0, fmt.Errorf("shed: %w", ports.ErrUnavailable)))

	again := b.mustBegin(t, newOperation(t, "order_1"))
	require.Equal(t, 1, again.Attempts)
	require.NoError(t, b.Release(t.Context(), again, 0, errors.New("no answer")))
	require.Equal(t, 2, b.mustBegin(t, newOperation(t, "order_1")).Attempts)
}

func releaseByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)

	holder := newOperation(t, "order_1")
	b.mustBegin(t, holder)
	require.NoError(t, b.Release(t.Context(), former, 0, errors.New("late")))
	require.NoError(t, b.Release(t.Context(), b.operationNow(t, former.ID), 0, errors.New("nobody")))
	b.requireHeldByOther(t)
	require.True(t, b.mustBegin(t, holder).Held())

	op := b.operationNow(t, former.ID)
	done := b.mustFinish(t, completionOf(op)).Operation
	op.Lease = holder.Lease.Token
	require.NoError(t, b.Release(t.Context(), op, 0, errors.New("late")))
	requireSameOperation(t, done, b.operationNow(t, former.ID))
}

// A cause may quote what a broken proxy has sent. The operation must be released or
// given up all the same.
func releaseAnyCause(t *testing.T, b StoreBed) {
	t.Helper()

	for _, text := range []string{
		"", "\x00", "\xff\xfe", "502 \xe2\x82", strings.Repeat("ж", 10_000), strings.Repeat("\x00", 501),
	} {
		op := b.mustBegin(t, newOperation(t, ""))
		require.NoError(t, b.Release(t.Context(), op, 0, errors.New(text)), "%q", text)
		require.NoError(t, b.GiveUp(t.Context(), op.ID, errors.New(text)), "%q", text)
		require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.ID).State)
	}
}
