package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// retryAfter is how long a client is told to wait when the database is away.
const retryAfter = 2 * time.Second

// acquireError: the pool gave no connection, so nothing was sent.
type acquireError struct{ error }

func (e *acquireError) Unwrap() error { return e.error }

func isAcquireError(err error) bool {
	_, ok := errors.AsType[*acquireError](err)

	return ok
}

// closedByServerError: the server had closed the connection before anything was
// sent.
type closedByServerError struct{}

// Error implements error.
func (closedByServerError) Error() string { return "the server has closed the connection" }

// SafeToRetry is what pgconn.SafeToRetry asks for.
func (closedByServerError) SafeToRetry() bool { return true }

// translate turns an error of the driver into one that the core knows. It is the
// only place that does.
func translate(doing string, err error) error {
	err = presentable(err)

	switch {
	case err == nil:
		return nil
	case errors.Is(err, pgx.ErrNoRows), errors.Is(err, ports.ErrContradiction), errors.Is(err, ports.ErrMoved):
		return fmt.Errorf("%s: %w", doing, err)
	case violates(err, oneAtATime), violates(err, oneUpdate):
		return fmt.Errorf("%s: %w", doing, ports.ErrInProgress)
	case unreachable(err), repeatable(err), inDoubt(err):
		return fault.Wrap(fault.Unavailable, fmt.Errorf("%s: %w", doing, err),
			"The database cannot be reached. Try again.").After(retryAfter)
	case hasCode(err, pgerrcode.InvalidSQLStatementName, pgerrcode.DuplicatePreparedStatement):
		// A pooler has given this connection a session with other prepared statements.
		return fmt.Errorf("%s (a pooler changes the session; add default_query_exec_mode=exec to DATABASE_URL): %w", doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// repeatable: the same call may succeed now. After a lost connection nobody knows
// whether it was committed. That is why every call is written so that repeating
// it is harmless.
func repeatable(err error) bool {
	var (
		pg      *pgconn.PgError
		network net.Error
	)

	switch {
	case err == nil:
		return false
	case isAcquireError(err):
		return false // it has waited long enough
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

// unreachable: the database is away or overloaded, or it is a standby while
// another server takes over.
func unreachable(err error) bool {
	var pg *pgconn.PgError

	return isAcquireError(err) ||
		errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &pg) && (serverGoes(pg.Code) || pgerrcode.IsInsufficientResources(pg.Code) ||
			pg.Code == pgerrcode.QueryCanceled || pg.Code == pgerrcode.LockNotAvailable) ||
		isReadOnly(err)
}

// isStalePlan: a migration has changed the type of a column that a prepared
// statement returns ("cached plan must not change result type").
func isStalePlan(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)

	return ok && pg.Code == pgerrcode.FeatureNotSupported && pg.Routine == "RevalidateCachedQuery"
}

// isReadOnly: the server is a standby, or was made read-only. Nothing was written.
func isReadOnly(err error) bool {
	return errors.Is(err, pgconn.ErrReadOnlyConnection) || hasCode(err, pgerrcode.ReadOnlySQLTransaction)
}

// oneAtATime is the index that lets a payment have one operation at a time.
const oneAtATime = "operations_one_at_a_time"

// oneUpdate is the index that lets a payment have one update at a time.
const oneUpdate = "operations_one_update"

// violates tells whether a row would not have been the only one of a unique index.
func violates(err error, index string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)

	return ok && pg.Code == pgerrcode.UniqueViolation && pg.ConstraintName == index
}

// hasCode tells whether PostgreSQL answered with one of these SQLSTATE codes.
func hasCode(err error, codes ...string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)

	return ok && slices.Contains(codes, pg.Code)
}

func serverGoes(code string) bool {
	return code == pgerrcode.AdminShutdown || code == pgerrcode.CrashShutdown ||
		code == pgerrcode.CannotConnectNow || pgerrcode.IsConnectionException(code)
}

// isClosed: the connection was lost while a statement ran. pgx has no type for it.
func isClosed(err error) bool {
	text := err.Error()

	return strings.Contains(text, "unexpected EOF") || strings.Contains(text, "conn closed") ||
		strings.Contains(text, "closed network connection") || strings.Contains(text, "connection reset")
}
