// Package postgres keeps payments, operations and events in PostgreSQL. It
// implements the store ports with the code that sqlc generates from queries/.
// README.md tells what it owns and which rules hold.
package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// limits bound one call of the store.
type limits struct {
	// acquire is how long a call waits for a connection, and whole how long it takes with
	// all its attempts. After either it is answered 503.
	acquire, whole time.Duration
	// stops: the call ends when its caller gives up. That costs the connection, so it is
	// only for what may be long.
	stops bool
}

//nolint:gochecknoglobals // constants
var (
	shortCall = limits{acquire: time.Second, whole: 3 * time.Second}
	// A report may take long, and no payment waits for it.
	longRead = limits{acquire: 5 * time.Second, whole: 30 * time.Second, stops: true}
	// A page of a list is bounded work.
	pageRead = limits{acquire: time.Second, whole: 5 * time.Second, stops: true}
)

// maxAttempts: every call may be repeated, so after a lost connection, a serialization
// failure or a deadlock it is tried again at once.
const maxAttempts = 3

// Store implements the store ports listed below, with two pools.
//
// The hot pool is for what a request or a webhook waits for, and for every write of
// operations, payments and events, also those of recovery and of people: it is the same
// code. It also looks up single rows by their key for everybody, and asks the questions at
// start. Its planner's settings are for such statements only.
//
// The background pool is for what reads many rows (lists, histories, the audit, the
// backlog) and for reconciliation's reads and its own cursor, lease and sweeps. A slow
// report then takes no request's connection, and no setting of the hot pool spoils its
// plan. Taking unfinished operations is a write. ReadyFor is a list, but a request waits
// for it.
type Store struct {
	hot, background connections

	begins   *group[ports.NewOperation, ports.Operation]
	reserves *group[ports.NewOperation, ports.Operation]
	finishes *group[ports.Completion, ports.Finished]
	changes  *group[finishing, ports.Finished]
	events   *group[ports.Event, ports.Applied]
	reads    *group[uuid.UUID, sqlc.Payment]
	sights   *group[toSee, sight]
	finds    *group[keyOf, sqlc.FindOperationsByKeyRow]
	// tracer is the hot pool's; nil if it has none.
	tracer *tracer
	health health
	lives  *lives

	// indexed are the names of metadata by which payments are found.
	indexed []string
	// lists has room for those that are read now.
	lists chan struct{}
}

var (
	_ ports.Operations     = (*Store)(nil)
	_ ports.Customers      = (*Store)(nil)
	_ ports.Payments       = (*Store)(nil)
	_ ports.Refunds        = (*Store)(nil)
	_ ports.PaymentLists   = (*Store)(nil)
	_ ports.MetadataIndex  = (*Store)(nil)
	_ ports.Facts          = (*Store)(nil)
	_ ports.Inbox          = (*Store)(nil)
	_ ports.Backlog        = (*Store)(nil)
	_ ports.Decisions      = (*Store)(nil)
	_ ports.Audit          = (*Store)(nil)
	_ ports.Installation   = (*Store)(nil)
	_ ports.Reconciliation = (*Store)(nil)
	_ ports.Incarnations   = (*Store)(nil)
)

// NewStore returns a store over a migrated database. Both pools lead to it; they may be
// one. indexed are the names of metadata by which payments are found.
func NewStore(hot, background *pgxpool.Pool, indexed ...string) *Store {
	known := new(lives)

	s := &Store{
		hot:        connections{Pool: hot, lives: known, reads: shortCall, writes: shortCall},
		background: connections{Pool: background, lives: known, reads: longRead, writes: shortCall},
		lives:      known,
		indexed:    indexed,
		lists:      make(chan struct{}, maxLists),
	}
	if t, ok := hot.Config().ConnConfig.Tracer.(tracer); ok {
		s.tracer = &t
	}

	s.begins = &group[ports.NewOperation, ports.Operation]{runTogether: s.beginAll, names: namesOfOperation}
	s.reserves = &group[ports.NewOperation, ports.Operation]{runTogether: s.reserveAll, names: namesOfReservation}
	s.finishes = &group[ports.Completion, ports.Finished]{runTogether: s.finishAll, names: namesOfCompletion}
	s.changes = &group[finishing, ports.Finished]{runTogether: s.finishAllOn, names: namesOfFinishing}
	s.events = &group[ports.Event, ports.Applied]{runTogether: s.applyAll, names: namesOfEvent}
	// Where a page is not in memory a read takes long, and the others must not wait for it.
	s.reads = &group[uuid.UUID, sqlc.Payment]{runTogether: s.readAll, atOnce: int(hot.Config().MaxConns) / 2}
	s.sights = &group[toSee, sight]{runTogether: s.seeAll}
	s.finds = &group[keyOf, sqlc.FindOperationsByKeyRow]{runTogether: s.findAll, atOnce: int(hot.Config().MaxConns) / 2}

	return s
}

// connections is a pool, what bounds the calls on it, and what is known of the database
// that it leads to.
type connections struct {
	*pgxpool.Pool

	lives         *lives
	reads, writes limits
}

// query runs one statement that changes nothing.
func query[T any](
	ctx context.Context, on connections, doing string, statement func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	_, err := on.attempts(ctx, on.reads, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		result, err = statement(ctx, sqlc.New(conn))

		return err
	})

	return result, translate(doing, err)
}

// write runs one statement that changes something. It must be safe to repeat.
func write[T any](
	ctx context.Context, on connections, doing string, statement func(context.Context, *sqlc.Queries) (T, error),
) (T, error) {
	var result T

	err := on.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		result, err = statement(ctx, sqlc.New(conn))

		return err
	})

	return result, err
}

// exec is write for a statement that returns nothing.
func (on connections) exec(
	ctx context.Context, doing string, statement func(context.Context, *sqlc.Queries) error,
) error {
	return on.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return statement(ctx, sqlc.New(conn))
	})
}

// inTransaction runs several statements in one transaction. After a failure that
// may pass, the whole transaction is repeated.
func (on connections) inTransaction(
	ctx context.Context, doing string, statements func(context.Context, *sqlc.Queries) error,
) error {
	return on.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return statements(ctx, sqlc.New(tx)) })
	})
}

// inTransactionWithTrips is inTransaction for statements of both kinds.
func (on connections) inTransactionWithTrips(
	ctx context.Context, doing string, statements func(context.Context, *sqlc.Queries, *trips) error,
) error {
	return on.run(ctx, doing, func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			return statements(ctx, sqlc.New(tx), &trips{to: tx, open: true})
		})
	})
}

// run does one write. An error after which the write may stand is fault.Unknown.
func (on connections) run(ctx context.Context, doing string, fn func(context.Context, *pgxpool.Conn) error) error {
	doubt, err := on.attempts(ctx, on.writes, fn)
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
// Unless its limits say so, a client that disconnects does not stop it: to cancel a
// statement costs the connection, and the statements that requests wait for are short.
func (on connections) attempts(
	ctx context.Context, within limits, fn func(context.Context, *pgxpool.Conn) error,
) (doubt bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err //nolint:wrapcheck // translate wraps it
	}

	if !within.stops {
		ctx = context.WithoutCancel(ctx)
	}

	ctx, cancel := context.WithTimeout(ctx, within.whole)
	defer cancel()

	once := func() (struct{}, error) {
		err := on.onConnection(ctx, within.acquire, fn)
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

func (on connections) onConnection(
	ctx context.Context, acquire time.Duration, fn func(context.Context, *pgxpool.Conn) error,
) error {
	waiting, cancel := context.WithTimeout(ctx, acquire)
	defer cancel()

	conn, err := on.Acquire(waiting)
	if err != nil {
		return &acquireError{err}
	}
	defer conn.Release()

	if closedByServer(conn.Conn().PgConn().Conn()) {
		_ = conn.Conn().Close(ctx)
		err = closedByServerError{}
	} else if err = on.lives.greet(ctx, conn.Conn().PgConn()); err == nil {
		err = fn(ctx, conn)
	}

	if isStalePlan(err) {
		_ = conn.Conn().Close(ctx) // its prepared statements go with it
	}

	if repeatable(err) && conn.Conn().IsClosed() {
		// What closed this connection has probably closed the idle ones too, and
		// there are more of them than attempts.
		on.Reset()
	}

	return err
}

// errNotFound is what a read answers when there is nothing.
func errNotFound(what string) error {
	return fault.Newf(fault.NotFound, "There is no such %s.", what)
}
