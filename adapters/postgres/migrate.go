package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/marketflow/marketflow/migrations"
)

// ErrBehind says that the database lacks a migration that this binary has.
var ErrBehind = errors.New("the database is behind; run `marketflow migrate up`")

const (
	// migratePatience is how long a migration is retried while others hold its locks,
	// and how long we wait for another process that migrates.
	migratePatience = 10 * time.Minute
	// lockTimeout is how long one attempt waits for a lock. Requests that need the
	// table meanwhile wait behind it.
	lockTimeout = "250ms"
	// The pauses between attempts let requests pass.
	firstPause, longestPause = 500 * time.Millisecond, 5 * time.Second
	// turnPoll is how often we ask whether the other process has finished migrating.
	turnPoll = time.Second
)

// Migrator changes a database's schema: our tables with goose, then River's with
// River's own migrator. Processes that migrate at the same time wait for each other.
// Requests never wait long for a migration that itself waits for a lock.
type Migrator struct {
	// Notice is called with a line about each thing that is done or waited for; nil
	// for none.
	Notice func(line string)

	files    fs.FS
	db       *sql.DB
	pool     *pgxpool.Pool
	goose    *goose.Provider
	river    *rivermigrate.Migrator[pgx.Tx]
	patience time.Duration
}

// NewMigrator connects to the database at url.
func NewMigrator(ctx context.Context, url string) (*Migrator, error) {
	return newMigrator(ctx, url, migrations.FS)
}

func newMigrator(ctx context.Context, url string, files fs.FS) (*Migrator, error) {
	pool, err := NewPool(ctx, PoolConfig{URL: url, MaxConns: 4, Once: true})
	if err != nil {
		return nil, err
	}

	if err := Ping(ctx, pool); err != nil {
		pool.Close()

		return nil, err
	}

	// Idle connections go back to the pool.
	db := sql.OpenDB(shortLockConnector{stdlib.GetPoolConnector(pool)})
	db.SetMaxIdleConns(0)

	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}

	river, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return nil, fmt.Errorf("reading River's migrations: %w", err)
	}

	return &Migrator{files: files, db: db, pool: pool, goose: provider, river: river, patience: migratePatience}, nil
}

// Close gives the connections back.
func (m *Migrator) Close() error {
	err := m.db.Close()
	m.pool.Close()

	if err != nil {
		return fmt.Errorf("closing the migrator: %w", err)
	}

	return nil
}

// Up applies every migration that is missing.
func (m *Migrator) Up(ctx context.Context) error { return m.exclusively(ctx, m.up) }

// Down reverts the newest of our migrations. When none of ours is left it also
// reverts River's.
func (m *Migrator) Down(ctx context.Context) error { return m.exclusively(ctx, m.down) }

// Migration is one step of the schema.
type Migration struct {
	Name    string
	Applied bool
}

// Status lists every migration, oldest first; River's are one line together.
func (m *Migrator) Status(ctx context.Context) ([]Migration, error) {
	ours, err := m.goose.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the migrations' status: %w", err)
	}

	list := make([]Migration, 0, len(ours)+1)
	for _, one := range ours {
		list = append(list, Migration{Name: one.Source.Path, Applied: one.State == goose.StateApplied})
	}

	river, err := m.river.Validate(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("reading River's migrations' status: %w", err)
	}

	return append(list, Migration{Name: "river", Applied: river.OK}), nil
}

// Check returns ErrBehind if a migration is missing.
func (m *Migrator) Check(ctx context.Context) error {
	list, err := m.Status(ctx)
	if err != nil {
		return err
	}

	for _, one := range list {
		if !one.Applied {
			return fmt.Errorf("%s is not applied: %w", one.Name, ErrBehind)
		}
	}

	return nil
}

func (m *Migrator) up(ctx context.Context) error {
	for {
		next, err := m.next(ctx)
		if err != nil {
			return err
		}

		if next == "" {
			break
		}

		m.say("applying " + next)

		err = m.retryWhileLocked(ctx, func() error {
			if err := m.dropUnfinished(ctx, next); err != nil {
				return err
			}

			_, err := m.goose.UpByOne(ctx)

			return err //nolint:wrapcheck // below
		})
		if err != nil {
			return fmt.Errorf("migrating up: %w", err)
		}
	}

	if err := m.migrateRiver(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{MaxSteps: 1}); err != nil {
		return fmt.Errorf("migrating River's tables up: %w", err)
	}

	return nil
}

// next is the file of the oldest missing migration; empty if none is missing.
func (m *Migrator) next(ctx context.Context) (string, error) {
	list, err := m.goose.Status(ctx)
	if err != nil {
		return "", fmt.Errorf("reading the migrations' status: %w", err)
	}

	for _, one := range list {
		if one.State != goose.StateApplied {
			return one.Source.Path, nil
		}
	}

	return "", nil
}

func (m *Migrator) down(ctx context.Context) error {
	err := m.retryWhileLocked(ctx, func() error {
		_, err := m.goose.Down(ctx)

		return err //nolint:wrapcheck // below
	})
	if err != nil {
		return fmt.Errorf("migrating down: %w", err)
	}

	version, err := m.goose.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the database's version: %w", err)
	}

	if version > 0 {
		return nil
	}

	err = m.migrateRiver(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1})
	if err != nil {
		return fmt.Errorf("migrating River's tables down: %w", err)
	}

	return nil
}

// migrateRiver runs all steps that River still needs, each in its own transaction.
func (m *Migrator) migrateRiver(
	ctx context.Context, direction rivermigrate.Direction, options *rivermigrate.MigrateOpts,
) error {
	for done := false; !done; {
		err := m.retryWhileLocked(ctx, func() error {
			return pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, setLockTimeout); err != nil {
					return err //nolint:wrapcheck // by the callers
				}

				//nolint:staticcheck // deprecated because several steps up cannot share a transaction; these do not
				result, err := m.river.MigrateTx(ctx, tx, direction, options)
				done = err == nil && len(result.Versions) == 0

				return err //nolint:wrapcheck // by the callers
			})
		})
		if err != nil {
			return err
		}
	}

	return nil
}

func (m *Migrator) say(line string) {
	if m.Notice != nil {
		m.Notice(line)
	}
}

// Migrate applies every migration that is missing to the database at url.
func Migrate(ctx context.Context, url string) (err error) {
	m, err := NewMigrator(ctx, url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()

	return m.Up(ctx)
}
