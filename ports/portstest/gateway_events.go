package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func eventsSeesChanges(t *testing.T, b GatewayBed) {
	t.Helper()

	for change, act := range map[payment.Status]func(testing.TB, string){
		payment.Succeeded: b.Pay,
		payment.Failed:    b.Decline,
		payment.Cancelled: b.Cancel,
	} {
		id := uuid.New()
		intent := createIntent(t, b, id, gatewayOrder(t, 500))
		act(t, intent.ID)

		var event ports.Event

		require.Eventually(t, func() bool {
			for e, err := range b.Gateway.Events(t.Context(), intent.CreatedAt, time.Now().Add(time.Hour)) {
				require.NoError(t, err)

				if e.ObjectID == intent.ID && e.Change == change {
					event = e

					return true
				}
			}

			return false
		}, 10*time.Second, 10*time.Millisecond)

		require.NotEmpty(t, event.ID)
		require.NotEmpty(t, event.Type)
		require.NotEmpty(t, event.Raw)
		require.True(t, event.IsIntent)
		require.False(t, event.CreatedAt.Before(intent.CreatedAt))
		require.Equal(t, intent.ID, event.Intent.ID)
		require.Equal(t, intent.Amount, event.Intent.Amount)
		require.Equal(t, id, event.Intent.PaymentID)
		require.Equal(t, change, event.Intent.Status)
	}
}

func eventsWithinBounds(t *testing.T, b GatewayBed) {
	t.Helper()

	intent := createIntent(t, b, uuid.New(), gatewayOrder(t, 500))
	b.Pay(t, intent.ID)

	var events []ports.Event

	require.Eventually(t, func() bool {
		events = collect(t, b.Gateway.Events(t.Context(), intent.CreatedAt, time.Now().Add(time.Hour)))

		return len(events) == 1
	}, 10*time.Second, 10*time.Millisecond)

	at := events[0].CreatedAt
	require.Equal(t, events, collect(t, b.Gateway.Events(t.Context(), at, at)))
	require.Empty(t, collect(t, b.Gateway.Events(t.Context(), at.Add(-time.Hour), at.Add(-time.Second))))
	require.Empty(t, collect(t, b.Gateway.Events(t.Context(), at.Add(time.Second), at.Add(time.Hour))))
}
