package payments_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// interrupted lets something happen while an intent is being read.
type interrupted struct {
	ports.Provider

	reads int
	while func(read int)
}

func (i *interrupted) Intent(ctx context.Context, id string) (ports.Intent, error) {
	intent, err := i.Provider.Intent(ctx, id)
	i.reads++
	i.while(i.reads)

	return intent, err
}

func TestRefresh_Do(t *testing.T) {
	t.Parallel()

	const cause = "test"

	type testBundle struct {
		*apptest.World

		payment payment.Payment
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))

		return b
	}
	refresh := func(t *testing.T, b testBundle) payment.Payment {
		t.Helper()

		p, intent, err := b.Refresh().Do(t.Context(), b.payment.ID, cause)
		require.NoError(t, err)
		require.Equal(t, b.payment.IntentID, intent.ID)
		require.Equal(t, p.Status, intent.Status)
		require.Equal(t, p.Status, b.Payment(p.ID).Status)

		return b.Payment(p.ID)
	}

	t.Run("NothingHasChanged", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		require.Equal(t, b.payment, refresh(t, b))
		require.NotContains(t, b.Observer.Told(b.payment.ID), "changed: requires_payment_method")
	})

	t.Run("AStepOnTheWay", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Authorize(b.payment)

		p := refresh(t, b)
		require.Equal(t, payment.IntentRequiresCapture, p.IntentStatus)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, apptest.Dollars(t, 10_00).Money(), p.Capturable)
		require.WithinDuration(t, b.Stripe.Now().AddDate(0, 0, 7), p.CaptureBefore, time.Minute)
		require.Greater(t, p.Version, b.payment.Version)
		require.Equal(t, []string{"request: pending"}, b.History(p.ID), "the status is the same")
		require.Contains(t, b.Observer.Told(p.ID), "changed: requires_capture")
	})

	// The way begins again after a decline.
	t.Run("DeclinedAndTriedAgain", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Confirm(b.payment.IntentID, "pm_card_chargeDeclined")
		require.Equal(t, payment.Failed, refresh(t, b).Status)

		b.Confirm(b.payment.IntentID, "pm_card_authenticationRequired")
		require.Equal(t, payment.Pending, refresh(t, b).Status)

		b.Confirm(b.payment.IntentID, "pm_card_visa")

		p := refresh(t, b)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, payment.IntentRequiresCapture, p.IntentStatus)
		require.True(t, p.Declined)
		require.Equal(t, []string{"request: pending", cause + ": failed", cause + ": pending"}, b.History(p.ID))
	})

	t.Run("Final", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Authorize(b.payment)
		b.Dashboard(b.payment.IntentID, "capture", url.Values{"amount_to_capture": {"400"}})

		p := refresh(t, b)
		require.Equal(t, payment.Succeeded, p.Status)
		require.EqualValues(t, 4_00, p.Captured.Minor())
		require.Equal(t, p, refresh(t, b))
	})

	// What was read before the payment changed is older than what is written down.
	t.Run("ChangedMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Confirm(b.payment.IntentID, "pm_card_chargeDeclined")

		provider := &interrupted{Provider: b.Provider}
		provider.while = func(read int) {
			if read == 1 {
				b.Dashboard(b.payment.IntentID, "cancel", nil)
				_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.canceled"))
				require.NoError(t, err)
			}
		}
		b.Provider = provider

		require.Equal(t, payment.Cancelled, refresh(t, b).Status)
		require.Equal(t, 2, provider.reads)
	})

	t.Run("ItChangesAllTheTime", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Authorize(b.payment)
		b.Provider = &interrupted{Provider: b.Provider, while: func(int) { b.Exec("UPDATE payments SET version = version + 1") }}

		_, _, err := b.Refresh().Do(t.Context(), b.payment.ID, cause)
		apptest.RequireFault(t, fault.Unavailable, err)
		require.Equal(t, payment.IntentRequiresPaymentMethod, b.Payment(b.payment.ID).IntentStatus)
	})

	t.Run("Hints", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		hint := b.Hint(b.payment)
		require.Equal(t, ports.EventHint, b.Stored(hint.ID).Outcome)

		refresh(t, b)
		require.Equal(t, ports.EventApplied, b.Stored(hint.ID).Outcome)

		other := b.Create("order_2")
		require.Equal(t, payment.Pending, other.Status)
	})

	for name, change := range map[string]string{
		"AnotherAmount":  "UPDATE payments SET amount = amount + 1",
		"UnknownIntent":  "UPDATE payments SET stripe_payment_intent_id = 'pi_lost'; UPDATE stripe_events SET object_id = 'pi_lost'",
		"OfAnother":      "UPDATE payments SET stripe_payment_intent_id = 'pi_' || 'x'",
		"AFinalStatus":   "UPDATE payments SET status = 'succeeded', amount_captured = amount",
		"AnotherFinal":   "UPDATE payments SET status = 'cancelled'",
		"MoreIsCaptured": "UPDATE payments SET status = 'succeeded', amount_captured = 12",
	} {
		t.Run("Contradiction/"+name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			hint := b.Hint(b.payment)
			b.Exec(change)

			before := b.Payment(b.payment.ID)
			_, _, err := b.Refresh().Do(t.Context(), b.payment.ID, cause)
			require.ErrorIs(t, err, ports.ErrContradiction)
			require.Equal(t, before, b.Payment(b.payment.ID), "nothing is changed")

			if name != "OfAnother" {
				stored := b.Stored(hint.ID)
				require.Equal(t, ports.EventParked, stored.Outcome, "for a person")
				require.Equal(t, ports.ParkedContradiction, stored.Reason)
			}
		})
	}

	t.Run("StripeDoesNotTell", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		hint := b.Hint(b.payment)
		b.Provider = silent{b.Provider, ports.ErrUnavailable}

		_, _, err := b.Refresh().Do(t.Context(), b.payment.ID, cause)
		require.ErrorIs(t, err, ports.ErrUnavailable)
		require.Equal(t, ports.EventHint, b.Stored(hint.ID).Outcome)
	})

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		_, _, err := setup(t).Refresh().Do(t.Context(), uuid.New(), cause)
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
