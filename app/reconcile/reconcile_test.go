package reconcile_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// testBundle is a world in which Stripe's clock is half an hour behind: what is younger
// than a minute is left alone.
type testBundle struct {
	*apptest.World

	records ports.Reconciliation
	// apply replaces what applies events, where it is set.
	apply reconcile.Events
}

func setup(t *testing.T) testBundle {
	t.Helper()

	b := testBundle{World: apptest.New(t)}
	b.records = b.Store
	b.Stripe.Advance(-30 * time.Minute)

	return b
}

func (b testBundle) reconcile() *reconcile.Reconcile {
	apply := b.apply
	if apply == nil {
		apply = b.Apply()
	}

	return reconcile.New(b.records, known{b.Customers, b.Refunds, b.Disputes}, b.Store, b.Inbox, b.Operations, b.Provider,
		b.Engine(), apply,
		b.Refresh(), b.Lives, b.Binding(), b.Installation, b.Observer)
}

// known are the parts that a test may have replaced.
type known struct {
	ports.Customers
	ports.Refunds
	ports.Disputes
}

// look looks back for an hour.
func (b testBundle) look(t *testing.T) reconcile.Report {
	t.Helper()

	report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour})
	require.NoError(t, err)

	return report
}

// known makes an event one that is here and has done nothing.
func (b testBundle) known(event ports.Event) {
	b.Park(event)
	b.Exec("UPDATE stripe_events SET outcome = 'stale', parked_reason = NULL WHERE id = $1", event.ID)
}

func (b testBundle) cursor(t *testing.T) time.Time {
	t.Helper()

	through, _, err := b.Store.ReconciledThrough(t.Context())
	require.NoError(t, err)

	return through
}

// counts is how many of each kind.
type counts = map[ports.DiscrepancyKind]int

func TestReconcile_Do(t *testing.T) {
	t.Parallel()

	t.Run("NothingDiffers", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
		require.NoError(t, err)

		report := b.look(t)
		require.Empty(t, report.Found)
		require.True(t, report.Clean())
		require.Equal(t, 1, report.Intents)
		require.Contains(t, b.Observer.Spans(), "app.Reconcile")
	})

	t.Run("DryRun", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		event := b.Pay(p.IntentID)

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: 48 * time.Hour, DryRun: true})
		require.NoError(t, err)
		require.Equal(t, 1, report.Found[ports.DiscrepancyStatus])
		require.Empty(t, report.Repaired)
		require.False(t, report.Clean())
		require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
		b.RequireNotStored(event.ID)
		require.True(t, b.cursor(t).IsZero())
		require.Equal(t, []string{"missed_event: found"}, b.Observer.Told(event.ID))
		require.Contains(t, b.Observer.Told(p.ID), "status: found")
	})

	t.Run("WhatWaitsForAPerson", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.GiveUp(b.Begin("order_1"))
		b.Park(ports.Event{ID: "evt_1", Type: "payment_intent.succeeded", ObjectID: "pi_unknown", Raw: []byte("{}")})

		report := b.look(t)
		require.Zero(t, report.Left())
		require.False(t, report.Clean())
		require.EqualValues(t, 1, report.NeedsAttention)
		require.EqualValues(t, 1, report.Parked)
	})

	t.Run("OneAtATime", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := ports.Lease{Token: uuid.New(), For: time.Hour}
		held, err := b.Store.HoldReconciliation(t.Context(), other)
		require.NoError(t, err)
		require.True(t, held)

		waited := 0
		_, err = b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, Waiting: func() {
			waited++

			require.NoError(t, b.Store.ReleaseReconciliation(t.Context(), other.Token))
		}})
		require.NoError(t, err)
		require.Equal(t, 1, waited)

		held, err = b.Store.HoldReconciliation(t.Context(), other)
		require.NoError(t, err)
		require.True(t, held, "it was given back")
	})

	t.Run("TooYoung", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Second})
		require.ErrorContains(t, err, "may still be on its way")
	})
}

// failing cannot apply events, for a reason that may pass.
type failing struct{ reconcile.Events }

var errPasses = errors.New("it may succeed the next time")

func (failing) Do(context.Context, ports.Event) (ports.Applied, error) {
	return ports.Applied{}, errPasses
}

func TestReconcile_Cursor(t *testing.T) {
	t.Parallel()

	long := reconcile.Options{Back: 48 * time.Hour}

	t.Run("Moves", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Pay(b.Create("order_1").IntentID)

		report, err := b.reconcile().Do(t.Context(), long)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(-time.Minute), b.cursor(t), 30*time.Second)
		require.True(t, report.Cursor.Equal(b.cursor(t)))
		require.True(t, report.Until.Equal(b.cursor(t)))
	})

	t.Run("NotOverAGap", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.look(t)
		require.True(t, b.cursor(t).IsZero(), "what was before the hour was not looked at")
	})

	t.Run("NotOverWhatMaySucceed", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		event := b.Pay(b.Create("order_1").IntentID)
		b.apply = failing{b.Apply()}

		report, err := b.reconcile().Do(t.Context(), long)
		require.NoError(t, err)
		require.NotZero(t, report.Left())
		require.Less(t, b.cursor(t), event.CreatedAt)
		require.Equal(t, []string{"missed_event: left"}, b.Observer.Told(event.ID))
	})

	t.Run("InTheFuture", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("INSERT INTO reconciliation VALUES (TRUE, now() + interval '1 year')")

		_, err := b.reconcile().Do(t.Context(), long)
		require.NoError(t, err)
		require.Less(t, b.cursor(t), time.Now())
		require.Equal(t, []string{"cursor reset"}, b.Observer.Told(apptest.Nothing))
	})
}

// overtaken gets the lease only after another run has done everything.
type overtaken struct {
	ports.Reconciliation

	// life is the database's present one.
	life string
}

func (o overtaken) HoldReconciliation(ctx context.Context, lease ports.Lease) (bool, error) {
	if _, err := o.MoveReconciledThrough(ctx, time.Time{}, time.Now().Add(-time.Minute), o.life); err != nil {
		return false, err
	}

	return o.Reconciliation.HoldReconciliation(ctx, lease)
}

func TestReconcile_Scheduled(t *testing.T) {
	t.Parallel()

	t.Run("GoesOnFromTheCursor", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)

		cursor := b.cursor(t)
		require.False(t, cursor.IsZero())

		report, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, cursor.Add(-15*time.Minute), report.Since, time.Second, "and looks at a while once more")
	})

	t.Run("AnotherRunHasDoneIt", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		life, _, err := b.Lives.Incarnation(t.Context())
		require.NoError(t, err)

		b.records = overtaken{Reconciliation: b.records, life: life}

		_, err = b.reconcile().Scheduled(t.Context())
		require.ErrorIs(t, err, reconcile.ErrReconciling)
	})
}

func TestReconcile_UntilDue(t *testing.T) {
	t.Parallel()

	b := setup(t)
	require.Equal(t, time.Hour, b.reconcile().UntilDue(t.Context(), time.Hour), "never yet")

	for ago, wait := range map[string]time.Duration{
		"11 minutes": 50 * time.Minute, "2 hours": 0, "-1 hours": 0,
	} {
		b.Exec(`INSERT INTO reconciliation VALUES (TRUE, now() - $1::text::interval)
			ON CONFLICT (singleton) DO UPDATE SET through = EXCLUDED.through`, ago)
		require.InDelta(t, wait, b.reconcile().UntilDue(t.Context(), time.Hour), float64(30*time.Second), ago)
	}
}
