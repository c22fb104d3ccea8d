package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// notices gathers what a migrator says.
type notices struct {
	mu    sync.Mutex
	lines []string
}

func (n *notices) add(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()

	n.lines = append(n.lines, line)
}

// about counts the lines that hold a text.
func (n *notices) about(text string) int {
	n.mu.Lock()
	defer n.mu.Unlock()

	count := 0

	for _, line := range n.lines {
		if strings.Contains(line, text) {
			count++
		}
	}

	return count
}

// Somebody reads a table for long. A migration that has to lock it waits, the
// traffic does not wait behind it, and once the reader is done so is the migration.
// The service's statements, which were prepared before, go on with the new columns.
func TestMigrator_WaitsWithoutStoppingTheTraffic(t *testing.T) {
	t.Parallel()

	for name, text := range map[string]string{
		"Transaction": addColumns,
		"NoTransaction": `-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE payments ADD COLUMN one_more INTEGER DEFAULT 7;

-- +goose Down
ALTER TABLE payments DROP COLUMN one_more;
`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireTrafficGoesOn(t, text)
		})
	}
}

func requireTrafficGoesOn(t *testing.T, migration string) {
	t.Helper()

	// A request may wait for one try. The rest is for a busy machine.
	const bound = 2 * time.Second

	db := pgtest.New(t)
	pool, err := postgres.NewPool(t.Context(), postgres.PoolConfig{URL: db.URL, MaxConns: 4, Ready: true})
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	require.Eventually(t, func() bool { return pool.Stat().IdleConns() == 4 }, soon, 10*time.Millisecond)

	store := newStore(pool)
	first := newOrder(t, "before")
	mustBegin(t, store, first)
	mustFinish(t, store, first)

	stopReading := lock(t, db, "SET LOCAL application_name = 'report'; SELECT count(*) FROM payments, operations")

	var said notices

	m := newMigratorWith(t, db.URL, map[string]string{"90001_add_columns.sql": migration})
	m.Notice = said.add
	migrated := make(chan error, 1)

	go func() { migrated <- m.Up(t.Context()) }()

	longest := time.Duration(0)

	for n := 0; said.about("others use the table") < 3; n++ {
		began := time.Now()
		order := newOrder(t, operation.Key(fmt.Sprint("during ", n)))
		mustBegin(t, store, order)
		mustFinish(t, store, order)
		_, err := store.Payment(t.Context(), first.ID)
		require.NoError(t, err)

		longest = max(longest, time.Since(began))
	}

	require.Less(t, longest, bound)
	require.Equal(t, 1, said.about("applying 90001_add_columns.sql"))
	require.Positive(t, said.about("(report, idle in transaction)"))

	stopReading()
	require.NoError(t, <-migrated)
	require.Contains(t, schema(t, db.URL), "column payments.one_more integer f 7")

	after := newOrder(t, "after")
	mustBegin(t, store, after)
	mustFinish(t, store, after)

	for range 6 { // a prepared statement is planned anew
		_, err = store.Find(t.Context(), operation.DefaultTenant, first.Key)
		require.NoError(t, err)
		_, err = store.Payment(t.Context(), first.ID)
		require.NoError(t, err)
		_, err = store.Apply(t.Context(), eventFor(first, payment.Succeeded))
		require.NoError(t, err)
	}
}

// Patience has an end, and the error says what it was about.
func TestMigrator_GivesUp(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	m, err := postgres.NewMigratorOf(t.Context(), db.URL, filesWith(t, map[string]string{"90001_add_columns.sql": addColumns}),
		time.Second)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })

	stopReading := lock(t, db, "SELECT count(*) FROM payments")

	err = m.Up(t.Context())
	require.ErrorContains(t, err, "others have used the table for 1s")
	require.ErrorContains(t, err, "lock timeout")

	stopReading()
	require.NoError(t, m.Up(t.Context()))
}

const (
	buildIndex = `-- +goose NO TRANSACTION
-- +goose Up
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS transitions_cause ON payment_transitions (cause);

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS transitions_cause;
`
	validIndex = "SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('transitions_cause') AND indisvalid"
)

// An index that could not be built leaves an unfinished one of its name behind.
// The next try does not take that for done.
func TestMigrator_IndexBuiltAgain(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)

	var said notices

	m := newMigratorWith(t, db.URL, map[string]string{"90001_index.sql": buildIndex})
	m.Notice = said.add

	_, err := db.Pool().Exec(t.Context(),
		"INSERT INTO payment_transitions (payment_id, to_status, cause) "+
			"SELECT gen_random_uuid(), 'pending', 'twice' FROM generate_series(1, 2)")
	require.NoError(t, err)

	for range 2 {
		require.ErrorContains(t, m.Up(t.Context()), "could not create unique index")
		require.ErrorIs(t, m.Check(t.Context()), postgres.ErrBehind)
	}

	_, err = db.Pool().Exec(t.Context(), "UPDATE payment_transitions SET cause = id::text")
	require.NoError(t, err)
	require.NoError(t, m.Up(t.Context()))
	require.Equal(t, 2, said.about("dropping the index transitions_cause"))
	require.Equal(t, "1", lines(t, db.URL, "SELECT ("+validIndex+")::text")[0])
	require.NoError(t, m.Down(t.Context()))
}

// Of several processes that migrate at once one builds the index; the others wait
// for it, and not it for them.
func TestMigrator_IndexBuiltOnce(t *testing.T) {
	t.Parallel()

	db := pgtest.NewEmpty(t)
	errs := make(chan error, 3)

	for range cap(errs) {
		m := newMigratorWith(t, db.URL, map[string]string{"90001_index.sql": buildIndex})

		go func() { errs <- m.Up(t.Context()) }()
	}

	for range cap(errs) {
		require.NoError(t, <-errs)
	}

	require.Equal(t, "1", lines(t, db.URL, "SELECT ("+validIndex+")::text")[0])
}

// A migration that an operator ends goes on nowhere.
func TestMigrator_Interrupted(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	m := newMigratorWith(t, db.URL, map[string]string{
		"90001_slow.sql": "-- +goose Up\nSELECT pg_sleep(600);\n\n-- +goose Down\nSELECT 1;\n",
	})
	ctx, interrupt := context.WithCancel(t.Context())
	migrated := make(chan error, 1)

	go func() { migrated <- m.Up(ctx) }()

	waitFor(t, db, 1, "wait_event = 'PgSleep'")
	interrupt()
	require.Error(t, <-migrated)
	require.Eventually(t, func() bool {
		return lines(t, db.URL, "SELECT count(*)::text "+others+"wait_event = 'PgSleep'")[0] == "0"
	}, soon, 10*time.Millisecond)
	require.ErrorIs(t, m.Check(t.Context()), postgres.ErrBehind)
}
