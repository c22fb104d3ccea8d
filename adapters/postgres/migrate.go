package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/marketflow/marketflow/migrations"
)

// ErrBehind says that the database has not had every migration of this binary.
var ErrBehind = errors.New("the database is behind; run `marketflow migrate up`")

// Migrator moves a database's schema: ours by goose, then River's by its own
// migrator. Processes that migrate at once wait for each other.
type Migrator struct {
	db     *sql.DB
	pool   *pgxpool.Pool
	locker lock.SessionLocker
	goose  *goose.Provider
	river  *rivermigrate.Migrator[pgx.Tx]
}

// NewMigrator connects to the database at url.
func NewMigrator(ctx context.Context, url string) (*Migrator, error) {
	pool, err := NewPool(ctx, PoolConfig{URL: url, MaxConns: 4})
	if err != nil {
		return nil, err
	}

	if err := Ping(ctx, pool); err != nil {
		pool.Close()

		return nil, err
	}

	db := stdlib.OpenDBFromPool(pool)

	// Asked for every second, for up to ten minutes.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 600))
	if err != nil {
		return nil, fmt.Errorf("making the migrations' lock: %w", err)
	}

	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS)
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}

	river, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return nil, fmt.Errorf("reading River's migrations: %w", err)
	}

	return &Migrator{db: db, pool: pool, locker: locker, goose: provider, river: river}, nil
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

// alone keeps other processes from migrating meanwhile. The lock is around both
// migrators, as River's has none: two of them at once make one table twice.
func (m *Migrator) alone(ctx context.Context, migrate func(context.Context) error) (err error) {
	conn, err := m.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting to migrate: %w", presentable(err))
	}
	defer func() { err = errors.Join(err, conn.Close()) }()

	if err := m.locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("waiting for others who migrate: %w", err)
	}
	defer func() { err = errors.Join(err, m.locker.SessionUnlock(context.WithoutCancel(ctx), conn)) }()

	return migrate(ctx)
}

func (m *Migrator) up(ctx context.Context) error {
	if _, err := m.goose.Up(ctx); err != nil {
		return fmt.Errorf("migrating up: %w", err)
	}

	if _, err := m.river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrating River's tables up: %w", err)
	}

	return nil
}

func (m *Migrator) down(ctx context.Context) error {
	if _, err := m.goose.Down(ctx); err != nil {
		return fmt.Errorf("migrating down: %w", err)
	}

	version, err := m.goose.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the database's version: %w", err)
	}

	if version > 0 {
		return nil
	}

	_, err = m.river.Migrate(ctx, rivermigrate.DirectionDown, &rivermigrate.MigrateOpts{TargetVersion: -1})
	if err != nil {
		return fmt.Errorf("migrating River's tables down: %w", err)
	}

	return nil
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
