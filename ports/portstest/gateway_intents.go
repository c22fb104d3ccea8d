package portstest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func intentFollows(t *testing.T, b GatewayBed) {
	t.Helper()

	for want, act := range map[payment.Status]func(testing.TB, string){
		payment.Succeeded: b.Pay,
		payment.Failed:    b.Decline,
		payment.Cancelled: b.Cancel,
	} {
		intent := createIntent(t, b, uuid.New(), gatewayOrder(t, 500))
		act(t, intent.ID)

		intent.Status = want
		read, err := b.Gateway.Intent(t.Context(), intent.ID)
		require.NoError(t, err)
		require.Equal(t, intent, read)
	}
}

func intentNotFound(t *testing.T, b GatewayBed) {
	t.Helper()

	for _, id := range []string{"pi_none", "", "..", "a/b?c#d e%"} {
		_, err := b.Gateway.Intent(t.Context(), id)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%q: %v", id, err)
	}
}

func intentsWithinBounds(t *testing.T, b GatewayBed) {
	t.Helper()

	intent := createIntent(t, b, uuid.New(), gatewayOrder(t, 500))
	at := intent.CreatedAt

	require.Equal(t, []ports.Intent{intent}, collect(t, b.Gateway.Intents(t.Context(), at, at)))
	require.Empty(t, collect(t, b.Gateway.Intents(t.Context(), at.Add(-time.Minute), at.Add(-time.Second))))
	require.Empty(t, collect(t, b.Gateway.Intents(t.Context(), at.Add(time.Second), at.Add(time.Minute))))
}

func intentsReadsEveryPage(t *testing.T, b GatewayBed) {
	t.Helper()

	const n = 203 // providers list a hundred at most

	created := make(map[string]ports.Intent, n)
	order := gatewayOrder(t, 500)

	for range n {
		intent := createIntent(t, b, uuid.New(), order)
		created[intent.ID] = intent
	}

	list := b.Gateway.Intents(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))

	for range 2 {
		found := collect(t, list)
		require.Len(t, found, n)

		for i, intent := range found {
			require.Equal(t, created[intent.ID], intent)
			require.True(t, i == 0 || !found[i-1].CreatedAt.Before(intent.CreatedAt), "newest first")
		}
	}
}

func intentsStops(t *testing.T, b GatewayBed) {
	t.Helper()

	createIntent(t, b, uuid.New(), gatewayOrder(t, 500))
	last := createIntent(t, b, uuid.New(), gatewayOrder(t, 500))

	for intent, err := range b.Gateway.Intents(t.Context(), last.CreatedAt.Add(-time.Hour), last.CreatedAt) {
		require.NoError(t, err)
		require.Equal(t, last, intent)

		break
	}
}

func intentsWithEndedContext(t *testing.T, b GatewayBed) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	errs := 0

	for _, err := range b.Gateway.Intents(ctx, time.Now(), time.Now()) {
		require.ErrorIs(t, err, context.Canceled)

		errs++
	}

	require.Equal(t, 1, errs)
}
