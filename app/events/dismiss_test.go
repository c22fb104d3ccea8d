package events_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// moved finds that somebody else was faster.
type moved struct{ ports.Inbox }

func (moved) Dismiss(context.Context, string, ports.AuditEntry) error { return ports.ErrMoved }

func TestDismiss_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		payment payment.Payment
		// event is not stored yet.
		event ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Create("order_1")
		b.event = b.Pay(b.payment.IntentID)

		return b
	}
	dismiss := func(t *testing.T, b testBundle, d operations.Decision) (ports.StoredEvent, error) {
		t.Helper()

		return events.NewDismiss(b.Inbox, b.Store, b.Observer).Do(t.Context(), b.event.ID, d)
	}

	t.Run("Parked", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Park(b.event)

		dismissed, err := dismiss(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, ports.EventDismissed, dismissed.Outcome)
		require.Equal(t, []string{"inbox.dismiss by cli:ann: looked at the dashboard"}, b.Observer.Told(b.event.ID))

		entries := b.Audit(b.event.ID)
		require.Len(t, entries, 1)
		require.Equal(t, map[string]any{"outcome": "parked", "parked_reason": "unknown_payment"}, entries[0].Before)
		require.Equal(t, map[string]any{"outcome": "dismissed"}, entries[0].After)

		ready, err := events.NewApplyParked(b.Inbox, b.Parked()).Do(t.Context())
		require.NoError(t, err)
		require.Zero(t, ready, "it is applied no more")
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})

	t.Run("Applied", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)

		_, err = dismiss(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "is applied")
		require.Empty(t, b.Audit(b.event.ID))
	})

	t.Run("WithoutAReason", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Park(b.event)

		_, err := dismiss(t, b, operations.Decision{Actor: "cli:ann"})
		apptest.RequireFault(t, fault.Invalid, err)
		require.Equal(t, ports.EventParked, b.Stored(b.event.ID).Outcome)
	})

	t.Run("MovedMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Park(b.event)
		b.Inbox = moved{b.Inbox}

		_, err := dismiss(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "has changed meanwhile")
		require.Empty(t, b.Observer.Told(b.event.ID))
	})

	t.Run("NoSuchEvent", func(t *testing.T) {
		t.Parallel()

		_, err := dismiss(t, setup(t), decision)
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
