package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marketflow/marketflow/domain/fault"
)

// inDoubt: the attempt failed, but may have been committed. Only the server's answer
// tells (https://www.postgresql.org/docs/current/protocol-flow.html), so every
// failure after the statement was sent leaves it open. An error of severity ERROR is
// an answer: the transaction was rolled back. A FATAL one, such as an
// administrator's shutdown, ends the session and may come after the commit.
func inDoubt(err error) bool {
	var (
		pg      *pgconn.PgError
		network net.Error
	)

	switch {
	case err == nil, isAcquireError(err), errors.As(err, new(*uncommittedError)):
		return false
	case errors.As(err, &pg):
		return !provesRollback(pg)
	case isClosed(err):
		// When the answer to a COMMIT is lost, pgx reports "conn closed", which is what
		// it finds when it next looks at the connection, and calls that safe to retry.
		return true
	case pgconn.SafeToRetry(err):
		return false
	default:
		return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) || errors.Is(err, io.EOF)
	}
}

func provesRollback(pg *pgconn.PgError) bool {
	severity := pg.SeverityUnlocalized
	if severity == "" { // some poolers leave it out
		severity = pg.Severity
	}

	// Poolers report a lost server as an ordinary error of class 08.
	return severity == "ERROR" && !pgerrcode.IsConnectionException(pg.Code) &&
		pg.Code != pgerrcode.StatementCompletionUnknown
}

func isInDoubt(err error) bool { return err != nil && fault.KindOf(err) == fault.Unknown }

// stillInDoubt is the error of a write whose earlier attempt is in doubt. That a
// later attempt did not reach the database does not undo the earlier one.
func stillInDoubt(err error) error {
	if err == nil || fault.KindOf(err) != fault.Unavailable {
		return err
	}

	return errInDoubt(err)
}

func errInDoubt(cause error) error {
	return fault.Wrap(fault.Unknown, cause,
		"The database did not confirm what was written. Send the same again.").After(retryAfter)
}
