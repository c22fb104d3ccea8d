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

// inDoubt: the attempt may have been committed although it failed. Only the server's
// answer tells (https://www.postgresql.org/docs/current/protocol-flow.html), so that
// whatever goes wrong once the statement has gone out leaves it open. An error of
// severity ERROR is an answer: the transaction was rolled back. A FATAL one, such as
// an administrator's shutdown, ends the session and may come after the commit.
func inDoubt(err error) bool {
	var (
		acquired *acquireError
		pg       *pgconn.PgError
		network  net.Error
	)

	switch {
	case err == nil, errors.As(err, &acquired):
		return false
	case errors.As(err, &pg):
		return !provesRollback(pg)
	case isClosed(err):
		// pgx says "conn closed" of a COMMIT whose answer was lost, and calls that safe
		// to retry: its error is that of the next look at the connection.
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

// errInDoubt is what a write answers that may have been committed.
func errInDoubt(cause error) error {
	return fault.Wrap(fault.Unknown, cause,
		"The database did not confirm what was written. Send the same again.").After(retryAfter)
}

func isInDoubt(err error) bool { return err != nil && fault.KindOf(err) == fault.Unknown }

// stillInDoubt is the error of a write whose earlier attempt is in doubt: that a
// later one found no database does not undo the first.
func stillInDoubt(err error) error {
	if err == nil || fault.KindOf(err) != fault.Unavailable {
		return err
	}

	return errInDoubt(err)
}
