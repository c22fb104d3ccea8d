package sandbox_test

import (
	"testing"

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
}
