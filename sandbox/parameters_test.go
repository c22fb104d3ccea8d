package sandbox_test

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

// formNames are the parameters that a struct of the official client can send,
// without the hundreds about payment methods other than cards.
func formNames(params reflect.Type, prefix string) []string {
	var names []string

	for field := range params.Fields() {
		tag, _, _ := strings.Cut(field.Tag.Get("form"), ",")
		if field.Anonymous || tag == "" || tag == "-" || tag == "*" || tag == "expand" {
			continue
		}

		name := tag
		if prefix != "" {
			name = prefix + "[" + tag + "]"
		}

		if prefix == "payment_method_options" && tag != "card" {
			continue
		}

		kind := field.Type
		for kind.Kind() == reflect.Pointer {
			kind = kind.Elem()
		}

		switch kind.Kind() {
		case reflect.Slice:
			names = append(names, name+"[0]")
		case reflect.Map:
			names = append(names, name+"[k]")
		case reflect.Struct:
			if tag == "payment_method_data" {
				names = append(names, name+"[type]")

				continue
			}

			names = append(names, formNames(kind, name)...)
		default:
			names = append(names, name)
		}
	}

	return names
}

// What Stripe's own client can send is not called unknown: it is acted on, or
// refused as left out. Some structs serve two endpoints, one of which does not
// take all of it.
func TestParameters_KnownOnesAreNotCalledUnknown(t *testing.T) {
	t.Parallel()

	const (
		intents = "/v1/payment_intents"
		post    = http.MethodPost
		get     = http.MethodGet
	)

	server := sandbox.Start(t)

	for _, each := range []struct {
		method, path string
		params       any
		elsewhere    []string
	}{
		{post, intents, stripe.PaymentIntentParams{}, []string{"client_secret"}},
		{post, intents + "/pi_none", stripe.PaymentIntentParams{}, []string{
			"client_secret", "automatic_payment_methods[allow_redirects]", "automatic_payment_methods[enabled]", "confirm",
			"confirmation_method", "error_on_requires_action", "off_session", "return_url", "use_stripe_sdk",
		}},
		{post, intents + "/pi_none/confirm", stripe.PaymentIntentConfirmParams{}, nil},
		{post, intents + "/pi_none/capture", stripe.PaymentIntentCaptureParams{}, nil},
		{post, intents + "/pi_none/cancel", stripe.PaymentIntentCancelParams{}, nil},
		{get, intents, stripe.PaymentIntentListParams{}, nil},
		{post, "/v1/customers", stripe.CustomerParams{}, []string{"validate"}},
		{post, "/v1/customers/cus_none", stripe.CustomerParams{}, []string{
			"payment_method", "validate",
		}},
		{get, "/v1/customers", stripe.CustomerListParams{}, nil},
		{get, "/v1/customers/cus_none/payment_methods", stripe.CustomerListPaymentMethodsParams{}, nil},
		{post, "/v1/payment_methods/pm_none/attach", stripe.PaymentMethodAttachParams{}, nil},
		{get, "/v1/payment_methods", stripe.PaymentMethodListParams{}, nil},
		{post, "/v1/setup_intents", stripe.SetupIntentParams{}, []string{"client_secret"}},
		{post, "/v1/setup_intents/seti_none", stripe.SetupIntentParams{}, []string{
			"client_secret", "automatic_payment_methods[allow_redirects]", "automatic_payment_methods[enabled]", "confirm",
			"return_url", "use_stripe_sdk",
		}},
		{post, "/v1/setup_intents/seti_none/confirm", stripe.SetupIntentConfirmParams{}, nil},
		{post, "/v1/setup_intents/seti_none/cancel", stripe.SetupIntentCancelParams{}, nil},
		{get, "/v1/setup_intents", stripe.SetupIntentListParams{}, nil},
		{get, "/v1/charges", stripe.ChargeListParams{}, nil},
		{post, "/v1/refunds", stripe.RefundParams{}, nil},
		{get, "/v1/refunds", stripe.RefundListParams{}, nil},
		{post, "/v1/disputes/du_none", stripe.DisputeParams{}, nil},
		{get, "/v1/disputes", stripe.DisputeListParams{}, nil},
		{get, "/v1/radar/early_fraud_warnings", stripe.RadarEarlyFraudWarningListParams{}, nil},
		{get, "/v1/balance_transactions", stripe.BalanceTransactionListParams{}, nil},
		{get, "/v1/events", stripe.EventListParams{}, nil},
		{post, "/v1/webhook_endpoints", stripe.WebhookEndpointParams{}, []string{"disabled"}},
		{post, "/v1/webhook_endpoints/we_none", stripe.WebhookEndpointParams{}, []string{"api_version", "connect"}},
	} {
		var unknown []string

		for _, name := range formNames(reflect.TypeOf(each.params), "") {
			form, path := url.Values{name: {"x"}}.Encode(), each.path
			if each.method == get {
				path += "?" + form
			}

			answer := callAPI(t, server.URL, each.method, path, form)
			failure, _ := answer["error"].(map[string]any)

			if failure["code"] == "parameter_unknown" && !slices.Contains(each.elsewhere, name) {
				unknown = append(unknown, name)
			}
		}

		require.Empty(t, unknown, "%s %s", each.method, each.path)
	}
}

// Confirmation takes what a shop knows only at the checkout's end.
func TestConfirm_TakesTextsAndOptions(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	intent, err = api.PaymentIntents.Confirm(intent.ID, &stripe.PaymentIntentConfirmParams{
		PaymentMethod: new("pm_card_threeDSecureOptional"), CaptureMethod: new("manual"), ReceiptEmail: new("jenny@example.com"),
		SetupFutureUsage: new("off_session"), ReturnURL: new("https://shop.example/return"),
		Shipping: &stripe.ShippingDetailsParams{
			Name: new("Jenny"), Address: &stripe.AddressParams{City: new("Berlin")},
		},
		PaymentMethodOptions: &stripe.PaymentIntentPaymentMethodOptionsParams{
			Card: &stripe.PaymentIntentPaymentMethodOptionsCardParams{RequestThreeDSecure: new("any")},
		},
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresAction, intent.Status)
	require.Equal(t, stripe.PaymentIntentCaptureMethodManual, intent.CaptureMethod)
	require.Equal(t, "jenny@example.com", intent.ReceiptEmail)
	require.Equal(t, stripe.PaymentIntentSetupFutureUsageOffSession, intent.SetupFutureUsage)
	require.Equal(t, "Berlin", intent.Shipping.Address.City)
}

// An intent that is told its types no longer takes automatic ones.
func TestUpdate_TypesInsteadOfAutomaticOnes(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)

	intent, err := api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: stripe.Int64(2000), Currency: new("usd"), PaymentMethod: new("pm_card_visa"),
	})
	require.NoError(t, err)

	answer := callAPI(t, server.URL, http.MethodPost, "/v1/payment_intents/"+intent.ID,
		"automatic_payment_methods[enabled]=true")
	failure, _ := answer["error"].(map[string]any)
	require.Equal(t, "Received unknown parameter: automatic_payment_methods", failure["message"])

	intent, err = api.PaymentIntents.Update(intent.ID, &stripe.PaymentIntentParams{
		PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	})
	require.NoError(t, err)
	require.Nil(t, intent.AutomaticPaymentMethods)

	intent, err = api.PaymentIntents.Confirm(intent.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, intent.Status)
}
