package sandbox_test

import (
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// debited is an intent whose payment the bank processes.
func debited(t *testing.T, api *client.API, account string) *stripe.PaymentIntent {
	t.Helper()

	params := cardIntent(2000)
	params.PaymentMethodTypes = []*string{new("card"), new("us_bank_account")}
	params.Confirm, params.PaymentMethod = new(true), new("pm_usBankAccount_"+account)
	params.MandateData = &stripe.PaymentIntentMandateDataParams{
		CustomerAcceptance: &stripe.PaymentIntentMandateDataCustomerAcceptanceParams{
			Type: new("online"), Online: &stripe.PaymentIntentMandateDataCustomerAcceptanceOnlineParams{
				IPAddress: new("127.0.0.1"), UserAgent: new("test"),
			},
		},
	}
	params.AddExpand("latest_charge")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusProcessing, intent.Status)
	require.Equal(t, stripe.ChargeStatusPending, intent.LatestCharge.Status)
	require.False(t, intent.LatestCharge.Paid)
	require.Zero(t, intent.AmountReceived)

	return intent
}

func TestBankDebit_SucceedsAfterDays(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	options := sandbox.Options{
		WebhookURL: box.URL, WebhookSecret: testSecret, StateFile: filepath.Join(t.TempDir(), "state"),
	}
	server := sandbox.Start(t, sandbox.WithOptions(options))
	api := newClient(server.URL)
	intent := debited(t, api, "success")

	_, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	require.Error(t, err, "there is nothing to give back yet")

	_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_visa"))
	requireCode(t, err, stripe.ErrorCodePaymentIntentUnexpectedState)

	server.Advance(3 * 24 * time.Hour)

	found, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusProcessing, found.Status)

	require.NoError(t, server.Close()) // what is under way survives

	server = sandbox.Start(t, sandbox.WithOptions(options))
	api = newClient(server.URL)

	server.Advance(2 * 24 * time.Hour)

	succeeded := box.next(t, "payment_intent.succeeded")
	require.Equal(t, intent.ID, succeeded.GetObjectValue("id"))

	refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	require.NoError(t, err)
	require.EqualValues(t, 2000, refund.Amount)
}

func TestBankDebit_FailsAfterDays(t *testing.T) {
	t.Parallel()

	for account, code := range map[string]string{
		"insufficientFunds": "insufficient_funds", "accountClosed": "account_closed", "noAccount": "no_account",
		"debitNotAuthorized": "debit_not_authorized",
	} {
		t.Run(account, func(t *testing.T) {
			t.Parallel()

			box := newInbox(t)
			server := sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret))
			api := newClient(server.URL)
			intent := debited(t, api, account)

			server.Advance(5 * 24 * time.Hour)

			failed := box.next(t, "payment_intent.payment_failed")
			require.Equal(t, code, failed.GetObjectValue("last_payment_error", "code"))

			found, err := api.PaymentIntents.Get(intent.ID, nil)
			require.NoError(t, err)
			require.Equal(t, stripe.PaymentIntentStatusRequiresPaymentMethod, found.Status)

			charge, err := api.Charges.Get(intent.LatestCharge.ID, nil)
			require.NoError(t, err)
			require.Equal(t, stripe.ChargeStatusFailed, charge.Status)
			require.Equal(t, code, charge.FailureCode)
			require.False(t, charge.Captured)

			// A card pays after all, and it is the card's charge that is refunded.
			_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_visa"))
			require.NoError(t, err)

			refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
			require.NoError(t, err)
			require.NotEqual(t, charge.ID, refund.Charge.ID)
		})
	}
}

func TestBankDebit_CanceledWhileItIsProcessed(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	intent := debited(t, api, "success")

	canceled, err := api.PaymentIntents.Cancel(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, canceled.Status)

	server.Advance(10 * 24 * time.Hour)

	// A debit that ends after it says that the schedule is past the canceled one.
	later := debited(t, api, "success")

	server.Advance(10 * 24 * time.Hour)
	require.Eventually(t, func() bool {
		found, err := api.PaymentIntents.Get(later.ID, nil)

		return err == nil && found.Status == stripe.PaymentIntentStatusSucceeded
	}, patience, glance)

	found, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, found.Status)
	require.Zero(t, found.AmountReceived)
}

func TestBankDebit_IsRefusedWhereItDoesNotFit(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	const incompatible = "payment_intent_incompatible_payment_method"

	const bank = "payment_method_types[]=us_bank_account&payment_method="

	for form, code := range map[string]string{
		"currency=usd&payment_method_types[]=card&payment_method=pm_usBankAccount_success": incompatible,
		"currency=usd&" + bank + "pm_card_visa":                                            incompatible,

		"currency=eur&" + bank + "pm_usBankAccount_success":                       "payment_intent_invalid_parameter",
		"currency=usd&capture_method=manual&" + bank + "pm_usBankAccount_success": "payment_intent_invalid_parameter",
	} {
		got := c.call("POST", "/v1/payment_intents", "amount=2000&confirm=true&"+form)
		require.Equal(t, http.StatusBadRequest, got.status, form)
		require.Equal(t, code, got.text("code"), form)
	}
}
