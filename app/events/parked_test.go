package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestParked_ApplyFor(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		payment payment.Payment
		// declined and paid are parked.
		declined, paid ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Create("order_1")
		b.Confirm(b.payment.IntentID, "pm_card_chargeDeclined")
		b.declined = b.Event(b.payment.IntentID, "payment_intent.payment_failed")
		b.paid = b.Pay(b.payment.IntentID)
		b.Park(b.declined)
		b.Park(b.paid)

		return b
	}

	t.Run("All", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Parked().ApplyFor(t.Context(), b.payment.IntentID)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)

		for _, event := range []ports.Event{b.declined, b.paid} {
			require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
			require.Equal(t, []string{"handled: applied"}, b.Observer.Told(event.ID))
		}

		require.Empty(t, b.Observer.Told(b.payment.IntentID))
	})

	// What cannot be read must not hide what is behind it.
	t.Run("OneCannotBeRead", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE stripe_events SET payload = '{}' WHERE id = $1", b.declined.ID)

		b.Parked().ApplyFor(t.Context(), b.payment.IntentID)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Equal(t, ports.EventParked, b.Stored(b.declined.ID).Outcome)
		require.Equal(t, []string{"parked events left"}, b.Observer.Told(b.payment.IntentID))
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec(`UPDATE stripe_events SET payload = convert_to(replace(convert_from(payload, 'UTF8'),
			'"livemode": false', '"livemode": true'), 'UTF8')`)

		b.Parked().ApplyFor(t.Context(), b.payment.IntentID)
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
		require.Equal(t, ports.EventForeign, b.Stored(b.paid.ID).Outcome)
	})

	t.Run("Away", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Inbox = away{b.Inbox}
		b.Parked().ApplyFor(t.Context(), b.payment.IntentID)
		require.Equal(t, []string{"parked events left"}, b.Observer.Told(b.payment.IntentID))
		require.Equal(t, ports.EventParked, b.Stored(b.paid.ID).Outcome, "it is tried again later")
	})

	t.Run("NoPaymentYet", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("DELETE FROM payments")

		b.Parked().ApplyFor(t.Context(), b.payment.IntentID)
		require.Equal(t, ports.EventParked, b.Stored(b.paid.ID).Outcome)
		require.Empty(t, b.Observer.Told(b.paid.ID))
	})
}
