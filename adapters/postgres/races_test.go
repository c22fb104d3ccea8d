package postgres_test

import (
	"context"
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
	portstest.Facts(t, newBed)
	portstest.Inbox(t, newBed)
}

// inTurn starts the calls one after the other while the operation is locked, so that
// all of them have their snapshots and wait in that order, and then lets them go.
func inTurn(t *testing.T, db *pgtest.DB, calls ...func() error) []error {
	t.Helper()

	return inTurnBehind(t, db, "SELECT FROM operations FOR UPDATE", calls...)
}

// inTurnBehind is inTurn behind another lock.
func inTurnBehind(t *testing.T, db *pgtest.DB, locked string, calls ...func() error) []error {
	t.Helper()

	unlock := lock(t, db, locked)
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
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	completion := completionFor(order)
	completion.Response = nil

	errs := inTurn(t, db,
		func() error { _, err := store.Finish(t.Context(), completion); return err },
		func() error {
			_, err := store.FinishRejected(t.Context(), asked(order), ports.FrozenResponse{Status: 502})

			return err
		},
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ports.ErrContradiction)
}

func TestStore_FinishWaitsForFinishRejected(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
	order := newOrder(t, "order_1")
	mustBegin(t, store, order)

	errs := inTurn(t, db,
		func() error {
			_, err := store.FinishRejected(t.Context(), asked(order), ports.FrozenResponse{Status: 502})

			return err
		},
		func() error { _, err := store.Finish(t.Context(), completionFor(order)); return err },
	)
	require.NoError(t, errs[0])
	require.ErrorIs(t, errs[1], ports.ErrContradiction)
	require.Empty(t, mustHistory(t, store, order.ID))
}

func TestStore_FinishWaitsForAnotherIntent(t *testing.T) {
	t.Parallel()

	for name, known := range map[string]bool{"WithResponse": true, "Open": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
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

			op, err := store.FindByID(t.Context(), order.ID)
			require.NoError(t, err)
			require.Equal(t, known, op.Finished())
		})
	}
}

// What was read of the payment was read before the event: when its turn comes it is not
// written.
func TestStore_WriteWaitsForApply(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
	order := paid(t, store, 1)[0]

	loaded, err := store.Payment(t.Context(), order.ID)
	require.NoError(t, err)

	cancelled, _, _ := cancelling(loaded)

	var written, accepted bool

	for _, err := range inTurnBehind(t, db, "SELECT FROM payments FOR UPDATE",
		func() error { _, err := store.Apply(t.Context(), eventFor(order, payment.Failed)); return err },
		func() (err error) {
			written, err = store.Write(t.Context(), ports.FullPayment{Payment: cancelled}, nil, ports.EventApplied, "recovery")

			return err
		},
		func() (err error) {
			accepted, err = store.Accept(t.Context(), ports.FullPayment{Payment: cancelled},
				ports.AuditEntry{ID: uuid.New(), Actor: "a", Reason: "b"})

			return err
		},
	) {
		require.NoError(t, err)
	}

	require.False(t, written)
	require.False(t, accepted)

	now, err := store.Payment(t.Context(), order.ID)
	require.NoError(t, err)
	require.Equal(t, payment.Failed, now.Status)
}

// What has no mark of ours, as a dispute or a refund from the Dashboard, is of our payment also while
// somebody else has locked that.
func TestStore_MoneyWaitsForItsPayment(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.AlwaysGrouped(postgres.Patient(newStore(newPool(t, db.URL, 4))))
	order := paid(t, store, 1)[0]

	p, err := store.Payment(t.Context(), order.ID)
	require.NoError(t, err)

	var applied ports.Applied

	for _, err := range inTurnBehind(t, db, "SELECT FROM payments FOR UPDATE", func() (err error) {
		applied, err = store.Apply(t.Context(), ports.Event{
			ID: "evt_dispute", Type: "charge.dispute.created", ObjectID: p.IntentID, Handled: true, AboutMoney: true,
			Intent: ports.Intent{ID: p.IntentID, Unmarked: true}, Raw: []byte("{}"),
		})

		return err
	}) {
		require.NoError(t, err)
	}

	require.Equal(t, ports.EventHint, applied.Outcome)
}

// Whoever finishes an operation decides about the payment as the event has left it.
func TestStore_FinishOnWaitsForApply(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
	order := paid(t, store, 1)[0]
	cancel := newCancel(t, order, "cancel_1")
	mustBegin(t, store, cancel)

	var seen payment.Payment

	for _, err := range inTurnBehind(t, db, "SELECT FROM payments FOR UPDATE",
		func() error { _, err := store.Apply(t.Context(), eventFor(order, payment.Succeeded)); return err },
		func() error {
			_, err := store.FinishOn(t.Context(), cancel.ID, "request",
				ports.Change{Decide: func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
					seen = p

					return p, ports.FrozenResponse{Status: 409}, nil
				}})

			return err
		},
	) {
		require.NoError(t, err)
	}

	require.Equal(t, payment.Succeeded, seen.Status)
}

// Another process is just writing an operation on the payment. Whether this one is in its
// way is known once that has committed.
func TestStore_BeginWaitsForAnotherOnThePayment(t *testing.T) {
	t.Parallel()

	for name, commits := range map[string]bool{"Commits": true, "RollsBack": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			db := pgtest.New(t)
			store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
			order := paid(t, store, 1)[0]

			other, err := db.Pool().Begin(t.Context())
			require.NoError(t, err)

			defer func() { _ = other.Rollback(context.WithoutCancel(t.Context())) }()

			_, err = other.Exec(t.Context(), `
				INSERT INTO operations (id, kind, subject, fingerprint, stripe_key, stripe_path, stripe_params, leased_until, retry_at)
					VALUES (gen_random_uuid(), 'capture', $1, sha256(''), '', '', '', now(), now())`, order.ID)
			require.NoError(t, err)

			begun, cancel := make(chan error, 1), newCancel(t, order, "cancel_1")

			go func() {
				_, err := store.Begin(t.Context(), cancel)
				begun <- err
			}()

			waitFor(t, db, 1, "wait_event_type = 'Lock'")

			if commits {
				require.NoError(t, other.Commit(t.Context()))
				require.ErrorIs(t, <-begun, ports.ErrInProgress)
			} else {
				require.NoError(t, other.Rollback(t.Context()))
				require.NoError(t, <-begun)
			}
		})
	}
}

// Both want the expired lease; the second one's snapshot still shows it expired.
func TestStore_TakeOverOnce(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
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
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
	busy, free := newOrder(t, "busy"), newOrder(t, "free")
	busy.Lease.For, free.Lease.For = 0, 0
	mustBegin(t, store, busy)
	mustBegin(t, store, free)

	lock(t, db, "SELECT FROM operations WHERE idempotency_key = 'busy' FOR UPDATE")

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
	store := postgres.Patient(newStore(newPool(t, db.URL, 4)))
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
	require.Len(t, mustHistory(t, store, order.ID), 1)

	p, err := store.Payment(t.Context(), order.ID)
	require.NoError(t, err)
	require.Equal(t, payment.Pending, p.Status)
}
