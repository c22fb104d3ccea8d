package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-mock/embedded"

	"github.com/marketflow/marketflow/sandbox"
)

// errorOf decodes an error body.
func errorOf(t *testing.T, body string) map[string]any {
	t.Helper()

	var decoded struct {
		Error map[string]any `json:"error"`
	}

	require.NoError(t, json.Unmarshal([]byte(body), &decoded), body)

	return decoded.Error
}

func TestProtocol_Keys(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for name, test := range map[string]struct {
		header  http.Header
		status  int
		message string
	}{
		"bearer":     {http.Header{"Authorization": {"Bearer sk_test_1"}}, 200, ""},
		"restricted": {http.Header{"Authorization": {"Bearer rk_test_1"}}, 200, ""},
		"basic":      {http.Header{"Authorization": {"Basic c2tfdGVzdF8xOg=="}}, 200, ""},
		"none":       {http.Header{}, 401, "You did not provide an API key."},
		"live": {
			http.Header{"Authorization": {"Bearer sk_live_0123456789"}}, 401, "Invalid API Key provided: sk_live_******6789",
		},
		"unknown":     {http.Header{"Authorization": {"Bearer nonsense"}}, 401, "Invalid API Key provided: "},
		"publishable": {http.Header{"Authorization": {"Bearer pk_test_1"}}, 401, "publishable API key"},
		"connected": {
			http.Header{"Authorization": {"Bearer sk_test_1"}, "Stripe-Account": {"acct_1"}}, 403, "does not have access to account",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/payment_intents", nil)
			require.NoError(t, err)

			request.Header = test.header

			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)

			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, test.status, response.StatusCode)
			require.NotEmpty(t, response.Header.Get("Request-Id"))

			if test.status != 200 {
				failure := errorOf(t, string(body))
				require.Contains(t, failure["message"], test.message)
				require.Equal(t, "invalid_request_error", failure["type"])
				require.Equal(t, "false", response.Header.Get("Stripe-Should-Retry"))
			}

			if test.status == 401 {
				require.NotEmpty(t, response.Header.Get("Www-Authenticate"))
			}
		})
	}
}

func TestProtocol_Validation(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	const base = "amount=2000&currency=usd&"

	tests := map[string]struct{ form, code, param, message string }{
		"missing amount": {
			form:    "currency=usd",
			code:    "parameter_missing",
			param:   "amount",
			message: "Missing required param: amount.",
		},
		"missing currency": {
			form:  "amount=2000",
			code:  "parameter_missing",
			param: "currency",
		},
		"unknown": {
			form:    base + "colour=red",
			code:    "parameter_unknown",
			param:   "colour",
			message: "Received unknown parameter: colour",
		},
		"two unknown": {
			form:    base + "a=1&metadata[x]=y&b[c]=2",
			code:    "parameter_unknown",
			message: "Received unknown parameters: a, b",
		},
		"nested unknown": {
			form:  base + "automatic_payment_methods[enabled]=true&automatic_payment_methods[x]=1",
			code:  "parameter_unknown",
			param: "automatic_payment_methods[x]",
		},
		"decimal amount": {
			form:    "amount=20.00&currency=usd",
			code:    "parameter_invalid_integer",
			message: "Invalid integer: 20.00",
		},
		"empty amount": {
			form:  "amount=&currency=usd",
			code:  "parameter_invalid_empty",
			param: "amount",
		},
		"negative": {
			form: "amount=-5&currency=usd",
			code: "parameter_invalid_integer",
		},
		"too small": {
			form:    "amount=49&currency=usd",
			code:    "amount_too_small",
			message: "Amount must be at least $0.50 usd",
		},
		"too large": {
			form:    "amount=100000000&currency=usd",
			code:    "amount_too_large",
			message: "Amount must be no more than $999,999.99",
		},
		"currency": {
			form:    "amount=2000&currency=xyz",
			param:   "currency",
			message: "Invalid currency: xyz.",
		},
		"ISK cents": {
			form: "amount=10050&currency=isk",
			code: "parameter_invalid_integer",
		},
		"KWD last digit": {
			form: "amount=1001&currency=kwd",
			code: "parameter_invalid_integer",
		},
		"JPY small": {
			form:    "amount=49&currency=jpy",
			code:    "amount_too_small",
			message: "Amount must be at least ¥50 jpy",
		},
		"metadata key": {
			form:    base + "metadata[" + strings.Repeat("k", 41) + "]=1",
			message: "at most 40 characters",
		},
		"metadata value": {
			form:    base + "metadata[k]=" + strings.Repeat("v", 501),
			message: "up to 500 characters",
		},
		"types and auto": {
			form: base + "payment_method_types[]=card&automatic_payment_methods[enabled]=true",
			code: "parameters_exclusive",
		},
		"hash as scalar": {
			form:  "amount[x]=2000&currency=usd",
			param: "amount",
		},
		"scalar as hash": {
			form:  base + "metadata=x",
			param: "metadata",
		},
		"both": {
			form: base + "metadata=&metadata[x]=1",
		},
		"return_url alone": {
			form:  base + "return_url=https://a.b",
			param: "return_url",
		},
		"expand": {
			form:    base + "expand[]=status",
			message: "This property cannot be expanded (status).",
		},
		"expand depth": {
			form:    base + "expand[]=a.b.c.d.e",
			message: "You cannot expand more than 4 levels",
		},
		"customer": {
			form:    base + "customer=cus_1",
			code:    "resource_missing",
			message: "No such customer: 'cus_1'",
		},
		"unsupported": {
			form:    base + "transfer_data[destination]=acct_1",
			param:   "transfer_data",
			message: "The sandbox does not support",
		},
		"choice": {
			form:    base + "capture_method=later",
			param:   "capture_method",
			message: "Invalid capture_method: must be one of automatic, automatic_async, or manual",
		},
		"boolean": {
			form:    base + "confirm=perhaps",
			param:   "confirm",
			message: "Invalid boolean: perhaps",
		},
		"array": {
			form:    base + "payment_method_types=card",
			param:   "payment_method_types",
			message: "Invalid array",
		},
		"array of hashes": {
			form:    base + "payment_method_types[0][a]=card",
			message: "Invalid string",
		},
		"object": {
			form:    base + "automatic_payment_methods=yes",
			param:   "automatic_payment_methods",
			message: "Invalid object",
		},
		"other payment methods": {
			form:    base + "payment_method_types[]=sepa_debit",
			message: "only, not sepa_debit",
		},
		"metadata hash": {
			form:    base + "metadata[a][b]=c",
			message: "for key 'a' you passed in a value of type 'hash'",
		},
		"shipping": {
			form:  base + "shipping[name]=Ann",
			code:  "parameter_missing",
			param: "shipping[address]",
		},
		"confirm without payment method": {
			form:    base + "payment_method_types[]=card&confirm=true",
			code:    "payment_intent_unexpected_state",
			message: "it's missing a payment method",
		},
		"return_url": {
			form:    base + "confirm=true&payment_method=pm_card_visa&return_url=nowhere",
			code:    "url_invalid",
			param:   "return_url",
			message: "Not a valid URL",
		},
		"bad encoding": {
			form:    "amount=2000&currency=%zz",
			message: "not URL-encoded",
		},
		"malformed brackets": {
			form:    base + "metadata[x=1",
			message: "malformed",
		},
	}

	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/v1/payment_intents",
				strings.NewReader(test.form))
			require.NoError(t, err)
			request.Header.Set("Authorization", "Bearer "+testKey)
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)

			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, http.StatusBadRequest, response.StatusCode, string(body))

			failure := errorOf(t, string(body))
			require.Contains(t, failure["message"], test.message)

			if test.code != "" {
				require.Equal(t, test.code, failure["code"])
				require.Equal(t, "https://stripe.com/docs/error-codes/"+strings.ReplaceAll(test.code, "_", "-"), failure["doc_url"])
			}

			if test.param != "" {
				require.Equal(t, test.param, failure["param"])
			}
		})
	}

	require.Zero(t, countIntents(server))
}

func TestProtocol_Amounts(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for form, amount := range map[string]string{
		"amount=50&currency=USD":       "50",
		"amount=99999999&currency=usd": "99999999",
		"amount=50&currency=jpy":       "50",
		"amount=10000&currency=isk":    "10000",
		"amount=1010&currency=kwd":     "1010",
		"amount=17500&currency=huf":    "17500",
		// Stripe takes twelve digits of rupiah.
		"amount=999999999999&currency=idr": "999999999999",
	} {
		values, err := url.ParseQuery(form)
		require.NoError(t, err)

		response, body := mustPost(t, server.URL+"/v1/payment_intents", "", values)
		require.Equal(t, http.StatusOK, response.StatusCode, body)
		require.Contains(t, body, `"amount": `+amount+",")
	}
}

func TestProtocol_Requests(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	for name, test := range map[string]struct {
		method, path, contentType, body string
		status                          int
		message                         string
	}{
		"unknown route": {"GET", "/v1/unicorns", "", "", 404, "Unrecognized request URL (GET: /v1/unicorns)."},
		"wrong method":  {"DELETE", "/v1/payment_intents", "", "", 404, "does not cover DELETE /v1/payment_intents"},
		"root":          {"POST", "/", "", "", 404, "Unrecognized request URL"},
		"JSON body":     {"POST", "/v1/payment_intents", "application/json", `{"amount":1}`, 400, "check that your POST content type"},
		"no such":       {"GET", "/v1/payment_intents/pi_1", "", "", 404, "No such payment_intent: 'pi_1'"},
		"huge": {
			"POST", "/v1/payment_intents", "application/x-www-form-urlencoded", strings.Repeat("a", 2<<20), 413, "too large",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			request, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, strings.NewReader(test.body))
			require.NoError(t, err)
			request.Header.Set("Authorization", "Bearer "+testKey)
			request.Header.Set("Content-Type", test.contentType)

			response, err := http.DefaultClient.Do(request)
			require.NoError(t, err)

			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, test.status, response.StatusCode, string(body))
			require.Contains(t, errorOf(t, string(body))["message"], test.message)
		})
	}
}

func TestProtocol_ReturnURLIsAskedFor(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	for name, test := range map[string]struct {
		automatic *stripe.PaymentIntentAutomaticPaymentMethodsParams
		returnURL *string
		refused   bool
	}{
		"by default": {nil, nil, true}, // since API version 2023-08-16
		"enabled":    {&stripe.PaymentIntentAutomaticPaymentMethodsParams{Enabled: new(true)}, nil, true},
		"with it":    {nil, new("https://example.com/back"), false},
		"no redirect": {
			&stripe.PaymentIntentAutomaticPaymentMethodsParams{Enabled: new(true), AllowRedirects: new("never")}, nil, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			intent, err := api.PaymentIntents.New(&stripe.PaymentIntentParams{
				Amount: stripe.Int64(2000), Currency: new("usd"), AutomaticPaymentMethods: test.automatic,
			})
			require.NoError(t, err)
			require.True(t, intent.AutomaticPaymentMethods.Enabled)

			paid, err := api.PaymentIntents.Confirm(intent.ID, &stripe.PaymentIntentConfirmParams{
				PaymentMethod: new("pm_card_visa"), ReturnURL: test.returnURL,
			})
			if test.refused {
				require.ErrorContains(t, err, "This PaymentIntent is configured")
				require.ErrorContains(t, err, "you must provide a `return_url`")
				require.ErrorContains(t, err, "`automatic_payment_methods[allow_redirects]` to `never`")

				return
			}

			require.NoError(t, err)
			require.Equal(t, stripe.PaymentIntentStatusSucceeded, paid.Status)
		})
	}
}

// A wrong base URL or a method that the sandbox has not says so.
func TestProtocol_UnknownPaths(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for path, says := range map[string]string{
		"/payment_intents":    "Unrecognized request URL (GET: /payment_intents)",
		"/v2/payment_intents": "Unrecognized request URL (GET: /v2/payment_intents)",
		"/v1/horses":          "Unrecognized request URL (GET: /v1/horses)",
		"/v1/":                "Unrecognized request URL (GET: /v1/)",
		"/v1/payment_intents/search?query=status:'succeeded'": "does not cover GET /v1/payment_intents/search",
		"/v1/payment_intents/pi_none/confirm/now":             "does not cover GET /v1/payment_intents/pi_none/confirm/now",
		"/v1/subscriptions":                                   "does not cover GET /v1/subscriptions",
		"/v1/tax/calculations/x":                              "does not cover GET /v1/tax/calculations/x",
	} {
		got := c.call("GET", path, "")
		require.Equal(t, http.StatusNotFound, got.status, path)
		require.Contains(t, got.text("message"), says)
		require.Equal(t, "invalid_request_error", got.text("type"))
	}

	require.Contains(t, c.call("POST", "/v1/payment_intents/pi_1/increment_authorization", "amount=1").text("message"),
		"does not cover POST /v1/payment_intents/pi_1/increment_authorization")
}

// Every resource of Stripe's is covered or named by the README's list of those
// that are not, and refused by its name.
func TestProtocol_ReadmeNamesWhatIsNotCovered(t *testing.T) {
	t.Parallel()

	var document struct {
		Paths map[string]map[string]any `json:"paths"`
	}

	require.NoError(t, json.Unmarshal(embedded.OpenAPISpec, &document))

	c := caller{t, sandbox.Start(t).URL, testKey, ""}
	covered := map[string]bool{}

	for path, methods := range document.Paths {
		resource, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")

		for method := range methods {
			got := c.call(strings.ToUpper(method), path, "")
			message := got.text("message")

			require.NotContains(t, message, "Unrecognized request URL", path)

			covered[resource] = covered[resource] || !strings.Contains(message, "The sandbox does not cover")
		}
	}

	missing := []string{}

	for resource, is := range covered {
		if !is {
			missing = append(missing, resource)
		}
	}

	slices.Sort(missing)
	require.Equal(t, missing, readmeList(t, "not covered"))
}

func TestProtocol_ErrorNamesItsRequest(t *testing.T) {
	t.Parallel()

	_, err := newClient(sandbox.Start(t).URL).PaymentIntents.Get("pi_none", nil)

	var failure *stripe.Error

	require.ErrorAs(t, err, &failure)
	require.Contains(t, failure.RequestLogURL, "https://dashboard.stripe.com/test/logs/"+failure.RequestID+"?t=")
}
