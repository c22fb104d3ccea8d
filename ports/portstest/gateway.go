package portstest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// GatewayBed is a gateway before a provider that a test can steer.
type GatewayBed struct {
	Gateway ports.PaymentGateway
	// Refusable is an order that the provider refuses for good.
	Rejectable payment.Order
	// Pay, Decline and Cancel do to an intent what a customer, a bank and a
	// merchant do.
	Pay, Decline, Cancel func(tb testing.TB, intentID string)
	// LoseAnswers makes the provider act on every create and answer none, until
	// restore is called.
	LoseAnswers func(tb testing.TB) (restore func())
	// Misconfigure makes the provider reject every create because of the account,
	// not of the order, until restore is called.
	Misconfigure func(tb testing.TB) (restore func())
	// Cut makes it impossible to connect to the provider until restore is called.
	Cut func(tb testing.TB) (restore func())
}

// Gateway is the contract of ports.PaymentGateway. Each call of bed gives a
// fresh provider without any intent.
func Gateway(t *testing.T, bed func(tb testing.TB) GatewayBed) {
	t.Helper()

	for name, test := range map[string]func(t *testing.T, b GatewayBed){
		"Prepare/equal arguments give equal requests":       prepareIsDeterministic,
		"CreateIntent/gives the intent that was asked for":  createGivesTheIntent,
		"CreateIntent/the same request, the same intent":    createTwiceIsOnce,
		"CreateIntent/two payments, two intents":            twoPaymentsTwoIntents,
		"CreateIntent/rejected at first, unknown on a copy": rejectedThenUnknown,
		"CreateIntent/rejected, until it is repaired":       rejectedUntilRepaired,
		"CreateIntent/what cannot be sent is no attempt":    unsentIsNoAttempt,
		"CreateIntent/an accepted request stays accepted":   changedParametersAreUnknown,
		"CreateIntent/a lost answer is found by the copy":   lostAnswerIsFound,
		"CreateIntent/a context that has ended":             createWithEndedContext,
		"Intent/follows what happens":                       intentFollows,
		"Intent/none is NotFound":                           intentNotFound,
		"Intents/sees an intent at once, to the second":     intentsWithinBounds,
		"Intents/reads every page, newest first, and again": intentsReadsEveryPage,
		"Intents/stops when asked to":                       intentsStops,
		"Intents/a context that has ended":                  intentsWithEndedContext,
		"Events/sees what happened":                         eventsSeesChanges,
		"Events/between, to the second":                     eventsWithinBounds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bed(t))
		})
	}
}

func prepareIsDeterministic(t *testing.T, b GatewayBed) {
	t.Helper()

	require.NoError(t, b.Gateway.Ready())

	id, order := uuid.New(), gatewayOrder(t, 123_45)
	for i := range 10 {
		order.Metadata[fmt.Sprintf("key_%d", i)] = "value & more = %20"
	}

	first := b.Gateway.Prepare(id, order)
	require.NotEmpty(t, first.IdempotencyKey)
	require.NotEmpty(t, first.Params)

	for range 10 {
		require.Equal(t, first, b.Gateway.Prepare(id, order))
	}

	require.NotEqual(t, first.IdempotencyKey, b.Gateway.Prepare(uuid.New(), order).IdempotencyKey)
}

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

	// The copy's refusal says nothing about an original that somebody else sent.
	_, err = b.Gateway.CreateIntent(t.Context(), request, true)
	requireUnknown(t, err)
	require.Empty(t, recentIntents(t, b))
}

// The order may be all right, so that nothing is said about it for ever.
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

// A provider that refuses a key's second use with other parameters has proved
// that the first one came through: nothing is rejected.
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

	// The intent exists although nobody was told, and carries our id.
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

// requireUnknown: neither done, nor rejected, nor certainly not sent.
func requireUnknown(tb testing.TB, err error) {
	tb.Helper()

	var (
		rejected   *ports.RejectedError
		deployment *ports.DeploymentError
	)

	require.Error(tb, err)
	require.NotErrorAs(tb, err, &rejected)
	require.NotErrorAs(tb, err, &deployment)
	require.NotErrorIs(tb, err, ports.ErrUnavailable)
}

func gatewayOrder(tb testing.TB, minor int64) payment.Order {
	tb.Helper()

	usd, err := money.ParseCurrency("USD")
	require.NoError(tb, err)
	amount, err := money.New(minor, usd)
	require.NoError(tb, err)

	return payment.Order{Amount: amount, Metadata: payment.Metadata{"customer": "cus_1"}}
}

func createIntent(tb testing.TB, b GatewayBed, id uuid.UUID, order payment.Order) ports.Intent {
	tb.Helper()

	intent, err := b.Gateway.CreateIntent(tb.Context(), b.Gateway.Prepare(id, order), false)
	require.NoError(tb, err)

	return intent
}

func recentIntents(tb testing.TB, b GatewayBed) []ports.Intent {
	tb.Helper()

	return collect(tb, b.Gateway.Intents(tb.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
}

func collect[T any](tb testing.TB, list iter.Seq2[T, error]) []T {
	tb.Helper()

	var all []T

	for each, err := range list {
		require.NoError(tb, err)

		all = append(all, each)
	}

	return all
}

// BenchmarkGateway measures what a gateway costs: Prepare alone, and
// CreateIntent with the provider's share.
func BenchmarkGateway(b *testing.B, bed func(tb testing.TB) GatewayBed) {
	b.Helper()

	b.Run("Prepare", func(b *testing.B) {
		on, order, id := bed(b), gatewayOrder(b, 500), uuid.New()

		b.ReportAllocs()

		for b.Loop() {
			on.Gateway.Prepare(id, order)
		}
	})

	b.Run("CreateIntent", func(b *testing.B) {
		on, order := bed(b), gatewayOrder(b, 500)

		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				request := on.Gateway.Prepare(uuid.New(), order)
				if _, err := on.Gateway.CreateIntent(b.Context(), request, false); err != nil &&
					!errors.Is(err, ports.ErrUnavailable) {
					b.Error(err)

					return
				}
			}
		})
	})
}
