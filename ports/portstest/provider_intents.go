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

func intentFollows(t *testing.T, b ProviderBed) {
	t.Helper()

	for want, act := range map[payment.Status]func(testing.TB, string){
		payment.Succeeded: b.Pay,
		payment.Failed:    b.Decline,
		payment.Cancelled: b.Cancel,
	} {
		intent := b.create(t, uuid.New(), providerOrder(t, 500))
		act(t, intent.ID)

		intent.Status = want

		switch want {
		case payment.Succeeded:
			intent.IntentStatus, intent.Captured = payment.IntentSucceeded, intent.Amount.Money()
		case payment.Failed:
			intent.IntentStatus, intent.Declined = payment.IntentRequiresPaymentMethod, true
		case payment.Cancelled:
			intent.IntentStatus = payment.IntentCanceled
		case payment.Pending:
		}

		read := b.read(t, intent.ID)
		if want != payment.Cancelled {
			require.NotEmpty(t, read.LatestCharge)
			require.Equal(t, "card", read.Method.Type)
			require.Len(t, read.Method.Card.Last4, 4)
		}

		require.Equal(t, want == payment.Failed, !read.Decline.IsZero())

		intent.LatestCharge, intent.Method, intent.Decline = read.LatestCharge, read.Method, read.Decline
		require.Equal(t, intent, read)
	}
}

// Only reading an intent tells when its hold lapses.
func intentFollowsHold(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	require.Equal(t, payment.Pending, held.Status)
	require.Equal(t, payment.IntentRequiresCapture, held.IntentStatus)
	require.Equal(t, held.Amount.Money(), held.Capturable)
	require.Zero(t, held.Captured.Minor())
	require.True(t, held.CaptureBefore.After(time.Now().Add(24*time.Hour)))
	require.Equal(t, time.UTC, held.CaptureBefore.Location())

	b.Cancel(t, held.ID)

	let := b.read(t, held.ID)
	require.Equal(t, payment.Cancelled, let.Status)
	require.Zero(t, let.Capturable.Minor())
	require.True(t, let.CaptureBefore.IsZero())
}

func intentNotFound(t *testing.T, b ProviderBed) {
	t.Helper()

	for _, id := range []string{"pi_none", "", "..", "a/b?c#d e%"} {
		_, err := b.Provider.Intent(t.Context(), id)
		require.Equal(t, fault.NotFound, fault.KindOf(err), "%q: %v", id, err)
	}
}

func intentsWithinBounds(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))
	at := intent.CreatedAt

	require.Equal(t, []ports.Intent{intent}, collect(t, b.Provider.Intents(t.Context(), at, at)))
	require.Empty(t, collect(t, b.Provider.Intents(t.Context(), at.Add(-time.Minute), at.Add(-time.Second))))
	require.Empty(t, collect(t, b.Provider.Intents(t.Context(), at.Add(time.Second), at.Add(time.Minute))))
}

func intentsReadsEveryPage(t *testing.T, b ProviderBed) {
	t.Helper()

	const n = 203 // providers list a hundred at most

	created := make(map[string]ports.Intent, n)
	order := providerOrder(t, 500)

	for range n {
		intent := b.create(t, uuid.New(), order)
		created[intent.ID] = intent
	}

	list := b.Provider.Intents(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour))

	for range 2 {
		found := collect(t, list)
		require.Len(t, found, n)

		for i, intent := range found {
			require.Equal(t, created[intent.ID], intent)
			require.True(t, i == 0 || !found[i-1].CreatedAt.Before(intent.CreatedAt), "newest first")
		}
	}
}

func intentsStops(t *testing.T, b ProviderBed) {
	t.Helper()

	b.create(t, uuid.New(), providerOrder(t, 500))
	last := b.create(t, uuid.New(), providerOrder(t, 500))

	for intent, err := range b.Provider.Intents(t.Context(), last.CreatedAt.Add(-time.Hour), last.CreatedAt) {
		require.NoError(t, err)
		require.Equal(t, last, intent)

		break
	}
}

func intentsWithEndedContext(t *testing.T, b ProviderBed) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	errs := 0

	for _, err := range b.Provider.Intents(ctx, time.Now(), time.Now()) {
		require.ErrorIs(t, err, context.Canceled)

		errs++
	}

	require.Equal(t, 1, errs)
}
