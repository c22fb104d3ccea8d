package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func extendByHolder(t *testing.T, b StoreBed) {
	t.Helper()

	c := newOperation(t, "order_1")
	c.Lease.For = time.Minute
	op := b.mustBegin(t, c)

	require.NoError(t, b.Extend(t.Context(), op, lease))
	b.Elapse(t, lease-time.Minute)
	b.requireHeldByOther(t)

	b.Elapse(t, time.Minute)
	// The lease ran out, but nobody has taken the operation over.
	require.NoError(t, b.Extend(t.Context(), op, lease))
	b.requireHeldByOther(t)

	b.Elapse(t, lease)

	taken, err := b.Take(t.Context(), 1, newLease())
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, 2, taken[0].Attempts)
}

func extendByOthers(t *testing.T, b StoreBed) {
	t.Helper()

	former := b.mustBegin(t, newOperation(t, "order_1"))
	b.Elapse(t, lease)

	holder := b.mustBegin(t, newOperation(t, "order_1"))
	require.NoError(t, b.Extend(t.Context(), former, 24*lease))
	require.NoError(t, b.Extend(t.Context(), b.operationNow(t, holder.ID), 24*lease))
	b.Elapse(t, lease)
	b.mustBegin(t, newOperation(t, "order_1"))

	done := b.mustFinish(t, completionOf(holder)).Operation
	require.NoError(t, b.Extend(t.Context(), holder, lease))
	requireSameOperation(t, done, b.operationNow(t, holder.ID))
}
