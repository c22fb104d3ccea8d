package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
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

func standingAt(t *testing.T, server *servers.Postgres) (incarnation string, reconciled bool) {
	t.Helper()

	incarnation, standing, err := newStore(newPool(t, server.URL(), 2)).Incarnation(t.Context())
	require.NoError(t, err)

	return incarnation, standing.Reconciled
}

func isMigrated(ctx context.Context, server *servers.Postgres) bool {
	return server.Execute(ctx, "SELECT incarnation FROM installation") == nil
}
