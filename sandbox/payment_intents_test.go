package sandbox_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

func TestPaymentIntent_PaidWithWebhook(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret))
	api := newClient(server.URL)

	params := cardIntent(2000)
	params.AddMetadata("order", "7")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresPaymentMethod, intent.Status)
	require.Equal(t, "7", intent.Metadata["order"])

	created := box.next(t, "payment_intent.created")
	require.Equal(t, intent.ID, created.GetObjectValue("id"))
	require.Equal(t, intent.ClientSecret, created.GetObjectValue("client_secret"))

	paid, err := api.PaymentIntents.Confirm(intent.ID, &stripe.PaymentIntentConfirmParams{
		PaymentMethod: new("pm_card_visa"),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, paid.Status)
	require.EqualValues(t, 2000, paid.AmountReceived)
	require.NotEmpty(t, paid.LatestCharge.ID)

	succeeded := box.next(t, "payment_intent.succeeded")
	require.Equal(t, "succeeded", succeeded.GetObjectValue("status"))

	found, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, paid.Status, found.Status)
}

func TestPaymentIntent_CanceledThenRefusesConfirm(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	canceled, err := api.PaymentIntents.Cancel(intent.ID, &stripe.PaymentIntentCancelParams{
		CancellationReason: new("abandoned"),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, canceled.Status)
	require.NotZero(t, canceled.CanceledAt)

	_, err = api.PaymentIntents.Confirm(intent.ID, &stripe.PaymentIntentConfirmParams{
		PaymentMethod: new("pm_card_visa"),
	})

	var refused *stripe.Error

	require.ErrorAs(t, err, &refused)
	require.Equal(t, stripe.ErrorCodePaymentIntentUnexpectedState, refused.Code)
	require.Equal(t, intent.ID, refused.PaymentIntent.ID)

	// "Any operations on the PaymentIntent fail with an error."
	late := &stripe.PaymentIntentParams{}
	late.AddMetadata("order", "7")
	_, err = api.PaymentIntents.Update(intent.ID, late)
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)
}

// Stripe cancels what was "confirmed too many times": a decline can be final.
func TestConfirm_TooManyFailuresCancel(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		WebhookURL: box.URL, WebhookSecret: testSecret, ConfirmLimit: 3,
	})).URL)

	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	for _, want := range []stripe.PaymentIntentStatus{"requires_payment_method", "requires_payment_method", "canceled"} {
		_, err := api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_chargeDeclined"))

		var declined *stripe.Error

		require.ErrorAs(t, err, &declined)
		require.Equal(t, http.StatusPaymentRequired, declined.HTTPStatusCode)
		require.Equal(t, want, declined.PaymentIntent.Status)
	}

	happened := map[stripe.EventType]int{}
	for events := api.Events.List(nil); events.Next(); {
		happened[events.Event().Type]++
	}

	require.Equal(t, map[stripe.EventType]int{
		"payment_intent.created": 1, "charge.failed": 3, "payment_intent.payment_failed": 3, "payment_intent.canceled": 1,
	}, happened)

	canceled := box.next(t, "payment_intent.canceled")
	require.Equal(t, "automatic", canceled.GetObjectValue("cancellation_reason"))

	_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_visa"))
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)
}

func TestConfirm_ErrorOnRequiresAction(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}

	result, got := payWith(t, c, "payment_method=pm_card_authenticationRequired&error_on_requires_action=true")
	require.Equal(t, http.StatusPaymentRequired, got.status)
	require.Equal(t, "authentication_required", result.code)
	require.Equal(t, "requires_payment_method", result.status)

	result, _ = payWith(t, c, "payment_method=pm_card_visa&error_on_requires_action=true")
	require.Equal(t, "succeeded", result.status)
}

// What a merchant charges to a Visa alone is held for less than five days.
func TestAuthorization_LastsAsLongAsItsCardHolds(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}

	for form, seconds := range map[string]int64{
		"payment_method=pm_card_visa":                         7 * 24 * 60 * 60,
		"payment_method=pm_card_visa&off_session=true":        (4*24 + 18) * 60 * 60,
		"payment_method=pm_card_mastercard&off_session=true":  7 * 24 * 60 * 60,
		"payment_method=pm_card_amex&off_session=false":       7 * 24 * 60 * 60,
		"payment_method=pm_card_gb_debit&off_session=one_off": (4*24 + 18) * 60 * 60,
	} {
		intent := c.call("POST", "/v1/payment_intents", "amount=2000&currency=usd&payment_method_types[]=card&confirm=true"+
			"&capture_method=manual&expand[]=latest_charge&"+form)
		charge, _ := intent.body["latest_charge"].(map[string]any)
		details, _ := charge["payment_method_details"].(map[string]any)
		card, _ := details["card"].(map[string]any)
		created, _ := charge["created"].(float64)
		before, _ := card["capture_before"].(float64)

		require.Equal(t, seconds, int64(before-created), form)
	}

	// The shorter ones lapse first.
	server.Advance(5 * 24 * time.Hour)

	status := func(status string) int {
		count := 0

		data, _ := c.call("GET", "/v1/payment_intents", "").body["data"].([]any)
		for _, each := range data {
			intent, _ := each.(map[string]any)
			if intent["status"] == status {
				count++
			}
		}

		return count
	}

	require.Eventually(t, func() bool { return status("canceled") == 2 }, patience, glance)
	require.Equal(t, 3, status("requires_capture"))
}

// Stripe, "Asynchronous capture": the balance transaction comes later, and
// charge.updated tells.
func TestConfirm_AutomaticAsync(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	state := filepath.Join(t.TempDir(), "state")
	options := sandbox.Options{
		WebhookURL: box.URL, WebhookSecret: testSecret, SettleDelay: time.Hour, StateFile: state,
	}
	server := sandbox.Start(t, sandbox.WithOptions(options))
	params := cardIntent(2000)
	params.Confirm, params.PaymentMethod, params.CaptureMethod = new(true), new("pm_card_visa"), new("automatic_async")
	params.AddExpand("latest_charge")

	intent, err := newClient(server.URL).PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, intent.Status)
	require.True(t, intent.LatestCharge.Captured)
	require.Nil(t, intent.LatestCharge.BalanceTransaction)

	succeeded := box.next(t, "charge.succeeded")
	require.Empty(t, succeeded.GetObjectValue("balance_transaction"))

	// What is still to be booked survives a restart.
	require.NoError(t, server.Close())

	server = sandbox.Start(t, sandbox.WithOptions(options))
	server.Advance(2 * time.Hour)

	updated := box.next(t, "charge.updated")
	require.NotEmpty(t, updated.GetObjectValue("balance_transaction"))
	require.Equal(t, intent.LatestCharge.ID, updated.GetObjectValue("id"))

	balance, err := newClient(server.URL).Balance.Get(nil)
	require.NoError(t, err)
	require.EqualValues(t, 1912, balance.Pending[0].Amount)
}
