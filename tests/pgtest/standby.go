package pgtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

// NewStandby returns a server of the test's own that follows the primary, a server
// of NewServer. Promote makes it the primary. It needs pg_basebackup beside the
// server's programs, and skips the test where there is none.
func NewStandby(tb testing.TB, primary *servers.Postgres) *servers.Postgres {
	tb.Helper()

	bin, err := devserver.FindBinaries(tb.Context())
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	server, err := filepath.EvalSymlinks(filepath.Join(bin.Dir, "postgres"))
	if err != nil {
		tb.Fatalf("pgtest: finding PostgreSQL's programs: %v", err)
	}

	program := filepath.Join(filepath.Dir(server), "pg_basebackup")
	if _, err := os.Stat(program); err != nil {
		tb.Skipf("pgtest: no standby without pg_basebackup: %v", err)
	}

	dir := temporaryDir(tb)

	backup := exec.CommandContext(tb.Context(), program,
		"--dbname="+primary.URL(), "--pgdata="+filepath.Join(dir, "pgdata"), "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if out, err := backup.CombinedOutput(); err != nil {
		tb.Fatalf("pgtest: copying the primary: %v\n%s", err, out)
	}

	if err := adopt(primary, dir); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	return NewServer(tb, devserver.PostgresOptions{DataDir: dir, Settings: servers.Volatile()})
}

// adopt makes a copy of a primary's data what devserver takes for its own.
func adopt(primary *servers.Postgres, dir string) error {
	password, err := os.ReadFile(filepath.Join(primary.DataDir, "password"))
	if err != nil {
		return fmt.Errorf("reading the primary's password: %w", err)
	}

	if err := os.WriteFile(filepath.Join(dir, "password"), password, 0o600); err != nil {
		return fmt.Errorf("keeping the password: %w", err)
	}

	if err := os.Chmod(dir, 0o711); err != nil { // the server's user goes through it
		return fmt.Errorf("opening the data directory: %w", err)
	}

	err = filepath.WalkDir(filepath.Join(dir, "pgdata"), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, giveTo(primary, path))
	})
	if err != nil {
		return fmt.Errorf("giving the copy to the server: %w", err)
	}

	return nil
}

// giveTo gives a file to whoever runs the server.
func giveTo(server *servers.Postgres, path string) error {
	info, err := os.Stat(filepath.Join(server.DataDir, "pgdata"))
	if err != nil {
		return fmt.Errorf("looking at the server's data: %w", err)
	}

	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 {
		return nil
	}

	if err := os.Lchown(path, int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("giving %s to the server: %w", path, err)
	}

	return nil
}

// Demote restarts a primary as a standby of another server: a reader, at the
// address that it had.
func Demote(tb testing.TB, server, follows *servers.Postgres) {
	tb.Helper()

	execute(tb, server, "ALTER SYSTEM SET primary_conninfo = '"+follows.URL()+"'")

	signal := filepath.Join(server.DataDir, "pgdata", "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), giveTo(server, signal)); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	if err := server.Restart(tb.Context(), servers.ShutdownFast); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}

// Promote makes a standby the primary; it can be written when Promote returns.
func Promote(tb testing.TB, standby *servers.Postgres) {
	tb.Helper()

	execute(tb, standby, "SELECT pg_promote()")
}

// execute runs one statement on a server.
func execute(tb testing.TB, server *servers.Postgres, statement string) {
	tb.Helper()

	conn, err := pgx.Connect(tb.Context(), server.URL())
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}

	_, err = conn.Exec(tb.Context(), statement)
	if err := errors.Join(err, conn.Close(tb.Context())); err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
}
