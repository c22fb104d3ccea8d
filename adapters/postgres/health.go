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
	// healthTimeout bounds one question to the database.
	healthTimeout = time.Second
	// healthCached is how long an answer counts, so that frequent probes cost nothing.
	healthCached = 250 * time.Millisecond
)

// health is the database's last answer.
type health struct {
	mu    sync.Mutex
	until time.Time
	err   error
}

// Ping tells whether the database can be written: ports.ErrReadOnly where it
// answers but takes no writes. The answer is up to healthCached old.
func (s *Store) Ping(ctx context.Context) error {
	s.health.mu.Lock()
	defer s.health.mu.Unlock()

	if time.Now().Before(s.health.until) {
		return s.health.err
	}

	// Other probes wait for this answer, so it must not fail because this client
	// disconnects.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()

	s.health.err = s.askWritable(ctx)
	s.health.until = time.Now().Add(healthCached)

	return s.health.err
}

func (s *Store) askWritable(ctx context.Context) error {
	conn, err := s.hot.Acquire(ctx)
	if err == nil {
		defer conn.Release()

		// A connection that was writable when it was made may have become read-only.
		// Asked through pgconn, because pgx would make a span of it.
		err = pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn.Conn().PgConn())
	}

	switch {
	case err == nil:
		return nil
	case isReadOnly(err):
		s.hot.Reset()

		return fmt.Errorf("asking PostgreSQL: %w", errors.Join(ports.ErrReadOnly, err))
	default:
		return fmt.Errorf("asking PostgreSQL: %w", err)
	}
}
