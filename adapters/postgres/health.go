package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/marketflow/marketflow/ports"
)

const (
	// healthTimeout bounds one look at the database.
	healthTimeout = time.Second
	// healthKept is how long what was seen counts, so that probes cost nothing.
	healthKept = 250 * time.Millisecond
)

// health is what the last look at the database found.
type health struct {
	mu    sync.Mutex
	until time.Time
	err   error
}

// Ping tells whether the database can be written: ports.ErrReadOnly where it
// answers and takes no writes. The answer is up to a quarter of a second old.
func (s *Store) Ping(ctx context.Context) error {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()

	if time.Now().Before(s.health.until) {
		return s.health.err
	}

	// Others wait for the answer: it must not be that this one has hung up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()

	s.health.err = s.look(ctx)
	s.health.until = time.Now().Add(healthKept)

	return s.health.err
}

func (s *Store) look(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err == nil {
		defer conn.Release()

		// A connection that was writable when it was made may be one no longer.
		// Past pgx, whose tracer would make a span of it.
		err = pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn.Conn().PgConn())
	}

	switch {
	case err == nil:
		return nil
	case isReadOnly(err):
		s.pool.Reset()

		return fmt.Errorf("asking PostgreSQL: %w", errors.Join(ports.ErrReadOnly, err))
	default:
		return fmt.Errorf("asking PostgreSQL: %w", err)
	}
}
