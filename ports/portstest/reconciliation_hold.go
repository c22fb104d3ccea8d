package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/ports"
)

func holdReconciliation(t *testing.T, b StoreBed) {
	t.Helper()

	mine, theirs := newLease(), newLease()

	for _, step := range []struct {
		store Store
		lease ports.Lease
		held  bool
	}{{b.Store, mine, true}, {b.Twin, theirs, false}, {b.Twin, mine, true}, {b.Store, theirs, false}} {
		held, err := step.store.HoldReconciliation(t.Context(), step.lease)
		require.NoError(t, err)
		require.Equal(t, step.held, held)
	}

	require.NoError(t, b.ReleaseReconciliation(t.Context(), theirs.Token), "it is not theirs")

	held, err := b.Twin.HoldReconciliation(t.Context(), theirs)
	require.NoError(t, err)
	require.False(t, held)

	require.NoError(t, b.ReleaseReconciliation(t.Context(), mine.Token))
	require.NoError(t, b.ReleaseReconciliation(t.Context(), mine.Token), "again")

	held, err = b.Twin.HoldReconciliation(t.Context(), theirs)
	require.NoError(t, err)
	require.True(t, held)
}

func holdReconciliationByMany(t *testing.T, b StoreBed) {
	t.Helper()

	held := allAtOnce(t, 16, func(i int) (bool, error) { return b.either(i).HoldReconciliation(t.Context(), newLease()) })
	require.Equal(t, 1, count(held, func(held bool) bool { return held }))
}

// The lease of a process that has died runs out.
func holdReconciliationRunsOut(t *testing.T, b StoreBed) {
	t.Helper()

	dead := ports.Lease{Token: uuid.New(), For: 50 * time.Millisecond}

	held, err := b.HoldReconciliation(t.Context(), dead)
	require.NoError(t, err)
	require.True(t, held)

	require.Eventually(t, func() bool {
		held, err := b.Twin.HoldReconciliation(t.Context(), newLease())
		require.NoError(t, err)

		return held
	}, 10*time.Second, 10*time.Millisecond)

	held, err = b.HoldReconciliation(t.Context(), dead)
	require.NoError(t, err)
	require.False(t, held, "it has gone to somebody else")
}
