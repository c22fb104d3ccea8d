package postgres_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// The planner takes another way as the tables grow. Here it may not take those
// that it takes for small ones: the answers stay the same.
func TestStore_OtherPlans(t *testing.T) {
	t.Parallel()

	newBed := func(tb testing.TB) portstest.StoreBed {
		tb.Helper()

		// A way that is off costs so much that every statement would be compiled.
		url := with(tb, pgtest.New(tb).URL, "jit", "off")
		for _, way := range []string{"enable_indexscan", "enable_bitmapscan", "enable_nestloop", "enable_mergejoin"} {
			url = with(tb, url, way, "off")
		}

		return bedAt(tb, url)
	}

	portstest.Operations(t, newBed)
	portstest.Inbox(t, newBed)
}

// inTurn starts the calls one after the other while the operation is locked, so that
// all of them have their snapshots and wait in that order, and then lets them go.
func inTurn(t *testing.T, db *pgtest.DB, calls ...func() error) []error {
	t.Helper()

	unlock := lock(t, db, "SELECT FROM payment_requests FOR UPDATE")
	errs := make([]chan error, len(calls))

	for i, call := range calls {
		errs[i] = make(chan error, 1)

		go func() { errs[i] <- call() }()

		waitFor(t, db, i+1, "wait_event_type = 'Lock'")
	}

	unlock()

	results := make([]error, len(calls))
	for i := range errs {
		results[i] = <-errs[i]
	}

	return results
}

func TestStore_FinishRejectedWaitsForFinish(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	completion := completionFor(order)
	completion.Response = nil

	errs := inTurn(t, db,
		func() error { _, err := store.Finish(t.Context(), completion); return err },
		func() error {
			_, err := store.FinishRejected(t.Context(), order.PaymentID, ports.FrozenResponse{Status: 502})

			return err
		},
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ports.ErrContradiction)
}

func TestStore_FinishWaitsForFinishRejected(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	errs := inTurn(t, db,
		func() error {
			_, err := store.FinishRejected(t.Context(), order.PaymentID, ports.FrozenResponse{Status: 502})

			return err
		},
		func() error { _, err := store.Finish(t.Context(), completionFor(order)); return err },
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ports.ErrContradiction)
	require.Empty(t, mustHistory(t, store, order.PaymentID))
}

func TestStore_FinishWaitsForAnotherIntent(t *testing.T) {
	t.Parallel()

	for name, known := range map[string]bool{"WithResponse": true, "Open": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
			order := newOrder(t, "order_1")
			mustBegin(t, store, order)

			first, second := completionFor(order), completionFor(order)
			second.Payment.IntentID = "pi_second"

			if !known {
				first.Response = nil
			}

			errs := inTurn(t, db,
				func() error { _, err := store.Finish(t.Context(), first); return err },
				func() error { _, err := store.Finish(t.Context(), second); return err },
			)
			require.NoError(t, errs[0])
			require.ErrorIs(t, errs[1], ports.ErrContradiction)

			op, err := store.FindByPayment(t.Context(), order.PaymentID)
			require.NoError(t, err)
			require.Equal(t, known, op.Finished())
		})
	}
}

// Both want the expired lease; the second one's snapshot still shows it expired.
func TestStore_TakeOverOnce(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	order.Lease.For = 0
	mustBegin(t, store, order)

	var held [2]bool

	take := func(i int) func() error {
		return func() error {
			heir := newOrder(t, "order_1")
			op, err := store.Begin(t.Context(), heir)
			held[i] = op.Held()

			return err
		}
	}

	for _, err := range inTurn(t, db, take(0), take(1)) {
		require.NoError(t, err)
	}

	require.Equal(t, [2]bool{true, false}, held)
}

// Recovery does not wait for an operation that somebody is just writing.
func TestStore_TakeUnfinishedSkipsLocked(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
	busy, free := newOrder(t, "busy"), newOrder(t, "free")
	busy.Lease.For, free.Lease.For = 0, 0
	mustBegin(t, store, busy)
	mustBegin(t, store, free)

	lock(t, db, "SELECT FROM payment_requests WHERE idempotency_key = 'busy' FOR UPDATE")

	taken, err := store.Take(t.Context(), 10, ports.Lease{Token: uuid.New(), For: soon})
	require.NoError(t, err)
	require.Len(t, taken, 1)
	require.Equal(t, operation.Key("free"), taken[0].Key)
}

// The event's snapshot still shows the event parked when a person has dismissed it:
// what was dismissed has no effect.
func TestStore_ApplyThatADismissalOvertakes(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(postgres.NewStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	event := eventFor(order, payment.Succeeded)
	require.NoError(t, store.Park(t.Context(), event, ports.ParkedUnknown))
	mustFinish(t, store, order)

	unlock := lock(t, db, "SELECT FROM payments FOR UPDATE")
	applied := make(chan ports.Applied, 1)
	failed := make(chan error, 1)

	go func() {
		result, err := store.Apply(t.Context(), event)
		failed <- err

		applied <- result
	}()

	waitFor(t, db, 1, "wait_event_type = 'Lock'")
	require.NoError(t, store.Dismiss(t.Context(), event.ID, ports.AuditEntry{
		ID: uuid.New(), Actor: "cli:me@here", Action: ports.AuditEventDismissed, ObjectType: "inbox_event",
		ObjectID: event.ID, Reason: "judged",
	}))
	unlock()

	require.NoError(t, <-failed)
	require.Equal(t, ports.EventDuplicate, (<-applied).Outcome)
	require.Len(t, mustHistory(t, store, order.PaymentID), 1)

	p, err := store.Payment(t.Context(), order.PaymentID)
	require.NoError(t, err)
	require.Equal(t, payment.Pending, p.Status)
}
