package postgres

import (
	"context"
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
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/lock"
)

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
			pgx.QueryExecModeSimpleProtocol, lock.DefaultLockID).Scan(&ours)
		if err != nil || ours {
			return err //nolint:wrapcheck // by alone
		}

		if !waited {
			m.say("another process migrates; waiting for it")
		}

		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // by alone
		}
	}
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
//
//nolint:wrapcheck // database/sql compares errors
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

		err := m.pool.QueryRow(ctx,
			"SELECT indexrelid::regclass::text FROM pg_index WHERE indexrelid = to_regclass($1) AND NOT indisvalid",
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
