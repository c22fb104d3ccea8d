package sandbox_test

import (
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// challenged is an intent that waits for 3-D Secure.
func challenged(t *testing.T, api *client.API, change func(*stripe.PaymentIntentParams)) *stripe.PaymentIntent {
	t.Helper()

	params := cardIntent(2000)
	params.PaymentMethod, params.Confirm = new("pm_card_authenticationRequired"), new(true)
	change(params)

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresAction, intent.Status)

	return intent
}

func TestAuthenticate_OnThePage(t *testing.T) {
	t.Parallel()

	for result, want := range map[string]struct {
		status   stripe.PaymentIntentStatus
		redirect string
		event    string
	}{
		"approve": {stripe.PaymentIntentStatusSucceeded, "succeeded", "payment_intent.succeeded"},
		"decline": {stripe.PaymentIntentStatusRequiresPaymentMethod, "failed", "payment_intent.payment_failed"},
	} {
		t.Run(result, func(t *testing.T) {
			t.Parallel()

			box := newInbox(t)
			api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)
			intent := challenged(t, api, func(p *stripe.PaymentIntentParams) {
				p.ReturnURL = new("https://shop.example/back?cart=9")
			})

			require.Equal(t, stripe.PaymentIntentNextActionTypeRedirectToURL, intent.NextAction.Type)
			box.next(t, "payment_intent.requires_action")

			page := intent.NextAction.RedirectToURL.URL
			browser := &http.Client{
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}

			shown, err := browser.Get(page)
			require.NoError(t, err)

			text, err := io.ReadAll(shown.Body)
			require.NoError(t, err)
			require.NoError(t, shown.Body.Close())
			require.Contains(t, string(text), "20.00 USD")
			require.Contains(t, string(text), "Approve")

			sent, err := browser.PostForm(page, url.Values{"result": {result}})
			require.NoError(t, err)
			require.NoError(t, sent.Body.Close())
			require.Equal(t, http.StatusSeeOther, sent.StatusCode)

			back, err := sent.Location()
			require.NoError(t, err)
			require.Equal(t, "9", back.Query().Get("cart"))
			require.Equal(t, want.redirect, back.Query().Get("redirect_status"))
			require.Equal(t, intent.ID, back.Query().Get("payment_intent"))

			box.next(t, want.event)

			params := &stripe.PaymentIntentParams{}
			params.AddExpand("latest_charge")

			after, err := api.PaymentIntents.Get(intent.ID, params)
			require.NoError(t, err)
			require.Equal(t, want.status, after.Status)

			if result == "decline" {
				require.Equal(t, stripe.ErrorCodePaymentIntentAuthenticationFailure, after.LastPaymentError.Code)
				require.Nil(t, after.LatestCharge)
			} else {
				require.EqualValues(t, "authenticated", after.LatestCharge.PaymentMethodDetails.Card.ThreeDSecure.Result)
			}
		})
	}
}

func TestAuthenticate_WithoutReturnURLUsesTheSDK(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	intent := challenged(t, api, func(*stripe.PaymentIntentParams) {})
	require.Equal(t, stripe.PaymentIntentNextActionTypeUseStripeSDK, intent.NextAction.Type)

	require.NoError(t, server.Authenticate(intent.ID, true))
	require.Error(t, server.Authenticate(intent.ID, true))
	require.Error(t, server.Authenticate("pi_none", true))

	after, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, after.Status)
}

func TestAuthenticate_ManualConfirmationConfirmsAgain(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	intent := challenged(t, api, func(p *stripe.PaymentIntentParams) { p.ConfirmationMethod = new("manual") })

	require.NoError(t, server.Authenticate(intent.ID, true))

	after, err := api.PaymentIntents.Get(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresConfirmation, after.Status)

	after, err = api.PaymentIntents.Confirm(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, after.Status)
}

func TestAuthenticate_OffSession(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	params := cardIntent(2000)
	params.PaymentMethod, params.Confirm = new("pm_card_authenticationRequired"), new(true)
	params.OffSession = new(true)

	_, err := api.PaymentIntents.New(params)
	requireCode(t, err, stripe.ErrorCodeAuthenticationRequired)
	require.ErrorContains(t, err, `"decline_code":"authentication_required"`)

	params = cardIntent(2000)
	params.PaymentMethod, params.Confirm = new("pm_card_authenticationRequired"), new(true)
	params.ErrorOnRequiresAction = new(true)

	_, err = api.PaymentIntents.New(params)
	requireCode(t, err, stripe.ErrorCodeAuthenticationRequired)
	require.ErrorContains(t, err, `"decline_code":"authentication_not_handled"`)
}
