package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// The payment methods of Stripe's test mode (https://docs.stripe.com/testing). Another provider
// takes them for its own.
const (
	goodCard         = "pm_card_visa"
	poorCard         = "pm_card_visa_chargeDeclinedInsufficientFunds"
	cardThatAsks     = "pm_card_authenticationRequired"
	pageToComeBackTo = "https://shop.example/done"
)

// confirming are an order's options that pay with a card.
func confirming(card string, more ...string) map[string]string {
	options := map[string]string{"payment_method": card, "return_url": pageToComeBackTo}
	for _, name := range more {
		options[name] = "true"
	}

	return options
}

func (b ProviderBed) confirmCall(tb testing.TB, intent ports.Intent, options map[string]string) ports.Call {
	tb.Helper()

	order := operation.Order{Options: options}
	call, err := b.Calls.ConfirmPayment(markOf(operation.Confirm, intent.PaymentID, order), intent.ID, order)
	require.NoError(tb, err)

	return call
}

// answered sends a call, and once more as a copy: the answer is the same.
func (b ProviderBed) answered(tb testing.TB, call ports.Call) ports.Object {
	tb.Helper()

	object, err := b.Provider.Send(tb.Context(), call, false)
	require.NoError(tb, err)

	again, err := b.Provider.Send(tb.Context(), call, true)
	require.NoError(tb, err)
	require.Equal(tb, object, again)

	return object
}

func sendConfirms(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))
	paid := b.answered(t, b.confirmCall(t, intent, confirming(goodCard)))

	require.False(t, paid.Declined)
	require.Equal(t, intent.ID, paid.Intent.ID)
	require.Equal(t, payment.Succeeded, paid.Intent.Status)
	require.Equal(t, intent.Amount.Money(), paid.Intent.Captured)
	require.Equal(t, "card", paid.Intent.Method.Type)
	require.Equal(t, "4242", paid.Intent.Method.Card.Last4)
	require.NotEmpty(t, paid.Intent.LatestCharge)
	require.Equal(t, intent.Mark, paid.Intent.Mark)
	require.Equal(t, paid.Intent, b.read(t, intent.ID))
}

func (b ProviderBed) orderPaidWith(tb testing.TB, card string, more ...string) operation.Order {
	tb.Helper()

	order := providerOrder(tb, 500)
	order.Options = confirming(card, append(more, "confirm")...)
	order.Options["description"] = "a bicycle"

	return order
}

func sendCreatesAndConfirms(t *testing.T, b ProviderBed) {
	t.Helper()

	id := uuid.New()
	order := b.orderPaidWith(t, goodCard, "off_session")
	delete(order.Options, "return_url")

	paid := b.answered(t, b.createCall(t, id, order))
	require.False(t, paid.Declined)
	require.Equal(t, id, paid.Intent.PaymentID)
	require.Equal(t, payment.Succeeded, paid.Intent.Status)
	require.Equal(t, "a bicycle", paid.Intent.Description)
	require.Equal(t, "visa", paid.Intent.Method.Card.Brand)
}

// requireDeclined requires an intent that may be paid with another card.
func requireDeclined(t *testing.T, object ports.Object, code string) {
	t.Helper()

	intent := object.Intent
	require.True(t, object.Declined)
	require.True(t, intent.Declined)
	require.Equal(t, payment.Failed, intent.Status)
	require.Equal(t, payment.IntentRequiresPaymentMethod, intent.IntentStatus)
	require.Equal(t, code, intent.Decline.DeclineCode)
	require.NotEmpty(t, intent.Decline.Code)
	require.NotEmpty(t, intent.Decline.Message)
	require.Equal(t, "card", intent.Method.Type)
	require.NotEmpty(t, intent.LatestCharge)
}

func sendIsDeclined(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))
	first := b.answered(t, b.confirmCall(t, intent, confirming(poorCard)))
	requireDeclined(t, first, "insufficient_funds")
	require.Equal(t, first.Intent, b.read(t, intent.ID))

	second := b.answered(t, b.confirmCall(t, intent, confirming(poorCard)))
	requireDeclined(t, second, "insufficient_funds")
	require.NotEqual(t, first.Intent.LatestCharge, second.Intent.LatestCharge, "each attempt has a charge of its own")

	absent := b.answered(t, b.confirmCall(t, intent, confirming(cardThatAsks, "off_session")))
	requireDeclined(t, absent, "authentication_required")

	paid := b.answered(t, b.confirmCall(t, intent, confirming(goodCard)))
	require.False(t, paid.Declined)
	require.Equal(t, payment.Succeeded, paid.Intent.Status)
	require.True(t, paid.Intent.Decline.IsZero())
}

func sendCreateIsDeclined(t *testing.T, b ProviderBed) {
	t.Helper()

	id := uuid.New()
	declined := b.answered(t, b.createCall(t, id, b.orderPaidWith(t, poorCard)))
	requireDeclined(t, declined, "insufficient_funds")
	require.Equal(t, id, declined.Intent.PaymentID)
	require.NotEmpty(t, declined.Intent.ClientSecret)
	require.Equal(t, declined.Intent, b.read(t, declined.Intent.ID), "it was made")
}

func sendNeedsAction(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))
	object := b.answered(t, b.confirmCall(t, intent, confirming(cardThatAsks)))

	require.False(t, object.Declined)
	require.Equal(t, payment.Pending, object.Intent.Status)
	require.Equal(t, payment.IntentRequiresAction, object.Intent.IntentStatus)
	require.Contains(t, string(object.Intent.NextAction), `"type":"redirect_to_url"`)
	require.Equal(t, payment.Method{}, object.Intent.Method, "nothing was paid yet")
}

func sendOrderIsRejected(t *testing.T, b ProviderBed) {
	t.Helper()

	intent := b.create(t, uuid.New(), providerOrder(t, 500))

	for name, call := range map[string]ports.Call{
		"no such method": b.confirmCall(t, intent, confirming("pm_none")),
		"no way back":    b.confirmCall(t, intent, map[string]string{"payment_method": goodCard}),
		"of a create":    b.createCall(t, uuid.New(), b.orderPaidWith(t, "pm_none")),
	} {
		var rejected *ports.RejectedError

		require.ErrorAs(t, b.sendFails(t, call, false), &rejected, name)
		require.True(t, rejected.Order, name)
		require.False(t, rejected.State, name)
		require.NotEmpty(t, rejected.Message, name)
	}

	require.Equal(t, intent, b.read(t, intent.ID), "nothing was tried")
	require.Len(t, b.recentIntents(t), 1)
}

func sendConfirmsAgainstTheState(t *testing.T, b ProviderBed) {
	t.Helper()

	paid, cancelled := b.create(t, uuid.New(), providerOrder(t, 500)), b.create(t, uuid.New(), providerOrder(t, 500))
	b.Pay(t, paid.ID)
	b.Cancel(t, cancelled.ID)

	for _, intent := range []ports.Intent{paid, cancelled, b.hold(t)} {
		call := b.confirmCall(t, intent, confirming(goodCard))

		for _, resend := range []bool{false, true} {
			var rejected *ports.RejectedError

			require.ErrorAs(t, b.sendFails(t, call, resend), &rejected)
			require.True(t, rejected.State)
		}
	}
}

func sendUpdates(t *testing.T, b ProviderBed) {
	t.Helper()

	order := providerOrder(t, 500)
	order.Metadata = map[string]string{"stays": "1", "changes": "2", "goes": "3"}
	intent := b.create(t, uuid.New(), order)

	change := operation.Order{
		Metadata: map[string]string{"changes": "4", "comes": "5", "goes": "", "never was": ""},
		Options:  map[string]string{"description": "a bicycle"},
	}
	call, err := b.Calls.UpdatePayment(markOf(operation.Update, intent.PaymentID, change), intent.ID, change)
	require.NoError(t, err)

	want := intent
	want.Description, want.Metadata = "a bicycle", map[string]string{"stays": "1", "changes": "4", "comes": "5"}
	require.Equal(t, want, b.answered(t, call).Intent, "what is ours is as it was")
	require.Equal(t, want, b.read(t, intent.ID))

	change = operation.Order{Options: map[string]string{"description": ""}}
	call, err = b.Calls.UpdatePayment(markOf(operation.Update, intent.PaymentID, change), intent.ID, change)
	require.NoError(t, err)

	want.Description = ""
	require.Equal(t, want, b.answered(t, call).Intent)

	b.Cancel(t, intent.ID)

	var rejected *ports.RejectedError

	again, err := b.Calls.UpdatePayment(markOf(operation.Update, intent.PaymentID, change), intent.ID, change)
	require.NoError(t, err)
	require.ErrorAs(t, b.sendFails(t, again, false), &rejected)
	require.True(t, rejected.State)
}
