package postgres_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// Reads that wait for a connection go in one statement, and each gets its own payment.
func TestStore_ReadsShareStatements(t *testing.T) {
	t.Parallel()

	const count = 60

	db := pgtest.New(t)
	recorder := tracetest.NewSpanRecorder()
	pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{
		URL: db.URL, MaxConns: 2, Tracer: trace.NewTracerProvider(trace.WithSpanProcessor(recorder)),
	})
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	store := postgres.Patient(newStore(pool))
	orders := paid(t, store, count)

	// Nobody can read until this transaction ends.
	blocker, err := newPool(t, db.URL, 1).Begin(t.Context())
	require.NoError(t, err)
	_, err = blocker.Exec(t.Context(), "LOCK payments")
	require.NoError(t, err)

	var all sync.WaitGroup

	for _, order := range orders {
		for _, id := range []uuid.UUID{order.ID, order.ID, uuid.New()} {
			all.Go(func() {
				p, err := store.Payment(t.Context(), id)
				if id == order.ID && (err != nil || p.ID != id) {
					t.Errorf("payment %s: %s, %v", id, p.ID, err)
				}

				if id != order.ID && fault.KindOf(err) != fault.NotFound {
					t.Errorf("payment %s does not exist: %v", id, err)
				}
			})
		}
	}

	require.Eventually(t, func() bool { return postgres.ReadsWaiting(store) > count }, 10*time.Second, time.Millisecond)
	require.NoError(t, blocker.Rollback(t.Context()))
	all.Wait()

	statements := 0

	for _, span := range recorder.Ended() {
		if span.Name() == "GetPayments" {
			statements++
		}
	}

	require.Less(t, statements, 2*count+5, "more than a third of the reads took two statements at most")
}
