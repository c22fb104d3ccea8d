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
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3/lock"
)

// exclusively holds an advisory lock, so that no other process migrates meanwhile. It
// covers River's migrator too, which has no lock: two of them at once would make the
// same table.
//
// A transaction holds the lock, not the session, because a pooler may share that.
// While the transaction is idle it has no snapshot, so an index that is built
// CONCURRENTLY does not wait for it. A statement that waited for the lock would have a
// snapshot, so we ask again and again instead.
func (m *Migrator) exclusively(ctx context.Context, migrate func(context.Context) error) error {
	return presentable(pgx.BeginTxFunc(ctx, m.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
			return fmt.Errorf("beginning to migrate: %w", err)
		}

		if err := m.awaitTurn(ctx, tx); err != nil {
			return fmt.Errorf("waiting for another process that migrates: %w", err)
		}

		return migrate(ctx)
	}))
}

func (m *Migrator) awaitTurn(ctx context.Context, tx pgx.Tx) error {
	ctx, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()

	for waited := false; ; waited = true {
		var locked bool

		// Older releases take the same lock, for the session. The simple protocol is
		// used because in the extended one the portal would keep its snapshot until the
		// next statement.
		err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock($1)",
			pgx.QueryExecModeSimpleProtocol, lock.DefaultLockID).Scan(&locked)
		if err != nil || locked {
			return err //nolint:wrapcheck // by exclusively
		}

		if !waited {
			m.say("another process migrates; waiting for it")
		}

		select {
		case <-time.After(turnPoll):
		case <-ctx.Done():
			return ctx.Err() //nolint:wrapcheck // by exclusively
		}
	}
}

// shortLockConnector makes connections that wait for locks only briefly. The timeout
// is set in each transaction, because a pooler would keep a session's setting for its
// next user.
type shortLockConnector struct{ driver.Connector }

// Connect implements driver.Connector.
func (c shortLockConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // database/sql compares it
	}

	return shortLockConn{conn.(*stdlib.Conn)}, nil //nolint:forcetypeassert // its connector makes no other
}

type shortLockConn struct{ *stdlib.Conn }

// BeginTx implements driver.ConnBeginTx.
func (c shortLockConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.BeginTx(ctx, options)
	if err != nil {
		return nil, err //nolint:wrapcheck // database/sql compares it
	}

	if _, err := c.ExecContext(ctx, setLockTimeout, nil); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}

	return tx, nil
}

// ExecContext implements driver.ExecerContext. A CONCURRENTLY statement gets no
// timeout: it takes no lock that requests wait for, and must itself wait for all older
// transactions.
//
//nolint:wrapcheck // database/sql compares errors
func (c shortLockConn) ExecContext(
	ctx context.Context, query string, args []driver.NamedValue,
) (result driver.Result, err error) {
	const inNoTransaction = 'I'
	if c.Conn.Conn().PgConn().TxStatus() != inNoTransaction || concurrently.MatchString(query) {
		return c.Conn.ExecContext(ctx, query, args)
	}

	if _, err := c.Conn.ExecContext(ctx, "SET lock_timeout = '"+lockTimeout+"'", nil); err != nil {
		return nil, err
	}

	defer func() {
		_, resetErr := c.Conn.ExecContext(context.WithoutCancel(ctx), "RESET lock_timeout", nil)
		err = errors.Join(err, resetErr)
	}()

	return c.Conn.ExecContext(ctx, query, args)
}

var concurrently = regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)

const setLockTimeout = "SET LOCAL lock_timeout = '" + lockTimeout + "'"

// retryWhileLocked runs a migration again while others hold the locks that it needs.
func (m *Migrator) retryWhileLocked(ctx context.Context, migrate func() error) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = firstPause, longestPause

	once := func() (struct{}, error) {
		err := migrate()
		if err != nil && !isLocked(err) {
			err = backoff.Permanent(err)
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, which removes it
	}

	waiting := func(err error, pause time.Duration) {
		m.say(fmt.Sprintf("others use the table; trying again in %s (%v)%s",
			pause.Round(time.Millisecond), err, m.oldestTransaction(ctx)))
	}

	_, err := backoff.Retry(ctx, once,
		backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(m.patience), backoff.WithNotify(waiting))
	if isLocked(err) {
		return fmt.Errorf("others have used the table for %s: %w", m.patience, err)
	}

	return err //nolint:wrapcheck // migrate's error, or ctx's
}

// oldestTransaction describes the transaction that has run longest, which may be an
// autovacuum. Mostly it is the one that the migration waits for.
func (m *Migrator) oldestTransaction(ctx context.Context) string {
	const question = `
SELECT format('; the oldest transaction is that of process %s (%s, %s) and has run for %s s', pid,
              COALESCE(NULLIF(application_name, ''), backend_type), COALESCE(state, 'running'),
              EXTRACT(EPOCH FROM clock_timestamp() - xact_start)::int)
FROM pg_stat_activity
WHERE datname = current_database() AND application_name <> 'marketflow' AND xact_start < now()
ORDER BY xact_start
LIMIT 1`

	var line string

	_ = m.pool.QueryRow(ctx, question).Scan(&line) // only a hint, and there may be none

	return line
}

// isLocked: others held a lock for too long, or a request and the migration waited for
// each other.
func isLocked(err error) bool {
	return hasCode(err, pgerrcode.LockNotAvailable, pgerrcode.DeadlockDetected)
}

// concurrentIndex finds the names of indexes that a migration builds CONCURRENTLY.
var concurrentIndex = regexp.MustCompile(
	`(?i)\bCREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?("?\w+"?)`)

// dropUnfinished drops the indexes that an earlier attempt at the migration has left
// invalid: no query uses them, and they occupy their names.
func (m *Migrator) dropUnfinished(ctx context.Context, file string) error {
	text, err := fs.ReadFile(m.files, file)
	if err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}

	for _, match := range concurrentIndex.FindAllStringSubmatch(string(text), -1) {
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

		m.say("dropping the index " + index + ", which an earlier attempt has left unfinished")

		if _, err := m.pool.Exec(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+index); err != nil {
			return fmt.Errorf("dropping the index %s: %w", index, err)
		}
	}

	return nil
}
