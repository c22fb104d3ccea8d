package pgtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

// NewServer returns a server of the test's own, for tests that restart or crash
// it. It is durable unless the options' settings say otherwise, so that what was committed
// survives a crash. Its data directory, when the options name none, goes with
// the test. Its default database is empty.
func NewServer(tb testing.TB, options devserver.PostgresOptions) *servers.Postgres {
	tb.Helper()

	if options.DataDir == "" {
		options.DataDir = temporaryDir(tb)
	}

	if options.Notice == nil {
		options.Notice = func(line string) { tb.Log(line) }
	}

	server, err := servers.StartPostgres(tb.Context(), options)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	endAfter(tb, server)

	return server
}

// endAfter ends the server after the test.
func endAfter(tb testing.TB, server *servers.Postgres) {
	tb.Helper()

	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), tidyUp)
		defer cancel()

		if err := end(ctx, server); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
}

// temporaryDir is not t.TempDir: when root runs the tests, PostgreSQL's user
// cannot enter that.
func temporaryDir(tb testing.TB) string {
	tb.Helper()

	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-pgtest-own-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatalf("pgtest: making a data directory: %v", err)
	}

	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})

	return dir
}

// end starts a crashed server once more: the System V shared memory that it left
// is freed by its successor alone, and the kernel has 4096 of them.
func end(ctx context.Context, server *servers.Postgres) error {
	if !server.Running() {
		if err := server.Restart(ctx, servers.ShutdownFast); err != nil && !errors.Is(err, servers.ErrStopped) {
			return err
		}
	}

	return server.Stop(ctx)
}
