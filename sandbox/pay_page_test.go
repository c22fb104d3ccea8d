package sandbox_test

import (
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// visitor is a customer's browser, without JavaScript.
type visitor struct {
	t    *testing.T
	http *http.Client
}

func newVisitor(t *testing.T) visitor {
	t.Helper()

	return visitor{t, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// see opens a page, or sends a form there, and returns its text and where it
// redirects to.
func (v visitor) see(address string, form url.Values) (status int, text, location string) {
	v.t.Helper()

	var (
		response *http.Response
		err      error
	)

	if form == nil {
		response, err = v.http.Get(address)
	} else {
		response, err = v.http.PostForm(address, form)
	}

	require.NoError(v.t, err)

	body, err := io.ReadAll(response.Body)
	require.NoError(v.t, err)
	require.NoError(v.t, response.Body.Close())

	return response.StatusCode, html.UnescapeString(string(body)), response.Header.Get("Location")
}

// payPage is an intent's page.
func payPage(server *sandbox.Server, made answered, more string) string {
	return server.URL + "/pay/" + made.text("id") + "?client_secret=" + url.QueryEscape(made.text("client_secret")) + more
}

func TestPayPage_TakesACustomerThrough(t *testing.T) {
	t.Parallel()

	const shopURL = "https://shop.example/done?cart=9"

	for _, kind := range []string{"payment_intent", "setup_intent"} {
		for card, want := range map[string]struct {
			asks            bool
			answer, outcome string // redirect_status
			status          string
			says            string // on the page, which the customer does not leave
		}{
			"pm_card_visa":                      {outcome: "succeeded", status: "succeeded"},
			"pm_card_chargeDeclined":            {status: "requires_payment_method", says: "Your card was declined."},
			"pm_card_chargeDeclinedExpiredCard": {status: "requires_payment_method", says: "Your card has expired."},
			"pm_card_none":                      {status: "requires_payment_method", says: "No such PaymentMethod: 'pm_card_none'"},
			"pm_card_authenticationRequired":    {asks: true, answer: "approve", outcome: "succeeded", status: "succeeded"},
			"pm_card_threeDSecure2Required":     {asks: true, answer: "decline", outcome: "failed", status: "requires_payment_method"},
			"pm_card_threeDSecureRequiredChargeDeclined": {
				asks: true, answer: "approve", outcome: "failed", status: "requires_payment_method",
			},
		} {
			t.Run(kind+"/"+card, func(t *testing.T) {
				t.Parallel()

				server, shop, _ := shopAndPage(t)
				form := "payment_method_types[]=card&description=Shoes+%26+<socks>"

				if kind == "payment_intent" {
					form += "&amount=2000&currency=eur"
				}

				made := shop.call("POST", "/v1/"+kind+"s", form)
				at, browser := payPage(server, made, "&return_url="+url.QueryEscape(shopURL)), newVisitor(t)

				status, text, _ := browser.see(at, nil)
				require.Equal(t, http.StatusOK, status)
				require.Contains(t, text, "Shoes & <socks>")
				require.Contains(t, text, `value="pm_card_visa"`)
				require.NotContains(t, text, "<script")
				require.Equal(t, kind == "payment_intent", strings.Contains(text, "20.00 EUR"))

				_, text, location := browser.see(at, url.Values{"payment_method": {"other"}, "other": {card}})

				if want.says != "" {
					require.Empty(t, location)
					require.Contains(t, text, want.says)
				}

				if want.asks {
					require.Contains(t, location, "/_sandbox/authenticate/"+made.text("id"))
					_, text, _ = browser.see(at, nil)
					require.Contains(t, text, "Go on with 3-D Secure")

					_, _, location = browser.see(location, url.Values{"result": {want.answer}})
				}

				if want.outcome != "" {
					back, err := url.Parse(location)
					require.NoError(t, err)
					require.Equal(t, url.Values{
						"cart": {"9"}, kind: {made.text("id")}, kind + "_client_secret": {made.text("client_secret")},
						"redirect_status": {want.outcome},
					}, back.Query())
				}

				require.Equal(t, want.status, shop.call("GET", "/v1/"+kind+"s/"+made.text("id"), "").text("status"))
			})
		}
	}
}

// Without a return_url the customer stays with the page, which tells how it ended.
func TestPayPage_TellsTheOutcome(t *testing.T) {
	t.Parallel()

	server, shop, _ := shopAndPage(t)
	browser := newVisitor(t)

	for form, want := range map[string][2]string{
		"":                       {"pm_card_visa", "Paid. Thank you!"},
		"&capture_method=manual": {"pm_card_visa", "on hold until the shop takes it"},
		"&payment_method_types[]=us_bank_account": {"pm_usBankAccount_success", "Your bank is processing the payment"},
	} {
		made := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd"+form)
		at := payPage(server, made, "")

		_, text, _ := browser.see(at, nil)
		require.Contains(t, text, `value="`+want[0]+`"`)

		_, _, location := browser.see(at, url.Values{"payment_method": {want[0]}})
		_, text, _ = browser.see(server.URL+location, nil)
		require.Contains(t, text, want[1])
		require.NotContains(t, text, "<form")

		// Paying again is refused as the API refuses it.
		status, _, _ := browser.see(at, url.Values{"payment_method": {"pm_card_visa"}})
		require.Equal(t, http.StatusBadRequest, status)
	}

	// After 3-D Secure, which automatic payment methods lead to with a return_url of
	// the page's own.
	made := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")
	_, _, location := browser.see(payPage(server, made, ""), url.Values{"payment_method": {"pm_card_authenticationRequired"}})
	_, _, location = browser.see(location, url.Values{"result": {"approve"}})
	_, text, _ := browser.see(location, nil)
	require.Contains(t, text, "Paid. Thank you!")

	canceled := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")
	shop.call("POST", "/v1/payment_intents/"+canceled.text("id")+"/cancel", "")
	_, text, _ = browser.see(payPage(server, canceled, ""), nil)
	require.Contains(t, text, "This payment is canceled.")
}

// What can go wrong between Stripe.js and Stripe can go wrong here.
func TestPayPage_FaultsActOnIt(t *testing.T) {
	t.Parallel()

	for action, want := range map[sandbox.Action]struct {
		says   string // empty: the connection is cut
		status string
	}{
		sandbox.DropBefore: {"", "requires_payment_method"},
		sandbox.DropAfter:  {"", "succeeded"},
		sandbox.Truncate:   {"The answer was spoilt by a fault rule.", "succeeded"},
		sandbox.Error:      {"sandbox is down", "requires_payment_method"},
	} {
		server, shop, _ := shopAndPage(t)
		browser := newVisitor(t)
		made := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")

		_, err := server.AddFault(sandbox.Fault{
			Action: action, Path: "/v1/payment_intents/*/confirm", Status: http.StatusServiceUnavailable, Message: "sandbox is down",
		})
		require.NoError(t, err, action)

		response, err := browser.http.PostForm(payPage(server, made, ""), url.Values{"payment_method": {"pm_card_visa"}})

		if want.says == "" {
			require.Error(t, err, action)
		} else {
			require.NoError(t, err, action)

			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.Contains(t, string(body), want.says, action)
		}

		if response != nil {
			require.NoError(t, response.Body.Close())
		}

		require.Equal(t, want.status, shop.call("GET", "/v1/payment_intents/"+made.text("id"), "").text("status"), action)
	}
}

func TestPayPage_IsForWhoKnowsTheSecret(t *testing.T) {
	t.Parallel()

	server, shop, _ := shopAndPage(t)
	browser := newVisitor(t)
	made := shop.call("POST", "/v1/payment_intents", "amount=2000&currency=usd")

	for _, path := range []string{
		"/pay/" + made.text("id"), "/pay/" + made.text("id") + "?client_secret=wrong", "/pay/pi_none?client_secret=x",
		"/pay/seti_none", "/_sandbox/authenticate/" + made.text("id"),
	} {
		status, text, _ := browser.see(server.URL+path, nil)
		require.Equal(t, http.StatusNotFound, status, path)
		require.NotContains(t, text, "20.00", path)

		status, _, _ = browser.see(server.URL+path, url.Values{"payment_method": {"pm_card_visa"}})
		require.Equal(t, http.StatusNotFound, status, path)
	}

	for _, evil := range []string{"javascript:alert(1)", "//evil.example", "data:text/html,x", "x"} {
		status, _, _ := browser.see(payPage(server, made, "&return_url="+url.QueryEscape(evil)), nil)
		require.Equal(t, http.StatusBadRequest, status, evil)
	}

	// Another site's form does not pay, although it may know the secret.
	at := strings.TrimPrefix(payPage(server, made, ""), server.URL)
	status, _ := send(t, server.URL, "POST", at, "payment_method=pm_card_visa",
		"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example")
	require.Equal(t, http.StatusForbidden, status)
	require.Equal(t, "requires_payment_method", shop.call("GET", "/v1/payment_intents/"+made.text("id"), "").text("status"))

	// The page at / leads there as long as there is something to pay.
	_, text, _ := browser.see(server.URL+"/", nil)
	require.Contains(t, text, at)
}
