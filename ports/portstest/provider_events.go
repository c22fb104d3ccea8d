package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// waitForEvent waits until an event about the intent is listed that is the one.
func (b ProviderBed) waitForEvent(tb testing.TB, intent ports.Intent, is func(ports.Event) bool) ports.Event {
	tb.Helper()

	var event ports.Event

	require.Eventually(tb, func() bool {
		for e, err := range b.Provider.Events(tb.Context(), intent.CreatedAt, time.Now().Add(time.Hour)) {
			require.NoError(tb, err)

			if e.ObjectID == intent.ID && is(e) {
				event = e

				return true
			}
		}

		return false
	}, 10*time.Second, 10*time.Millisecond)

	require.NotEmpty(tb, event.ID)
	require.NotEmpty(tb, event.Type)
	require.NotEmpty(tb, event.Raw)
	require.True(tb, event.IsIntent)
	require.True(tb, event.Handled)
	require.False(tb, event.CreatedAt.Before(intent.CreatedAt))
	require.Equal(tb, intent.ID, event.Intent.ID)
	require.Equal(tb, intent.Amount, event.Intent.Amount)
	require.Equal(tb, intent.PaymentID, event.Intent.PaymentID)
	require.Equal(tb, intent.Mark, event.Intent.Mark)
	require.False(tb, event.Intent.Unmarked)

	return event
}

func eventsSeesChanges(t *testing.T, b ProviderBed) {
	t.Helper()

	for change, act := range map[payment.Status]func(testing.TB, string){
		payment.Succeeded: b.Pay,
		payment.Failed:    b.Decline,
		payment.Cancelled: b.Cancel,
	} {
		intent := b.create(t, uuid.New(), providerOrder(t, 500))
		act(t, intent.ID)

		event := b.waitForEvent(t, intent, func(e ports.Event) bool { return e.Change == change })
		require.Equal(t, change, event.Intent.Status)
		require.Equal(t, b.read(t, intent.ID).IntentStatus, event.Intent.IntentStatus)
		require.Equal(t, change == payment.Failed, event.Intent.Declined)
	}
}

// An event that changes no status tells how far the payment is.
func eventsSeesSteps(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)

	for _, step := range []payment.IntentStatus{payment.IntentRequiresPaymentMethod, payment.IntentRequiresCapture} {
		event := b.waitForEvent(t, held, func(e ports.Event) bool { return e.Intent.IntentStatus == step })
		require.Empty(t, event.Change)
		require.Equal(t, payment.Pending, event.Intent.Status)

		if step == payment.IntentRequiresCapture {
			require.Equal(t, held.Amount.Money(), event.Intent.Capturable)
			require.Equal(t, payment.CaptureManual, event.Intent.CaptureMethod)
		}
	}
}

func eventsWithinBounds(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))
	b.Pay(t, intent.ID)

	at := b.waitForEvent(t, intent, func(e ports.Event) bool { return e.Change == payment.Succeeded }).CreatedAt
	events := collect(t, b.Provider.Events(t.Context(), intent.CreatedAt, at))
	require.GreaterOrEqual(t, len(events), 2, "it was created and it succeeded")

	var last []ports.Event

	for i, e := range events {
		require.True(t, i == 0 || !events[i-1].CreatedAt.Before(e.CreatedAt), "newest first")

		if e.CreatedAt.Equal(at) {
			last = append(last, e)
		}
	}

	require.Equal(t, last, collect(t, b.Provider.Events(t.Context(), at, at)))

	for _, from := range []time.Time{intent.CreatedAt.Add(-time.Hour), at.Add(time.Second)} {
		require.Empty(t, collect(t, b.Provider.Events(t.Context(), from, from.Add(time.Hour-time.Second))))
	}
}
