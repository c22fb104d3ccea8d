package portstest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func sendGivesTheIntent(t *testing.T, b ProviderBed) {
	t.Helper()

	id, order := uuid.New(), providerOrder(t, 123_45)
	order.Metadata = map[string]string{"order": "№ 7 & co = 100 %", "Payment_ID": "not ours", "empty": ""}

	began := time.Now()
	intent := b.create(t, id, order)
	require.NotEmpty(t, intent.ID)
	require.NotEmpty(t, intent.ClientSecret)
	require.Equal(t, order.Amount, intent.Amount)
	require.Equal(t, payment.Pending, intent.Status)
	require.Equal(t, payment.IntentRequiresPaymentMethod, intent.IntentStatus)
	require.Equal(t, payment.CaptureAutomatic, intent.CaptureMethod)
	require.False(t, intent.Declined)
	require.Equal(t, id, intent.PaymentID)
	require.True(t, intent.Marked)
	require.Equal(t, ours.Mark(
		operation.DefaultTenant, operation.Create, id, order.Fingerprint(operation.Create, uuid.Nil)), intent.Mark)
	require.Zero(t, intent.Capture)
	require.False(t, intent.Unmarked)
	require.WithinDuration(t, began, intent.CreatedAt, time.Minute)
	require.Equal(t, time.UTC, intent.CreatedAt.Location())
	require.Equal(t, intent, b.read(t, intent.ID))
}

func sendTwiceIsOnce(t *testing.T, b ProviderBed) {
	t.Helper()

	call := b.createCall(t, uuid.New(), providerOrder(t, 500))
	first := b.send(t, call, false)

	for range 3 {
		require.Equal(t, first, b.send(t, call, true))
	}

	require.Len(t, b.recentIntents(t), 1)
}

func twoPaymentsTwoIntents(t *testing.T, b ProviderBed) {
	t.Helper()

	order := providerOrder(t, 500)
	first := b.create(t, uuid.New(), order)
	second := b.create(t, uuid.New(), order)
	require.NotEqual(t, first.ID, second.ID)
}

func rejectedThenUnknown(t *testing.T, b ProviderBed) {
	t.Helper()

	call := b.createCall(t, uuid.New(), b.Rejectable)
	err := b.sendFails(t, call, false)

	var rejected *ports.RejectedError

	require.ErrorAs(t, err, &rejected)
	require.NotEmpty(t, rejected.Message)
	require.False(t, rejected.State)
	require.NotErrorIs(t, err, ports.ErrUnavailable)

	// A rejection of the copy says nothing about the first send.
	requireUnknown(t, b.sendFails(t, call, true))
	require.Empty(t, b.recentIntents(t))
}

// The order itself may be fine, so no final answer about it is kept.
func rejectedUntilRepaired(t *testing.T, b ProviderBed) {
	t.Helper()

	call := b.createCall(t, uuid.New(), providerOrder(t, 500))
	restore := b.Misconfigure(t)

	requireDeployment(t, b.sendFails(t, call, false))
	requireUnknown(t, b.sendFails(t, call, true))
	restore()
	require.Empty(t, b.recentIntents(t))

	b.send(t, call, false) // the same call is good now
	require.Len(t, b.recentIntents(t), 1)
}

// requireDeployment requires that err blames the deployment and not the order.
func requireDeployment(tb testing.TB, err error) {
	tb.Helper()

	var (
		deployment *ports.DeploymentError
		rejected   *ports.RejectedError
	)

	require.ErrorAs(tb, err, &deployment)
	require.NotEmpty(tb, deployment.Message)
	require.False(tb, deployment.Kept)
	require.NotErrorAs(tb, err, &rejected)
	require.NotErrorIs(tb, err, ports.ErrUnavailable)
}

func unsentIsNoAttempt(t *testing.T, b ProviderBed) {
	t.Helper()

	call := b.createCall(t, uuid.New(), b.Rejectable)
	restore := b.Cut(t)

	for range 2 {
		require.ErrorIs(t, b.sendFails(t, call, false), ports.ErrUnavailable)
	}

	restore()

	var rejected *ports.RejectedError

	require.ErrorAs(t, b.sendFails(t, call, false), &rejected, "this is the first that the provider hears of it")
	require.True(t, rejected.Amount)
}

// If the provider rejects a key because it comes back with other parameters, then the
// first call has arrived. So the outcome is unknown, not rejected.
func changedParametersAreUnknown(t *testing.T, b ProviderBed) {
	t.Helper()

	id := uuid.New()
	intent := b.create(t, id, providerOrder(t, 500))

	requireUnknown(t, b.sendFails(t, b.createCall(t, id, providerOrder(t, 600)), false))
	require.Equal(t, []ports.Intent{intent}, b.recentIntents(t))
}

func lostAnswerIsFound(t *testing.T, b ProviderBed) {
	t.Helper()

	id := uuid.New()
	call := b.createCall(t, id, providerOrder(t, 500))

	restore := b.LoseAnswers(t)

	requireUnknown(t, b.sendFails(t, call, false))
	restore()

	// The intent exists although the answer was lost, and it carries our id.
	found := b.recentIntents(t)
	require.Len(t, found, 1)
	require.Equal(t, id, found[0].PaymentID)

	require.Equal(t, found[0], b.send(t, call, true))
	require.Len(t, b.recentIntents(t), 1)
}

func sendWithEndedContext(t *testing.T, b ProviderBed) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := b.Provider.Send(ctx, b.createCall(t, uuid.New(), providerOrder(t, 500)), false)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, ports.ErrUnavailable, "nothing was sent")

	var rejected *ports.RejectedError

	require.NotErrorAs(t, err, &rejected)
}

// captureCall captures the amount of the order; call it with none for all that is held.
func (b ProviderBed) captureCall(tb testing.TB, intent ports.Intent, order operation.Order) (ports.Call, operation.Mark) {
	tb.Helper()

	mark := markOf(operation.Capture, intent.PaymentID, order)
	call, err := b.Calls.CapturePayment(mark, intent.ID, order)
	require.NoError(tb, err)

	return call, mark
}

func (b ProviderBed) cancelCall(tb testing.TB, intent ports.Intent) ports.Call {
	tb.Helper()

	order := operation.Order{Options: map[string]string{"reason": "requested_by_customer"}}
	call, err := b.Calls.CancelPayment(markOf(operation.Cancel, intent.PaymentID, order), intent.ID, order)
	require.NoError(tb, err)

	return call
}

// A capture leaves the mark of the creation as it was.
func sendCapturesAll(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	call, mark := b.captureCall(t, held, operation.Order{})

	for _, resend := range []bool{false, true} {
		intent := b.send(t, call, resend)
		require.Equal(t, held.ID, intent.ID)
		require.Equal(t, payment.Succeeded, intent.Status)
		require.Equal(t, payment.IntentSucceeded, intent.IntentStatus)
		require.Equal(t, held.Amount.Money(), intent.Captured)
		require.Zero(t, intent.Capturable.Minor())
		require.Equal(t, mark, intent.Capture)
		require.True(t, intent.Marked)
		require.Equal(t, held.Mark, intent.Mark)
		require.Equal(t, held.PaymentID, intent.PaymentID)
	}
}

func sendCapturesPart(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	call, mark := b.captureCall(t, held, operation.Order{Amount: amount(t, 400, "USD")})

	intent := b.send(t, call, false)
	require.Equal(t, payment.Succeeded, intent.Status)
	require.Equal(t, held.Amount, intent.Amount)
	require.Equal(t, money.Of(400, held.Amount.Currency()), intent.Captured)
	require.Equal(t, mark, b.read(t, held.ID).Capture)
}

func sendCancels(t *testing.T, b ProviderBed) {
	t.Helper()

	for _, intent := range []ports.Intent{b.create(t, uuid.New(), providerOrder(t, 500)), b.hold(t)} {
		call := b.cancelCall(t, intent)

		for _, resend := range []bool{false, true} {
			cancelled := b.send(t, call, resend)
			require.Equal(t, intent.ID, cancelled.ID)
			require.Equal(t, payment.Cancelled, cancelled.Status)
			require.Equal(t, payment.IntentCanceled, cancelled.IntentStatus)
			require.Zero(t, cancelled.Captured.Minor())
			require.Zero(t, cancelled.Capturable.Minor())
			require.Equal(t, intent.Mark, cancelled.Mark)
		}
	}
}

// What the state does not allow is told as such also on a copy: whoever reads the intent
// learns what became of the original.
func sendAgainstTheState(t *testing.T, b ProviderBed) {
	t.Helper()

	captured := b.hold(t)
	first, _ := b.captureCall(t, captured, operation.Order{})
	b.send(t, first, false)

	cancelled := b.hold(t)
	b.send(t, b.cancelCall(t, cancelled), false)

	again, _ := b.captureCall(t, captured, operation.Order{})
	late, _ := b.captureCall(t, cancelled, operation.Order{})
	early, _ := b.captureCall(t, b.create(t, uuid.New(), providerOrder(t, 500)), operation.Order{})

	for name, call := range map[string]ports.Call{
		"captured twice": again, "captured once it is cancelled": late, "captured before it is paid": early,
		"cancelled once it is captured": b.cancelCall(t, captured), "cancelled twice": b.cancelCall(t, cancelled),
	} {
		for _, resend := range []bool{false, true} {
			var rejected *ports.RejectedError

			require.ErrorAs(t, b.sendFails(t, call, resend), &rejected, name)
			require.True(t, rejected.State, name)
			require.NotEmpty(t, rejected.Message)
		}
	}
}

func sendCapturesTooMuch(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	call, _ := b.captureCall(t, held, operation.Order{Amount: amount(t, 501, "USD")})

	var rejected *ports.RejectedError

	require.ErrorAs(t, b.sendFails(t, call, false), &rejected)
	require.True(t, rejected.Amount)
	require.False(t, rejected.State)
	require.Equal(t, held, b.read(t, held.ID))
}

func lostCaptureIsFound(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	call, mark := b.captureCall(t, held, operation.Order{})
	restore := b.LoseAnswers(t)

	requireUnknown(t, b.sendFails(t, call, false))
	restore()

	found := b.read(t, held.ID)
	require.Equal(t, payment.Succeeded, found.Status)
	require.Equal(t, mark, found.Capture, "the intent says which operation has captured it")

	found.Method = payment.Method{} // only reading tells it
	require.Equal(t, found, b.send(t, call, true))
}

func captureUntilRepaired(t *testing.T, b ProviderBed) {
	t.Helper()

	held := b.hold(t)
	call, _ := b.captureCall(t, held, operation.Order{})
	restore := b.Misconfigure(t)

	requireDeployment(t, b.sendFails(t, call, false))
	requireUnknown(t, b.sendFails(t, call, true))
	restore()
	require.Equal(t, held, b.read(t, held.ID))
	require.Equal(t, payment.Succeeded, b.send(t, call, false).Status)
}
