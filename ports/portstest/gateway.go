package portstest

import (
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// GatewayBed is a gateway and the provider behind it, which a test can steer.
type GatewayBed struct {
	Gateway ports.PaymentGateway
	// Rejectable is an order that the provider rejects for good.
	Rejectable payment.Order
	// Pay, Decline and Cancel do to an intent what a customer, a bank and a merchant do.
	Pay, Decline, Cancel func(tb testing.TB, intentID string)
	// LoseAnswers makes the provider act on every create and lose the answer, until
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

func gatewayOrder(tb testing.TB, minor int64) payment.Order {
	tb.Helper()

	return payment.Order{Amount: amount(tb, minor, "USD"), Metadata: payment.Metadata{"customer": "cus_1"}}
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

// requireUnknown requires that err says neither rejected nor not sent.
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
