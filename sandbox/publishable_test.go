package sandbox_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

const pageKey = "pk_test_page"

// A shop has the secret key, its customer's page the publishable one.
func shopAndPage(t *testing.T) (server *sandbox.Server, shop, page caller) {
	t.Helper()

	server = sandbox.Start(t)

	return server, caller{t, server.URL, testKey, ""}, caller{t, server.URL, pageKey, ""}
}

func TestPublishable_ConfirmsWithTheSecret(t *testing.T) {
	t.Parallel()

	server, shop, page := shopAndPage(t)
	customer := shop.call("POST", "/v1/customers", "name=Jenny").text("id")

	for path, form := range map[string]string{
		"/v1/payment_intents": "amount=2000&currency=usd&metadata[order]=secret&description=Shoes&statement_descriptor=SHOP&",
		"/v1/setup_intents":   "metadata[order]=secret&description=Shoes&",
	} {
		made := shop.call("POST", path, form+"payment_method_types[]=card&customer="+customer)
		id, secret := made.text("id"), url.QueryEscape(made.text("client_secret"))

		for query, want := range map[string]struct {
			status int
			says   string
		}{
			"":                              {400, "Missing required param: client_secret"},
			"client_secret=" + id + "_none": {400, "The client_secret provided does not match"},
			"client_secret=" + secret:       {200, ""},
			"client_secret=" + secret + "&expand[]=payment_method":          {200, ""},
			"client_secret=" + secret + "&expand[]=customer":                {400, "This property cannot be expanded (customer)"},
			"client_secret=" + secret + "&expand[]=payment_method.customer": {400, "cannot be expanded"},
		} {
			got := page.call("GET", path+"/"+id+"?"+query, "")
			require.Equal(t, want.status, got.status, query)
			require.Contains(t, got.text("message"), want.says, query)
		}

		confirm := func(form string) answered { return page.call("POST", path+"/"+id+"/confirm", form) }
		require.Equal(t, http.StatusBadRequest, confirm("payment_method=pm_card_visa").status)

		for _, own := range []string{"off_session=true", "error_on_requires_action=true", "capture_method=manual"} {
			got := confirm("client_secret=" + secret + "&payment_method=pm_card_visa&" + own)
			require.Equal(t, http.StatusBadRequest, got.status, own)
			require.Contains(t, got.text("message"), "cannot be used with a publishable API key", own)
		}

		declined := confirm("client_secret=" + secret + "&payment_method=pm_card_chargeDeclined")
		require.Equal(t, http.StatusPaymentRequired, declined.status)

		failure, _ := declined.body["error"].(map[string]any)
		kind := map[bool]string{true: "payment_intent", false: "setup_intent"}[path == "/v1/payment_intents"]
		shown, _ := failure[kind].(map[string]any)
		require.Equal(t, id, shown["id"])
		require.NotContains(t, shown, "metadata")
		requireNowhere(t, declined.body, "fingerprint")

		asks := confirm("client_secret=" + secret + "&payment_method=pm_card_authenticationRequired&return_url=https://shop.example/")
		require.Equal(t, "requires_action", asks.text("status"))
		require.NoError(t, server.Authenticate(id, true))
		require.Equal(t, "succeeded", page.call("GET", path+"/"+id+"?client_secret="+secret, "").text("status"))
	}
}

// requireNowhere looks for a field at any depth.
func requireNowhere(t *testing.T, value any, field string) {
	t.Helper()

	switch at := value.(type) {
	case map[string]any:
		require.NotContains(t, at, field)

		for _, inner := range at {
			requireNowhere(t, inner, field)
		}
	case []any:
		for _, inner := range at {
			requireNowhere(t, inner, field)
		}
	}
}

// What Stripe.js gets to see of the objects, field by field.
func TestPublishable_SeesWhatStripeJSDoes(t *testing.T) {
	t.Parallel()

	_, shop, page := shopAndPage(t)
	see := func(path, form string) []string {
		made := shop.call("POST", path, form)
		got := page.call("GET", path+"/"+made.text("id")+"?expand[]=payment_method&client_secret="+
			url.QueryEscape(made.text("client_secret")), "")
		require.Equal(t, http.StatusOK, got.status)
		requireNowhere(t, got.body, "fingerprint")

		return slices.Sorted(maps.Keys(got.body))
	}

	require.Equal(t, []string{
		"amount", "amount_details", "automatic_payment_methods", "canceled_at", "cancellation_reason", "capture_method",
		"client_secret", "confirmation_method", "created", "currency", "description", "id", "last_payment_error", "livemode",
		"next_action", "object", "payment_method", "payment_method_configuration_details", "payment_method_types",
		"processing", "receipt_email", "setup_future_usage", "shipping", "source", "status",
	}, see("/v1/payment_intents", "amount=2000&currency=usd&payment_method=pm_card_visa"))

	require.Equal(t, []string{
		"automatic_payment_methods", "cancellation_reason", "client_secret", "created", "description", "id",
		"last_setup_error", "livemode", "next_action", "object", "payment_method", "payment_method_configuration_details",
		"payment_method_types", "status", "usage",
	}, see("/v1/setup_intents", "payment_method=pm_card_visa"))

	method := page.call("POST", "/v1/payment_methods", "type=card&card[token]=tok_visa&metadata[a]=b")
	require.Equal(t, []string{"billing_details", "card", "created", "customer", "id", "livemode", "object", "type"},
		slices.Sorted(maps.Keys(method.body)))
}

// Everything else needs a secret key.
func TestPublishable_MayDoNothingElse(t *testing.T) {
	t.Parallel()

	_, shop, page := shopAndPage(t)
	intent := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd").text("id")

	for _, each := range [][2]string{
		{"POST", "/v1/payment_intents"},
		{"GET", "/v1/payment_intents"},
		{"POST", "/v1/payment_intents/" + intent},
		{"POST", "/v1/payment_intents/" + intent + "/cancel"},
		{"POST", "/v1/payment_intents/" + intent + "/capture"},
		{"POST", "/v1/setup_intents"},
		{"GET", "/v1/setup_intents"},
		{"GET", "/v1/customers"},
		{"POST", "/v1/customers"},
		{"DELETE", "/v1/customers/cus_1"},
		{"GET", "/v1/payment_methods?customer=cus_1"},
		{"GET", "/v1/payment_methods/pm_1"},
		{"POST", "/v1/payment_methods/pm_1/attach"},
		{"POST", "/v1/refunds"},
		{"GET", "/v1/charges"},
		{"GET", "/v1/balance"},
		{"GET", "/v1/account"},
		{"GET", "/v1/events"},
		{"POST", "/v1/webhook_endpoints"},
		{"GET", "/v1/tokens/tok_1"},
	} {
		got := page.call(each[0], each[1], "")
		require.Equal(t, http.StatusUnauthorized, got.status, each)
		require.Equal(t, "secret_key_required", got.text("code"), each)
		require.Contains(t, got.text("message"), "cannot be made with a publishable API key", each)
	}

	manual := shop.call("POST", "/v1/payment_intents",
		"amount=2000&currency=usd&confirmation_method=manual&payment_method=pm_card_visa")
	got := page.call("POST", "/v1/payment_intents/"+manual.text("id")+"/confirm",
		"return_url=https://shop.example&client_secret="+url.QueryEscape(manual.text("client_secret")))
	require.Contains(t, got.text("message"), "cannot be confirmed using your publishable key because its `confirmation_method`")
}

// A page's idempotency keys are its own: the shop's answers are not for it.
func TestPublishable_KeysAreApart(t *testing.T) {
	t.Parallel()

	_, shop, page := shopAndPage(t)
	intent := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd&payment_method_types[]=card&metadata[a]=b")
	path, form := "/v1/payment_intents/"+intent.text("id")+"/confirm", "payment_method=pm_card_visa&client_secret="+
		url.QueryEscape(intent.text("client_secret"))

	first := shop.call("POST", path, form, "Idempotency-Key", "k")
	require.Equal(t, "succeeded", first.text("status"))
	require.Contains(t, first.body, "metadata")

	second := page.call("POST", path, form, "Idempotency-Key", "k")
	require.Equal(t, http.StatusBadRequest, second.status)
	require.Empty(t, second.header.Get("Idempotent-Replayed"))
	require.Equal(t, "true", page.call("POST", path, form, "Idempotency-Key", "k").header.Get("Idempotent-Replayed"))
}

// A page may send the numbers of test cards, which are not kept.
func TestPublishable_SendsTestNumbers(t *testing.T) {
	t.Parallel()

	_, shop, page := shopAndPage(t)

	const valid = "&card[exp_month]=4&card[exp_year]=2044&card[cvc]=314"

	for form, want := range map[string][2]string{
		"card[number]=4242424242424241" + valid:                              {"incorrect_number", "Your card number is incorrect."},
		"card[number]=42" + valid:                                            {"incorrect_number", "Your card number is incorrect."},
		"card[number]=4012888888881881" + valid:                              {"card_declined", "used a non test card"},
		"card[number]=4242424242424242&card[exp_month]=13&card[exp_year]=44": {"invalid_expiry_month", "month is invalid"},
		"card[number]=4242424242424242&card[exp_month]=1&card[exp_year]=44":  {"", ""},
		"card[number]=4242424242424242&card[exp_month]=1&card[exp_year]=20":  {"invalid_expiry_year", "year is invalid"},
		"card[number]=4242424242424242&card[exp_month]=1":                    {"parameter_missing", "param: card[exp_year]"},
		"card[number]=" + url.QueryEscape("4242 4242 4242 4242") + valid:     {"", ""},
	} {
		got := page.call("POST", "/v1/payment_methods", "type=card&"+form)
		require.Equal(t, want[0], got.text("code"), form)
		require.Contains(t, got.text("message"), want[1], form)
		require.Equal(t, want[1] == "", got.status == http.StatusOK, form)
	}

	const pay = "amount=2000&currency=usd&payment_method_types[]=card&confirm=true&"

	method := page.call("POST", "/v1/payment_methods", "type=card&card[number]=4000000000009995"+valid)
	declined := shop.call("POST", "/v1/payment_intents", pay+"payment_method="+method.text("id"))
	require.Equal(t, "insufficient_funds", declined.text("decline_code"))

	// A token is used once.
	token := page.call("POST", "/v1/tokens", "card[name]=Jenny&card[number]=5555555555554444"+valid)
	require.Regexp(t, `^tok_1`, token.text("id"))

	card, _ := token.body["card"].(map[string]any)
	require.Equal(t, "4444", card["last4"])
	require.Equal(t, "MasterCard", card["brand"])

	use := "payment_method_data[type]=card&payment_method_data[card][token]=" + token.text("id")
	paid := shop.call("POST", "/v1/payment_intents", pay+use+"&expand[]=payment_method")
	require.Equal(t, "succeeded", paid.text("status"))

	used, _ := paid.body["payment_method"].(map[string]any)
	details, _ := used["card"].(map[string]any)
	require.InDelta(t, 2044, details["exp_year"], 0)

	require.Equal(t, true, shop.call("GET", "/v1/tokens/"+token.text("id"), "").body["used"])
	require.Equal(t, "token_already_used", shop.call("POST", "/v1/payment_intents", pay+use).text("code"))
	require.Equal(t, "resource_missing", shop.call("POST", "/v1/payment_intents", pay+
		"payment_method_data[type]=card&payment_method_data[card][token]=tok_1none").text("code"))
	require.Contains(t, shop.call("POST", "/v1/tokens", "card[number]=4242424242424242"+valid).text("message"), "generally unsafe")
}

func TestPublishable_OpensItsAccount(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{Accounts: []sandbox.Account{
		{ID: "acct_1Home", Keys: []string{"sk_test_home"}},
		{ID: "acct_1Shop", Keys: []string{"sk_test_shop", "pk_test_shop", "sk_live_shop", "pk_live_shop"}},
	}}))

	for secret, public := range map[string]string{
		"sk_test_home": "pk_test_any", "sk_test_shop": "pk_test_shop", "sk_live_shop": "pk_live_shop",
	} {
		made := caller{t, server.URL, secret, ""}.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")
		path := "/v1/payment_intents/" + made.text("id") + "?client_secret=" + url.QueryEscape(made.text("client_secret"))

		for _, key := range []string{"pk_test_any", "pk_test_shop", "pk_live_shop"} {
			want := http.StatusNotFound
			if key == public {
				want = http.StatusOK
			}

			require.Equal(t, want, caller{t, server.URL, key, ""}.call("GET", path, "").status, "%s %s", secret, key)
		}
	}

	unknown := caller{t, server.URL, "pk_live_unknown", ""}.call("GET", "/v1/payment_intents/pi_1", "")
	require.Equal(t, http.StatusUnauthorized, unknown.status)
	require.Contains(t, unknown.text("message"), "Invalid API Key provided: pk_live_")
}

// Stripe.js sends the key as a parameter, without asking for permission first.
func TestPublishable_KeyInTheForm(t *testing.T) {
	t.Parallel()

	server, shop, page := shopAndPage(t)
	script := caller{t, server.URL, "", ""}
	from := []string{"Origin", "https://shop.example", "Sec-Fetch-Site", "cross-site", "Idempotency-Key", "k"}

	for _, path := range []string{"/v1/payment_intents", "/v1/setup_intents"} {
		amount := map[bool]string{true: "amount=2000&currency=usd&"}[path == "/v1/payment_intents"]
		made := shop.call("POST", path, amount+"payment_method_types[]=card&metadata[a]=b")
		its, secret := path+"/"+made.text("id"), "client_secret="+url.QueryEscape(made.text("client_secret"))

		seen := script.call("GET", its+"?key="+pageKey+"&"+secret, "", from...)
		require.Equal(t, http.StatusOK, seen.status)
		require.NotContains(t, seen.body, "metadata")
		require.Equal(t, "*", seen.header.Get("Access-Control-Allow-Origin"))

		form := secret + "&payment_method_data[type]=card&payment_method_data[card][number]=4242424242424242" +
			"&payment_method_data[card][exp_month]=4&payment_method_data[card][exp_year]=2044"
		confirmed := script.call("POST", its+"/confirm", form+"&key="+pageKey, from...)
		require.Equal(t, "succeeded", confirmed.text("status"), confirmed.body)
		require.NotContains(t, confirmed.body, "metadata")
		require.Equal(t, "*", confirmed.header.Get("Access-Control-Allow-Origin"))

		// Wherever the key is, the request is the same.
		again := page.call("POST", its+"/confirm", form, from...)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
		require.Equal(t, confirmed.body, again.body)

		from[len(from)-1] += "2"
	}

	require.Equal(t, http.StatusOK, script.call("POST", "/v1/tokens", "key="+pageKey+
		"&card[number]=4242424242424242&card[exp_month]=4&card[exp_year]=2044").status)

	const method = "type=card&card[token]=tok_visa"

	for _, each := range [][3]string{
		{"/v1/payment_methods", "key=" + testKey + "&" + method, "did not provide an API key"},
		{"/v1/payment_methods", "key=rk_test_page&" + method, "did not provide an API key"},
		{"/v1/payment_methods", "key=&" + method, "did not provide an API key"},
		{"/v1/payment_methods", "key[]=" + pageKey + "&" + method, "did not provide an API key"},
		{"/v1/payment_methods?key=" + testKey, method, "did not provide an API key"},
		{"/v1/payment_methods", "key=pk_live_unknown&" + method, "Invalid API Key provided: pk_live_"},
		{"/v1/customers", "key=" + pageKey, "cannot be made with a publishable API key"},
		{"/v1/customers", "key=" + testKey, "did not provide an API key"},
	} {
		got := script.call("POST", each[0], each[1], from[:4]...)
		require.Equal(t, http.StatusUnauthorized, got.status, each)
		require.Contains(t, got.text("message"), each[2], each)
		require.NotContains(t, got.text("message"), testKey)

		readable := map[bool]string{true: "*"}[each[0] != "/v1/customers"]
		require.Equal(t, readable, got.header.Get("Access-Control-Allow-Origin"), "errors are read too: %s", each)
	}

	both := shop.call("POST", "/v1/payment_methods", "key="+pageKey+"&"+method)
	require.Contains(t, both.text("message"), "unknown parameter: key")
}

// Pages of other origins may do what publishable keys may, and nothing else.
func TestPublishable_CORS(t *testing.T) {
	t.Parallel()

	server, shop, page := shopAndPage(t)
	intent := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")
	path := "/v1/payment_intents/" + intent.text("id")

	ask := func(method, path string) (int, http.Header) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, server.URL+path, nil)
		require.NoError(t, err)
		request.Header.Set("Origin", "https://shop.example")
		request.Header.Set("Access-Control-Request-Method", method)
		request.Header.Set("Access-Control-Request-Headers", "authorization,stripe-version")

		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())

		return response.StatusCode, response.Header
	}

	for _, each := range [][2]string{
		{"GET", path},
		{"POST", path + "/confirm"},
		{"POST", "/v1/payment_methods"},
		{"POST", "/v1/tokens"},
		{"GET", "/v1/setup_intents/seti_1"},
		{"POST", "/v1/setup_intents/seti_1/confirm"},
	} {
		status, header := ask(each[0], each[1])
		require.Equal(t, http.StatusNoContent, status, each)
		require.Equal(t, "*", header.Get("Access-Control-Allow-Origin"), each)
		require.Equal(t, "authorization,stripe-version", header.Get("Access-Control-Allow-Headers"), each)
	}

	for _, each := range [][2]string{
		{"POST", "/v1/payment_intents"},
		{"POST", path},
		{"GET", "/v1/customers"},
		{"POST", "/_sandbox/hang"},
		{"GET", "/"},
		{"DELETE", path},
		{"", path},
	} {
		_, header := ask(each[0], each[1])
		require.Empty(t, header.Get("Access-Control-Allow-Origin"), each)
	}

	from := []string{"Origin", "https://shop.example", "Sec-Fetch-Site", "cross-site"}
	query := "?client_secret=" + url.QueryEscape(intent.text("client_secret"))

	got := page.call("GET", path+query, "", from...)
	require.Equal(t, http.StatusOK, got.status)
	require.Equal(t, "*", got.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "*", page.call("GET", path, "", from...).header.Get("Access-Control-Allow-Origin"), "errors are read too")
	require.Equal(t, http.StatusOK, page.call("POST", "/v1/payment_methods", "type=card&card[token]=tok_visa", from...).status)

	// With a secret key a page of another origin reads nothing and changes nothing.
	require.Empty(t, shop.call("GET", path, "", from...).header.Get("Access-Control-Allow-Origin"))
	refused := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd", from...)
	require.Equal(t, http.StatusForbidden, refused.status)
	require.Contains(t, refused.text("message"), "from no web page of another origin")
	require.Len(t, shop.call("GET", "/v1/payment_intents", "").body["data"], 1)
}
