package devserver_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

func needRoot(t *testing.T) {
	t.Helper()

	if os.Geteuid() != 0 {
		t.Skip("tells what happens when root starts the server")
	}
}

func uidOf(t *testing.T, path string) uint32 {
	t.Helper()

	info, err := os.Stat(path)
	require.NoError(t, err)

	stat, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)

	return stat.Uid
}

func TestStartPostgres_RootIsAnotherUser(t *testing.T) {
	t.Parallel()
	needRoot(t)

	dir := dataDir(t)
	start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})

	require.Zero(t, uidOf(t, dir))
	require.NotZero(t, uidOf(t, filepath.Join(dir, "pgdata")))
}

func TestStartPostgres_RootChoosesAReachablePlace(t *testing.T) {
	t.Parallel()
	needRoot(t)

	closed := t.TempDir() // below a directory that only root enters
	require.NoError(t, os.Chmod(closed, 0o700))
	wanted := filepath.Join(closed, "data")

	var notices []string

	options := devserver.PostgresOptions{
		DataDir:  wanted,
		Settings: servers.Volatile(),
		Notice:   func(line string) { notices = append(notices, line) },
	}

	server := start(t, options)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(server.DataDir)) })

	require.NotEqual(t, wanted, server.DataDir)
	require.Len(t, notices, 1)
	require.Contains(t, notices[0], wanted)
	require.Contains(t, notices[0], server.DataDir)

	execute(t, server.URL(), "CREATE TABLE moved AS SELECT 1 AS n")
	stop(t, server)

	again := start(t, options)
	require.Equal(t, server.DataDir, again.DataDir, "found again")
	require.Equal(t, "1", text(t, again.URL(), "SELECT n::text FROM moved"))
}

func TestStartPostgres_RootKeepsTheOwnerOfTheData(t *testing.T) {
	t.Parallel()
	needRoot(t)

	dir := dataDir(t)
	pgdata := filepath.Join(dir, "pgdata")
	stop(t, start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()}))

	const another = 4711

	require.NoError(t, filepath.WalkDir(pgdata, func(path string, _ os.DirEntry, err error) error {
		require.NoError(t, err)

		return os.Lchown(path, another, another)
	}))

	start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
	require.EqualValues(t, another, uidOf(t, filepath.Join(pgdata, "postmaster.pid")))
}

func TestStartPostgres_DataDirOfAnotherUser(t *testing.T) {
	t.Parallel()
	needRoot(t)

	dir := dataDir(t)
	require.NoError(t, os.Chown(dir, 4711, 4711))

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.ErrorContains(t, err, "belongs to another user")
}
