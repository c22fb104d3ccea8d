package reconcile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/ports"
)

// setupAnew has a database that was made in an earlier life, so that it may have lost
// commits. cursor is how old reconciliation's cursor is; 0 for none.
func setupAnew(t *testing.T, cursor time.Duration) testBundle {
	t.Helper()

	b := setup(t)
	b.Exec("UPDATE installation SET incarnation = 'an earlier life'")

	if cursor > 0 {
		b.Exec("INSERT INTO reconciliation (through) VALUES (now() - $1::interval)", cursor)
	}

	return b
}

func TestReconcile_Anew(t *testing.T) {
	t.Parallel()

	t.Run("UntilARunHasEnded", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		require.True(t, b.reconcile().Anew(t.Context()))
		require.Zero(t, b.reconcile().UntilDue(t.Context(), time.Hour))

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
		require.NotZero(t, b.reconcile().UntilDue(t.Context(), time.Hour))
	})

	// What was lost is not on its way any more.
	t.Run("LooksAtTheLastMinuteToo", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		b.Stripe.Advance(30 * time.Minute) // to the present
		op := b.Begin("order_1")
		b.Send(op)
		b.LoseEverything()

		report, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissingPayment])
		require.Equal(t, op.Fingerprint, b.Operation(op.ID).Fingerprint)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	// Nobody knows since when something is missing.
	t.Run("WithoutACursorItLooksAsFarBackAsItCan", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 0)

		report, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(-30*24*time.Hour), report.Since, time.Hour)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	// Nothing would be sent once the cursor is 20 hours old.
	t.Run("UnsureUntilADayLater", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 2*time.Hour)
		require.True(t, b.reconcile().Unsure(t.Context()))

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Unsure(t.Context()))

		b.Exec("UPDATE reconciliation SET through = now() - interval '2 hours', looked_at = now() - interval '25 hours'")
		require.True(t, b.reconcile().Unsure(t.Context()))

		b.Exec("UPDATE reconciliation SET looked_at = now() - interval '27 hours'")
		require.False(t, b.reconcile().Unsure(t.Context()))
	})

	// It has not looked at everything since the cursor.
	t.Run("AShortLookEndsNothing", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, 2*time.Hour)

		_, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour})
		require.NoError(t, err)
		require.True(t, b.reconcile().Anew(t.Context()))

		_, err = b.reconcile().Do(t.Context(), reconcile.Options{Back: 3 * time.Hour})
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
	})

	t.Run("NorDoesAFailure", func(t *testing.T) {
		t.Parallel()

		b := setupAnew(t, time.Hour)
		b.Pay(b.Create("order_1").IntentID)
		b.apply = failing{b.Apply()}

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.True(t, b.reconcile().Anew(t.Context()))

		b.apply = nil

		_, err = b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.False(t, b.reconcile().Anew(t.Context()))
	})
}
