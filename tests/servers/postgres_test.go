package servers_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what a test waits for, generously: it fails, it does not measure.
const soon = 60 * time.Second

// dataDir is a folder that the server's user can reach when root runs the
// tests, which t.TempDir is not.
func dataDir(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-servers-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })

	return dir
}

func start(t *testing.T, options devserver.PostgresOptions) *servers.Postgres {
	t.Helper()

	server, err := servers.StartPostgres(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { stop(t, server) })

	return server
}

func stop(t *testing.T, server *servers.Postgres) {
	t.Helper()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), soon)
	defer cancel()

	require.NoError(t, server.Stop(ctx))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // its server may be gone

	return conn
}

func execute(t *testing.T, url, sql string) {
	t.Helper()

	_, err := connect(t, url).Exec(t.Context(), sql)
	require.NoError(t, err)
}

func text(t *testing.T, url, sql string) string {
	t.Helper()

	var value string

	require.NoError(t, connect(t, url).QueryRow(t.Context(), sql).Scan(&value))

	return value
}

func TestPostgres_RestartKeepsWhatWasCommitted(t *testing.T) {
	t.Parallel()

	server := start(t, devserver.PostgresOptions{DataDir: dataDir(t)})
	execute(t, server.URL(), "CREATE TABLE restarts (n int)")

	for n, mode := range []servers.Shutdown{
		servers.ShutdownFast, servers.ShutdownImmediate, servers.ShutdownCrash,
	} {
		before := server.URL()
		idle := connect(t, before)

		execute(t, before, fmt.Sprintf("INSERT INTO restarts VALUES (%d)", n))
		require.NoError(t, server.Restart(t.Context(), mode))

		require.Equal(t, before, server.URL())
		require.Error(t, idle.Ping(t.Context()), "a connection does not survive")
		require.Equal(t, strconv.Itoa(n+1), text(t, before, "SELECT count(*)::text FROM restarts"))
	}

	require.Error(t, server.Restart(t.Context(), servers.Shutdown(99)))
}

func TestPostgres_KillAndComeBack(t *testing.T) {
	t.Parallel()

	server := start(t, devserver.PostgresOptions{DataDir: dataDir(t)})
	execute(t, server.URL(), "CREATE TABLE survivors AS SELECT 'here' AS who")

	busy := connect(t, server.URL())
	answered := make(chan error, 1)

	go func() {
		_, err := busy.Exec(context.WithoutCancel(t.Context()), "DO $$ BEGIN LOOP END LOOP; END $$")
		answered <- err
	}()

	require.Eventually(t, func() bool {
		return text(t, server.URL(), "SELECT count(*)::text FROM pg_stat_activity WHERE query LIKE 'DO %'") == "1"
	}, soon, 10*time.Millisecond)

	require.NoError(t, server.Kill())
	require.NoError(t, server.Kill(), "there is nothing left to kill")
	require.Error(t, <-answered, "a backend that never looks up dies too")
	require.False(t, server.Running())

	_, err := pgx.Connect(t.Context(), server.URL())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	require.NoError(t, server.Restart(t.Context(), servers.ShutdownFast))
	require.Equal(t, "here", text(t, server.URL(), "SELECT who FROM survivors"))
}

func TestPostgres_StopIsForGood(t *testing.T) {
	t.Parallel()

	server := start(t, devserver.PostgresOptions{DataDir: dataDir(t), Settings: servers.Volatile()})
	stop(t, server)
	stop(t, server)

	require.ErrorIs(t, server.Restart(t.Context(), servers.ShutdownFast), servers.ErrStopped)
}
