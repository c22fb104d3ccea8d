// Package postgres keeps payments, operations and events in PostgreSQL. It
// implements the store ports over sqlc's code, which is sealed in internal/sqlc.
package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// Bounds on one operation.
const (
	// acquireTimeout: a pool that is exhausted for longer answers 503.
	acquireTimeout = time.Second
	// operationTimeout bounds one statement or short transaction.
	operationTimeout = 3 * time.Second
	// tries: every operation may be repeated, so a lost connection, a
	// serialization failure or a deadlock is tried again at once.
	tries = 3
)

// Store implements ports.Operations, ports.Payments, ports.Inbox and ports.Backlog.
type Store struct {
	pool        *pgxpool.Pool
	ops         *group[sqlc.BeginOperationOrFindParams, sqlc.BeginOperationOrFindRow]
	completions *group[sqlc.FinishOperationOrFindParams, sqlc.FinishOperationOrFindRow]
	events      *group[sqlc.ApplyEventParams, sqlc.ApplyEventRow]
	// acquire and operation are acquireTimeout and operationTimeout.
	acquire, operation time.Duration
	health             health
}

var (
	_ ports.Operations = (*Store)(nil)
	_ ports.Payments   = (*Store)(nil)
	_ ports.Inbox      = (*Store)(nil)
	_ ports.Backlog    = (*Store)(nil)

	_ ports.Decisions = (*Store)(nil)
	_ ports.Audit     = (*Store)(nil)
)

// NewStore returns a store over a migrated database.
func NewStore(pool *pgxpool.Pool) *Store {
	s := &Store{pool: pool, acquire: acquireTimeout, operation: operationTimeout}
	s.ops = &group[sqlc.BeginOperationOrFindParams, sqlc.BeginOperationOrFindRow]{run: s.beginOperations, names: namesOfOperation}
	s.completions = &group[sqlc.FinishOperationOrFindParams, sqlc.FinishOperationOrFindRow]{
		run: s.finishOperations, names: namesOfCompletion,
	}
	s.events = &group[sqlc.ApplyEventParams, sqlc.ApplyEventRow]{run: s.applyEvents, names: namesOfEvent}

	return s
}

// run does one write on a connection of its own. fn must be safe to repeat.
func (s *Store) run(ctx context.Context, doing string, fn func(context.Context, *pgxpool.Conn) error) error {
	doubt, err := s.attempts(ctx, fn)
	err = translate(doing, err)

	if doubt {
		err = stillInDoubt(err)
	}

	return err
}

// attempts does one operation on a connection of its own. A client that hangs up
// does not interrupt it: cancelling a statement costs the connection, and all
// of ours are short. doubt: one of the attempts may have been committed, whatever
// became of those after it.
func (s *Store) attempts(
	ctx context.Context, fn func(context.Context, *pgxpool.Conn) error,
) (doubt bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err //nolint:wrapcheck // translate wraps it
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.operation)
	defer cancel()

	once := func() (struct{}, error) {
		err := s.onConnection(ctx, fn)
		doubt = doubt || inDoubt(err)

		if err != nil && !repeatable(err) {
			err = backoff.Permanent(err)
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, taken off below
	}

	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond

	_, err = backoff.Retry(ctx, once, backoff.WithBackOff(pause), backoff.WithMaxTries(tries))

	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Err
	}

	return doubt, err
}

func (s *Store) onConnection(ctx context.Context, fn func(context.Context, *pgxpool.Conn) error) error {
	waiting, cancel := context.WithTimeout(ctx, s.acquire)
	defer cancel()

	conn, err := s.pool.Acquire(waiting)
	if err != nil {
		return &acquireError{err}
	}
	defer conn.Release()

	if hungUp(conn.Conn().PgConn().Conn()) {
		_ = conn.Conn().Close(ctx)
		err = hungUpError{}
	} else {
		err = fn(ctx, conn)
	}

	if isStalePlan(err) {
		_ = conn.Conn().Close(ctx) // with its statements
	}

	if repeatable(err) && conn.Conn().IsClosed() {
		// What ended this connection has likely ended the idle ones too, and there
		// are more of them than tries.
		s.pool.Reset()
	}

	return err
}

// query runs one sqlc query that changes nothing.
func query[T any](
	ctx context.Context, s *Store, doing string, q func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	_, err := s.attempts(ctx, func(ctx context.Context, conn *pgxpool.Conn) error {
		var err error

		result, err = q(ctx, sqlc.New(conn))

		return err
	})

	return result, translate(doing, err)
}

// write runs one sqlc query through run.
func write[T any](
	ctx context.Context, s *Store, doing string, q func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	err := s.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		var err error

		result, err = q(ctx, sqlc.New(conn))

		return err
	})

	return result, err
}

// inTransaction runs fn in one transaction, which is repeated as a whole.
func (s *Store) inTransaction(ctx context.Context, doing string, fn func(context.Context, *sqlc.Queries) error) error {
	return s.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return fn(ctx, sqlc.New(tx)) })
	})
}

// errNotFound is what a read answers when there is nothing.
func errNotFound(what string) error {
	return fault.Newf(fault.NotFound, "There is no such %s.", what)
}
