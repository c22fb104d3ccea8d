package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// decision is what people say of their decisions here.
var decision = operations.Decision{Actor: "cli:ann", Reason: "looked at the dashboard"}

func TestReprocess_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		payment payment.Payment
		// event is parked.
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
	reprocess := func(t *testing.T, b testBundle, d operations.Decision) (ports.Applied, error) {
		t.Helper()

		return events.NewReprocess(b.Inbox, b.Webhooks, b.Store, b.Apply()).Do(t.Context(), b.event.ID, d)
	}
	dismiss := func(t *testing.T, b testBundle) {
		t.Helper()

		_, err := events.NewDismiss(b.Inbox, b.Store, b.Observer).Do(t.Context(), b.event.ID, decision)
		require.NoError(t, err)
	}

	t.Run("Parked", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		applied, err := reprocess(t, b, operations.Decision{})
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Equal(t, []string{"handled: applied"}, b.Observer.Told(b.event.ID))

		again, err := reprocess(t, b, operations.Decision{})
		require.NoError(t, err)
		require.Equal(t, ports.EventDuplicate, again.Outcome)
		require.Empty(t, b.Audit(b.event.ID), "nothing was decided")
	})

	t.Run("DismissedNeedsAReason", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		dismiss(t, b)

		_, err := reprocess(t, b, operations.Decision{Actor: "cli:ann"})
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "was dismissed by a person")
		require.Equal(t, ports.EventDismissed, b.Stored(b.event.ID).Outcome)
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})

	t.Run("DismissedAndOpenedAgain", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		dismiss(t, b)

		applied, err := reprocess(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)

		entries := b.Audit(b.event.ID)
		require.Len(t, entries, 2)
		require.Equal(t, ports.AuditEventReopened, entries[1].Action)
		require.Equal(t, decision.Actor, entries[1].Actor)
		require.Equal(t, decision.Reason, entries[1].Reason)
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.Store.StoreForeign(t.Context(), b.event)
		require.NoError(t, err)

		applied, err := reprocess(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, ports.Applied{Outcome: ports.EventForeign}, applied)
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})

	t.Run("CannotBeRead", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE stripe_events SET payload = '{}'")

		_, err := reprocess(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Equal(t, ports.EventParked, b.Stored(b.event.ID).Outcome)
	})

	t.Run("NoSuchEvent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.event.ID = "evt_unknown"
		_, err := reprocess(t, b, decision)
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
