package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func reconciledNow(t *testing.T, b StoreBed) {
	t.Helper()

	through, now, err := b.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.True(t, through.IsZero())
	require.WithinDuration(t, time.Now(), now, time.Minute)

	_, later, err := b.Twin.ReconciledThrough(t.Context())
	require.NoError(t, err)
	require.False(t, later.Before(now))
}

func moveReconciled(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	for _, step := range []struct {
		from, to time.Time
		moved    bool
		want     time.Time
	}{
		{noon, noon.Add(time.Hour), false, time.Time{}}, // there is no cursor yet
		{time.Time{}, noon, true, noon},
		{time.Time{}, noon.Add(time.Hour), false, noon},
		{noon.Add(time.Microsecond), noon.Add(time.Hour), false, noon},
		{noon, noon.Add(time.Microsecond), true, noon.Add(time.Microsecond)},
		{noon.Add(time.Microsecond), noon.Add(-time.Hour), true, noon.Add(-time.Hour)}, // a wrong clock wrote the cursor
	} {
		moved, err := b.MoveReconciledThrough(t.Context(), step.from, step.to, b.incarnation(t))
		require.NoError(t, err)
		require.Equal(t, step.moved, moved, "%+v", step)

		for _, store := range []Store{b.Store, b.Twin} {
			through, _, err := store.ReconciledThrough(t.Context())
			require.NoError(t, err)
			require.Equal(t, step.want, through)
		}
	}
}

func moveReconciledByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const runs = 16

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)
	incarnation := b.incarnation(t)

	for _, from := range []time.Time{{}, noon} {
		moved := allAtOnce(t, runs, func(i int) (bool, error) {
			return b.either(i).MoveReconciledThrough(t.Context(), from, noon.Add(time.Duration(i)*time.Minute), incarnation)
		})

		if from.IsZero() {
			require.Equal(t, 1, count(moved, func(moved bool) bool { return moved }), "the first cursor")

			through, _, err := b.ReconciledThrough(t.Context())
			require.NoError(t, err)

			_, err = b.MoveReconciledThrough(t.Context(), through, noon, incarnation)
			require.NoError(t, err)

			continue
		}

		// Run 0 sets the cursor to the value that it has, so another run may succeed too.
		require.Contains(t, []int{1, 2}, count(moved, func(moved bool) bool { return moved }))
	}
}

// incarnation is the database's present life.
func (b StoreBed) incarnation(tb testing.TB) string {
	tb.Helper()

	incarnation, _, err := b.Incarnation(tb.Context())
	require.NoError(tb, err)

	return incarnation
}

// moveReconciledInItsLife: a run that began before the database's present life moves
// nothing and ends nothing.
func moveReconciledInItsLife(t *testing.T, b StoreBed) {
	t.Helper()

	noon := time.Date(2024, time.January, 15, 12, 0, 0, 0, time.UTC)

	for _, from := range []time.Time{{}, noon} {
		moved, err := b.MoveReconciledThrough(t.Context(), from, noon, "an earlier life")
		require.NoError(t, err)
		require.False(t, moved)

		_, err = b.MoveReconciledThrough(t.Context(), time.Time{}, noon, b.incarnation(t))
		require.NoError(t, err)
	}

	ended, err := b.EndReconciliation(t.Context(), "an earlier life")
	require.NoError(t, err)
	require.False(t, ended)

	ended, err = b.EndReconciliation(t.Context(), b.incarnation(t))
	require.NoError(t, err)
	require.True(t, ended)

	for _, store := range []Store{b.Store, b.Twin} {
		reconciled, err := store.Reconciled(t.Context())
		require.NoError(t, err)
		require.True(t, reconciled)
	}
}
