package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// briefly makes connections that wait for locks only briefly. It is set in each
// transaction, as a session may be a pooler's, which keeps what is set there.
type briefly struct{ driver.Connector }

// Connect implements driver.Connector.
func (b briefly) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := b.Connector.Connect(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // database/sql compares it
	}

	return brief{conn.(*stdlib.Conn)}, nil //nolint:forcetypeassert // its connector makes no other
}

type brief struct{ *stdlib.Conn }

// BeginTx implements driver.ConnBeginTx.
func (b brief) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	tx, err := b.Conn.BeginTx(ctx, options)
	if err != nil {
		return nil, err //nolint:wrapcheck // database/sql compares it
	}

	if _, err := b.ExecContext(ctx, setLockTimeout, nil); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}

	return tx, nil
}

// ExecContext implements driver.ExecerContext. What goes CONCURRENTLY takes no lock
// that traffic waits for, and itself waits for every transaction that is older.
func (b brief) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	const inNoTransaction = 'I'
	if b.Conn.Conn().PgConn().TxStatus() != inNoTransaction || besideTraffic.MatchString(query) {
		return b.Conn.ExecContext(ctx, query, args)
	}

	if _, err := b.Conn.ExecContext(ctx, "SET lock_timeout = '"+lockTimeout+"'", nil); err != nil {
		return nil, err
	}

	defer func() {
		_, resetErr := b.Conn.ExecContext(context.WithoutCancel(ctx), "RESET lock_timeout", nil)
		err = errors.Join(err, resetErr)
	}()

	return b.Conn.ExecContext(ctx, query, args)
}

var besideTraffic = regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)

const setLockTimeout = "SET LOCAL lock_timeout = '" + lockTimeout + "'"

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
//
// A transaction holds it, not a session, which may be a pooler's. It has no
// snapshot while it is idle, so no index that is built meanwhile waits for it; for
// the same reason the lock is asked for and not waited for.
func (m *Migrator) alone(ctx context.Context, migrate func(context.Context) error) error {
	return presentable(pgx.BeginTxFunc(ctx, m.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return fmt.Errorf("beginning to migrate: %w", err)
		}

		if err := m.awaitTurn(ctx, tx); err != nil {
			return fmt.Errorf("waiting for others who migrate: %w", err)
		}

		return migrate(ctx)
	}))
}

func (m *Migrator) awaitTurn(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()

	for waited := false; ; waited = true {
		var ours bool

		// Releases before this one took the same lock for the session. In the extended
		// protocol the portal would keep its snapshot until the next statement.
		err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)",
			pgx.QueryExecModeSimpleProtocol, int64(lock.DefaultLockID)).Scan(&ours)
		if err != nil || ours {
			return err
		}

		if !waited {
			m.say("another process migrates; waiting for it")
		}

		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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

			return err
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
	err := m.patiently(ctx, func() error { _, err := m.goose.Down(ctx); return err })
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
					return err
				}

				result, err := m.river.MigrateTx(ctx, tx, direction, options)
				if err != nil {
					return err
				}

				done = len(result.Versions) == 0

				return nil
			})
		})
		if err != nil {
			return err
		}
	}

	return nil
}

// patiently tries again while somebody holds what a migration has to lock.
func (m *Migrator) patiently(ctx context.Context, migrate func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, longestPause

	once := func() (struct{}, error) {
		err := migrate()
		if err != nil && !isLocked(err) {
			err = backoff.Permanent(err)
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, which takes it off
	}

	waiting := func(err error, pause time.Duration) {
		m.say(fmt.Sprintf("others use the table; trying again in %s (%v)%s",
			pause.Round(time.Millisecond), err, m.oldest(ctx)))
	}

	_, err := backoff.Retry(ctx, once,
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(m.patience), backoff.WithNotify(waiting))
	if isLocked(err) {
		return fmt.Errorf("others have used the table for %s: %w", m.patience, err)
	}

	return err //nolint:wrapcheck // what migrate said, or ctx
}

// oldest tells of the transaction that has run for longest, which mostly is whom a
// migration waits for. Autovacuum's are among them.
func (m *Migrator) oldest(ctx context.Context) string {
	const question = `
SELECT format('; the oldest transaction is that of process %s (%s, %s) and has run for %s s', pid,
              COALESCE(NULLIF(application_name, ''), backend_type), COALESCE(state, 'running'),
              EXTRACT(EPOCH FROM clock_timestamp() - xact_start)::int)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> 'marketflow' AND xact_start < now()
ORDER BY xact_start
LIMIT 1`

	var line string

	_ = m.pool.QueryRow(ctx, question).Scan(&line) // there may be none, and it only helps

	return line
}

// isLocked: others held a lock for too long, or the traffic and the migration
// waited for each other.
func isLocked(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)

	return ok && (pg.Code == pgerrcode.LockNotAvailable || pg.Code == pgerrcode.DeadlockDetected)
}

// concurrently finds the indexes that a migration builds beside the traffic.
var concurrently = regexp.MustCompile(
	`(?i)\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?("?\w+"?)`)

// dropUnfinished drops the indexes that an earlier try of the migration has left
// behind unfinished: nobody uses them, and their names are taken.
func (m *Migrator) dropUnfinished(ctx context.Context, file string) error {
	text, err := fs.ReadFile(m.files, file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}

	for _, match := range concurrently.FindAllStringSubmatch(string(text), -1) {
		var index string

		err := m.pool.QueryRow(ctx, "SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid",
			match[1]).Scan(&index)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}

		if err != nil {
			return fmt.Errorf("looking at the index %s: %w", match[1], err)
		}

		m.say("dropping the index " + index + ", which an earlier try has left unfinished")

		if _, err := m.pool.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+index); err != nil {
			return fmt.Errorf("dropping the index %s: %w", index, err)
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
