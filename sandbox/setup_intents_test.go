package sandbox_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

func cardSetup(customer, card string) *stripe.SetupIntentParams {
	params := &stripe.SetupIntentParams{PaymentMethodTypes: stripe.StringSlice([]string{"card"})}

	if customer != "" {
		params.Customer = new(customer)
	}

	if card != "" {
		params.PaymentMethod, params.Confirm = new(card), new(true)
	}

	return params
}

func TestSetups_SaveACard(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, inOrder(box)).URL)
	customer := newCustomer(t, api)

	setup, err := api.SetupIntents.New(cardSetup(customer.ID, ""))
	require.NoError(t, err)
	require.Regexp(t, `^seti_1[0-9A-Za-z]{23}$`, setup.ID)
	require.True(t, strings.HasPrefix(setup.ClientSecret, setup.ID+"_secret_"))
	require.Equal(t, stripe.SetupIntentStatusRequiresPaymentMethod, setup.Status)
	require.Equal(t, stripe.SetupIntentUsageOffSession, setup.Usage)
	box.next(t, "setup_intent.created")

	_, err = api.SetupIntents.Confirm(setup.ID, nil)
	requireCode(t, err, "setup_intent_unexpected_state")
	require.ErrorContains(t, err, "missing a payment method")

	setup, err = api.SetupIntents.Update(setup.ID, &stripe.SetupIntentParams{
		PaymentMethod: new("pm_card_visa"), Description: new("for later"),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresConfirmation, setup.Status)
	require.Empty(t, methodsOf(t, api, customer.ID))

	params := &stripe.SetupIntentConfirmParams{}
	params.AddExpand("payment_method")

	setup, err = api.SetupIntents.Confirm(setup.ID, params)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusSucceeded, setup.Status)
	require.Equal(t, "for later", setup.Description)
	require.Equal(t, customer.ID, setup.PaymentMethod.Customer.ID)
	require.Equal(t, []string{setup.PaymentMethod.ID}, methodsOf(t, api, customer.ID))
	box.next(t, "payment_method.attached")
	require.Equal(t, setup.ID, box.next(t, "setup_intent.succeeded").Data.Object["id"])

	_, err = api.SetupIntents.Confirm(setup.ID, nil)
	require.ErrorContains(t, err, "it has already succeeded")

	_, err = api.SetupIntents.Cancel(setup.ID, nil)
	requireCode(t, err, "setup_intent_unexpected_state")

	var failure *stripe.Error

	require.ErrorAs(t, err, &failure)
	require.Equal(t, setup.ID, failure.SetupIntent.ID)

	_, err = api.SetupIntents.Update(setup.ID, &stripe.SetupIntentParams{PaymentMethod: new("pm_card_visa")})
	require.ErrorContains(t, err, "You cannot update this SetupIntent because it has already succeeded.")
}

// Cards that ask when they are set up, and what is charged to them later without
// their customer.
func TestSetups_CardsThatAsk(t *testing.T) {
	t.Parallel()

	for card, want := range map[string]struct {
		asks       bool
		setup      stripe.SetupIntentStatus
		offSession stripe.ErrorCode // empty: it pays
	}{
		"pm_card_visa":                                                  {false, "succeeded", ""},
		"pm_card_authenticationRequiredOnSetup":                         {true, "succeeded", ""},
		"pm_card_authenticationRequired":                                {true, "succeeded", "authentication_required"},
		"pm_card_authenticationRequiredSetupForOffSession":              {true, "succeeded", ""},
		"pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": {true, "succeeded", "card_declined"},
		"pm_card_chargeCustomerFail":                                    {false, "succeeded", "card_declined"},
		"pm_card_threeDSecureRequiredChargeDeclined":                    {true, "requires_payment_method", ""},
	} {
		t.Run(card, func(t *testing.T) {
			t.Parallel()

			server := sandbox.Start(t)
			api := newClient(server.URL)
			customer := newCustomer(t, api)

			setup, err := api.SetupIntents.New(cardSetup(customer.ID, card))
			require.NoError(t, err)
			require.Equal(t, want.asks, setup.Status == stripe.SetupIntentStatusRequiresAction)

			if want.asks {
				require.Equal(t, stripe.SetupIntentNextActionType("use_stripe_sdk"), setup.NextAction.Type)
				require.NoError(t, server.Authenticate(setup.ID, true))
				require.Error(t, server.Authenticate(setup.ID, true))
			}

			setup, err = api.SetupIntents.Get(setup.ID, nil)
			require.NoError(t, err)
			require.Equal(t, want.setup, setup.Status)
			require.Nil(t, setup.NextAction)

			if want.setup != stripe.SetupIntentStatusSucceeded {
				require.Equal(t, stripe.ErrorCodeCardDeclined, setup.LastSetupError.Code)
				require.Nil(t, setup.PaymentMethod)
				require.Empty(t, methodsOf(t, api, customer.ID))

				return
			}

			params := cardIntent(2000)
			params.Customer, params.PaymentMethod = new(customer.ID), new(setup.PaymentMethod.ID)
			params.Confirm, params.OffSession = new(true), new(true)
			_, err = api.PaymentIntents.New(params)

			if want.offSession == "" {
				require.NoError(t, err)
			} else {
				requireCode(t, err, want.offSession)
			}
		})
	}
}

func TestSetups_Fail(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, inOrder(box))
	api := newClient(server.URL)

	_, err := api.SetupIntents.New(cardSetup("", "pm_card_chargeDeclinedExpiredCard"))
	requireCode(t, err, stripe.ErrorCodeExpiredCard)

	var failure *stripe.Error

	require.ErrorAs(t, err, &failure)
	require.Equal(t, 402, failure.HTTPStatusCode)
	require.Equal(t, stripe.SetupIntentStatusRequiresPaymentMethod, failure.SetupIntent.Status)
	require.Equal(t, stripe.ErrorCodeExpiredCard, failure.SetupIntent.LastSetupError.Code)
	require.Equal(t, failure.SetupIntent.ID, box.next(t, "setup_intent.setup_failed").Data.Object["id"])

	// The customer comes back with a card that asks, and says no.
	params := &stripe.SetupIntentConfirmParams{
		PaymentMethod: new("pm_card_authenticationRequired"), ReturnURL: new("https://shop.example/back?cart=9"),
	}
	setup, err := api.SetupIntents.Confirm(failure.SetupIntent.ID, params)
	require.NoError(t, err)
	require.Equal(t, "redirect_to_url", string(setup.NextAction.Type))
	box.next(t, "setup_intent.requires_action")

	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page := setup.NextAction.RedirectToURL.URL

	shown, err := browser.Get(page)
	require.NoError(t, err)

	text, err := io.ReadAll(shown.Body)
	require.NoError(t, err)
	require.NoError(t, shown.Body.Close())
	require.Contains(t, string(text), "save this card")

	sent, err := browser.PostForm(page, url.Values{"result": {"decline"}})
	require.NoError(t, err)
	require.NoError(t, sent.Body.Close())

	back, err := sent.Location()
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"cart": {"9"}, "setup_intent": {setup.ID}, "setup_intent_client_secret": {setup.ClientSecret}, "redirect_status": {"failed"},
	}, back.Query())

	setup, err = api.SetupIntents.Get(setup.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, "setup_intent_authentication_failure", setup.LastSetupError.Code)
	require.Equal(t, stripe.SetupIntentStatusRequiresPaymentMethod, setup.Status)

	canceled, err := api.SetupIntents.Cancel(setup.ID, &stripe.SetupIntentCancelParams{CancellationReason: new("abandoned")})
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentCancellationReasonAbandoned, canceled.CancellationReason)
	box.next(t, "setup_intent.canceled")

	_, err = api.SetupIntents.Cancel(setup.ID, nil)
	require.ErrorContains(t, err, "it is already canceled")

	_, err = api.SetupIntents.Confirm(setup.ID, params)
	require.ErrorContains(t, err, "it has been canceled")
}

func TestSetups_AreListed(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	customer := newCustomer(t, api)

	first, err := api.SetupIntents.New(cardSetup(customer.ID, "pm_card_visa"))
	require.NoError(t, err)
	second, err := api.SetupIntents.New(cardSetup("", ""))
	require.NoError(t, err)

	listed := func(params *stripe.SetupIntentListParams) []string {
		var ids []string

		list := api.SetupIntents.List(params)
		for list.Next() {
			ids = append(ids, list.SetupIntent().ID)
		}

		require.NoError(t, list.Err())

		return ids
	}

	require.Equal(t, []string{second.ID, first.ID}, listed(&stripe.SetupIntentListParams{}))
	require.Equal(t, []string{first.ID}, listed(&stripe.SetupIntentListParams{Customer: new(customer.ID)}))
	require.Equal(t, []string{first.ID}, listed(&stripe.SetupIntentListParams{PaymentMethod: new(first.PaymentMethod.ID)}))
}

func TestSetups_RefusesWhatStripeRefuses(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for form, want := range map[string][2]string{
		"usage=once":                               {"", "must be one of off_session, or on_session"},
		"single_use[amount]=1":                     {"", "does not support the parameter single_use"},
		"attach_to_self=true":                      {"", "does not support the parameter attach_to_self"},
		"return_url=https://a.example":             {"", "unless `confirm` is set to true"},
		"confirm=true":                             {"setup_intent_unexpected_state", "missing a payment method"},
		"confirm=true&payment_method=pm_card_visa": {"", "This SetupIntent is configured to accept payment methods enabled"},
		"payment_method_types[]=card&payment_method=pm_usBankAccount_success": {
			"setup_intent_invalid_parameter", "is not allowed for this SetupIntent",
		},
		"payment_method=tok_visa": {"resource_missing", "No such PaymentMethod: 'tok_visa'"},
		"customer=cus_none":       {"resource_missing", "No such customer: 'cus_none'"},
	} {
		got := c.call("POST", "/v1/setup_intents", form)
		require.Equal(t, http.StatusBadRequest, got.status, form)
		require.Equal(t, want[0], got.text("code"), form)
		require.Contains(t, got.text("message"), want[1], form)
	}

	require.Empty(t, c.call("GET", "/v1/setup_intents", "").body["data"])

	made := c.call("POST", "/v1/setup_intents", "payment_method=pm_card_visa").text("id")
	require.Contains(t, c.call("POST", "/v1/setup_intents/"+made+"/confirm", "").text("message"), "This SetupIntent is configured")

	got := c.call("GET", "/v1/setup_intents/seti_none", "")
	require.Equal(t, "No such setupintent: 'seti_none'", got.text("message"))
}

// Without a customer the method can still become somebody's, and is used up until
// then.
func TestSetups_WithoutACustomer(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	setup, err := api.SetupIntents.New(cardSetup("", "pm_card_visa"))
	require.NoError(t, err)

	_, err = api.SetupIntents.New(cardSetup("", setup.PaymentMethod.ID))
	require.ErrorContains(t, err, "It may not be used again")

	customer := newCustomer(t, api)
	attached(t, api, setup.PaymentMethod.ID, customer.ID)

	_, err = api.SetupIntents.New(cardSetup(customer.ID, setup.PaymentMethod.ID))
	require.NoError(t, err)
}

// A description that changes meanwhile does not end the customer's question.
func TestSetups_UpdateKeepsTheQuestion(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)

	setup, err := api.SetupIntents.New(cardSetup("", "pm_card_authenticationRequired"))
	require.NoError(t, err)

	setup, err = api.SetupIntents.Update(setup.ID, &stripe.SetupIntentParams{
		Description: new("changed"), Customer: new(newCustomer(t, api).ID),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresAction, setup.Status)
	require.NoError(t, server.Authenticate(setup.ID, true))
	require.Len(t, methodsOf(t, api, setup.Customer.ID), 1)
}
