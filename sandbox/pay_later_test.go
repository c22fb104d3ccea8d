package sandbox_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

func payLaterIntent(kind string) *stripe.PaymentIntentParams {
	return &stripe.PaymentIntentParams{
		Amount: new(int64(2000)), Currency: new("usd"), Confirm: new(true), ReturnURL: new("https://shop.example/done"),
		PaymentMethodTypes: stripe.StringSlice([]string{kind}),
		PaymentMethodData:  &stripe.PaymentIntentPaymentMethodDataParams{Type: new(kind)},
	}
}

func TestPayLater_AsksOnItsOwnPage(t *testing.T) {
	t.Parallel()

	for kind, name := range map[string]string{"klarna": "Klarna", "affirm": "Affirm", "afterpay_clearpay": "Afterpay"} {
		for answer, want := range map[string]struct {
			status   stripe.PaymentIntentStatus
			redirect string
		}{
			"approve": {stripe.PaymentIntentStatusSucceeded, "succeeded"},
			"decline": {stripe.PaymentIntentStatusRequiresPaymentMethod, "failed"},
		} {
			t.Run(kind+"/"+answer, func(t *testing.T) {
				t.Parallel()

				api, browser := newClient(sandbox.Start(t).URL), newVisitor(t)

				intent, err := api.PaymentIntents.New(payLaterIntent(kind))
				require.NoError(t, err)
				require.Equal(t, stripe.PaymentIntentStatusRequiresAction, intent.Status)
				require.EqualValues(t, "redirect_to_url", intent.NextAction.Type)

				page := intent.NextAction.RedirectToURL.URL
				_, text, _ := browser.see(page, nil)
				require.Contains(t, text, name+" asks whether it is you who pays")

				_, _, location := browser.see(page, url.Values{"result": {answer}})
				require.Contains(t, location, "redirect_status="+want.redirect)

				params := &stripe.PaymentIntentParams{}
				params.AddExpand("latest_charge")
				intent, err = api.PaymentIntents.Get(intent.ID, params)
				require.NoError(t, err)
				require.Equal(t, want.status, intent.Status)

				if answer == "decline" {
					require.Equal(t, stripe.ErrorCodePaymentMethodCustomerDecline, intent.LastPaymentError.Code)

					return
				}

				require.EqualValues(t, kind, intent.LatestCharge.PaymentMethodDetails.Type)
				require.Nil(t, intent.LatestCharge.PaymentMethodDetails.Card)

				_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID), Amount: new(int64(500))})
				require.NoError(t, err)
			})
		}
	}
}

func TestPayLater_RefusesWhatItDoesNotDo(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}
	customer := c.call("POST", "/v1/customers", "").text("id")
	method := c.call("POST", "/v1/payment_methods", "type=klarna&klarna[dob][year]=1990").text("id")

	const pay = "amount=2000&confirm=true&payment_method_types[]=klarna&payment_method_data[type]=klarna&"

	for form, says := range map[string]string{
		"currency=usd": "A `return_url` is required",
		"currency=jpy&return_url=https://shop.example":                                  "The currency provided (jpy) is invalid",
		"currency=usd&return_url=https://shop.example&setup_future_usage=off_session":   "does not support setup_future_usage",
		"currency=usd&return_url=https://shop.example&payment_method_data[type]=affirm": "is not allowed for this PaymentIntent",
	} {
		got := c.call("POST", "/v1/payment_intents", pay+form)
		require.Equal(t, http.StatusBadRequest, got.status, form)
		require.Contains(t, got.text("message"), says, form)
	}

	got := c.call("POST", "/v1/payment_methods/"+method+"/attach", "customer="+customer)
	require.Contains(t, got.text("message"), "The payment method type klarna cannot be attached to a customer.")

	got = c.call("POST", "/v1/setup_intents", "payment_method_types[]=klarna")
	require.Contains(t, got.text("message"), "The payment method type klarna cannot be set up.")
}
