package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/internal/devserver"
)

// ErrNoProgram says that a program of PostgreSQL's, such as pg_basebackup, is not beside
// the server's.
var ErrNoProgram = errors.New("PostgreSQL's program is not installed")

// Program is a program of the PostgreSQL that StartPostgres starts, such as pg_dump. Where
// there is none, the error is ErrNoProgram.
func Program(ctx context.Context, name string) (string, error) {
	bin, err := devserver.FindBinaries(ctx)
	if err != nil {
		return "", err
	}

	server, err := filepath.EvalSymlinks(filepath.Join(bin.Dir, "postgres"))
	if err != nil {
		return "", fmt.Errorf("finding PostgreSQL's programs: %w", err)
	}

	program := filepath.Join(filepath.Dir(server), name)
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoProgram, err)
	}

	return program, nil
}

// StartStandby starts a server that follows the primary, with its data in dir. Promote
// makes it the primary.
func StartStandby(ctx context.Context, primary *Postgres, dir string, settings map[string]string) (*Postgres, error) {
	program, err := Program(ctx, "pg_basebackup")
	if err != nil {
		return nil, err
	}

	if err := os.MkdirAll(dir, 0o711); err != nil { // the server's user goes through it
		return nil, fmt.Errorf("making the data directory: %w", err)
	}

	backup := exec.CommandContext(ctx, program,
		"--dbname="+primary.URL(), "--pgdata="+filepath.Join(dir, "pgdata"), "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-sync")
	if out, err := backup.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copying the primary: %w\n%s", err, out)
	}

	if err := adopt(primary, dir); err != nil {
		return nil, err
	}

	return StartPostgres(ctx, devserver.PostgresOptions{DataDir: dir, Settings: settings})
}

// adopt makes a copy of a primary's data what devserver takes for its own.
func adopt(primary *Postgres, dir string) error {
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
func giveTo(server *Postgres, path string) error {
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

// Promote makes a standby the primary; it can be written when Promote returns.
func (p *Postgres) Promote(ctx context.Context) error { return p.Execute(ctx, "SELECT pg_promote()") }

// Demote restarts a primary as a standby of another server: a reader, at the address
// that it had.
func (p *Postgres) Demote(ctx context.Context, follows *Postgres) error {
	if err := p.Execute(ctx, "ALTER SYSTEM SET primary_conninfo = '"+follows.URL()+"'"); err != nil {
		return err
	}

	signal := filepath.Join(p.DataDir, "pgdata", "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), giveTo(p, signal)); err != nil {
		return fmt.Errorf("making a standby: %w", err)
	}

	return p.Restart(ctx, ShutdownFast)
}

// Execute runs statements, one after the other, as the superuser.
func (p *Postgres) Execute(ctx context.Context, statements ...string) (err error) {
	conn, err := pgx.Connect(ctx, p.URL())
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}

	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}

	return nil
}
