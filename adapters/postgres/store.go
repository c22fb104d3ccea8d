// Package postgres keeps payments, operations and events in PostgreSQL. It
// implements the store ports with the code that sqlc generates from queries/.
// README.md tells what it owns and which rules hold.
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

// Bounds on one call of the store.
const (
	// acquireTimeout is how long a call waits for a connection. After that it
	// answers 503.
	acquireTimeout = time.Second
	// callTimeout bounds one call with all its attempts.
	callTimeout = 3 * time.Second
	// maxAttempts: every call may be repeated, so after a lost connection, a
	// serialization failure or a deadlock it is tried again at once.
	maxAttempts = 3
)

// Store implements the store ports listed below.
type Store struct {
	pool     *pgxpool.Pool
	begins   *group[ports.NewOperation, ports.Operation]
	finishes *group[ports.Completion, ports.Finished]
	events   *group[ports.Event, ports.Applied]
	// tracer is the pool's; nil if it has none.
	tracer *tracer
	// acquireTimeout and callTimeout are the constants, except in tests.
	acquireTimeout, callTimeout time.Duration
	health                      health
}

var (
	_ ports.Operations     = (*Store)(nil)
	_ ports.Payments       = (*Store)(nil)
	_ ports.Facts          = (*Store)(nil)
	_ ports.Inbox          = (*Store)(nil)
	_ ports.Backlog        = (*Store)(nil)
	_ ports.Decisions      = (*Store)(nil)
	_ ports.Audit          = (*Store)(nil)
	_ ports.Installation   = (*Store)(nil)
	_ ports.Reconciliation = (*Store)(nil)
)

// NewStore returns a store over a migrated database.
func NewStore(pool *pgxpool.Pool) *Store {
	s := &Store{pool: pool, acquireTimeout: acquireTimeout, callTimeout: callTimeout}
	if t, ok := pool.Config().ConnConfig.Tracer.(tracer); ok {
		s.tracer = &t
	}

	s.begins = &group[ports.NewOperation, ports.Operation]{runTogether: s.beginAll, names: namesOfOperation}
	s.finishes = &group[ports.Completion, ports.Finished]{runTogether: s.finishAll, names: namesOfCompletion}
	s.events = &group[ports.Event, ports.Applied]{runTogether: s.applyAll, names: namesOfEvent}

	return s
}

// query runs one statement that changes nothing.
func query[T any](
	ctx context.Context, s *Store, doing string, statement func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	_, err := s.attempts(ctx, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		result, err = statement(ctx, sqlc.New(conn))

		return err
	})

	return result, translate(doing, err)
}

// write runs one statement that changes something. It must be safe to repeat.
func write[T any](
	ctx context.Context, s *Store, doing string, statement func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	err := s.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		result, err = statement(ctx, sqlc.New(conn))

		return err
	})

	return result, err
}

// exec is write for a statement that returns nothing.
func (s *Store) exec(ctx context.Context, doing string, statement func(context.Context, *sqlc.Queries) error) error {
	return s.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return statement(ctx, sqlc.New(conn))
	})
}

// inTransaction runs several statements in one transaction. After a failure that
// may pass, the whole transaction is repeated.
func (s *Store) inTransaction(ctx context.Context, doing string, statements func(context.Context, *sqlc.Queries) error) error {
	return s.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return statements(ctx, sqlc.New(tx)) })
	})
}

// run does one write. An error after which the write may stand is fault.Unknown.
func (s *Store) run(ctx context.Context, doing string, fn func(context.Context, *pgxpool.Conn) error) error {
	doubt, err := s.attempts(ctx, fn)
	err = translate(doing, err)

	if doubt {
		err = stillInDoubt(err)
	}

	return err
}

// attempts calls fn with a connection, and again where the failure may pass.
// doubt: one of the attempts may have been committed, whatever became of the
// later ones.
//
// A client that disconnects does not stop it: to cancel a statement costs the
// connection, and all our statements are short.
func (s *Store) attempts(
	ctx context.Context, fn func(context.Context, *pgxpool.Conn) error,
) (doubt bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err //nolint:wrapcheck // translate wraps it
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.callTimeout)
	defer cancel()

	once := func() (struct{}, error) {
		err := s.onConnection(ctx, fn)
		doubt = doubt || inDoubt(err)

		if err != nil && !repeatable(err) {
			err = backoff.Permanent(err)
		}

		return struct{}{}, err //nolint:wrapcheck // Permanent is a mark for Retry, removed below
	}

	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond

	_, err = backoff.Retry(ctx, once, backoff.WithBackOff(pause), backoff.WithMaxTries(maxAttempts))

	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		err = permanent.Err
	}

	return doubt, err
}

func (s *Store) onConnection(ctx context.Context, fn func(context.Context, *pgxpool.Conn) error) error {
	waiting, cancel := context.WithTimeout(ctx, s.acquireTimeout)
	defer cancel()

	conn, err := s.pool.Acquire(waiting)
	if err != nil {
		return &acquireError{err}
	}
	defer conn.Release()

	if closedByServer(conn.Conn().PgConn().Conn()) {
		_ = conn.Conn().Close(ctx)
		err = closedByServerError{}
	} else {
		err = fn(ctx, conn)
	}

	if isStalePlan(err) {
		_ = conn.Conn().Close(ctx) // its prepared statements go with it
	}

	if repeatable(err) && conn.Conn().IsClosed() {
		// What closed this connection has probably closed the idle ones too, and
		// there are more of them than attempts.
		s.pool.Reset()
	}

	return err
}

// errNotFound is what a read answers when there is nothing.
func errNotFound(what string) error {
	return fault.Newf(fault.NotFound, "There is no such %s.", what)
}
