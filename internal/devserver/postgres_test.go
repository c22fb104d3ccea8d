package devserver_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

// soon bounds what a test waits for, generously: it fails, it does not measure.
const soon = 60 * time.Second

// dataDir is a folder that the server's user can reach when root runs the
// tests, which t.TempDir is not.
func dataDir(tb testing.TB) string {
	tb.Helper()

	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-devserver-") //nolint:usetesting // see above
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, os.RemoveAll(dir)) })

	return dir
}

func start(tb testing.TB, options devserver.PostgresOptions) *devserver.Postgres {
	tb.Helper()

	server, err := devserver.StartPostgres(tb.Context(), options)
	require.NoError(tb, err)
	tb.Cleanup(func() { stop(tb, server) })

	return server
}

func stop(tb testing.TB, server *devserver.Postgres) {
	tb.Helper()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), soon)
	defer cancel()

	require.NoError(tb, server.Stop(ctx))
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

func TestStartPostgres_DataSurviveTheNextStart(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)

	first := start(t, devserver.PostgresOptions{DataDir: dir})
	execute(t, first.URL(), "CREATE TABLE notes AS SELECT 'kept' AS note")
	stop(t, first)

	second := start(t, devserver.PostgresOptions{DataDir: dir})
	require.Equal(t, first.URL(), second.URL(), "port and password stay")
	require.Equal(t, "kept", text(t, second.URL(), "SELECT note FROM notes"))
	require.FileExists(t, filepath.Join(dir, "postgres.log"))
	require.FileExists(t, filepath.Join(dir, "postgres.log.1"))
}

func TestStartPostgres_Settings(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		settings map[string]string
		want     map[string]string
	}{
		"DurableByDefault": {
			want: map[string]string{
				"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
				"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300",
				"server_encoding": "UTF8", "TimeZone": "UTC",
			},
		},
		"Volatile": {
			settings: servers.Volatile(),
			want:     map[string]string{"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"},
		},
		"OursAreOverruled": {
			settings: map[string]string{"max_connections": "20", "application_name": "two words"},
			want:     map[string]string{"max_connections": "20", "application_name": "two words"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := start(t, devserver.PostgresOptions{
				DataDir: dataDir(t), Settings: test.settings,
			})
			for setting, want := range test.want {
				require.Equal(t, want, text(t, server.URL(), "SELECT current_setting('"+setting+"')"), setting)
			}
		})
	}
}

func TestStartPostgres_AsksForThePassword(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	server := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})

	address, err := url.Parse(server.URL())
	require.NoError(t, err)

	address.User = url.UserPassword(address.User.Username(), "guess")
	_, err = pgx.Connect(t.Context(), address.String())

	var rejection *pgconn.PgError

	require.ErrorAs(t, err, &rejection)
	require.Equal(t, "28P01", rejection.Code, "invalid_password")

	for _, name := range []string{"password", "postgres.log", "lock", "port"} {
		info, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), name)
	}
}

func TestPostgres_StopWithinContext(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	server := start(t, devserver.PostgresOptions{DataDir: dir})

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	require.ErrorIs(t, server.Stop(ctx), context.Canceled)
	start(t, devserver.PostgresOptions{DataDir: dir})
}

func TestStartPostgres_TwoOwners(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	server := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.ErrorIs(t, err, devserver.ErrAlreadyRunning)
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "by process "+strconv.Itoa(os.Getpid()))
	require.NotContains(t, err.Error(), "\n")

	require.Equal(t, "1", text(t, server.URL(), "SELECT '1'"), "the first one is unharmed")
}

func occupy(t *testing.T, port int) int {
	t.Helper()

	var config net.ListenConfig

	listener, err := config.Listen(t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, listener.Close()) })

	address, ok := listener.Addr().(*net.TCPAddr)
	require.True(t, ok)

	return address.Port
}

func TestStartPostgres_PortTaken(t *testing.T) {
	t.Parallel()

	port := occupy(t, 0)

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dataDir(t), Port: port})
	require.ErrorIs(t, err, devserver.ErrPortTaken)
	require.ErrorContains(t, err, fmt.Sprintf("127.0.0.1:%d", port))
	require.NotContains(t, err.Error(), "\n")
}

func TestStartPostgres_RememberedPortTaken(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	first := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
	stop(t, first)
	occupy(t, first.Port)

	second := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
	require.NotEqual(t, first.Port, second.Port)
}

func TestStartPostgres_ChosenPort(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	free := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
	stop(t, free)

	chosen := start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile(), Port: free.Port})
	require.Equal(t, free.URL(), chosen.URL())
}

func TestStartPostgres_ErrorShowsTheLog(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	broken := map[string]string{"shared_buffers": "a lot"}

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir, Settings: broken})
	require.ErrorContains(t, err, `invalid value for parameter "shared_buffers": "a lot"`)
	require.ErrorContains(t, err, filepath.Join(dir, "postgres.log"))

	start(t, devserver.PostgresOptions{DataDir: dir}) // and the data directory is free again
}

func TestStartPostgres_ContextEnds(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := devserver.StartPostgres(ctx, devserver.PostgresOptions{DataDir: dir})
	require.ErrorIs(t, err, context.Canceled)

	start(t, devserver.PostgresOptions{DataDir: dir})
}

func TestStartPostgres_BadOptions(t *testing.T) {
	t.Parallel()

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{})
	require.ErrorContains(t, err, "no data directory")
}

func TestStartPostgres_DataOfAnotherVersion(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	stop(t, start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pgdata", "PG_VERSION"), []byte("8\n"), 0o600))

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.ErrorContains(t, err, "need PostgreSQL 8")
}

func TestStartPostgres_InterruptedInit(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	unfinished := filepath.Join(dir, "pgdata.new", "base")
	require.NoError(t, os.MkdirAll(unfinished, 0o700))

	start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
	require.NoDirExists(t, unfinished)
}

func TestStartPostgres_OwnerKilled(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	url, kill := ownedByAnother(t, dir)

	execute(t, url, "CREATE TABLE wills AS SELECT 'inherited' AS what")

	_, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.ErrorIs(t, err, devserver.ErrAlreadyRunning)

	kill()

	heir := start(t, devserver.PostgresOptions{DataDir: dir})
	require.Equal(t, url, heir.URL())
	require.Equal(t, "inherited", text(t, url, "SELECT what FROM wills"))
}

func TestStartPostgres_EndsWithItsOwner(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	url, kill := ownedByAnother(t, dir)
	kill()

	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "pgdata", "postmaster.pid"))

		return errors.Is(err, os.ErrNotExist)
	}, soon, 10*time.Millisecond)

	_, err := pgx.Connect(t.Context(), url)
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// asOwner is a command run by the user that owns the data.
func asOwner(t *testing.T, pgdata, program string, arguments ...string) *exec.Cmd {
	t.Helper()

	command := exec.CommandContext(t.Context(), program, arguments...)
	command.Dir = pgdata
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}

	info, err := os.Stat(pgdata)
	require.NoError(t, err)

	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	}

	return command
}

func TestStartPostgres_OrphanRuns(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	pgdata := filepath.Join(dir, "pgdata")
	server := start(t, devserver.PostgresOptions{DataDir: dir})
	execute(t, server.URL(), "CREATE TABLE orphans AS SELECT 'found' AS state")
	stop(t, server)

	bin, err := devserver.FindBinaries(t.Context())
	require.NoError(t, err)

	orphan := asOwner(t, pgdata, filepath.Join(bin.Dir, "postgres"), "-D", pgdata,
		"-p", strconv.Itoa(server.Port), "-c", "unix_socket_directories=")
	require.NoError(t, orphan.Start())

	ended := make(chan error, 1)

	go func() { ended <- orphan.Wait() }()

	require.Eventually(t, func() bool {
		conn, err := pgx.Connect(t.Context(), server.URL())

		return err == nil && conn.Close(t.Context()) == nil
	}, soon, 10*time.Millisecond)

	again := start(t, devserver.PostgresOptions{DataDir: dir})
	require.NoError(t, <-ended, "it was told to end, not killed")
	require.Equal(t, server.Port, again.Port)
	require.Equal(t, "found", text(t, again.URL(), "SELECT state FROM orphans"))
}

func TestStartPostgres_StalePIDFile(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	server, err := servers.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.NoError(t, err)

	pgdata := filepath.Join(dir, "pgdata")
	pidFile := filepath.Join(pgdata, "postmaster.pid")
	stale, err := os.ReadFile(pidFile)
	require.NoError(t, err)
	require.NoError(t, server.Kill())
	require.NoError(t, server.Stop(t.Context()))

	stranger := asOwner(t, pgdata, "sleep", "600")
	require.NoError(t, stranger.Start())
	t.Cleanup(func() {
		require.NoError(t, stranger.Process.Kill())
		require.Error(t, stranger.Wait(), "killed")
	})

	_, rest, _ := strings.Cut(string(stale), "\n")

	for name, content := range map[string]string{
		"a stranger has the number now": fmt.Sprintf("%d\n%s", stranger.Process.Pid, rest),
		"nobody has it":                 string(stale),
		"written in part":               "",
	} {
		require.NoError(t, os.WriteFile(pidFile, []byte(content), 0o600), name)
		give(t, pidFile, pgdata)

		server, err := devserver.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
		require.NoError(t, err, name)
		stop(t, server)
	}

	require.NoError(t, stranger.Process.Signal(syscall.Signal(0)), "the stranger lives")
}

func TestStartPostgres_CrashedAndItsPortTaken(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	crashed, err := servers.StartPostgres(t.Context(), devserver.PostgresOptions{DataDir: dir})
	require.NoError(t, err)
	require.NoError(t, crashed.Kill())
	require.NoError(t, crashed.Stop(t.Context()))
	occupy(t, crashed.Port)

	server := start(t, devserver.PostgresOptions{DataDir: dir})
	require.NotEqual(t, crashed.Port, server.Port, "who has the port now is not taken for the server")
}

// give gives a file to the user that owns the data.
func give(t *testing.T, path, pgdata string) {
	t.Helper()

	info, err := os.Stat(pgdata)
	require.NoError(t, err)

	owner, ok := info.Sys().(*syscall.Stat_t)
	require.True(t, ok)
	require.NoError(t, os.Chown(path, int(owner.Uid), int(owner.Gid)))
}

func TestPostgres_HasAProcessGroupOfItsOwn(t *testing.T) {
	t.Parallel()

	dir := dataDir(t)
	start(t, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})

	pid := postmasterPID(t, dir)
	group, err := syscall.Getpgid(pid)
	require.NoError(t, err)
	require.Equal(t, pid, group, "Ctrl-C in our group does not reach it")
}

func postmasterPID(t *testing.T, dir string) int {
	t.Helper()

	content, err := os.ReadFile(filepath.Join(dir, "pgdata", "postmaster.pid"))
	require.NoError(t, err)

	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	require.NoError(t, err)

	return pid
}
