package portstest

import (
	"iter"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// ProviderBed is a provider that a test can steer.
type ProviderBed struct {
	Provider ports.Provider
	Calls    ports.Calls
	// Rejectable is an order that the provider rejects for good.
	Rejectable operation.Order
	// Pay, Decline and Cancel do to an intent what a customer, a bank and a merchant do.
	// An intent that is captured manually is only held once it is paid.
	Pay, Decline, Cancel func(tb testing.TB, intentID string)
	// LoseAnswers makes the provider act on every call and lose the answer, until restore
	// is called.
	LoseAnswers func(tb testing.TB) (restore func())
	// Misconfigure makes the provider reject every call because of the account, not of the
	// order, until restore is called.
	Misconfigure func(tb testing.TB) (restore func())
	// Cut makes it impossible to connect to the provider until restore is called.
	Cut func(tb testing.TB) (restore func())
}

// Provider is the contract of ports.Provider and ports.Calls. Each call of bed gives a
// fresh provider without any intent.
func Provider(t *testing.T, bed func(tb testing.TB) ProviderBed) {
	t.Helper()

	for name, test := range map[string]func(t *testing.T, b ProviderBed){
		"Calls/equal arguments give equal calls":            callsAreDeterministic,
		"Calls/on something that is no intent":              callsOnNoIntent,
		"Send/gives the intent that was asked for":          sendGivesTheIntent,
		"Send/the same call, the same intent":               sendTwiceIsOnce,
		"Send/two payments, two intents":                    twoPaymentsTwoIntents,
		"Send/rejected at first, unknown on a copy":         rejectedThenUnknown,
		"Send/rejected, until it is repaired":               rejectedUntilRepaired,
		"Send/what cannot be sent is no attempt":            unsentIsNoAttempt,
		"Send/an accepted call stays accepted":              changedParametersAreUnknown,
		"Send/a lost answer is found by the copy":           lostAnswerIsFound,
		"Send/a context that has ended":                     sendWithEndedContext,
		"Send/captures all that is held":                    sendCapturesAll,
		"Send/captures a part":                              sendCapturesPart,
		"Send/cancels":                                      sendCancels,
		"Send/a state that does not allow it, also a copy":  sendAgainstTheState,
		"Send/more than is held":                            sendCapturesTooMuch,
		"Send/a lost answer to a capture is found":          lostCaptureIsFound,
		"Send/a capture that the deployment rejects":        captureUntilRepaired,
		"Intent/follows what happens":                       intentFollows,
		"Send/confirms":                                     sendConfirms,
		"Send/confirms when it creates":                     sendCreatesAndConfirms,
		"Send/a decline is an answer":                       sendIsDeclined,
		"Send/a create that is declined":                    sendCreateIsDeclined,
		"Send/the customer has to act":                      sendNeedsAction,
		"Send/what the order says is rejected":              sendOrderIsRejected,
		"Send/confirms against the state":                   sendConfirmsAgainstTheState,
		"Send/updates":                                      sendUpdates,
		"Intent/follows what is held":                       intentFollowsHold,
		"Intent/none is NotFound":                           intentNotFound,
		"Intents/sees an intent at once, to the second":     intentsWithinBounds,
		"Intents/reads every page, newest first, and again": intentsReadsEveryPage,
		"Intents/stops when asked to":                       intentsStops,
		"Intents/a context that has ended":                  intentsWithEndedContext,
		"Refunds/gives back and lists":                      refundsGiveBack,
		"Refunds/what is rejected":                          refundsRejected,
		"Refunds/cancels what waits for the customer":       refundsCancel,
		"Refunds/sees one at once, to the second":           refundsWithinBounds,
		"Events/sees what happened":                         eventsSeesChanges,
		"Events/sees each step":                             eventsSeesSteps,
		"Events/between, to the second":                     eventsWithinBounds,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bed(t))
		})
	}
}

// ours is the installation whose marks the intents carry.
var ours = operation.Installation{ID: uuid.MustParse("0190d5a5-7c1f-7000-8000-0000000000aa")}

func providerOrder(tb testing.TB, minor int64) operation.Order {
	tb.Helper()

	return operation.Order{Amount: amount(tb, minor, "USD"), Metadata: map[string]string{"customer": "cus_1"}}
}

// markOf is the mark of a new operation on subject.
func markOf(kind operation.Kind, subject uuid.UUID, order operation.Order) operation.Mark {
	return ours.Mark(operation.DefaultTenant, kind, uuid.New(), order.Fingerprint(kind, subject))
}

// createCall makes the intent of a payment with this id.
func (b ProviderBed) createCall(tb testing.TB, id uuid.UUID, order operation.Order) ports.Call {
	tb.Helper()

	mark := ours.Mark(operation.DefaultTenant, operation.Create, id, order.Fingerprint(operation.Create, uuid.Nil))
	call, err := b.Calls.CreatePayment(mark, "order_1", order)
	require.NoError(tb, err)

	return call
}

func (b ProviderBed) send(tb testing.TB, call ports.Call, resend bool) ports.Intent {
	tb.Helper()

	object, err := b.Provider.Send(tb.Context(), call, resend)
	require.NoError(tb, err)

	return object.Intent
}

func (b ProviderBed) sendFails(tb testing.TB, call ports.Call, resend bool) error {
	tb.Helper()

	_, err := b.Provider.Send(tb.Context(), call, resend)
	require.Error(tb, err)

	return err
}

func (b ProviderBed) create(tb testing.TB, id uuid.UUID, order operation.Order) ports.Intent {
	tb.Helper()

	return b.send(tb, b.createCall(tb, id, order), false)
}

// hold makes an intent of which 5.00 USD are held.
func (b ProviderBed) hold(tb testing.TB) ports.Intent {
	tb.Helper()

	order := providerOrder(tb, 500)
	order.Options = map[string]string{"capture_method": string(payment.CaptureManual)}

	intent := b.create(tb, uuid.New(), order)
	require.Equal(tb, payment.CaptureManual, intent.CaptureMethod)
	b.Pay(tb, intent.ID)

	return b.read(tb, intent.ID)
}

func (b ProviderBed) read(tb testing.TB, id string) ports.Intent {
	tb.Helper()

	intent, err := b.Provider.Intent(tb.Context(), id)
	require.NoError(tb, err)

	return intent
}

func (b ProviderBed) recentIntents(tb testing.TB) []ports.Intent {
	tb.Helper()

	return collect(tb, b.Provider.Intents(tb.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
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
