package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
)

// lives is what a store knows of the database's lives. A new one is noticed on connecting,
// because no connection survives it. Behind a pooler one does: there it is noticed when
// the next operation is begun or taken.
type lives struct {
	mu sync.Mutex
	// present is the life that was seen for the first time last; empty at first. seen are all:
	// connections to a primary of before may live on for minutes, and its life is not new
	// again. None ever comes back.
	present string
	seen    map[string]bool
	// reconciled is the life in which reconciliation is through; empty if in none that we
	// know of.
	reconciled string
	// began is called when a new life is seen after another one.
	began func()
}

// OnNewLife sets what is called when the database begins a new life. It must return at
// once. It is set before the store is used.
func (s *Store) OnNewLife(began func()) { s.lives.began = began }

// sees remembers the life that a statement was answered in.
func (l *lives) sees(incarnation string) {
	if l.isNew(incarnation) && l.began != nil {
		l.began()
	}
}

// isNew tells whether a life is seen for the first time, after another one.
func (l *lives) isNew(incarnation string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	if l.seen[incarnation] {
		return false
	}

	if l.seen == nil {
		l.seen = make(map[string]bool)
	}

	first := len(l.seen) == 0
	l.present, l.seen[incarnation] = incarnation, true

	return !first
}

// greeted marks a connection whose life is known.
const greeted = "marketflow incarnation"

// greet asks a new connection for the life that it leads to.
func (l *lives) greet(ctx context.Context, conn *pgconn.PgConn) error {
	if conn.CustomData()[greeted] != nil {
		return nil
	}

	// Through pgconn, because pgx would make a span of it.
	results, err := conn.Exec(ctx, "SELECT marketflow_incarnation()").ReadAll()
	if err != nil {
		return fmt.Errorf("asking for the database's incarnation: %w", err)
	}

	l.sees(string(results[0].Rows[0][0]))

	conn.CustomData()[greeted] = true

	return nil
}

// known tells whether reconciliation is known to be through in the present life.
func (l *lives) known() bool {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.present != "" && l.present == l.reconciled
}

func (l *lives) setReconciled(incarnation string) {
	l.mu.Lock()
	defer l.mu.Unlock()

	l.reconciled = incarnation
}

// Incarnation implements ports.Incarnations.
func (s *Store) Incarnation(ctx context.Context) (string, operation.Standing, error) {
	row, err := query(ctx, s.hot, "asking for the database's incarnation",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetStandingRow, error) { return q.GetStanding(ctx) })
	if err != nil {
		return "", operation.Standing{}, err
	}

	s.lives.sees(row.Incarnation)

	standing := standingFromDB(row.Reconciled, row.BehindSeconds)
	if standing.Reconciled {
		s.lives.setReconciled(row.Incarnation)
	}

	return row.Incarnation, standing, nil
}

func standingFromDB(reconciled bool, behindSeconds float64) operation.Standing {
	return operation.Standing{Reconciled: reconciled, Behind: seconds(behindSeconds)}
}

// Reconciled implements ports.Incarnations.
func (s *Store) Reconciled(ctx context.Context) (bool, error) {
	if s.lives.known() {
		return true, nil
	}

	_, standing, err := s.Incarnation(ctx)

	return standing.Reconciled, err
}
