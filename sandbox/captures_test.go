package sandbox_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// authorized is an intent whose money is held on the card.
func authorized(t *testing.T, api *client.API, amount int64) *stripe.PaymentIntent {
	t.Helper()

	params := cardIntent(amount)
	params.CaptureMethod = new("manual")
	params.PaymentMethod, params.Confirm = new("pm_card_visa"), new(true)

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresCapture, intent.Status)
	require.Equal(t, amount, intent.AmountCapturable)

	return intent
}

func TestCapture_Full(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)
	intent := authorized(t, api, 2000)

	capturable := box.next(t, "payment_intent.amount_capturable_updated")
	require.Equal(t, "2000", capturable.GetObjectValue("amount_capturable"))

	held, err := api.Charges.Get(intent.LatestCharge.ID, nil)
	require.NoError(t, err)
	require.False(t, held.Captured)
	require.Nil(t, held.BalanceTransaction)
	require.NotZero(t, held.PaymentMethodDetails.Card.CaptureBefore)

	_, err = api.Refunds.New(&stripe.RefundParams{Charge: new(held.ID)})
	require.Error(t, err)

	params := &stripe.PaymentIntentCaptureParams{}
	params.AddExpand("latest_charge")

	captured, err := api.PaymentIntents.Capture(intent.ID, params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, captured.Status)
	require.EqualValues(t, 2000, captured.AmountReceived)
	require.Zero(t, captured.AmountCapturable)
	require.True(t, captured.LatestCharge.Captured)
	require.NotNil(t, captured.LatestCharge.BalanceTransaction)

	box.next(t, "charge.captured")

	_, err = api.PaymentIntents.Capture(intent.ID, nil)
	require.ErrorContains(t, err, "it has already been captured")
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)
}

func TestCapture_PartLetsGoOfTheRest(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	intent := authorized(t, api, 2000)

	_, err := api.PaymentIntents.Capture(intent.ID, &stripe.PaymentIntentCaptureParams{
		AmountToCapture: stripe.Int64(2001),
	})
	requireCode(t, err, stripe.ErrorCodeAmountTooLarge)

	params := &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(1500)}
	params.AddExpand("latest_charge.balance_transaction")

	captured, err := api.PaymentIntents.Capture(intent.ID, params)
	require.NoError(t, err)
	require.EqualValues(t, 1500, captured.AmountReceived)
	require.EqualValues(t, 1500, captured.LatestCharge.AmountCaptured)
	require.EqualValues(t, 500, captured.LatestCharge.AmountRefunded)
	require.EqualValues(t, 1500, captured.LatestCharge.BalanceTransaction.Amount)

	// Only what was captured can be given back.
	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID), Amount: stripe.Int64(1501)})
	require.Error(t, err)

	refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	require.NoError(t, err)
	require.EqualValues(t, 1500, refund.Amount)
}

func TestCancel_LetsGoOfTheAuthorization(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)
	intent := authorized(t, api, 2000)

	canceled, err := api.PaymentIntents.Cancel(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, canceled.Status)
	require.Zero(t, canceled.AmountCapturable)

	refunded := box.next(t, "charge.refunded")
	require.Equal(t, "2000", refunded.GetObjectValue("amount_refunded"))
	require.Equal(t, "false", refunded.GetObjectValue("captured"))

	_, err = api.PaymentIntents.Cancel(intent.ID, nil)
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)
}

func TestAuthorization_LapsesAfterAWeek(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret))
	api := newClient(server.URL)
	intent := authorized(t, api, 2000)

	server.Advance(7*24*time.Hour + time.Minute)
	box.next(t, "payment_intent.canceled")

	lapsed, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentCancellationReasonAutomatic, lapsed.CancellationReason)
}

func TestUpdate_PaymentIntent(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	params := &stripe.PaymentIntentParams{
		Amount: stripe.Int64(3000), Description: new("three"), PaymentMethod: new("pm_card_visa"),
		Shipping: &stripe.ShippingDetailsParams{
			Name: new("Ann"), Address: &stripe.AddressParams{City: new("Bern")},
		},
	}
	params.AddMetadata("order", "7")

	updated, err := api.PaymentIntents.Update(intent.ID, params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresConfirmation, updated.Status)
	require.EqualValues(t, 3000, updated.Amount)
	require.Equal(t, "three", updated.Description)
	require.Equal(t, "Bern", updated.Shipping.Address.City)
	require.Equal(t, map[string]string{"order": "7"}, updated.Metadata)

	_, err = api.PaymentIntents.Update(intent.ID, &stripe.PaymentIntentParams{Amount: stripe.Int64(1)})
	requireCode(t, err, stripe.ErrorCodeAmountTooSmall)

	paid, err := api.PaymentIntents.Confirm(intent.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, 3000, paid.AmountReceived)

	_, err = api.PaymentIntents.Update(intent.ID, &stripe.PaymentIntentParams{Amount: stripe.Int64(4000)})
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)

	late := &stripe.PaymentIntentParams{}
	late.AddMetadata("order", "8")

	updated, err = api.PaymentIntents.Update(intent.ID, late)
	require.NoError(t, err)
	require.Equal(t, "8", updated.Metadata["order"])
}

// A dispute takes back what was captured, not what was authorized.
func TestCapture_PartIsWhatADisputeTakesBack(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	params := cardIntent(2000)
	params.CaptureMethod, params.Confirm, params.PaymentMethod = new("manual"), new(true), new("pm_card_createDispute")

	held, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	_, err = api.PaymentIntents.Capture(held.ID, &stripe.PaymentIntentCaptureParams{AmountToCapture: stripe.Int64(500)})
	require.NoError(t, err)

	list := api.Disputes.List(nil)
	require.True(t, list.Next())
	require.EqualValues(t, 500, list.Dispute().Amount)
	require.EqualValues(t, -500, list.Dispute().BalanceTransactions[0].Amount)
}
