package reconcile_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Payments that are not final are asked for whatever their age.
func TestReconcile_Do_OpenPayments(t *testing.T) {
	t.Parallel()

	setupOld := func(t *testing.T) (testBundle, payment.Payment) {
		t.Helper()

		b := setup(t)
		b.Stripe.Advance(-60 * 24 * time.Hour)
		p := b.Create("order_1")
		b.Exec("UPDATE payments SET created_at = created_at - interval '60 days'")

		return b, p
	}

	t.Run("Paid", func(t *testing.T) {
		t.Parallel()

		b, p := setupOld(t)
		b.Confirm(p.IntentID, "pm_card_visa")

		report := b.look(t)
		require.Zero(t, report.Events+report.Intents)
		require.Equal(t, 1, report.Payments)
		require.Equal(t, counts{ports.DiscrepancyStatus: 1}, report.Repaired)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
		require.Zero(t, b.look(t).Payments, "it is final")
	})

	t.Run("StillOpen", func(t *testing.T) {
		t.Parallel()

		b, p := setupOld(t)
		report := b.look(t)
		require.Equal(t, 1, report.Payments)
		require.True(t, report.Clean())
		require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
	})

	t.Run("UnknownToStripe", func(t *testing.T) {
		t.Parallel()

		b, p := setupOld(t)
		b.Exec("UPDATE payments SET stripe_payment_intent_id = 'pi_lost'")

		report := b.look(t)
		require.Equal(t, counts{ports.DiscrepancyContradiction: 1}, report.Found)
		require.False(t, report.Clean())
		require.Contains(t, b.Observer.Told(p.ID), "contradiction: left")
		require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
	})

	t.Run("Scheduled", func(t *testing.T) {
		t.Parallel()

		b, p := setupOld(t)
		b.Confirm(p.IntentID, "pm_card_visa")

		_, err := b.reconcile().Scheduled(t.Context())
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	})

	// One that the provider does not answer for does not hide the others.
	t.Run("NotAnswered", func(t *testing.T) {
		t.Parallel()

		b, p := setupOld(t)
		other := b.Create("order_2")
		b.Exec("UPDATE payments SET created_at = created_at - interval '60 days' WHERE id = $1", other.ID)
		b.Confirm(other.IntentID, "pm_card_visa")
		b.Provider = mute{b.Provider, p.IntentID}

		report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour})
		require.ErrorContains(t, err, p.IntentID)
		require.Equal(t, 2, report.Payments)
		require.Equal(t, payment.Succeeded, b.Payment(other.ID).Status)
	})
}

// mute does not answer for one intent.
type mute struct {
	ports.Provider

	id string
}

func (m mute) Intent(ctx context.Context, id string) (ports.Intent, error) {
	if id == m.id {
		return ports.Intent{}, fault.New(fault.Internal, "no answer")
	}

	return m.Provider.Intent(ctx, id)
}
