package postgres_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// manyPayments are of one second each, all but the oldest succeeded.
const manyPayments = `
	INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount, status, metadata, created_at)
	SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'pi_' || n, 'key_' || n, 10,
	       CASE WHEN n = 1 THEN 'failed' ELSE 'succeeded' END, jsonb_build_object('order', 'order_' || n, 'shop', 'left'),
	       timestamptz '2026-01-01' + n * interval '1 second'
	FROM generate_series(1, 25000) n;
	INSERT INTO payment_metadata
	SELECT 1, m.key, m.value, p.created_at, p.id FROM payments p, jsonb_each_text(p.metadata) m;
	ANALYZE`

// A page of a filter that few payments fit looks at a bounded number of them. It tells where
// to go on, and what fits is found in the end.
func TestStore_ListsAreBoundedWork(t *testing.T) {
	t.Parallel()

	pool := newPool(t, pgtest.New(t).URL, 2)
	store := newStore(pool)

	_, err := pool.Exec(t.Context(), manyPayments)
	require.NoError(t, err)

	var (
		at    ports.PaymentPosition
		found []payment.Payment
		short int
	)

	for pages := 1; ; pages++ {
		page, err := store.ListPayments(t.Context(), ports.PaymentFilter{
			Tenant: operation.DefaultTenant, Status: payment.Failed,
		}, at, 20)
		require.NoError(t, err)

		found = append(found, page.Payments...)

		if at = page.Next; at.IsZero() {
			require.Equal(t, 3, pages, "25,000 payments, a little more than 10,000 in a page")

			break
		}

		require.Less(t, len(page.Payments), 20)

		short++
	}

	require.Len(t, found, 1)
	require.Equal(t, "pi_1", found[0].IntentID)
	require.Equal(t, 2, short)
}

// However far back a page begins, its statements begin there: they walk through an index
// from the cursor on. That is so for the plan of all arguments, and for the server's own
// settings.
func TestLists_WalkThroughIndexes(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	hot, background := newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, 1)

	_, err := hot.Exec(t.Context(), manyPayments)
	require.NoError(t, err)

	all := statements(t)

	conn, err := hot.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)

	generic := func(name string) string { return planOf(t, conn.Conn(), name, all[name]) }

	plan := generic("ListPayments")
	require.Regexp(t, `Index Scan using idx_payments_created_at on payments`, plan)
	require.Regexp(t, `Index Cond: \(\(created_at <= \$\d+\) AND \(created_at >= \$\d+\)\)`, plan)
	require.Regexp(t, `Incremental Sort\s.*\n\s+Sort Key: payments\w*\.created_at DESC, .*\n\s+Presorted Key`, plan,
		"only payments of one moment are sorted:\n%s", plan)

	plan = generic("ListPaymentsWith")
	require.Contains(t, plan, "Index Only Scan Backward using payment_metadata_pkey")
	require.NotContains(t, plan, "Sort")

	require.Contains(t, generic("IndexMetadata"), "Index Scan Backward using idx_payments_created_at on payments")
	require.Contains(t, generic("FindPayments"), "BitmapOr")

	deep := func(text string, args ...any) string {
		rows, err := background.Query(t.Context(), "EXPLAIN "+text, args...)
		require.NoError(t, err)

		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)

		return strings.Join(lines, "\n")
	}

	before := time.Date(2026, time.January, 1, 1, 0, 0, 0, time.UTC)
	none := "00000000-0000-0000-0000-000000000000"

	plan = deep(all["ListPayments"], "", "", "", "0", "1e15", false, false, "{}", 21, before, none, time.Time{}, 21)
	require.Contains(t, plan, "Index Scan using idx_payments_created_at on payments")
	require.NotContains(t, plan, "Seq Scan on payments")

	plan = deep(all["ListPaymentsWith"], 1, "shop", "left", before, none, time.Time{}, 21)
	require.Contains(t, plan, "payment_metadata_pkey")
	require.NotContains(t, plan, "Seq Scan")
}

// More lists than there is room for do not take the connections of jobs.
func TestStore_ListsLeaveConnections(t *testing.T) {
	t.Parallel()

	const most = 4

	db := pgtest.New(t)
	store := postgres.NewStore(newPool(t, db.URL, 1), newBackgroundPool(t, db.URL, most+1))
	unlock := lockTables(t, db, "payments")
	lists := make(chan error, most)
	list := func() error {
		_, err := store.ListPayments(t.Context(), ports.PaymentFilter{Tenant: operation.DefaultTenant}, ports.PaymentPosition{}, 1)

		return err
	}

	for range most {
		go func() { lists <- list() }()
	}

	require.Eventually(t, func() bool { return postgres.ListsUnderWay(store) == most }, 20*time.Second, time.Millisecond)

	_, err := store.AuditOf(t.Context(), "pi_1")
	require.NoError(t, err, "a connection is left")

	err = list()
	require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	require.Positive(t, fault.From(err).RetryAfter)

	unlock()

	for range most {
		require.NoError(t, <-lists)
	}
}

// The entries are those of the payments' metadata as it is, whoever has written it.
func TestStore_MetadataIsIndexedWithItsPayment(t *testing.T) {
	t.Parallel()

	pool := newPool(t, pgtest.New(t).URL, 4)
	store := newStore(pool)
	orders := paid(t, store, 5)

	requireIndexed(t, pool)

	_, err := pool.Exec(t.Context(), "UPDATE payments SET version = version + 1")
	require.NoError(t, err)
	requireIndexed(t, pool)

	for _, metadata := range []map[string]string{
		{"order": "43", "shop": "left"}, {"shop": "left"}, {"other": "x"}, nil, {"order": "42"},
	} {
		op, err := store.Begin(t.Context(), ports.NewOperation{
			Tenant: operation.DefaultTenant, ID: uuid.New(), Kind: operation.Update, Subject: orders[0].ID,
			Call:  ports.Call{Key: uuid.NewString(), Path: "/", Params: "a=1"},
			Lease: ports.Lease{Token: uuid.New(), For: time.Minute},
		})
		require.NoError(t, err)

		_, err = store.FinishOn(t.Context(), op.ID, "request", ports.Change{
			Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
				p.Metadata = metadata

				return p, ports.FrozenResponse{Status: http.StatusOK, Body: []byte("{}")}, nil
			},
		})
		require.NoError(t, err)
		requireIndexed(t, pool)
	}
}

// requireIndexed requires that payment_metadata has exactly the entries of the payments.
func requireIndexed(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()

	const difference = `
		WITH wanted AS (
			SELECT p.tenant, m.key::text AS name, m.value::text AS value, p.created_at, p.id
			FROM payments p, jsonb_each_text(p.metadata) m WHERE m.key = ANY ($1)
		), there AS (SELECT tenant, name::text, value::text, created_at, payment_id FROM payment_metadata)
		SELECT (SELECT count(*) FROM (TABLE wanted EXCEPT TABLE there) a) + (SELECT count(*) FROM (TABLE there EXCEPT TABLE wanted) b)`

	var differ int

	require.NoError(t, pool.QueryRow(t.Context(), difference, portstest.IndexedNames()).Scan(&differ))
	require.Zero(t, differ)
}
