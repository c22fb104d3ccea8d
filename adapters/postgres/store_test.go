package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/pgtest"
	"github.com/marketflow/marketflow/ports/portstest"
)

// newPool opens a pool on the database at url that is closed after the test.
func newPool(tb testing.TB, url string, maxConns int32) *pgxpool.Pool {
	tb.Helper()

	pool, err := postgres.NewPool(tb.Context(), postgres.PoolConfig{URL: url, MaxConns: maxConns})
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)

	return pool
}

func newBed(tb testing.TB) portstest.StoreBed {
	tb.Helper()

	return bedAt(tb, pgtest.New(tb).URL)
}

func bedAt(tb testing.TB, url string) portstest.StoreBed {
	tb.Helper()

	pool, twin := newPool(tb, url, 8), newPool(tb, url, 8)

	return portstest.StoreBed{
		Store:  postgres.Patient(postgres.NewStore(pool)),
		Twin:   postgres.Patient(postgres.NewStore(twin)),
		Elapse: func(tb testing.TB, by time.Duration) { tb.Helper(); elapse(tb, pool, by) },
	}
}

// elapse moves what is stored into the past, as the database's own clock cannot
// be moved.
func elapse(tb testing.TB, pool *pgxpool.Pool, by time.Duration) {
	tb.Helper()

	for _, statement := range []string{
		`UPDATE payment_requests
		    SET created_at = created_at - $1::interval, leased_until = leased_until - $1::interval,
		        retry_at = retry_at - $1::interval`,
		`UPDATE stripe_events SET received_at = received_at - $1::interval, processed_at = processed_at - $1::interval`,
	} {
		_, err := pool.Exec(tb.Context(), statement, by)
		require.NoError(tb, err)
	}
}

func TestStore_Claims(t *testing.T) {
	t.Parallel()
	portstest.Claims(t, newBed)
}

func TestStore_Payments(t *testing.T) {
	t.Parallel()
	portstest.Payments(t, newBed)
}

func TestStore_Inbox(t *testing.T) {
	t.Parallel()
	portstest.Inbox(t, newBed)
}

func TestStore_Backlog(t *testing.T) {
	t.Parallel()
	portstest.Backlog(t, newBed)
}

func TestStore_Reconciliation(t *testing.T) {
	t.Parallel()
	portstest.Reconciliation(t, newBed)
}

func BenchmarkStore_Claims(b *testing.B) { portstest.ClaimsBenchmarks(b, newBed) }

func BenchmarkStore_Inbox(b *testing.B) { portstest.InboxBenchmarks(b, newBed) }
