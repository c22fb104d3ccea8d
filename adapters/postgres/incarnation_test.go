package postgres_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// A database has lost nothing in the life in which it was made. On a standby that was up
// before, it is another life, although the standby's server is older than the database.
func TestStore_IncarnationOfAPromotedStandby(t *testing.T) {
	t.Parallel()

	primary := pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	standby := pgtest.NewStandby(t, primary)
	require.NoError(t, postgres.Migrate(t.Context(), primary.URL()))

	made, isMade := standingAt(t, primary)
	require.True(t, isMade)

	require.Eventually(t, func() bool { return isMigrated(t.Context(), standby) }, 20*time.Second, 50*time.Millisecond)
	pgtest.Promote(t, standby)

	promoted, reconciled := standingAt(t, standby)
	require.NotEqual(t, made, promoted)
	require.False(t, reconciled)
}

// How far back something may be missing. Only what nothing can be missing from is not behind.
func TestStore_Standing(t *testing.T) {
	t.Parallel()

	const (
		earlier = "UPDATE installation SET incarnation = 'an earlier life'; "
		cursor  = "INSERT INTO reconciliation (through, incarnation, looked_at) VALUES "
		through = "(now() - interval '2 hours', marketflow_incarnation(), now() - interval "
	)

	for name, c := range map[string]struct {
		setUp      string
		reconciled bool
		behind     time.Duration
	}{
		"MadeInThisLife": {"SELECT", true, 0},
		"NoCursor":       {earlier + "UPDATE installation SET created_at = now() - interval '5 hours'", false, 5 * time.Hour},
		"InUseBefore":    {"UPDATE installation SET incarnation = NULL", false, operation.Unknown},
		"NotThrough": {
			earlier + cursor + "(now() - interval '3 hours', 'an earlier life', now() - interval '9 days')",
			false, 3 * time.Hour,
		},
		"OneWholeLook":    {earlier + cursor + through + "'3 hours')", true, 2 * time.Hour},
		"NearlyADayLater": {earlier + cursor + through + "'25 hours 59 minutes')", true, 2 * time.Hour},
		"ADayLater":       {earlier + cursor + through + "'26 hours')", true, 0},
		"AWrongClock":     {earlier + cursor + "(now() + interval '2 days', marketflow_incarnation(), now())", true, operation.Unknown},
		"IdGivenLater":    {cursor + "(now() - interval '30 days', '', NULL)", false, 30 * 24 * time.Hour},
		"AsOldAsItsKeys": {earlier + "UPDATE installation SET keyed_since = now() - interval '2 hours'; " +
			cursor + "(now() - interval '3 hours', NULL, NULL)", false, operation.Unknown},
		"OlderThanItsKeys": {earlier + "UPDATE installation SET keyed_since = now() - interval '4 hours'; " +
			cursor + "(now() - interval '3 hours', NULL, NULL)", false, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			_, err := db.Pool().Exec(t.Context(), c.setUp)
			require.NoError(t, err)

			_, standing, err := newStore(newPool(t, db.URL, 2)).Incarnation(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.reconciled, standing.Reconciled)
			require.InDelta(t, c.behind, standing.Behind, float64(time.Minute))
		})
	}
}

// The first look of a life counts, not the last one.
func TestStore_EndReconciliation_KeepsTheFirst(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 2))
	_, err := db.Pool().Exec(t.Context(), "INSERT INTO reconciliation (through) VALUES (now())")
	require.NoError(t, err)

	life, _, err := store.Incarnation(t.Context())
	require.NoError(t, err)

	var looked [2]time.Time

	for i := range looked {
		ended, err := store.EndReconciliation(t.Context(), life)
		require.NoError(t, err)
		require.True(t, ended)
		require.NoError(t, db.Pool().QueryRow(t.Context(), "SELECT looked_at FROM reconciliation").Scan(&looked[i]))
	}

	require.Equal(t, looked[0], looked[1])
}

// PostgreSQL recovers if a backend is killed, in the same postmaster, and loses what it had
// not yet written to disk.
func TestStore_IncarnationAfterABackendWasKilled(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	made, isMade := standingAt(t, server)
	require.True(t, isMade)

	conn, err := newPool(t, server.URL(), 1).Acquire(t.Context())
	require.NoError(t, err)

	defer conn.Release()

	backend, err := os.FindProcess(int(conn.Conn().PgConn().PID()))
	require.NoError(t, err)
	require.NoError(t, backend.Kill())

	// PostgreSQL answers for a moment before it notices.
	require.Eventually(t, func() bool {
		_, standing, err := newStore(newPool(t, server.URL(), 1)).Incarnation(t.Context())

		return err == nil && !standing.Reconciled
	}, 20*time.Second, 50*time.Millisecond)

	recovered, _ := standingAt(t, server)
	require.NotEqual(t, made, recovered)
}

// After a fail-over some connections may still lead to the old primary.
func TestStore_OnNewLife_OncePerLife(t *testing.T) {
	t.Parallel()

	store := newStore(newPool(t, pgtest.New(t).URL, 1))
	began := 0

	store.OnNewLife(func() { began++ })

	for _, life := range []string{"the first", "the first", "the second", "the first", "the second", "the first"} {
		postgres.Sees(store, life)
	}

	require.Equal(t, 1, began)
}

func standingAt(t *testing.T, server *servers.Postgres) (incarnation string, reconciled bool) {
	t.Helper()

	incarnation, standing, err := newStore(newPool(t, server.URL(), 2)).Incarnation(t.Context())
	require.NoError(t, err)

	return incarnation, standing.Reconciled
}

func isMigrated(ctx context.Context, server *servers.Postgres) bool {
	return server.Execute(ctx, "SELECT incarnation FROM installation") == nil
}
