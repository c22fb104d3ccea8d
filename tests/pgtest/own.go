package pgtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/marketflow/marketflow/internal/devserver"
)

// NewServer returns a server of the test's own, for tests that restart or crash
// it. It is durable unless the options say otherwise, so that what was committed
// survives a crash. Its data directory, when the options name none, goes with
// the test. Its default database is empty.
func NewServer(tb testing.TB, options devserver.PostgresOptions) *devserver.Postgres {
	tb.Helper()

	if options.DataDir == "" {
		options.DataDir = temporaryDir(tb)
	}

	if options.Notice == nil {
		options.Notice = func(line string) { tb.Log(line) }
	}

	server, err := devserver.StartPostgres(tb.Context(), options)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), tidyUp)
		defer cancel()

		if err := end(ctx, server); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})

	return server
}

// temporaryDir is not t.TempDir: when root runs the tests, PostgreSQL's user
// cannot enter that.
func temporaryDir(tb testing.TB) string {
	tb.Helper()

	dir, err := os.MkdirTemp(devserver.ScratchDir(), "marketflow-pgtest-own-") //nolint:usetesting // see above
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
func end(ctx context.Context, server *devserver.Postgres) error {
	select {
	case <-server.Exited():
		if err := server.Restart(ctx, devserver.ShutdownFast); err != nil && !errors.Is(err, devserver.ErrStopped) {
			return err
		}
	default:
	}

	return server.Stop(ctx)
}
