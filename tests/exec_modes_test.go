package tests

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// The service does all of its work with every default_query_exec_mode.
func TestExecModes_AllWork(t *testing.T) {
	t.Parallel()

	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()

			newWorld(t, func(c *config.Config) {
				c.RedisURL = ""
				c.DatabaseURL = config.Secret(c.DatabaseURL.Reveal() + "&default_query_exec_mode=" + mode)
			}).requireAllWork()
		})
	}
}

// Behind PgBouncer two statements of one connection may run in two sessions. The
// modes that keep nothing in a session work, migrations included. With the default
// the service ends and says what to change.
func TestPgBouncer_WorksWithModesThatKeepNothingInASession(t *testing.T) {
	t.Parallel()

	bouncer := startPgBouncer(t)

	for _, mode := range []string{"cache_describe", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()

			require.NoError(t, postgres.Migrate(t.Context(), bouncer.through(t, pgtest.NewEmpty(t).URL, mode)))

			newWorld(t, func(c *config.Config) {
				c.RedisURL = ""
				c.DatabaseURL = config.Secret(bouncer.through(t, c.DatabaseURL.Reveal(), mode))
			}).requireAllWork()
		})
	}

	t.Run("cache_statement", func(t *testing.T) {
		t.Parallel()

		w := newWorld(t)
		c := w.config
		c.DatabaseURL = config.Secret(bouncer.through(t, c.DatabaseURL.Reveal(), "cache_statement"))

		_, err := bootstrap.Start(t.Context(), c, "test")
		require.ErrorContains(t, err, "default_query_exec_mode=exec")
		require.NotContains(t, err.Error(), "\n")
	})
}

// requireAllWork sends statements of every kind.
func (w *world) requireAllWork() {
	w.t.Helper()

	const withMetadata = `{"amount":12.34,"currency":"USD","idempotency_key":"k","metadata":{"order":"7","note":"naïve \"x\" \\ '"}}`

	created := w.create(withMetadata)
	require.Equal(w.t, http.StatusCreated, created.status, "%s", created.body)

	read := w.get("/payments/" + created.text("id"))
	require.Equal(w.t, map[string]any{"order": "7", "note": `naïve "x" \ '`}, read.field("metadata"))
	require.Equal(w.t, created.field("amount"), read.field("amount"))

	second := w.second() // it has answered nothing yet
	require.Equal(w.t, string(created.body), string(second.create(withMetadata).body))
	second.create(`{"amount":12.35,"currency":"USD","idempotency_key":"k"}`).
		problem(http.StatusUnprocessableEntity, "idempotency-key-reused")

	w.requireManyAtOnce()

	event := minimalEvent("succeeded", created.text("stripe_payment_intent_id"), "succeeded")
	require.Equal(w.t, http.StatusOK, w.webhook(event).status)
	require.Equal(w.t, "succeeded", w.status(created.text("id")))

	w.faultCreates(sandbox.Fault{Action: sandbox.Saved500})
	w.create(order).problem(http.StatusServiceUnavailable, "outcome-unknown")
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM operations WHERE state <> 'finished'") == 0
	}, "background work finds the outcome")

	w.age()

	late := w.create(`{"amount":10,"currency":"USD"}`)
	w.confirm(late.text("stripe_payment_intent_id"), "pm_card_visa")
	require.NotEmpty(w.t, w.reconcile(false).Found)
	require.Equal(w.t, "succeeded", w.status(late.text("id")))

	require.Equal(w.t, http.StatusOK, w.get("/readyz").status)
	require.Equal(w.t, w.intents(), w.count("SELECT count(*) FROM payments"))
}

// requireManyAtOnce sends enough at once for creates and events to share statements.
func (w *world) requireManyAtOnce() {
	w.t.Helper()

	const many = 24

	var (
		clients sync.WaitGroup
		answers [many]answer
	)

	for i := range many {
		clients.Go(func() {
			answers[i] = w.create(fmt.Sprintf(
				`{"amount":%d.50,"currency":"USD","idempotency_key":"many %d","metadata":{"n":"%[2]d"}}`, i+1, i))
			w.webhook(minimalEvent("succeeded", answers[i].text("stripe_payment_intent_id"), "succeeded"))
		})
	}

	clients.Wait()

	for _, one := range answers {
		require.Equal(w.t, "succeeded", w.status(one.text("id")))
	}
}

// The next release adds columns while this one still runs, whose prepared statements
// know nothing of them.
func TestMigration_AddsColumnsWhileTheServiceRuns(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.RedisURL = "" })
	require.Equal(t, http.StatusCreated, w.create(`{"amount":5,"currency":"USD"}`).status)

	w.exec(`
		DO $$ DECLARE ours regclass; BEGIN
		    FOR ours IN SELECT oid FROM pg_class
		                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname !~ '^(river|goose)' LOOP
		        EXECUTE format('ALTER TABLE %s ADD COLUMN one_more TEXT DEFAULT %L', ours, 'new');
		    END LOOP;
		END $$`)
	require.Greater(t, w.count("SELECT count(*) FROM information_schema.columns WHERE column_name = 'one_more'"), 5)

	w.requireAllWork()
}

// pgBouncer pools transactions in front of the tests' PostgreSQL.
type pgBouncer struct{ port int }

// through is the URL of a database behind the pooler.
func (b pgBouncer) through(t *testing.T, target, mode string) string {
	t.Helper()

	return throughPort(t, target, b.port) + "&default_query_exec_mode=" + mode
}

func startPgBouncer(t *testing.T) pgBouncer {
	t.Helper()

	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Skip("no pgbouncer on this machine: apt-get install pgbouncer")
	}

	server, err := url.Parse(pgtest.New(t).URL)
	require.NoError(t, err)

	password, _ := server.User.Password()
	file := filepath.Join(scratch(t), "pgbouncer.ini")
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // TCP
	require.NoError(t, listener.Close())

	// Few sessions for many connections, so that connections change their session.
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `[databases]
* = host=127.0.0.1 port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
`, server.Port(), server.User.Username(), password, port), 0o600))

	var output bytes.Buffer

	// Not CommandContext: the test's context ends before the services have stopped.
	command := exec.Command(program, file)
	command.Stdout, command.Stderr = &output, &output
	command.SysProcAttr = &syscall.SysProcAttr{Credential: notRoot(t, file)}
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()

		if t.Failed() {
			t.Logf("%s", &output)
		}
	})

	b := pgBouncer{port: port}

	require.Eventually(t, func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = conn.Close()
		}

		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "pgbouncer listens")

	return b
}

// scratch is a directory that pgbouncer can enter. When root runs the tests, other
// users cannot enter t.TempDir.
func scratch(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-tests-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o711))

	return dir
}

// notRoot is the user that runs pgbouncer, which does not run as root; the file is
// given to that user. It is nil where the tests do not run as root.
func notRoot(t *testing.T, file string) *syscall.Credential {
	t.Helper()

	if os.Geteuid() != 0 {
		return nil
	}

	nobody, err := user.Lookup("nobody")
	require.NoError(t, err)

	uid, errUID := strconv.Atoi(nobody.Uid)
	gid, errGID := strconv.Atoi(nobody.Gid)
	require.NoError(t, errors.Join(errUID, errGID, os.Chown(file, uid, gid)))

	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
