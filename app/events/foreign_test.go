package events_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// What is not ours is stored as an id, a type and a time, and never parked.
func TestApply_Do_Foreign(t *testing.T) {
	t.Parallel()

	const order = "amount=1000&currency=usd"

	requireForeign := func(t *testing.T, b *apptest.World, event ports.Event) {
		t.Helper()

		applied, err := b.Apply().Take(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventForeign, applied.Outcome)
		require.Equal(t, []string{"handled: foreign", "taken: foreign"}, b.Observer.Told(event.ID))

		stored := b.Stored(event.ID)
		require.Equal(t, ports.EventForeign, stored.Outcome)
		require.Equal(t, event.Type, stored.Type)
		require.True(t, event.CreatedAt.Equal(stored.CreatedAt))
		require.Empty(t, stored.Raw)
		require.Empty(t, stored.ObjectID)

		again, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventDuplicate, again.Outcome)

		all, err := b.Store.Operations(t.Context(), 0, nil, 10)
		require.NoError(t, err)
		require.Empty(t, all, "nothing is adopted")
	}
	// another is the mark of another installation on the same account.
	another := func(id uuid.UUID) string {
		return operation.Installation{ID: uuid.New()}.Mark(
			operation.DefaultTenant, operation.Create, id, operation.Fingerprint{1}).String()
	}

	t.Run("Unmarked", func(t *testing.T) {
		t.Parallel()

		for name, metadata := range map[string]string{
			"NoMetadata":      "",
			"TheirOwn":        "&metadata[order]=42",
			"AMarkOfTheirOwn": "&metadata[marketflow]=yes&metadata[payment_id]=17",
			"AnotherSpelling": "&metadata[Payment_ID]=0190d2a0-0000-7000-8000-00000000000a",
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				b := apptest.New(t)
				id := b.StrangeIntent(order + metadata)
				paid := b.Pay(id)
				requireForeign(t, b, paid)
				requireForeign(t, b, b.Event(id, "payment_intent.created"))
			})
		}
	})

	t.Run("OfAnotherInstallation", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		id := apptest.NewID(t)
		requireForeign(t, b, b.Pay(b.StrangeIntent(order+"&metadata[payment_id]="+id.String()+"&metadata[marketflow]="+another(id))))
	})

	// Two installations that began as copies know the same payments.
	t.Run("OfAnotherInstallationWithOurPaymentID", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		op := b.Begin("order_1")
		event := b.Pay(b.StrangeIntent(order + "&metadata[payment_id]=" + op.ID.String() + "&metadata[marketflow]=" + another(op.ID)))

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventForeign, applied.Outcome)
		require.Equal(t, operation.Pending, b.Operation(op.ID).State)
		b.RequireNoPayment(op.ID)
	})

	// It was parked by an older release.
	t.Run("Parked", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		event := b.Pay(b.StrangeIntent(order + "&metadata[order]=42"))
		b.Park(event)

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventForeign, applied.Outcome)
		require.Empty(t, b.Stored(event.ID).Raw)
		require.Empty(t, b.Stored(event.ID).Reason)
	})

	// A row of ours names the intent: it is ours, whatever somebody has done to its metadata.
	t.Run("UnmarkedButOurs", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		p := b.Create("order_1")
		b.Dashboard(p.IntentID, "", map[string][]string{
			"metadata[payment_id]": {""}, "metadata[marketflow]": {""}, "metadata[marketflow_key]": {""},
		})

		event := b.Pay(p.IntentID)
		require.True(t, event.Intent.Unmarked)

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	})

	// Anybody may choose that name. What is ours from before the marks has a row.
	t.Run("APaymentIDAlone", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		event := b.Pay(b.StrangeIntent(order + "&metadata[payment_id]=" + apptest.NewID(t).String()))

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.Applied{Outcome: ports.EventForeign}, applied)
	})
}

// Events of types that nobody handles yet are kept whole: a later release may need them.
func TestApply_Do_Unhandled(t *testing.T) {
	t.Parallel()

	for _, eventType := range []string{"payment_intent.partially_funded", "charge.captured", "invoice.created"} {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()

			b := apptest.New(t)
			p := b.Create("order_1")
			event := b.Retyped(b.Pay(p.IntentID), eventType)

			applied, err := b.Apply().Take(t.Context(), event)
			require.NoError(t, err)
			require.Equal(t, ports.EventUnhandled, applied.Outcome)
			require.Equal(t, []string{"handled: unhandled", "taken: unhandled"}, b.Observer.Told(event.ID))
			require.Equal(t, payment.Pending, b.Payment(p.ID).Status)

			stored := b.Stored(event.ID)
			require.Equal(t, ports.EventUnhandled, stored.Outcome)
			require.Equal(t, string(event.Raw), string(stored.Raw))
			require.Equal(t, p.IntentID, stored.ObjectID)

			again, err := b.Apply().Do(t.Context(), event)
			require.NoError(t, err)
			require.Equal(t, ports.EventDuplicate, again.Outcome)
		})
	}
}
