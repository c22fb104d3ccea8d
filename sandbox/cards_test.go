package sandbox_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

func confirmWith(card string) *stripe.PaymentIntentConfirmParams {
	return &stripe.PaymentIntentConfirmParams{PaymentMethod: new(card)}
}

func TestCards_Approved(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	for card, brand := range map[string]stripe.PaymentMethodCardBrand{
		"pm_card_visa":       stripe.PaymentMethodCardBrandVisa,
		"pm_card_mastercard": stripe.PaymentMethodCardBrandMastercard,
		"pm_card_amex":       stripe.PaymentMethodCardBrandAmex,
	} {
		t.Run(card, func(t *testing.T) {
			t.Parallel()

			params := cardIntent(5000)
			params.PaymentMethod, params.Confirm = new(card), new(true)
			params.AddExpand("latest_charge.balance_transaction")
			params.AddExpand("payment_method")

			intent, err := api.PaymentIntents.New(params)
			require.NoError(t, err)
			require.Equal(t, stripe.PaymentIntentStatusSucceeded, intent.Status)
			require.Equal(t, brand, intent.PaymentMethod.Card.Brand)

			charge := intent.LatestCharge
			require.True(t, charge.Paid && charge.Captured && !charge.Refunded)
			require.EqualValues(t, 5000, charge.AmountCaptured)
			require.Equal(t, string(brand), string(charge.PaymentMethodDetails.Card.Brand))
			require.EqualValues(t, 175, charge.BalanceTransaction.Fee) // 2.9 % + 30
			require.EqualValues(t, 4825, charge.BalanceTransaction.Net)
		})
	}
}

func TestCards_Declined(t *testing.T) {
	t.Parallel()

	tests := map[string]struct {
		code    stripe.ErrorCode
		decline stripe.DeclineCode
	}{
		"pm_card_chargeDeclined":                  {stripe.ErrorCodeCardDeclined, stripe.DeclineCodeGenericDecline},
		"pm_card_visa_chargeDeclined":             {stripe.ErrorCodeCardDeclined, stripe.DeclineCodeGenericDecline},
		"pm_card_chargeDeclinedInsufficientFunds": {stripe.ErrorCodeCardDeclined, stripe.DeclineCodeInsufficientFunds},
		"pm_card_chargeDeclinedExpiredCard":       {stripe.ErrorCodeExpiredCard, stripe.DeclineCodeExpiredCard},
		"pm_card_chargeDeclinedIncorrectCvc":      {stripe.ErrorCodeIncorrectCVC, stripe.DeclineCodeIncorrectCVC},
		"pm_card_chargeDeclinedProcessingError":   {stripe.ErrorCodeProcessingError, stripe.DeclineCodeProcessingError},
	}

	for card, want := range tests {
		t.Run(card, func(t *testing.T) {
			t.Parallel()

			box := newInbox(t)
			api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)

			intent, err := api.PaymentIntents.New(cardIntent(2000))
			require.NoError(t, err)

			_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith(card))

			var declined *stripe.Error

			require.ErrorAs(t, err, &declined)
			require.Equal(t, 402, declined.HTTPStatusCode)
			require.Equal(t, stripe.ErrorTypeCard, declined.Type)
			require.Equal(t, want.code, declined.Code)
			require.Equal(t, want.decline, declined.DeclineCode)
			require.NotEmpty(t, declined.ChargeID)
			require.Equal(t, intent.ID, declined.PaymentIntent.ID)
			require.NotNil(t, declined.PaymentMethod)

			found, err := api.PaymentIntents.Get(intent.ID, nil)
			require.NoError(t, err)
			require.Equal(t, stripe.PaymentIntentStatusRequiresPaymentMethod, found.Status)
			require.Nil(t, found.PaymentMethod)
			require.Equal(t, want.code, found.LastPaymentError.Code)
			require.Equal(t, declined.ChargeID, found.LatestCharge.ID)

			charge, err := api.Charges.Get(declined.ChargeID, nil)
			require.NoError(t, err)
			require.Equal(t, stripe.ChargeStatusFailed, charge.Status)
			require.Equal(t, string(want.code), charge.FailureCode)
			require.Nil(t, charge.BalanceTransaction)

			failed := box.next(t, "payment_intent.payment_failed")
			require.Equal(t, intent.ID, failed.GetObjectValue("id"))

			// The customer comes back with a better card.
			paid, err := api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_visa"))
			require.NoError(t, err)
			require.Equal(t, stripe.PaymentIntentStatusSucceeded, paid.Status)
			require.Nil(t, paid.LastPaymentError)
		})
	}
}

func TestCards_UnknownPaymentMethod(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_platinum"))

	var refused *stripe.Error

	require.ErrorAs(t, err, &refused)
	require.Equal(t, stripe.ErrorCodeResourceMissing, refused.Code)
	require.Equal(t, "No such PaymentMethod: 'pm_card_platinum'", refused.Msg)
}

func TestCards_Dispute(t *testing.T) {
	t.Parallel()

	for evidence, end := range map[string]stripe.DisputeStatus{
		"winning_evidence": stripe.DisputeStatusWon,
		"losing_evidence":  stripe.DisputeStatusLost,
		"":                 stripe.DisputeStatusLost, // the merchant gives in
	} {
		t.Run("ends "+string(end)+" by "+evidence, func(t *testing.T) {
			t.Parallel()

			box := newInbox(t)
			api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)

			params := cardIntent(5000)
			params.PaymentMethod, params.Confirm = new("pm_card_createDispute"), new(true)

			intent, err := api.PaymentIntents.New(params)
			require.NoError(t, err)

			opened := box.next(t, "charge.dispute.created")
			id := opened.GetObjectValue("id")
			require.Equal(t, "needs_response", opened.GetObjectValue("status"))

			list := api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: new(intent.ID)})
			require.True(t, list.Next())
			require.Equal(t, id, list.Dispute().ID)
			require.False(t, list.Next())

			_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
			requireCode(t, err, stripe.ErrorCodeChargeDisputed)

			var ended *stripe.Dispute
			if evidence == "" {
				ended, err = api.Disputes.Close(id, nil)
			} else {
				ended, err = api.Disputes.Update(id, &stripe.DisputeParams{
					Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: new(evidence)},
				})
			}

			require.NoError(t, err)
			require.Equal(t, end, ended.Status)

			closed := box.next(t, "charge.dispute.closed")
			require.Equal(t, "needs_response", closed.GetPreviousValue("status"))

			balance := int64(0)
			for _, movement := range ended.BalanceTransactions {
				balance += movement.Net
			}

			if end == stripe.DisputeStatusWon {
				require.Zero(t, balance)
			} else {
				require.EqualValues(t, -5000-1500, balance)
			}

			_, err = api.Disputes.Close(id, nil)
			require.Error(t, err)
		})
	}
}

func requireCode(t *testing.T, err error, code stripe.ErrorCode) {
	t.Helper()

	var refused *stripe.Error

	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code, refused.Msg)
}
