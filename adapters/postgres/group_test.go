package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// paid are as many payments that exist.
func paid(t *testing.T, store *postgres.Store, count int) []ports.NewOperation {
	t.Helper()

	orders := make([]ports.NewOperation, 0, count)
	for i := range count {
		order := newOrder(t, operation.Key(fmt.Sprintf("order_%d", i)))
		mustBegin(t, store, order)
		mustFinish(t, store, order)
		orders = append(orders, order)
	}

	return orders
}

// atOnce applies all events at the same time.
func atOnce(ctx context.Context, store *postgres.Store, events []ports.Event) ([]ports.Applied, []error) {
	applied, errs := make([]ports.Applied, len(events)), make([]error, len(events))

	var all sync.WaitGroup
	for i, e := range events {
		all.Go(func() { applied[i], errs[i] = store.Apply(ctx, e) })
	}

	all.Wait()

	return applied, errs
}

// commits is how many transactions wrote the rows of a table that are there now:
// PostgreSQL's own counters are about all databases of a server, and other tests'.
func commits(t *testing.T, db *pgtest.DB, table string) int {
	t.Helper()

	var count int

	err := newPool(t, db.URL, 1).QueryRow(t.Context(), "SELECT count(DISTINCT xmin::text) FROM "+table).Scan(&count)
	require.NoError(t, err)

	return count
}

func TestStore_EventsShareCommits(t *testing.T) {
	t.Parallel()

	const count = 100

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	events := make([]ports.Event, 0, count)

	for _, order := range paid(t, store, count) {
		events = append(events, eventFor(order, payment.Succeeded))
	}

	applied, errs := atOnce(t.Context(), store, events)
	require.Less(t, commits(t, db, "stripe_events"), count)

	for i, e := range events {
		require.NoError(t, errs[i])
		require.Equal(t, ports.EventApplied, applied[i].Outcome)
		require.Equal(t, e.Intent.PaymentID, applied[i].PaymentID)
		require.Equal(t, payment.Pending, applied[i].Before.Status)

		stored, err := store.Event(t.Context(), e.ID)
		require.NoError(t, err)
		require.Equal(t, e.Raw, stored.Raw)
	}
}

// Where no connection is to be had, all who wait are told at once.
func TestStore_EventsDoNotQueueForAConnection(t *testing.T) {
	t.Parallel()

	const count = 1000

	pool := newPool(t, pgtest.New(t).URL, 1)
	store := newStore(pool)
	events := make([]ports.Event, 0, count)

	for range count {
		events = append(events, eventFor(newOrder(t, operation.Key(uuid.NewString())), payment.Succeeded))
	}

	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)

	defer conn.Release()

	_, errs := atOnce(t.Context(), store, events)
	for _, err := range errs {
		require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
	}

	// Not once for each of the sixteen groups that they would make.
	require.LessOrEqual(t, pool.Stat().CanceledAcquireCount(), int64(8))
}

// Among good events: one that PostgreSQL refuses, one of no known payment, one
// that contradicts, one that is too large to go along, and one twice.
func TestStore_EventsDoNotHarmTheirNeighbours(t *testing.T) {
	t.Parallel()

	const count = 40

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	orders := paid(t, store, count+2)
	events := make([]ports.Event, 0, count)

	for _, order := range orders[:count] {
		events = append(events, eventFor(order, payment.Succeeded))
	}

	bad, unknown := eventFor(orders[count], payment.Succeeded), eventFor(newOrder(t, "unknown"), payment.Succeeded)
	bad.Type = "a type with U+0000 \x00"
	unknown.Intent.PaymentID = orders[count].ID
	unknown.ObjectID = "pi_of_nobody"
	large := eventFor(orders[count+1], payment.Failed)
	large.Raw = []byte(strings.Repeat(" ", 1<<20))

	events = append(events[:count/2:count/2], append([]ports.Event{bad, unknown, large, events[0]}, events[count/2:]...)...)
	applied, errs := atOnce(t.Context(), store, events)

	outcomes := map[ports.EventOutcome]int{}

	for i, e := range events {
		if e.ID == bad.ID {
			require.Error(t, errs[i])

			continue
		}

		require.NoError(t, errs[i])

		outcomes[applied[i].Outcome]++
	}

	require.Equal(t, map[ports.EventOutcome]int{
		ports.EventApplied: count + 1, ports.EventParked: 1, ports.EventDuplicate: 1,
	}, outcomes)
}

// Two events about one payment are applied as if one came after the other.
func TestStore_EventsOfOnePayment(t *testing.T) {
	t.Parallel()

	const count = 30

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	orders := paid(t, store, count)

	events := make([]ports.Event, 0, 2*count)
	for _, order := range orders {
		events = append(events, eventFor(order, payment.Failed), eventFor(order, payment.Succeeded))
	}

	_, errs := atOnce(t.Context(), store, events)
	for _, err := range errs {
		require.NoError(t, err)
	}

	for _, order := range orders {
		now, err := store.Payment(t.Context(), order.ID)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, now.Status)

		from := payment.Pending
		for _, step := range mustHistory(t, store, order.ID)[1:] {
			require.Equal(t, from, step.From)
			from = step.To
		}

		require.Equal(t, payment.Succeeded, from)
	}
}

// A payment that somebody has locked holds up its own event and no other, whether that
// goes alone or in a group.
func TestStore_EventsDoNotWaitForALockedOne(t *testing.T) {
	t.Parallel()

	for name, as := range map[string]func(*postgres.Store) *postgres.Store{
		"Alone":   postgres.Patient,
		"Grouped": func(s *postgres.Store) *postgres.Store { return postgres.AlwaysGrouped(postgres.Patient(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			requireNoWaiting(t, as)
		})
	}
}

func requireNoWaiting(t *testing.T, as func(*postgres.Store) *postgres.Store) {
	t.Helper()

	const count = 20

	db := pgtest.New(t)
	store := as(newStore(newPool(t, db.URL, 4)))
	orders := paid(t, store, count+1)
	unlock := lock(t, db, fmt.Sprintf("SELECT FROM payments WHERE id = '%s' FOR UPDATE", orders[count].ID))

	stuck := make(chan error, 1)

	go func() {
		_, err := store.Apply(t.Context(), eventFor(orders[count], payment.Succeeded))
		stuck <- err
	}()

	waitFor(t, db, 1, "wait_event_type = 'Lock'")

	began := time.Now()

	for _, order := range orders[:count] {
		applied, err := store.Apply(t.Context(), eventFor(order, payment.Succeeded))
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)
	}

	require.Less(t, time.Since(began), soon, "the store's patience is longer")

	select {
	case err := <-stuck:
		t.Fatalf("it did not wait: %v", err)
	default:
	}

	unlock()
	require.NoError(t, <-stuck)
}

// A client that hangs up does not take the others' commit with it.
func TestStore_EventsOutliveAHangUp(t *testing.T) {
	t.Parallel()

	const count = 60

	store := newStore(newPool(t, pgtest.New(t).URL, 4))
	orders := paid(t, store, count)
	leaving, leave := context.WithCancel(t.Context())

	defer leave()

	var all sync.WaitGroup

	errs := make([]error, count)

	for i, order := range orders {
		all.Go(func() {
			ctx := t.Context()
			if i%2 == 0 {
				ctx = leaving
			}

			_, errs[i] = store.Apply(ctx, eventFor(order, payment.Succeeded))

			leave()
		})
	}

	all.Wait()

	for i, err := range errs {
		if i%2 == 1 {
			require.NoError(t, err)
		}
	}
}

// Operations of different keys share commits; of one key, one gets the lease.
func TestStore_OperationsShareCommits(t *testing.T) {
	t.Parallel()

	const count, copies = 60, 3

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))

	var (
		all  sync.WaitGroup
		held [count]atomic.Int64
		errs [count * copies]error
	)

	for i := range count * copies {
		order := newOrder(t, operation.Key(fmt.Sprintf("order_%d", i%count)))

		all.Go(func() {
			var op ports.Operation
			if op, errs[i] = store.Begin(t.Context(), order); op.Held() {
				held[i%count].Add(1)
			}
		})
	}

	all.Wait()

	for _, err := range errs {
		require.NoError(t, err)
	}

	for i := range held {
		require.EqualValues(t, 1, held[i].Load())
	}

	require.Less(t, commits(t, db, "operations"), count)
}

// Of several operations on one payment that arrive together one is written. They do the
// operations on other payments no harm, and two processes that write at the same time do
// not lock each other out.
func TestStore_OperationsOnPaymentsShareCommits(t *testing.T) {
	t.Parallel()

	const count, copies = 20, 4

	db := pgtest.New(t)
	stores := []*postgres.Store{
		postgres.AlwaysGrouped(newStore(newPool(t, db.URL, 4))),
		postgres.AlwaysGrouped(newStore(newPool(t, db.URL, 4))),
	}
	orders := paid(t, stores[0], count)

	var (
		all   sync.WaitGroup
		held  [count]atomic.Int64
		errs  [count * copies]error
		alone = make([]error, count)
	)

	for i := range count * copies {
		cancel := newCancel(t, orders[i%count], operation.Key(uuid.NewString()))

		all.Go(func() {
			var op ports.Operation
			if op, errs[i] = stores[i%2].Begin(t.Context(), cancel); op.Held() {
				held[i%count].Add(1)
			}
		})
	}

	for i := range alone {
		order := newOrder(t, operation.Key(uuid.NewString()))

		all.Go(func() { _, alone[i] = stores[i%2].Begin(t.Context(), order) })
	}

	all.Wait()

	for _, err := range alone {
		require.NoError(t, err)
	}

	for _, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, ports.ErrInProgress)
		}
	}

	for i := range held {
		require.EqualValues(t, 1, held[i].Load())
	}

	require.Less(t, commits(t, db, "operations WHERE kind = 'cancel'"), count)
}

func TestStore_CompletionsShareCommits(t *testing.T) {
	t.Parallel()

	const count = 60

	db := pgtest.New(t)
	store := newStore(newPool(t, db.URL, 4))
	requireFinished(t, store, begun(t, store, count))
	require.Less(t, commits(t, db, "payments"), count)
}

// One that contradicts and one of no operation do their neighbours no harm.
func TestStore_CompletionsDoNotHarmTheirNeighbours(t *testing.T) {
	t.Parallel()

	const count = 60

	store := newStore(newPool(t, pgtest.New(t).URL, 4))
	completions := begun(t, store, count)

	another, contradicting := newOrder(t, "another"), newOrder(t, "contradicting")
	mustBegin(t, store, another)
	mustFinish(t, store, another)
	mustBegin(t, store, contradicting)

	contradiction := completionFor(contradicting)
	contradiction.Payment.IntentID = completionFor(another).Payment.IntentID

	bad := requireFinished(t, store, completions, contradiction, completionFor(newOrder(t, "never begun")))
	require.ErrorIs(t, bad[0], ports.ErrContradiction)
	require.Equal(t, fault.NotFound, fault.KindOf(bad[1]))
}

// begun are completions of as many operations.
func begun(t *testing.T, store *postgres.Store, count int) []ports.Completion {
	t.Helper()

	completions := make([]ports.Completion, 0, count)

	for i := range count {
		order := newOrder(t, operation.Key(fmt.Sprintf("order_%d", i)))
		mustBegin(t, store, order)
		completions = append(completions, completionFor(order))
	}

	return completions
}

// requireFinished does all of them at once: the good ones succeed, whatever becomes
// of the bad.
func requireFinished(t *testing.T, store *postgres.Store, good []ports.Completion, bad ...ports.Completion) []error {
	t.Helper()

	var all sync.WaitGroup

	completions := slices.Concat(good, bad)

	done, errs := make([]ports.Finished, len(completions)), make([]error, len(completions))
	for i, c := range completions {
		all.Go(func() { done[i], errs[i] = store.Finish(t.Context(), c) })
	}

	all.Wait()

	for i, c := range good {
		require.NoError(t, errs[i])
		require.True(t, done[i].Created)
		require.Equal(t, operation.Finished, done[i].Operation.State)
		require.Equal(t, *c.Response, done[i].Operation.Response)
		require.Len(t, mustHistory(t, store, c.Payment.ID), 1)
	}

	return errs[len(good):]
}

// The contracts hold whether a request goes alone or in a group.
func TestStore_AlwaysGrouped(t *testing.T) {
	t.Parallel()

	grouped := func(tb testing.TB) portstest.StoreBed {
		tb.Helper()

		return alwaysGrouped(newBed(tb))
	}

	portstest.Operations(t, grouped)
	portstest.Facts(t, grouped)
	portstest.Refunds(t, grouped)
	portstest.Inbox(t, grouped)

	t.Run("what was seen", func(t *testing.T) {
		t.Parallel()
		portstest.Refunds(t, portstest.Seeing(grouped))
	})
}

func alwaysGrouped(bed portstest.StoreBed) portstest.StoreBed {
	for _, store := range []any{bed.Store, bed.Twin, bed.Severed} {
		postgres.AlwaysGrouped(store.(*postgres.Store)) //nolint:forcetypeassert // bedAt made it
	}

	return bed
}
