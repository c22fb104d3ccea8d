package devserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// PostgresOptions say what StartPostgres starts. DataDir is required.
type PostgresOptions struct {
	// DataDir keeps the data, and is filled on first use. A data directory that
	// the server's user cannot reach, when root starts it, is replaced by
	// another; see Notice and Postgres.DataDir.
	DataDir string

	// Port on 127.0.0.1. 0 is the port of the last such start in DataDir while
	// it is free, else any free one.
	Port int

	// Settings are further settings of postgresql.conf; they win over ours.
	Settings map[string]string

	// Notice receives what a person should know, a line each; nil drops it.
	Notice func(line string)
}

// Postgres is a PostgreSQL server that this process runs. Its methods may be
// called from several goroutines.
type Postgres struct {
	DataDir string // where the data really are
	Port    int    // on 127.0.0.1

	options PostgresOptions
	bin     Binaries
	dir     *dataDir

	mu      sync.Mutex
	stopped bool

	endGuard func() // see startGuarded
}

// StartPostgres starts a server and returns when it takes connections; ctx
// bounds the start, not the server's life. A server that a killed process left
// running in the same data directory is stopped first.
//
// The errors are ErrAlreadyRunning when another process runs a server there,
// ErrPortTaken, ErrNoPostgres, or what the end of the server's log tells.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	if options.DataDir == "" {
		return nil, errors.New("starting PostgreSQL: no data directory given")
	}

	dir, err := openDataDir(options.DataDir, options.Notice)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}

	p := &Postgres{DataDir: dir.path, options: options, dir: dir, endGuard: func() {}}
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting PostgreSQL: %w", err), dir.lock.Unlock())
	}

	return p, nil
}

// URL is a connection URL to the default database, marketflow, as its
// superuser. It holds the password.
func (p *Postgres) URL() string { return p.urlOf(database) }

// PasswordFile is where the superuser's password is kept, for this user alone.
func (p *Postgres) PasswordFile() string { return p.dir.passwordFile() }

// Stop shuts the server down and gives the data directory up. When ctx ends
// first, the server stops without a checkpoint, and the error is ctx's. Stopping
// again does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.stopped {
		return nil
	}

	p.stopped = true

	if err := errors.Join(p.shutDown(ctx), p.dir.lock.Unlock()); err != nil {
		return fmt.Errorf("stopping PostgreSQL: %w", err)
	}

	return nil
}

func (p *Postgres) start(ctx context.Context) error {
	if err := p.chooseBinaries(ctx); err != nil {
		return err
	}

	if err := p.dir.prepare(ctx, p.bin); err != nil {
		return err
	}

	if err := p.stopLeftover(ctx); err != nil {
		return err
	}

	if err := p.startOnPort(ctx); err != nil {
		return err
	}

	err := p.createDatabase(ctx)
	if err == nil && p.options.Port == 0 {
		err = p.dir.rememberPort(p.Port)
	}

	if err != nil {
		return errors.Join(err, p.shutDown(ctx))
	}

	return nil
}

// chooseBinaries takes those that match the data: a server reads no other
// version's.
func (p *Postgres) chooseBinaries(ctx context.Context) error {
	major, err := p.dir.major()
	if err != nil {
		return err
	}

	p.bin, err = machine(p.dir.as, p.options.Notice).find(ctx, major)
	if ctx.Err() != nil {
		return fmt.Errorf("looking for PostgreSQL: %w", ctx.Err())
	}

	if err != nil && major != 0 {
		return fmt.Errorf("the data in %s need PostgreSQL %d: %w", p.DataDir, major, err)
	}

	return err
}

// startOnPort tries again when somebody takes a free port between our choice and
// the server's start.
func (p *Postgres) startOnPort(ctx context.Context) error {
	if p.Port = p.options.Port; p.Port != 0 {
		return p.launch(ctx)
	}

	p.Port = p.dir.rememberedPort()

	for range portAttempts {
		if p.Port != 0 {
			if err := p.launch(ctx); !errors.Is(err, ErrPortTaken) {
				return err
			}
		}

		var err error
		if p.Port, err = FreePort(ctx); err != nil {
			return err
		}
	}

	return p.launch(ctx)
}

func (p *Postgres) createDatabase(ctx context.Context) (err error) {
	conn, err := pgx.Connect(ctx, p.urlOf(maintenanceDatabase))
	if err != nil {
		return fmt.Errorf("connecting to the started server: %w", err)
	}

	defer func() { err = errors.Join(err, conn.Close(ctx)) }()

	var exists bool

	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	}

	if err != nil {
		return fmt.Errorf("creating the database %s: %w", database, err)
	}

	return nil
}

func (p *Postgres) urlOf(name string) string {
	address := url.URL{
		Scheme:   urlScheme,
		User:     url.UserPassword(superuser, p.dir.password),
		Host:     net.JoinHostPort(loopback, strconv.Itoa(p.Port)),
		Path:     "/" + name,
		RawQuery: "sslmode=disable",
	}

	return address.String()
}
