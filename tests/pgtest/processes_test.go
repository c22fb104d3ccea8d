package pgtest_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofrs/flock"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	// role makes TestBinary behave as another test binary of the same run.
	role = "MARKETFLOW_PGTEST_TEST_ROLE"

	// soon bounds what a test waits for, generously: it fails, it does not measure.
	soon = 60 * time.Second
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestBinary is what the other test binaries run.
func TestBinary(t *testing.T) {
	t.Parallel()

	what := os.Getenv(role)
	if what == "" {
		t.Skip("is run by the tests of this file")
	}

	db := pgtest.NewFrom(t, pgtest.Migrations{Hash: "of the processes", Up: migrateAndSign})
	require.Zero(t, count(t, db))

	_, err := db.Pool().Exec(t.Context(), "INSERT INTO notes VALUES ('seen')")
	require.NoError(t, err)

	_, err = os.Stdout.WriteString("\n" + db.URL + "\n")
	require.NoError(t, err)

	switch what {
	case "fail":
		t.Fail()
	case "hang":
		select {}
	}
}

// migrateAndSign leaves a line for each time that the migrations ran.
func migrateAndSign(ctx context.Context, url string) error {
	file, err := os.OpenFile(filepath.Join(os.TempDir(), "migrated"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}

	_, err = file.WriteString("migrated\n")

	return errors.Join(err, file.Close(), migrateNotes(ctx, url))
}

// machine is a temporary directory of its own, in which test binaries share a
// server that no other test uses.
type machine struct {
	t   *testing.T
	tmp string
}

func newMachine(t *testing.T) machine {
	t.Helper()

	tmp, err := os.MkdirTemp("", "marketflow-pgtest-machine-") //nolint:usetesting // PostgreSQL's user enters it
	require.NoError(t, err)
	require.NoError(t, os.Chmod(tmp, 0o711))

	m := machine{t: t, tmp: tmp}

	t.Cleanup(func() {
		m.endSupervisor()
		require.NoError(t, os.RemoveAll(tmp))
	})

	return m
}

func (m machine) binary(what string) *exec.Cmd {
	command := exec.CommandContext(m.t.Context(), os.Args[0], "-test.run=^TestBinary$")
	command.Env = append(os.Environ(), role+"="+what, "TMPDIR="+m.tmp, "MARKETFLOW_TEST_DATABASE_URL=")

	return command
}

// run runs a test binary to its end, and returns what it printed.
func (m machine) run(what string) (output string, err error) {
	m.t.Helper()

	out, err := m.binary(what).CombinedOutput()

	return string(out), err
}

// hang runs a test binary that does not end and returns the URL of its database.
func (m machine) hang() (url string, kill func()) {
	m.t.Helper()

	command := m.binary("hang")
	out, err := command.StdoutPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, command.Start())

	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "postgres://") {
	}

	require.NotEmpty(m.t, lines.Text())

	return lines.Text(), func() {
		require.NoError(m.t, command.Process.Kill())
		require.Error(m.t, command.Wait(), "killed")
	}
}

func (m machine) homes() []string {
	m.t.Helper()

	homes, err := filepath.Glob(filepath.Join(m.tmp, "marketflow-pgtest-*", "*"))
	require.NoError(m.t, err)

	return homes
}

func (m machine) home() string {
	m.t.Helper()

	require.Len(m.t, m.homes(), 1)

	return m.homes()[0]
}

func (m machine) supervisor() int {
	m.t.Helper()

	text, err := os.ReadFile(filepath.Join(m.home(), "postgres", "lock"))
	require.NoError(m.t, err)

	pid, err := strconv.Atoi(string(text))
	require.NoError(m.t, err)

	return pid
}

// supervisorGone tells whether there is no supervisor and no server.
func (m machine) supervisorGone() bool {
	for _, name := range []string{"supervisor", "postgres/lock"} {
		lock := flock.New(filepath.Join(m.home(), name))

		free, err := lock.TryLock()
		if err != nil || !free {
			return false
		}

		require.NoError(m.t, lock.Unlock())
	}

	_, err := os.Stat(filepath.Join(m.home(), "postgres", "pgdata", "postmaster.pid"))

	return errors.Is(err, os.ErrNotExist)
}

func (m machine) awaitNoSupervisor() {
	m.t.Helper()

	require.Eventually(m.t, m.supervisorGone, soon, 50*time.Millisecond)
}

func (m machine) endSupervisor() {
	m.t.Helper()

	if len(m.homes()) > 0 && !m.supervisorGone() {
		err := syscall.Kill(m.supervisor(), syscall.SIGTERM)
		require.True(m.t, err == nil || errors.Is(err, syscall.ESRCH))
		m.awaitNoSupervisor()
	}
}

func (m machine) migrations() int {
	m.t.Helper()

	text, err := os.ReadFile(filepath.Join(m.tmp, "migrated"))
	require.NoError(m.t, err)

	return bytes.Count(text, []byte("\n"))
}

func TestProcesses_ShareOneServer(t *testing.T) {
	t.Parallel()

	m := newMachine(t)

	const binaries = 4

	results := make(chan error, binaries)
	outputs := make(chan string, binaries)

	for range binaries {
		go func() {
			output, err := m.binary("pass").CombinedOutput()

			outputs <- string(output)

			results <- err
		}()
	}

	servers := map[string]bool{}

	for range binaries {
		output := <-outputs
		require.NoError(t, <-results, output)
		servers[hostOf(t, output)] = true
	}

	require.Len(t, servers, 1)
	require.Equal(t, 1, m.migrations())

	m.awaitNoSupervisor()

	output, err := m.run("pass")
	require.NoError(t, err, output)
	require.Equal(t, 1, m.migrations(), "the next run finds the template")
}

var urlPattern = regexp.MustCompile(`postgres://\S+@(\S+)/pgtest_\w+\?sslmode=disable`)

func hostOf(t *testing.T, output string) string {
	t.Helper()

	match := urlPattern.FindStringSubmatch(output)
	require.NotNil(t, match, output)

	return match[1]
}

func TestProcesses_KilledBinaryLeavesNoServer(t *testing.T) {
	t.Parallel()

	m := newMachine(t)
	_, kill := m.hang()
	require.False(t, m.supervisorGone())

	kill()
	m.awaitNoSupervisor()
}

func TestProcesses_KilledSupervisorIsReplaced(t *testing.T) {
	t.Parallel()

	m := newMachine(t)
	left, kill := m.hang()
	t.Cleanup(kill)

	first := m.supervisor()
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))

	output, err := m.run("pass")
	require.NoError(t, err, output)
	require.NotEqual(t, first, m.supervisor())
	require.False(t, exists(t, left), "a new supervisor clears what was left")
}

func TestProcesses_BrokenDataAreMadeAnew(t *testing.T) {
	t.Parallel()

	m := newMachine(t)
	output, err := m.run("pass")
	require.NoError(t, err, output)
	m.awaitNoSupervisor()

	control := filepath.Join(m.home(), "postgres", "pgdata", "global", "pg_control")
	require.NoError(t, os.Truncate(control, 0))

	output, err = m.run("pass")
	require.NoError(t, err, output)
	require.Equal(t, 2, m.migrations())
}

func TestProcesses_FailedTestKeepsItsDatabase(t *testing.T) {
	t.Parallel()

	m := newMachine(t)
	output, err := m.run("fail")
	require.Error(t, err, "the test failed")

	_, kept, found := strings.Cut(output, "the database is kept: psql '")
	require.True(t, found, output)

	url, _, _ := strings.Cut(kept, "'")

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)

	var note string

	require.NoError(t, conn.QueryRow(t.Context(), "SELECT note FROM notes").Scan(&note))
	require.Equal(t, "seen", note)
	require.NoError(t, conn.Close(t.Context()))

	m.endSupervisor()

	output, err = m.run("pass")
	require.NoError(t, err, output)
	require.False(t, exists(t, url), "a new supervisor sweeps it")
}

// exists tells whether the database at url exists, on a server that runs.
func exists(t *testing.T, url string) bool {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		require.NoError(t, conn.Close(t.Context()))

		return true
	}

	var rejection *pgconn.PgError

	require.ErrorAs(t, err, &rejection)
	require.Equal(t, "3D000", rejection.Code, "invalid_catalog_name")

	return false
}

func TestProcesses_GivenServer(t *testing.T) {
	t.Parallel()

	given := pgtest.NewEmpty(t) // any superuser's URL will do

	m := newMachine(t)
	command := m.binary("pass")
	command.Env = append(command.Env, "MARKETFLOW_TEST_DATABASE_URL="+given.URL)

	output, err := command.CombinedOutput()
	require.NoError(t, err, string(output))
	require.Equal(t, hostOf(t, given.URL), hostOf(t, string(output)))

	require.Empty(t, m.homes(), "no server of its own")
}
