package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// trips sends the statements of one transaction, several in a round trip.
type trips struct {
	to interface {
		SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
	}
	// implicit: each trip is a transaction of its own, without BEGIN and COMMIT.
	implicit bool
	// open: the transaction has begun.
	open bool
}

// statement is one statement of a trip. The last parameter of its text is the last
// of args.
type statement struct {
	text string
	args []any
	// read takes what it returns, and is nil if it returns nothing.
	read func(rows pgx.Rows) error
	// affected is set to how many rows it changed; nil if nobody wants to know.
	affected *int64
}

func execute(text string, args ...any) statement { return statement{text: text, args: args} }

// scanRows calls scan for every row.
func scanRows(text string, scan func(pgx.Rows) error, args ...any) statement {
	return statement{text: text, args: args, read: func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}

		return rows.Err()
	}}
}

// selectRows calls each for every row. R has the columns as its fields, in their order.
func selectRows[R any](text string, each func(R), args ...any) statement {
	return statement{text: text, args: args, read: func(rows pgx.Rows) error {
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[R])
		for _, row := range all {
			each(row)
		}

		return err //nolint:wrapcheck // send wraps it
	}}
}

// uncommittedError: it happened before a COMMIT was sent, so nothing was written.
type uncommittedError struct{ error }

func (e *uncommittedError) Unwrap() error { return e.error }

// send executes statements in one round trip.
func (t *trips) send(ctx context.Context, statements ...statement) error {
	err := t.trip(ctx, statements)
	if err != nil && !t.implicit {
		err = &uncommittedError{err}
	}

	return err
}

// commit executes statements and commits, in one round trip.
func (t *trips) commit(ctx context.Context, statements ...statement) error {
	err := t.trip(ctx, append(statements, execute("COMMIT")))
	t.open = t.open && err != nil

	return err
}

func (t *trips) trip(ctx context.Context, statements []statement) error {
	batch := new(pgx.Batch)

	if !t.implicit && !t.open {
		batch.Queue("BEGIN")

		t.open = true
	}

	for _, s := range statements {
		queued := batch.Queue(s.text, s.args...)

		switch {
		case s.read != nil:
			queued.Query(s.read)
		case s.affected != nil:
			queued.Exec(func(tag pgconn.CommandTag) error {
				*s.affected += tag.RowsAffected()

				return nil
			})
		}
	}

	if err := t.to.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("in one round trip: %w", err)
	}

	return nil
}

// inTrips runs one transaction, in a span of that name. What do has not committed is
// rolled back.
func (s *Store) inTrips(
	ctx context.Context, name string, conn *pgxpool.Conn, do func(context.Context, *trips) error,
) (err error) {
	if s.tracer != nil {
		ctx = s.tracer.startTransaction(ctx, conn.Conn(), name)
		defer func() { s.tracer.TraceQueryEnd(ctx, conn.Conn(), pgx.TraceQueryEndData{Err: err}) }()
	}

	t := &trips{to: conn.Conn()}
	err = do(ctx, t)

	if t.open && !conn.Conn().IsClosed() {
		// Else the pool would close the connection.
		if err := conn.Conn().PgConn().Exec(ctx, "ROLLBACK").Close(); err != nil {
			_ = conn.Conn().Close(ctx)
		}
	}

	return err
}
