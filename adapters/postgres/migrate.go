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

// ErrBehind says that the database has not had every migration of this binary.
var ErrBehind = errors.New("the database is behind; run `marketflow migrate up`")

const (
	// migratePatience is how long one migration is tried for a lock, and another
	// process waited for.
	migratePatience = 10 * time.Minute
	// lockTimeout is how long a migration waits for a lock at a time: whoever comes
	// after it to the same table waits behind it.
	lockTimeout = "250ms"
	// Pauses between the tries let the traffic pass.
	firstPause, longestPause = 500 * time.Millisecond, 5 * time.Second
	// askAgain is how often it is asked whether another process has migrated.
	askAgain = time.Second
)

// Migrator moves a database's schema: ours by goose, then River's by its own
// migrator. Processes that migrate at once wait for each other, and traffic does
// not wait for a migration that waits for a lock.
type Migrator struct {
	// Notice is told what is done and waited for, a line each; nil drops it.
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

	// The pool keeps the idle ones.
	db := sql.OpenDB(briefly{stdlib.GetPoolConnector(pool)})
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
func (m *Migrator) Up(ctx context.Context) error { return m.alone(ctx, m.up) }

// Down takes the newest of our migrations back. River's tables go when none
// of ours is left.
func (m *Migrator) Down(ctx context.Context) error { return m.alone(ctx, m.down) }

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

// Check is ErrBehind if a migration is missing.
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

		err = m.patiently(ctx, func() error {
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

// next is the file of the oldest migration that is missing; empty: none is.
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
	err := m.patiently(ctx, func() error {
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

// migrateRiver goes on until there is nothing left to do, with a transaction for
// each step.
func (m *Migrator) migrateRiver(
	ctx context.Context, direction rivermigrate.Direction, options *rivermigrate.MigrateOpts,
) error {
	for done := false; !done; {
		err := m.patiently(ctx, func() error {
			return pgx.BeginFunc(ctx, m.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, setLockTimeout); err != nil {
					return err //nolint:wrapcheck // by the callers
				}

				//nolint:staticcheck // deprecated as several steps up may not share a transaction: here each has its own
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
