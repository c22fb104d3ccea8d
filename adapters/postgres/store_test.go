package postgres_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// newPool opens a pool on the database at url that is closed after the test.
func newPool(tb testing.TB, url string, maxConns int32) *pgxpool.Pool {
	tb.Helper()

	pool, err := postgres.NewPool(tb.Context(), postgres.PoolConfig{URL: url, MaxConns: maxConns})
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)

	return pool
}

// newStore returns a store that uses one pool for everything.
func newStore(pool *pgxpool.Pool) *postgres.Store {
	return postgres.NewStore(pool, pool, portstest.IndexedNames()...)
}

// severedConns are few, so that callers share commits.
const severedConns = 2

func newBed(tb testing.TB) portstest.StoreBed {
	tb.Helper()

	return bedAt(tb, pgtest.New(tb).URL)
}

func bedAt(tb testing.TB, url string) portstest.StoreBed {
	tb.Helper()

	pool, twin := newPool(tb, url, 8), newPool(tb, url, 8)
	proxy := newProxy(tb, url)
	severed := newPool(tb, proxy.url, severedConns)

	return portstest.StoreBed{
		Severed: newStore(severed),
		Sever: func(tb testing.TB, answers int) func() {
			tb.Helper()
			fill(tb, severed, severedConns)
			proxy.sever(answers)

			if answers == 0 {
				severed.Reset() // not even over what was open
			}

			return proxy.mend
		},

		Store:     postgres.Patient(postgres.NewStore(pool, newBackgroundPool(tb, url, 4), portstest.IndexedNames()...)),
		Twin:      postgres.Patient(newStore(twin)),
		Unindexed: postgres.NewStore(twin, twin),
		Elapse:    func(tb testing.TB, by time.Duration) { tb.Helper(); elapse(tb, pool, by) },
	}
}

// elapse moves what is stored into the past, as the database's own clock cannot
// be moved.
func elapse(tb testing.TB, pool *pgxpool.Pool, by time.Duration) {
	tb.Helper()

	for _, statement := range []string{
		`UPDATE operations
		    SET created_at = created_at - $1::interval, leased_until = leased_until - $1::interval,
		        retry_at = retry_at - $1::interval`,
		`UPDATE stripe_events SET received_at = received_at - $1::interval, processed_at = processed_at - $1::interval`,
	} {
		_, err := pool.Exec(tb.Context(), statement, by)
		require.NoError(tb, err)
	}
}

func TestStore_Operations(t *testing.T) {
	t.Parallel()
	portstest.Operations(t, newBed)
}

func TestStore_Payments(t *testing.T) {
	t.Parallel()
	portstest.Payments(t, newBed)
}

func TestStore_APIKeys(t *testing.T) {
	t.Parallel()
	portstest.APIKeys(t, newBed)
}

func TestStore_Customers(t *testing.T) {
	t.Parallel()
	portstest.Customers(t, newBed)
}

func TestStore_PaymentLists(t *testing.T) {
	t.Parallel()
	portstest.PaymentLists(t, newBed)
}

func TestStore_WebhookSecrets(t *testing.T) {
	t.Parallel()
	portstest.WebhookSecrets(t, newBed)
}

func TestStore_TenantsApart(t *testing.T) {
	t.Parallel()
	portstest.TenantsApart(t, newBed)
}

func TestStore_Disputes(t *testing.T) {
	t.Parallel()
	portstest.Disputes(t, newBed)
}

func TestStore_RefundLists(t *testing.T) {
	t.Parallel()
	portstest.RefundLists(t, newBed)
}

func TestStore_MetadataIndex(t *testing.T) {
	t.Parallel()
	portstest.MetadataIndex(t, newBed)
}

func TestStore_Facts(t *testing.T) {
	t.Parallel()
	portstest.Facts(t, newBed)
}

func TestStore_Refunds(t *testing.T) {
	t.Parallel()
	portstest.Refunds(t, newBed)
}

func TestStore_RefundsOfWhatWasSeen(t *testing.T) {
	t.Parallel()
	portstest.Refunds(t, portstest.Seeing(newBed))
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

func TestStore_Decisions(t *testing.T) {
	t.Parallel()
	portstest.Decisions(t, newBed)
}

func TestStore_Audit(t *testing.T) {
	t.Parallel()
	portstest.Audit(t, newBed)
}

// What was written into the audit stays as it was, for whoever connects as we do.
func TestStore_AuditIsAppendOnly(t *testing.T) {
	t.Parallel()

	pool := pgtest.New(t).Pool()

	_, err := pool.Exec(t.Context(), `INSERT INTO audit (id, actor, action, object_type, object_id, reason)
		VALUES (gen_random_uuid(), 'cli:me@here', 'inbox.dismiss', 'inbox_event', 'evt_1', 'judged')`)
	require.NoError(t, err)

	for _, statement := range []string{
		"UPDATE audit SET reason = 'another'", "UPDATE audit SET reason = 'another' WHERE false",
		"DELETE FROM audit", "TRUNCATE audit",
		"INSERT INTO audit SELECT * FROM audit ON CONFLICT (id) DO UPDATE SET reason = 'another'",
	} {
		_, err := pool.Exec(t.Context(), statement)
		require.ErrorContains(t, err, "append-only", statement)
	}
}

// The database refuses more refunds and disputes than was captured, whatever was decided. Only a fact from
// Stripe exceeds that, and then by what overdrawn says.
func TestStore_RefundCap(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	paid(t, newStore(newPool(t, db.URL, 1)), 1)

	_, err := db.Pool().Exec(t.Context(), "UPDATE payments SET amount_captured = 10")
	require.NoError(t, err)

	for _, c := range []struct {
		pending, refunded, disputed, overdrawn string
		allowed                                bool
	}{
		{"4", "6", "0", "0", true},
		{"4", "6.01", "0", "0", false},
		{"10.01", "0", "0", "0", false},
		{"0", "6", "10", "6", true},
		{"0", "6", "10", "5.99", false},
		{"-1", "0", "0", "0", false},
		{"0", "10.01", "-0.01", "0", false},
	} {
		_, err := db.Pool().Exec(t.Context(), `UPDATE payments SET amount_refund_pending = $1::numeric, amount_refunded = $2::numeric,
			amount_disputed = $3::numeric, overdrawn = $4::numeric`, c.pending, c.refunded, c.disputed, c.overdrawn)
		if c.allowed {
			require.NoError(t, err, "%+v", c)
		} else {
			require.ErrorContains(t, err, "payments_refund_cap", "%+v", c)
		}
	}
}

func BenchmarkStore_Operations(b *testing.B) { portstest.OperationsBenchmarks(b, newBed) }

func BenchmarkStore_Inbox(b *testing.B) { portstest.InboxBenchmarks(b, newBed) }

// asked is an operation as whoever was refused knows it.
func asked(op ports.NewOperation) ports.Operation {
	return ports.Operation{ID: op.ID, Fingerprint: op.Fingerprint()}
}
