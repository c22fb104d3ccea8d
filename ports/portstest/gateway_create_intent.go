package portstest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func createGivesTheIntent(t *testing.T, b GatewayBed) {
	t.Helper()

	id, order := uuid.New(), gatewayOrder(t, 123_45)
	order.Metadata = payment.Metadata{"order": "№ 7 & co = 100 %", "Payment_ID": "not ours", "empty": ""}

	began := time.Now()
	intent, err := b.Gateway.CreateIntent(t.Context(), b.Gateway.Prepare(id, order), false)
	require.NoError(t, err)
	require.NotEmpty(t, intent.ID)
	require.NotEmpty(t, intent.ClientSecret)
	require.Equal(t, order.Amount, intent.Amount)
	require.Equal(t, payment.Pending, intent.Status)
	require.Equal(t, id, intent.PaymentID)
	require.WithinDuration(t, began, intent.CreatedAt, time.Minute)
	require.Equal(t, time.UTC, intent.CreatedAt.Location())

	read, err := b.Gateway.Intent(t.Context(), intent.ID)
	require.NoError(t, err)
	require.Equal(t, intent, read)
}

func createTwiceIsOnce(t *testing.T, b GatewayBed) {
	t.Helper()

	request := b.Gateway.Prepare(uuid.New(), gatewayOrder(t, 500))
	first, err := b.Gateway.CreateIntent(t.Context(), request, false)
	require.NoError(t, err)

	for range 3 {
		again, err := b.Gateway.CreateIntent(t.Context(), request, true)
		require.NoError(t, err)
		require.Equal(t, first, again)
	}

	require.Len(t, recentIntents(t, b), 1)
}

func twoPaymentsTwoIntents(t *testing.T, b GatewayBed) {
	t.Helper()

	order := gatewayOrder(t, 500)
	first := createIntent(t, b, uuid.New(), order)
	second := createIntent(t, b, uuid.New(), order)
	require.NotEqual(t, first.ID, second.ID)
}

func rejectedThenUnknown(t *testing.T, b GatewayBed) {
	t.Helper()

	request := b.Gateway.Prepare(uuid.New(), b.Rejectable)

	_, err := b.Gateway.CreateIntent(t.Context(), request, false)

	var rejected *ports.RejectedError

	require.ErrorAs(t, err, &rejected)
	require.NotEmpty(t, rejected.Message)
	require.NotErrorIs(t, err, ports.ErrUnavailable)

	// A rejection of the copy says nothing about the first send.
	_, err = b.Gateway.CreateIntent(t.Context(), request, true)
	requireUnknown(t, err)
	require.Empty(t, recentIntents(t, b))
}

// The order itself may be fine, so no final answer about it is kept.
func rejectedUntilRepaired(t *testing.T, b GatewayBed) {
	t.Helper()

	request := b.Gateway.Prepare(uuid.New(), gatewayOrder(t, 500))
	restore := b.Misconfigure(t)

	_, err := b.Gateway.CreateIntent(t.Context(), request, false)

	var (
		deployment *ports.DeploymentError
		rejected   *ports.RejectedError
	)

	require.ErrorAs(t, err, &deployment)
	require.NotEmpty(t, deployment.Message)
	require.False(t, deployment.Kept)
	require.NotErrorAs(t, err, &rejected)
	require.NotErrorIs(t, err, ports.ErrUnavailable)

	_, err = b.Gateway.CreateIntent(t.Context(), request, true)
	requireUnknown(t, err)
	restore()
	require.Empty(t, recentIntents(t, b))

	_, err = b.Gateway.CreateIntent(t.Context(), request, false)
	require.NoError(t, err, "the same request is good now")
	require.Len(t, recentIntents(t, b), 1)
}

func unsentIsNoAttempt(t *testing.T, b GatewayBed) {
	t.Helper()

	request := b.Gateway.Prepare(uuid.New(), b.Rejectable)
	restore := b.Cut(t)

	for range 2 {
		_, err := b.Gateway.CreateIntent(t.Context(), request, false)
		require.ErrorIs(t, err, ports.ErrUnavailable)
	}

	restore()

	_, err := b.Gateway.CreateIntent(t.Context(), request, false)

	var rejected *ports.RejectedError

	require.ErrorAs(t, err, &rejected, "this is the first that the provider hears of it")
	require.True(t, rejected.Amount)
}

// If the provider rejects a key because it comes back with other parameters, then the
// first request has arrived. So the outcome is unknown, not rejected.
func changedParametersAreUnknown(t *testing.T, b GatewayBed) {
	t.Helper()

	id := uuid.New()
	intent := createIntent(t, b, id, gatewayOrder(t, 500))

	_, err := b.Gateway.CreateIntent(t.Context(), b.Gateway.Prepare(id, gatewayOrder(t, 600)), false)
	requireUnknown(t, err)

	found := recentIntents(t, b)
	require.Len(t, found, 1)
	require.Equal(t, intent, found[0])
}

func lostAnswerIsFound(t *testing.T, b GatewayBed) {
	t.Helper()

	id := uuid.New()
	request := b.Gateway.Prepare(id, gatewayOrder(t, 500))

	restore := b.LoseAnswers(t)
	_, err := b.Gateway.CreateIntent(t.Context(), request, false)
	requireUnknown(t, err)
	restore()

	// The intent exists although the answer was lost, and it carries our id.
	found := recentIntents(t, b)
	require.Len(t, found, 1)
	require.Equal(t, id, found[0].PaymentID)

	intent, err := b.Gateway.CreateIntent(t.Context(), request, true)
	require.NoError(t, err)
	require.Equal(t, found[0], intent)
	require.Len(t, recentIntents(t, b), 1)
}

func createWithEndedContext(t *testing.T, b GatewayBed) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := b.Gateway.CreateIntent(ctx, b.Gateway.Prepare(uuid.New(), gatewayOrder(t, 500)), false)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable, "nothing was sent")

	var rejected *ports.RejectedError

	require.NotErrorAs(t, err, &rejected)
}
