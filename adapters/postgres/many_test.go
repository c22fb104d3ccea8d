package postgres_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// What runs every second, and what Prometheus asks for, reads a bounded number of
// pages however many events are parked and however many payments there are.
func TestStore_BackgroundWorkIsBounded(t *testing.T) {
	t.Parallel()

	const slice = 500

	db := pgtest.New(t)
	pool, background := newPool(t, db.URL, 2), newBackgroundPool(t, db.URL, 2)

	for _, statement := range []string{
		`INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, received_at)
			SELECT 'evt_' || n, 'payment_intent.succeeded', 'pi_none_' || n, '{}', 'parked', 'unknown_payment',
			       now() - n * interval '1 second'
			FROM generate_series(1, 300000) n`,
		`INSERT INTO payments (stripe_payment_intent_id, amount, status, created_at)
			SELECT 'pi_' || n, 10, 'succeeded', now() - n * interval '1 second' FROM generate_series(1, 100000) n`,
		`INSERT INTO stripe_events (id, type, object_id, payload, outcome, received_at)
			SELECT 'evt_hint_' || n, 'payment_intent.processing', 'pi_' || n, '{}', 'hint', now() - n * interval '1 second'
			FROM generate_series(1, 100000) n`,
	} {
		_, err := pool.Exec(t.Context(), statement)
		require.NoError(t, err)
	}

	require.Less(t, pagesOf(t, background, "ListParkedEvents", "'infinity', '', 500"), 8*slice, "a slice of the newest")
	require.Less(t, pagesOf(t, background, "ListParkedEvents", "now() - interval '2 days', 'evt_5', 500"), 8*slice,
		"one in the middle")
	require.Less(t, pagesOf(t, pool, "ListReadyEventsOf", "'pi_none_5', 100"), 50, "those of one intent")
	require.Less(t, pagesOf(t, background, "ListHints", "'-infinity', '', 100"), 8*100,
		"the longest waiting of a hundred thousand hints")
	require.Less(t, pagesOf(t, background, "ListHints", "now() - interval '10 hours', 'evt_hint_5', 100"), 8*100,
		"those behind one in the middle")
	require.Less(t, pagesOf(t, pool, "ResolveHints", "'stale', 'pi_5'"), 100, "those of one intent")
	require.Less(t, pagesOf(t, pool, "DismissContradictions", "'pi_none_5'"), 100, "those of one intent")
	require.Less(t, pagesOf(t, background, "GetBacklog", "10000, '1 day'"), 2*ports.BacklogMost, "what Prometheus is told")
	require.Less(t, pagesOf(t, background, "ListOpenPayments", "100, now(), gen_random_uuid(), '2000-01-01', 5000"), 2*5000,
		"none of a hundred thousand is open")
	requireFindsTheOldest(t, postgres.NewStore(pool, background), pool, slice)
}

// requireFindsTheOldest walks through all parked events to one that has become ready.
func requireFindsTheOldest(t *testing.T, store *postgres.Store, pool *pgxpool.Pool, slice int) {
	t.Helper()

	stats, err := store.Backlog(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, ports.BacklogMost, stats.Parked)
	require.Greater(t, stats.OldestParked.Hours(), 83.0, "the oldest of all, counted or not")

	_, err = pool.Exec(t.Context(), `UPDATE payments SET stripe_payment_intent_id = 'pi_none_300000'
		WHERE stripe_payment_intent_id = 'pi_7'`)
	require.NoError(t, err)

	found, at := make([]string, 0, 1), ports.InboxPosition{}

	for range 300_000/slice + 1 {
		ids, next, err := store.Ready(t.Context(), at, slice)
		require.NoError(t, err)

		found, at = append(found, ids...), next
	}

	require.Equal(t, []string{"evt_300000"}, found)
}

// pagesOf runs a statement of sqlc's and returns how many pages it has read.
func pagesOf(t *testing.T, pool *pgxpool.Pool, name, arguments string) int {
	t.Helper()

	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)

	defer conn.Release()

	_, err = conn.Conn().Prepare(t.Context(), name, statements(t)[name])
	require.NoError(t, err)

	var text string

	require.NoError(t, conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE "+
		pgx.Identifier{name}.Sanitize()+"("+arguments+")", pgx.QueryExecModeSimpleProtocol).Scan(&text))

	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`  //nolint:tagliatelle // PostgreSQL's
			Read int `json:"Shared Read Blocks"` //nolint:tagliatelle // PostgreSQL's
		} `json:"Plan"` //nolint:tagliatelle // PostgreSQL's
		Took float64 `json:"Execution Time"` //nolint:tagliatelle // PostgreSQL's
	}

	require.NoError(t, json.NewDecoder(strings.NewReader(text)).Decode(&plans))
	t.Logf("%s(%s): %d pages, %.1f ms", name, arguments, plans[0].Plan.Hit+plans[0].Plan.Read, plans[0].Took)

	return plans[0].Plan.Hit + plans[0].Plan.Read
}
