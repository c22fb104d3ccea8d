package sandbox_test

import (
	"strings"
	"testing"
	"time"

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
			server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
				WebhookURL: box.URL, WebhookSecret: testSecret, SettleDelay: time.Hour,
			}))
			api := newClient(server.URL)

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

			was := "needs_response"

			if evidence == "" {
				_, err = api.Disputes.Close(id, nil)
				require.NoError(t, err)
			} else {
				was = "under_review" // until the bank has decided
				answered, err := api.Disputes.Update(id, &stripe.DisputeParams{
					Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: new(evidence)},
				})
				require.NoError(t, err)
				require.EqualValues(t, was, answered.Status)
				require.EqualValues(t, 1, answered.EvidenceDetails.SubmissionCount)
				server.Advance(2 * time.Hour)
			}

			closed := box.next(t, "charge.dispute.closed")
			require.Equal(t, was, closed.GetPreviousValue("status"))

			ended, err := api.Disputes.Get(id, nil)
			require.NoError(t, err)
			require.Equal(t, end, ended.Status)

			balance := int64(0)
			for _, movement := range ended.BalanceTransactions {
				balance += movement.Net
			}

			if end == stripe.DisputeStatusWon {
				require.Zero(t, balance)
			} else {
				require.EqualValues(t, -5000-1500, balance)
			}

			require.Equal(t, end == stripe.DisputeStatusWon, ended.IsChargeRefundable)

			_, err = api.Disputes.Close(id, nil)
			require.ErrorContains(t, err, "This dispute is already closed")

			_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
			if end == stripe.DisputeStatusWon {
				require.NoError(t, err)
			} else {
				requireCode(t, err, stripe.ErrorCodeChargeDisputed)
			}
		})
	}
}

func requireCode(t *testing.T, err error, code stripe.ErrorCode) {
	t.Helper()

	var refused *stripe.Error

	require.ErrorAs(t, err, &refused)
	require.Equal(t, code, refused.Code, refused.Msg)
}

// what a payment with a card comes to, as far as a table can say.
type outcome struct {
	status, code, decline, risk string
}

func payWith(t *testing.T, c caller, form string) (outcome, answered) {
	t.Helper()

	got := c.call("POST", "/v1/payment_intents",
		"amount=2000&currency=usd&payment_method_types[]=card&confirm=true&expand[]=latest_charge&"+form)

	intent, result := got.body, outcome{}
	if failure, failed := got.body["error"].(map[string]any); failed {
		result.code, result.decline = got.text("code"), got.text("decline_code")
		intent, _ = failure["payment_intent"].(map[string]any)
	}

	result.status, _ = intent["status"].(string)

	if id, ok := intent["id"].(string); ok {
		found := c.call("GET", "/v1/payment_intents/"+id+"?expand[]=latest_charge", "").body
		charge, _ := found["latest_charge"].(map[string]any)
		judged, _ := charge["outcome"].(map[string]any)
		result.risk, _ = judged["risk_level"].(string)
	}

	return result, got
}

// Stripe, "Testing": the payment methods and tokens by their names.
func TestCards_OfStripesPage(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	fine := outcome{status: "succeeded", risk: "normal"}
	elevated := outcome{status: "succeeded", risk: "elevated"}
	asks := outcome{status: "requires_action"}
	declined := func(code, decline string) outcome {
		return outcome{status: "requires_payment_method", code: code, decline: decline, risk: "normal"}
	}
	blocked := outcome{status: "requires_payment_method", code: "card_declined", decline: "fraudulent", risk: "highest"}

	for names, want := range map[string]outcome{
		`visa visa_debit mastercard mastercard_debit mastercard_prepaid amex discover diners jcb unionpay
		visa_cartesBancaires mastercard_cartesBancaires visa_debit_eftposAuCoBranded mastercard_debit_eftposAuCoBranded
		debit_visaFsaProductCode debit_visaHsaProductCode mastercard_debit_mastercardFsaProductCode domesticPricing
		bypassPending bypassPendingInternational`: fine,
		`us ar br ca cl co cr ec mx pa py pe uy ae ae_mastercard at be bg by hr cy cz dk ee fi fr de gi gr hu ie it lv li
		lt lu mt nl no pl pt ro si sk es se ch gb gb_debit gb_mastercard au cn hk in jp my nz sg tw th_credit th_debit`: fine,
		"visa_chargeDeclined chargeDeclined chargeCustomerFail": declined("card_declined", "generic_decline"),

		"visa_chargeDeclinedInsufficientFunds chargeDeclinedInsufficientFunds": declined("card_declined", "insufficient_funds"),

		"visa_chargeDeclinedLostCard chargeDeclinedLostCard visa_chargeCustomerFailLostCard": declined("card_declined", "lost_card"),

		"visa_chargeDeclinedStolenCard chargeDeclinedStolenCard": declined("card_declined", "stolen_card"),

		"visa_chargeCustomerFailStolenCard": declined("card_declined", "stolen_card"),

		"visa_chargeDeclinedVelocityLimitExceeded": declined("card_declined", "card_velocity_exceeded"),

		"chargeDeclinedExpiredCard": declined("expired_card", "expired_card"),

		"chargeDeclinedIncorrectCvc": declined("incorrect_cvc", "incorrect_cvc"),

		"chargeDeclinedProcessingError": declined("processing_error", "processing_error"),

		"radarBlock riskLevelHighest visa_chargeDeclinedFraudulent": blocked,

		"riskLevelElevated highFraudDisputeScore highEfwScore radarDynamicRiskThreshold": elevated,

		"cvcCheckFailElevatedRisk avsZipFailElevatedRisk": elevated,

		"cvcCheckFail avsZipFail avsLine1Fail avsFail avsUnchecked freeTrialAbuseBlock": fine,

		"authenticationRequired authenticationRequiredOnSetup threeDSecure2Required": asks,

		"authenticationRequiredSetupForOffSession threeDSecureRequiredChargeDeclined": asks,

		"authenticationRequiredChargeDeclinedInsufficientFunds threeDSecureRequired": asks,

		"threeDSecureRequiredProcessingError": declined("card_declined", "generic_decline"),

		"threeDSecureOptional threeDSecureOptionalProcessingError adaptive3dsChallenge": fine,

		"amex_threeDSecureNotSupported": fine,

		"createDispute createDisputeProductNotReceived createDisputeInquiry": fine,

		"createIssuerFraudRecord createMultipleDisputes createCe3EligibleDispute": fine,

		"createComplianceDispute createMastercardComplianceDispute": fine,

		"createAutoRepresentmentEligibleDispute pendingRefund refundFail": fine,
	} {
		for name := range strings.FieldsSeq(names) {
			got, _ := payWith(t, c, "payment_method=pm_card_"+name)
			require.Equal(t, want, got, "pm_card_"+name)

			got, _ = payWith(t, c, "payment_method_data[type]=card&payment_method_data[card][token]=tok_"+name)
			require.Equal(t, want, got, "tok_"+name)
		}
	}
}

func TestCards_AreWhatTheyAre(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for name, want := range map[string]map[string]any{
		"pm_card_mastercard_prepaid":   {"brand": "mastercard", "funding": "prepaid", "country": "US", "last4": "5100"},
		"pm_card_gb_debit":             {"brand": "visa", "funding": "debit", "country": "GB"},
		"pm_card_ae_mastercard":        {"brand": "mastercard", "funding": "credit", "country": "AE"},
		"pm_card_unionpay":             {"brand": "unionpay", "country": "CN"},
		"pm_card_visa_cartesBancaires": {"networks": map[string]any{"available": []any{"cartes_bancaires", "visa"}, "preferred": nil}},
		"pm_card_avsFail": {"checks": map[string]any{
			"address_line1_check": "fail", "address_postal_code_check": "fail", "cvc_check": "pass",
		}},
		"pm_card_avsUnchecked": {"checks": map[string]any{
			"address_line1_check": "unavailable", "address_postal_code_check": "unavailable", "cvc_check": "pass",
		}},
		"pm_card_cvcCheckFail": {"checks": map[string]any{
			"address_line1_check": nil, "address_postal_code_check": nil, "cvc_check": "fail",
		}},
	} {
		intent := c.call("POST", "/v1/payment_intents", "amount=2000&currency=usd&expand[]=payment_method&payment_method="+name)
		method, _ := intent.body["payment_method"].(map[string]any)
		card, _ := method["card"].(map[string]any)

		for field, value := range want {
			require.Equal(t, value, card[field], "%s %s", name, field)
		}
	}
}

func TestCards_NumbersAndUnknownTokensAreRefused(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for form, status := range map[string]int{
		"payment_method=4242424242424242":                                                                    400,
		"payment_method=tok_visa":                                                                            400,
		"payment_method=pm_card_4242424242424242":                                                            400,
		"payment_method_data[type]=card&payment_method_data[card][token]=tok_nobody":                         400,
		"payment_method_data[type]=card&payment_method_data[card][token]=pm_card_visa":                       400,
		"payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242":                  402,
		"payment_method_data[type]=card":                                                                     400,
		"payment_method_data[type]=card&payment_method_data[card][token]=tok_visa&payment_method=pm_card_us": 400,
	} {
		_, got := payWith(t, c, form)
		require.Equal(t, status, got.status, "%s: %v", form, got.body)
		require.NotContains(t, got.text("type"), "api_error")
	}

	require.Empty(t, c.call("GET", "/v1/payment_intents", "").body["data"])
}

func TestCards_Authentication(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}

	for name, test := range map[string]struct {
		more           string
		status, secure string
		code           string
		then           string // after the customer approved
	}{
		"authenticationRequired": {status: "requires_action", then: "succeeded", secure: "authenticated"},

		"threeDSecureRequiredChargeDeclined": {status: "requires_action", then: "requires_payment_method", secure: "authenticated"},

		"authenticationRequiredChargeDeclinedInsufficientFunds": {
			status: "requires_action", then: "requires_payment_method", secure: "authenticated",
		},

		"threeDSecureOptional&wanted": {status: "requires_action", then: "succeeded", secure: "authenticated"},

		"threeDSecureOptionalProcessingError&wanted": {status: "succeeded", secure: "processing_error"},

		"visa&wanted": {status: "succeeded", secure: "attempt_acknowledged"},

		"amex_threeDSecureNotSupported&wanted": {status: "succeeded", secure: "not_supported"},

		"visa": {status: "succeeded"},

		"authenticationRequired&off": {status: "requires_payment_method", code: "authentication_required"},

		"authenticationRequiredOnSetup&off": {status: "requires_payment_method", code: "authentication_required"},

		"authenticationRequiredSetupForOffSession&off": {status: "succeeded"},

		"authenticationRequiredChargeDeclinedInsufficientFunds&off": {status: "requires_payment_method", code: "card_declined"},
	} {
		card, how, _ := strings.Cut(name, "&")
		more := map[string]string{
			"": "", "off": "&off_session=true", "wanted": "&payment_method_options[card][request_three_d_secure]=any",
		}[how]

		result, got := payWith(t, c, "payment_method=pm_card_"+card+more)
		require.Equal(t, test.status, result.status, name)
		require.Equal(t, test.code, result.code, name)

		id := got.text("id")
		if failure, failed := got.body["error"].(map[string]any); failed {
			id, _ = failure["payment_intent"].(map[string]any)["id"].(string)
		}

		if test.then != "" {
			require.NoError(t, server.Authenticate(id, true))
		}

		after := c.call("GET", "/v1/payment_intents/"+id+"?expand[]=latest_charge", "")
		require.Equal(t, orElse(test.then, test.status), after.text("status"), name)

		charge, _ := after.body["latest_charge"].(map[string]any)
		details, _ := charge["payment_method_details"].(map[string]any)
		paidBy, _ := details["card"].(map[string]any)
		secure, _ := paidBy["three_d_secure"].(map[string]any)
		require.Equal(t, test.secure, orElse(textOf(secure["result"]), ""), name)
	}
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}

	return value
}

func textOf(value any) string {
	text, _ := value.(string)

	return text
}

func TestCards_BypassPendingIsAvailableAtOnce(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	paid(t, api, 2000, "pm_card_bypassPending")

	balance, err := api.Balance.Get(nil)
	require.NoError(t, err)
	require.EqualValues(t, 1912, balance.Available[0].Amount)
	require.Zero(t, balance.Pending[0].Amount)
}

func TestCards_BlockedPaymentNeverReachedTheNetwork(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_radarBlock"))
	requireCode(t, err, stripe.ErrorCodeCardDeclined)

	charges := api.Charges.List(&stripe.ChargeListParams{PaymentIntent: new(intent.ID)})
	require.True(t, charges.Next())

	judged := charges.Charge().Outcome
	require.Equal(t, "blocked", judged.Type)
	require.Equal(t, "not_sent_to_network", judged.NetworkStatus)
	require.Equal(t, "highest_risk_level", judged.Reason)
}

func TestCards_OtherComplaints(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)

	inquired := paid(t, api, 2000, "pm_card_createDisputeInquiry")
	opened := box.next(t, "charge.dispute.created")
	require.Equal(t, "warning_needs_response", opened.GetObjectValue("status"))

	inquiry, err := api.Disputes.Get(opened.GetObjectValue("id"), nil)
	require.NoError(t, err)
	require.Empty(t, inquiry.BalanceTransactions, "an inquiry takes no money")
	require.True(t, inquiry.IsChargeRefundable)

	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(inquired.ID)})
	require.NoError(t, err)

	twice := paid(t, api, 2001, "pm_card_createMultipleDisputes")
	list := api.Disputes.List(&stripe.DisputeListParams{PaymentIntent: new(twice.ID)})

	var taken int64
	for list.Next() {
		taken += list.Dispute().Amount
	}

	require.EqualValues(t, 2001, taken)

	warned := paid(t, api, 2000, "pm_card_createIssuerFraudRecord")
	warning := box.next(t, "radar.early_fraud_warning.created")
	require.Equal(t, warned.ID, warning.GetObjectValue("payment_intent"))
}
