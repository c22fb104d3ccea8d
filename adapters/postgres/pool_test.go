package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/tests/pgtest"
)

func TestNewPool_NotAURL(t *testing.T) {
	t.Parallel()

	for _, url := range []string{
		"postgres://user:hunter2@host:port/db", "postgres://user:hunter2@%", "host=a port=b password=hunter2",
	} {
		_, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: url, MaxConns: 1})
		require.ErrorContains(t, err, "DATABASE_URL", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestNewPool_Settings(t *testing.T) {
	t.Parallel()

	target := pgtest.New(t).URL

	for want, url := range map[string]string{
		"marketflow/10s": target,
		"ours/10s":       with(t, target, "application_name", "ours"),
	} {
		var got string

		require.NoError(t, newPool(t, url, 1).QueryRow(t.Context(),
			"SELECT current_setting('application_name') || '/' || current_setting('idle_in_transaction_session_timeout')").Scan(&got))
		require.Equal(t, want, got)
	}
}

// Connecting takes two seconds at most, or what the URL says.
func TestNewPool_ConnectTimeout(t *testing.T) {
	t.Parallel()

	target := pgtest.New(t).URL

	for want, url := range map[time.Duration]string{
		2 * time.Second: target, 7 * time.Second: with(t, target, "connect_timeout", "7"),
	} {
		require.Equal(t, want, newPool(t, url, 1).Config().ConnConfig.ConnectTimeout)
	}
}

// A pool that is ready has every connection open and the requests' statements
// planned, and a migration under it is no error.
func TestNewPool_Ready(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: db.URL, MaxConns: 3, Ready: true})
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	require.Eventually(t, func() bool { return pool.Stat().IdleConns() == 3 }, 20*time.Second, 10*time.Millisecond)

	var planned int

	require.NoError(t, pool.QueryRow(t.Context(),
		"SELECT count(*) FROM pg_prepared_statements WHERE generic_plans = 1 AND statement LIKE '-- name: %'").Scan(&planned))
	require.Equal(t, 14, planned)

	store, order := newStore(pool), newOrder(t, "order_1")
	mustBegin(t, store, order)
	mustFinish(t, store, order)

	_, err = pool.Exec(t.Context(), "ALTER TABLE payments ALTER COLUMN currency TYPE TEXT")
	require.NoError(t, err)

	for range 6 {
		_, err = store.Payment(t.Context(), order.ID)
		require.NoError(t, err)
	}
}

// Each statement is a span under the name that its SQL has in queries/. Its
// parameters, of which one is the client's secret, are not in it.
func TestNewPool_Spans(t *testing.T) {
	t.Parallel()

	recorder := tracetest.NewSpanRecorder()
	provider := trace.NewTracerProvider(trace.WithSpanProcessor(recorder))
	pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: pgtest.New(t).URL, MaxConns: 2, Tracer: provider})
	require.NoError(t, err)
	t.Cleanup(pool.Close)

	ctx, request := provider.Tracer("test").Start(t.Context(), "request")
	store, order := newStore(pool), newOrder(t, "order_1")

	_, err = store.Begin(ctx, order)
	require.NoError(t, err)
	_, _, err = store.FinishAndApply(ctx, completionFor(order), eventFor(order, payment.Succeeded))
	require.NoError(t, err)

	spans := recorder.Ended()
	names := make([]string, 0, len(spans))

	for _, span := range spans {
		names = append(names, span.Name())
		require.Equal(t, request.SpanContext().TraceID(), span.SpanContext().TraceID())
		require.NotContains(t, fmt.Sprint(span.Attributes(), span.Events()), "pi_secret")
	}

	for _, name := range []string{"BeginOperations", "FinishAndApply"} {
		require.Contains(t, names, name)
	}
}

// What somebody else's hand has written into the tables is not taken for money.
func TestStore_RowsThatAreNotOurs(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]string{
		"FractionOfACent": "amount = 0.0001",
		"TooLarge":        "amount = 999999999999999",
		"NoCurrency":      "currency = 'ZZZ'",
		"NoText":          `metadata = '{"a": 1}'`,
		"NoObject":        `metadata = '[]'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := newStore(db.Pool())
			order := newOrder(t, operation.Key(name))
			mustBegin(t, store, order)
			mustFinish(t, store, order)

			for _, table := range []string{"payments", "operations"} {
				_, err := db.Pool().Exec(t.Context(), "UPDATE "+table+" SET "+change)
				require.NoError(t, err)
			}

			_, err := store.Payment(t.Context(), order.ID)
			require.ErrorContains(t, err, order.ID.String())

			_, err = store.Find(t.Context(), operation.DefaultTenant, order.Key)
			require.ErrorContains(t, err, order.ID.String())
		})
	}
}
