package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// retryAfter is what a client is told to wait when the database is away.
const retryAfter = 2 * time.Second

// acquireError: there was no connection to be had.
type acquireError struct{ error }

func (e *acquireError) Unwrap() error { return e.error }

// hungUpError: the server had closed the connection before anything was sent.
type hungUpError struct{}

// Error implements error.
func (hungUpError) Error() string { return "the server has closed the connection" }

// SafeToRetry is what pgconn.SafeToRetry asks for.
func (hungUpError) SafeToRetry() bool { return true }

// translate turns an error of the driver into one of the house, once, here.
func translate(doing string, err error) error {
	err = presentable(err)

	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, ports.ErrContradiction), errors.Is(err, ports.ErrMoved):
		return fmt.Errorf("%s: %w", doing, err)
	case unreachable(err), repeatable(err), inDoubt(err):
		return fault.Wrap(fault.Unavailable, fmt.Errorf("%s: %w", doing, err),
			"The database cannot be reached. Try again.").After(retryAfter)
	case losesStatements(err):
		return fmt.Errorf("%s (a pooler changes the session; add default_query_exec_mode=exec to DATABASE_URL): %w", doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// repeatable: the same operation may succeed now. After a lost connection
// nobody knows whether it was committed, which is why operations are written
// so that repeating them is harmless.
func repeatable(err error) bool {
	var (
		pg       *pgconn.PgError
		network  net.Error
		acquired *acquireError
	)

	switch {
	case err == nil:
		return false
	case errors.As(err, &acquired):
		return false // waited long enough already
	case errors.As(err, &pg):
		return pg.Code == pgerrcode.SerializationFailure || pg.Code == pgerrcode.DeadlockDetected ||
			serverGoes(pg.Code) || isStalePlan(err) || isReadOnly(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return false
	case pgconn.SafeToRetry(err), errors.As(err, &network):
		return true
	default:
		return isClosed(err)
	}
}

// isStalePlan: a migration has changed the type of a column that a prepared
// statement returns ("cached plan must not change result type").
func isStalePlan(err error) bool {
	var pg *pgconn.PgError

	return errors.As(err, &pg) && pg.Code == pgerrcode.FeatureNotSupported && pg.Routine == "RevalidateCachedQuery"
}

// losesStatements: what this connection has prepared is not there, or another's is,
// because a pooler has given it another session.
func losesStatements(err error) bool {
	var pg *pgconn.PgError

	return errors.As(err, &pg) &&
		(pg.Code == pgerrcode.InvalidSQLStatementName || pg.Code == pgerrcode.DuplicatePreparedStatement)
}

// isTaken: one of the rows that a statement wanted to write is there already.
func isTaken(err error) bool {
	var pg *pgconn.PgError

	return errors.As(err, &pg) && pg.Code == pgerrcode.UniqueViolation
}

// unreachable: the database is away, overloaded, or not the one to write to: a
// standby, while another server takes over.
func unreachable(err error) bool {
	var (
		acquired *acquireError
		pg       *pgconn.PgError
	)

	return errors.As(err, &acquired) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &pg) && (serverGoes(pg.Code) || pgerrcode.IsInsufficientResources(pg.Code) ||
			pg.Code == pgerrcode.QueryCanceled || pg.Code == pgerrcode.LockNotAvailable) ||
		isReadOnly(err)
}

// isReadOnly: the server is a standby or was made a reader. Nothing was written.
func isReadOnly(err error) bool {
	var pg *pgconn.PgError

	return errors.Is(err, pgconn.ErrReadOnlyConnection) ||
		errors.As(err, &pg) && pg.Code == pgerrcode.ReadOnlySQLTransaction
}

func serverGoes(code string) bool {
	return code == pgerrcode.AdminShutdown || code == pgerrcode.CrashShutdown ||
		code == pgerrcode.CannotConnectNow || pgerrcode.IsConnectionException(code)
}

// isClosed recognises a connection that went away under a statement; pgx has
// no type for it.
func isClosed(err error) bool {
	text := err.Error()

	return strings.Contains(text, "unexpected EOF") || strings.Contains(text, "conn closed") ||
		strings.Contains(text, "closed network connection") || strings.Contains(text, "connection reset")
}
