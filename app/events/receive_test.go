package events_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// away is a database that is out of reach.
type away struct{ ports.Inbox }

func (away) Apply(context.Context, ports.Event) (ports.Applied, error) {
	return ports.Applied{}, fault.New(fault.Unavailable, "The database cannot be reached.")
}

func TestReceive_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		payment payment.Payment
		// event is that the payment was paid. It is not here yet.
		event ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Create("order_1")
		b.event = b.Pay(b.payment.IntentID)

		return b
	}
	receive := func(t *testing.T, b testBundle, body []byte) (ports.Applied, error) {
		t.Helper()

		uc := events.NewReceive(b.Webhooks, b.Apply(), b.Observer)
		payload, signature := apptest.Signed(body)
		require.NoError(t, uc.Check(signature))

		signed, err := uc.Verify(payload, signature)
		require.NoError(t, err)

		return uc.Do(t.Context(), signed)
	}

	t.Run("Applied", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		applied, err := receive(t, b, b.event.Raw)
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, b.payment.ID, applied.PaymentID)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Equal(t, string(b.event.Raw), string(b.Stored(b.event.ID).Raw), "as it was signed")
		require.Equal(t, []string{"handled: applied", "taken: applied"}, b.Observer.Told(b.event.ID))
		require.Contains(t, b.Observer.Spans(), "app.HandleEvent")
	})

	t.Run("Twice", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := receive(t, b, b.event.Raw)
		require.NoError(t, err)

		history := b.History(b.payment.ID)

		again, err := receive(t, b, b.event.Raw)
		require.NoError(t, err)
		require.Equal(t, ports.EventDuplicate, again.Outcome)
		require.Equal(t, history, b.History(b.payment.ID))
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		live := bytes.ReplaceAll(b.event.Raw, []byte(`"livemode": false`), []byte(`"livemode": true`))
		require.NotEqual(t, string(b.event.Raw), string(live))

		applied, err := receive(t, b, live)
		require.NoError(t, err)
		require.Equal(t, ports.EventForeign, applied.Outcome)
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
		require.Empty(t, b.Stored(b.event.ID).Raw, "its content is none of our business")
	})

	t.Run("NoEvent", func(t *testing.T) {
		t.Parallel()

		_, err := receive(t, setup(t), []byte(`{}`))
		apptest.RequireFault(t, fault.Invalid, err)
	})

	t.Run("NotStored", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Inbox = away{b.Inbox}
		_, err := receive(t, b, b.event.Raw)
		apptest.RequireFault(t, fault.Unavailable, err)
		require.Empty(t, b.Observer.Told(b.event.ID), "Stripe sends it again")
	})
}

func TestReceive_Verify(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	uc := events.NewReceive(w.Webhooks, w.Apply(), w.Observer)
	payload, signature := apptest.Signed([]byte(`{"id":"evt_1"}`))

	_, err := uc.Verify(payload, signature)
	require.NoError(t, err)

	_, err = uc.Verify(append(payload, ' '), signature)
	apptest.RequireFault(t, fault.Unauthenticated, err)
	apptest.RequireFault(t, fault.Unauthenticated, uc.Check("t=1,v1=00"))
	apptest.RequireFault(t, fault.Unauthenticated, uc.Check(""))
}
