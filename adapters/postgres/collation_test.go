package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// newLinguistic returns an empty database whose default collation is that of a
// language, as those of many servers are.
func newLinguistic(tb testing.TB) string {
	tb.Helper()

	db := pgtest.NewEmpty(tb)
	name := "linguistic_" + strings.ReplaceAll(uuid.NewString(), "-", "")

	_, err := db.Pool().Exec(tb.Context(), "CREATE DATABASE "+name+
		" TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
	require.NoError(tb, err)
	tb.Cleanup(func() {
		_, err := db.Pool().Exec(context.WithoutCancel(tb.Context()), "DROP DATABASE "+name+" WITH (FORCE)")
		require.NoError(tb, err)
	})

	return strings.Replace(db.URL, "/"+db.Pool().Config().ConnConfig.Database, "/"+name, 1)
}

// keyColumns are those that a unique index is on, and keys and provider's ids by
// their name, with their collation.
const keyColumns = `
	SELECT DISTINCT c.relname || '.' || a.attname || ' ' || l.collname
	  FROM pg_attribute a
	  JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
	  JOIN pg_collation l ON l.oid = a.attcollation
	  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)
	 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relname !~ '^(river|goose)'
	   AND (i.indrelid IS NOT NULL OR a.attname IN ('idempotency_key', 'stripe_key', 'object_id')
	        OR a.attname LIKE 'stripe\_%\_id')
	 ORDER BY 1`

// A key is found again whatever the C library of the day thinks of its letters.
func TestMigrations_KeysCompareByBytes(t *testing.T) {
	t.Parallel()

	url := newLinguistic(t)
	require.NoError(t, postgres.Migrate(t.Context(), url))
	require.Equal(t, []string{"f"}, lines(t, url, "SELECT ('B' < 'a')::text::char"), "the database's own order is a language's")

	columns := lines(t, url, keyColumns)
	for _, column := range []string{
		"payments.idempotency_key", "payments.stripe_payment_intent_id", "operations.idempotency_key",
		"operations.stripe_key", "stripe_events.id", "stripe_events.object_id",
	} {
		require.Contains(t, columns, column+" C")
	}

	for _, column := range columns {
		require.True(t, strings.HasSuffix(column, " C"), column)
	}
}

// Keys that a language takes for nearly the same are found apart, by a lookup.
func TestStore_OnALinguisticDatabase(t *testing.T) {
	t.Parallel()

	portstest.Reconciliation(t, func(tb testing.TB) portstest.StoreBed {
		tb.Helper()

		return bedAt(tb, newMigrated(tb))
	})

	url := newMigrated(t)
	store := postgres.Patient(newStore(newPool(t, url, 2)))

	usd, err := money.ParseCurrency("USD")
	require.NoError(t, err)
	ten, err := money.NewPrice(10_00, usd)
	require.NoError(t, err)

	keys := []operation.Key{"order_a", "order_A", "order_é", "order_e\u0301", "order-a", "ordera"}
	for _, key := range keys {
		_, err := store.Find(t.Context(), operation.DefaultTenant, key)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%q is new", key)

		_, err = store.Begin(t.Context(), ports.NewOperation{
			Tenant: operation.DefaultTenant,
			ID:     uuid.New(), Kind: operation.Create, Key: key, Order: operation.Order{Amount: ten},
			Lease: ports.Lease{Token: uuid.New()},
		})
		require.NoError(t, err)
	}

	for _, key := range keys {
		found, err := store.Find(t.Context(), operation.DefaultTenant, key)
		require.NoError(t, err)
		require.Equal(t, key, found.Key)
	}

	conn, err := newPool(t, url, 1).Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	requireLookups(t, conn.Conn())
}

func newMigrated(tb testing.TB) string {
	tb.Helper()

	url := newLinguistic(tb)
	require.NoError(tb, postgres.Migrate(tb.Context(), url))

	return url
}

// A loaded table is neither rewritten nor are its indexes built while it is
// locked, and what was begun is gone on with: a reader that holds a table while
// the migration runs makes it wait, and nobody behind it for long.
func TestMigrations_ComparingByBytesRewritesNothing(t *testing.T) {
	t.Parallel()

	// An earlier release is asked, because this one renames the table.
	url := newLinguistic(t)
	m := newMigratorOfBefore(t, url)
	require.NoError(t, m.Up(t.Context()))
	downTo(t, m, "00008_compare_keys_by_bytes.sql")
	require.Contains(t, lines(t, url, keyColumns), "payments.idempotency_key default")

	_, err := connect(t, url).Exec(t.Context(), `
		INSERT INTO payments (id, stripe_payment_intent_id, idempotency_key, amount)
			SELECT gen_random_uuid(), 'pi_' || n, 'key_' || n, 10 FROM generate_series(1, 5000) n;
		INSERT INTO payment_requests (payment_id, idempotency_key, fingerprint, amount, currency, stripe_key,
				stripe_params, state, leased_until, retry_at, response_status, response_body)
			SELECT id, idempotency_key, sha256(''), 10, 'USD', '', '', 'completed', 'now', 'now', 201, '' FROM payments;
		INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason)
			SELECT 'evt_' || n, 'payment_intent.created', 'pi_' || n, '', 'parked', 'unknown_payment' FROM generate_series(1, 5000) n`)
	require.NoError(t, err)

	const tables = `SELECT relname || ' ' || pg_relation_filenode(oid) FROM pg_class
		WHERE relname IN ('payments', 'payment_requests', 'stripe_events') ORDER BY 1`

	heaps := lines(t, url, tables)

	reader, err := connect(t, url).Begin(t.Context())
	require.NoError(t, err)

	_, err = reader.Exec(t.Context(), "LOCK TABLE payments, payment_requests, stripe_events IN ACCESS SHARE MODE")
	require.NoError(t, err)

	migrated := make(chan error, 1)

	go func() { migrated <- m.Up(t.Context()) }()

	const built = `SELECT pg_relation_filenode(indexrelid)::text FROM pg_index
		WHERE indexrelid::regclass::text LIKE '%_by_bytes' AND indisvalid ORDER BY 1`

	const inUse = `SELECT pg_relation_filenode(conindid)::text FROM pg_constraint WHERE conname IN (
		'payments_stripe_payment_intent_id_key', 'payments_idempotency_key_key', 'payment_requests_idempotency_key_key',
		'stripe_events_pkey') ORDER BY 1`

	require.Eventually(t, func() bool { return len(lines(t, url, built)) == 4 }, time.Minute, 10*time.Millisecond)

	indexes := lines(t, url, built)

	_, err = connect(t, url+"&statement_timeout=10s").Exec(t.Context(),
		"INSERT INTO payments (stripe_payment_intent_id, amount) VALUES ('pi_meanwhile', 1)")
	require.NoError(t, err, "traffic goes on")
	require.NoError(t, reader.Rollback(t.Context()))
	require.NoError(t, <-migrated)

	require.Equal(t, heaps, lines(t, url, tables), "no table was rewritten")
	require.Equal(t, indexes, lines(t, url, inUse), "no index was built while its table was locked")

	same := newLinguistic(t)
	require.NoError(t, newMigratorOfBefore(t, same).Up(t.Context()))
	require.Equal(t, schema(t, same), schema(t, url), "nothing is left behind")
}

// downTo takes migrations back, the named one last.
func downTo(t *testing.T, m *postgres.Migrator, name string) {
	t.Helper()

	for {
		list, err := m.Status(t.Context())
		require.NoError(t, err)

		for _, one := range list {
			if one.Name == name && !one.Applied {
				return
			}
		}

		require.NoError(t, m.Down(t.Context()))
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()

	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })

	return conn
}
