package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestApplyParked_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		payment payment.Payment
		// event is parked and ready.
		event ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Create("order_1")
		b.event = b.Pay(b.payment.IntentID)
		b.Park(b.event)

		return b
	}
	// bury parks events after it whose payments never come.
	bury := func(b testBundle, under int) {
		b.Exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason, received_at)
			SELECT 'evt_newer_' || n, 'payment_intent.succeeded', 'pi_unknown_' || n, '{}', 'parked', 'unknown_payment',
				now() + n * interval '1 second'
			FROM generate_series(1, $1::int) n`, under)
	}

	t.Run("Ready", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		uc := events.NewApplyParked(b.Inbox, b.Parked())

		ready, err := uc.Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, ready)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Equal(t, []string{"handled: applied"}, b.Observer.Told(b.event.ID))

		ready, err = uc.Do(t.Context())
		require.NoError(t, err)
		require.Zero(t, ready)
	})

	t.Run("NoPaymentYet", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("DELETE FROM payments")

		ready, err := events.NewApplyParked(b.Inbox, b.Parked()).Do(t.Context())
		require.NoError(t, err)
		require.Zero(t, ready)
		require.Equal(t, ports.EventParked, b.Stored(b.event.ID).Outcome)
	})

	// Each is looked at in its turn, however many are parked for ever.
	t.Run("BehindManyOthers", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		bury(b, 1700)

		uc := events.NewApplyParked(b.Inbox, b.Parked())
		runs := 0

		for b.Stored(b.event.ID).Outcome == ports.EventParked {
			_, err := uc.Do(t.Context())
			require.NoError(t, err)

			runs++
			require.LessOrEqual(t, runs, 3, "500 newest and 500 others in each run")
		}

		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
	})

	t.Run("WhatFailsStaysParked", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Inbox = away{b.Inbox}

		ready, err := events.NewApplyParked(b.Inbox, b.Parked()).Do(t.Context())
		require.Error(t, err)
		require.Equal(t, 1, ready)
		require.Equal(t, ports.EventParked, b.Stored(b.event.ID).Outcome)
	})
}
