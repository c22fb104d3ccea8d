package reconcile_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestReconcile_Do_MissedEvent(t *testing.T) {
	t.Parallel()

	t.Run("Applied", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		event := b.Pay(p.IntentID)

		report := b.look(t)
		require.NotZero(t, report.Found[ports.DiscrepancyMissedEvent])
		require.Equal(t, report.Found, report.Repaired)
		require.True(t, report.Clean())
		require.Equal(t, []string{"request: pending", event.ID + ": succeeded"}, b.History(p.ID))
		require.Equal(t, []string{"handled: applied", "missed_event: repaired"}, b.Observer.Told(event.ID))
		require.Empty(t, b.look(t).Found)
	})

	t.Run("ForAPerson", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		event := b.Pay(p.IntentID)
		b.Exec("UPDATE payments SET amount = amount + 1")

		report := b.look(t)
		require.Equal(t, ports.ParkedContradiction, b.Stored(event.ID).Reason)
		require.Equal(t, []string{"handled: parked", "missed_event: left"}, b.Observer.Told(event.ID))
		require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
		require.False(t, report.Clean())
	})
}

func TestReconcile_Do_MissingPayment(t *testing.T) {
	t.Parallel()

	t.Run("ItsOperationIsThere", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1")
		intent := b.Send(op)

		report := b.look(t)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissingPayment])
		require.True(t, report.Clean())
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		require.Equal(t, []string{"reconciliation: pending"}, b.History(op.ID))

		done := b.Operation(op.ID)
		require.Equal(t, http.StatusCreated, done.Response.Status)
		require.Contains(t, string(done.Response.Body), intent.ClientSecret)
		require.Contains(t, b.Observer.Told(op.ID), "missing_payment: repaired")
		require.Contains(t, b.Observer.Told(apptest.RequestID), "linked")
	})

	t.Run("ItsOperationIsGone", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")

		for _, table := range []string{"payments", "operations", "payment_transitions"} {
			b.Exec("DELETE FROM " + table)
		}

		require.True(t, b.look(t).Clean())

		back := b.Payment(p.ID)
		require.Equal(t, p.IntentID, back.IntentID)
		require.Equal(t, p.Amount, back.Amount)

		intent, err := b.Provider.Intent(t.Context(), p.IntentID)
		require.NoError(t, err)
		require.True(t, intent.CreatedAt.Equal(b.Operation(p.ID).CreatedAt), "the key at Stripe is as old as the intent")
		b.RequireIntents(p.IntentID)
	})

	t.Run("OfAnotherProgram", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.StrangeIntent("amount=1000&currency=usd")

		report := b.look(t)
		require.Empty(t, report.Found)
		require.Zero(t, report.Intents)
	})

	t.Run("RejectedBefore", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1")
		b.Send(op)
		_, err := b.Store.FinishRejected(t.Context(), op.ID, ports.FrozenResponse{Status: http.StatusBadGateway})
		require.NoError(t, err)

		report := b.look(t)
		require.Equal(t, 1, report.Found[ports.DiscrepancyMissingPayment])
		require.Zero(t, report.Repaired[ports.DiscrepancyMissingPayment])
		require.Equal(t, http.StatusBadGateway, b.Operation(op.ID).Response.Status, "a finished answer never changes")
		b.RequireNoPayment(op.ID)
		require.Contains(t, b.Observer.Told(op.ID), "missing_payment: left")
	})
}

func TestReconcile_Do_Status(t *testing.T) {
	t.Parallel()

	b := setup(t)
	p := b.Create("order_1")
	_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
	require.NoError(t, err)
	b.look(t)
	b.Exec("UPDATE payments SET status = 'pending'") // its events are all here

	report := b.look(t)
	require.Equal(t, counts{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	require.Contains(t, b.History(p.ID), string(operation.ByReconciliation)+": succeeded")
	require.Equal(t, []string{"changed: pending → succeeded", "status: repaired"}, lastTwo(b.Observer.Told(p.ID)))
}

func lastTwo(all []string) []string { return all[max(len(all)-2, 0):] }

// What only a person can resolve is found by each run, and does not stop the cursor.
func TestReconcile_Do_Contradiction(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]struct {
		statement string
		args      []any
	}{
		"Amount":         {"UPDATE payments SET amount = amount + 1", nil},
		"Final":          {"UPDATE payments SET status = 'cancelled'", nil},
		"AnotherPayment": {"UPDATE payments SET id = $1", []any{uuid.New()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			p := b.Create("order_1")
			_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
			require.NoError(t, err)
			b.look(t)
			b.Exec(change.statement, change.args...)

			for range 2 {
				report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: 48 * time.Hour})
				require.NoError(t, err)
				require.Equal(t, counts{ports.DiscrepancyContradiction: 1}, report.Found)
				require.Empty(t, report.Repaired)
				require.WithinDuration(t, time.Now().Add(-time.Minute), b.cursor(t), 30*time.Second)
			}

			b.RequireIntents(p.IntentID)
		})
	}
}
