package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	otherAccount = "acct_1Other"
	otherKey     = "sk_test_other"
	liveKey      = "sk_live_first"
)

// caller sends requests with a key and, where it is set, a Stripe-Account.
type caller struct {
	t            *testing.T
	url, key, as string
}

// answered is what came back, decoded.
type answered struct {
	status int
	header http.Header
	body   map[string]any
}

func (c caller) call(method, path, form string, headers ...string) answered {
	c.t.Helper()

	request, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(form))
	require.NoError(c.t, err)
	request.Header.Set("Authorization", "Bearer "+c.key)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	if c.as != "" {
		request.Header.Set("Stripe-Account", c.as)
	}

	for i := 0; i < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])

		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
	}

	response, err := http.DefaultClient.Do(request)
	require.NoError(c.t, err)

	defer func() { require.NoError(c.t, response.Body.Close()) }()

	text, err := io.ReadAll(response.Body)
	require.NoError(c.t, err)

	got := answered{status: response.StatusCode, header: response.Header}
	require.NoError(c.t, json.Unmarshal(text, &got.body), string(text))

	return got
}

// text is a field of the answered, or of its error.
func (a answered) text(name string) string {
	object := a.body
	if failure, failed := a.body["error"].(map[string]any); failed {
		object = failure
	}

	value, _ := object[name].(string)

	return value
}

func twoAccounts(t *testing.T, state string) *sandbox.Server {
	t.Helper()

	return sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		StateFile: state,
		Accounts: []sandbox.Account{
			{ID: sandbox.DefaultAccount, Keys: []string{testKey, liveKey, "rk_test_reader"}},
			{ID: otherAccount, Keys: []string{otherKey}},
			{ID: "acct_1Seller", Platform: sandbox.DefaultAccount},
		},
		Restricted: map[string][]string{"rk_test_reader": {"payment_intents:read", "charges:write"}},
	}))
}

// callers are a caller for each of the accounts of twoAccounts.
func callers(t *testing.T, server *sandbox.Server) map[string]caller {
	t.Helper()

	return map[string]caller{
		"default": {t, server.URL, testKey, ""}, "live": {t, server.URL, liveKey, ""},
		"other": {t, server.URL, otherKey, ""}, "seller": {t, server.URL, testKey, "acct_1Seller"},
	}
}

const createForm = "amount=2000&currency=usd&payment_method_types[]=card&confirm=true&payment_method=pm_card_visa"

func TestAccount_IsTheSameForEveryTestKey(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	account, err := newClient(server.URL).Accounts.Get()
	require.NoError(t, err)
	require.Equal(t, sandbox.DefaultAccount, account.ID)
	require.True(t, account.ChargesEnabled)
	require.True(t, account.PayoutsEnabled)
	require.True(t, account.DetailsSubmitted)

	again := caller{t, server.URL, "sk_test_another", ""}.call("GET", "/v1/account", "")
	require.Equal(t, account.ID, again.text("id"))
	require.NotContains(t, again.body, "livemode")

	own := caller{t, server.URL, testKey, ""}.call("GET", "/v1/accounts/"+account.ID, "")
	require.Equal(t, again.body, own.body)

	live := caller{t, server.URL, "sk_live_unknown", ""}.call("GET", "/v1/account", "")
	require.Equal(t, http.StatusUnauthorized, live.status)
	require.NotContains(t, live.text("message"), "unknown")
}

func TestAccounts_HaveBooksOfTheirOwn(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	mine, theirs := caller{t, server.URL, testKey, ""}, caller{t, server.URL, otherKey, ""}

	require.Equal(t, otherAccount, theirs.call("GET", "/v1/account", "").text("id"))

	first := mine.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "one")
	second := theirs.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, second.status)
	require.Empty(t, second.header.Get("Idempotent-Replayed"), "a key's scope is the account")
	require.NotEqual(t, first.text("id"), second.text("id"))

	missing := theirs.call("GET", "/v1/payment_intents/"+first.text("id"), "")
	require.Equal(t, http.StatusNotFound, missing.status)
	require.Equal(t, "resource_missing", missing.text("code"))

	for _, list := range []string{"payment_intents", "charges", "balance_transactions"} {
		require.Len(t, theirs.call("GET", "/v1/"+list, "").body["data"], 1, list)
	}

	require.Len(t, theirs.call("GET", "/v1/events", "").body["data"], 3)
	require.Equal(t, http.StatusNotFound,
		theirs.call("POST", "/v1/refunds", "charge="+first.text("latest_charge")).status)
	require.Equal(t, http.StatusForbidden, theirs.call("GET", "/v1/accounts/"+sandbox.DefaultAccount, "").status)
}

func TestAccounts_LiveModeIsApart(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	test, live := caller{t, server.URL, testKey, ""}, caller{t, server.URL, liveKey, ""}

	require.Equal(t, sandbox.DefaultAccount, live.call("GET", "/v1/account", "").text("id"), "both modes are one account")

	intent := live.call("POST", "/v1/payment_intents", createForm)
	require.Equal(t, true, intent.body["livemode"])
	require.Equal(t, http.StatusNotFound, test.call("GET", "/v1/payment_intents/"+intent.text("id"), "").status)
	require.Equal(t, true, live.call("GET", "/v1/charges/"+intent.text("latest_charge"), "").body["livemode"])
	require.Equal(t, true, live.call("GET", "/v1/balance", "").body["livemode"])

	events, _ := live.call("GET", "/v1/events", "").body["data"].([]any)
	require.Len(t, events, 3)

	for _, event := range events {
		require.Equal(t, true, event.(map[string]any)["livemode"]) //nolint:forcetypeassert // fails the test
	}

	require.Empty(t, test.call("GET", "/v1/events", "").body["data"])
}

func TestAccounts_RestrictedKeys(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	reader := caller{t, server.URL, "rk_test_reader", ""}

	require.Equal(t, http.StatusOK, reader.call("GET", "/v1/payment_intents", "").status)
	require.Equal(t, http.StatusOK, reader.call("GET", "/v1/charges", "").status, "writing includes reading")

	refused := reader.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "k")
	require.Equal(t, http.StatusForbidden, refused.status)
	require.Equal(t, "invalid_request_error", refused.text("type"))
	require.Contains(t, refused.text("message"), "rak_payment_intent_write")
	require.Contains(t, refused.text("message"), sandbox.DefaultAccount)

	require.Equal(t, http.StatusForbidden, reader.call("GET", "/v1/account", "").status)
	require.Equal(t, http.StatusForbidden, reader.call("GET", "/v1/accounts/"+sandbox.DefaultAccount, "").status)

	all := caller{t, server.URL, "rk_test_everything", ""}
	require.Equal(t, http.StatusOK, all.call("POST", "/v1/payment_intents", createForm).status)
}

func TestAccounts_StripeAccountHeader(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	seller := caller{t, server.URL, testKey, "acct_1Seller"}
	platform := caller{t, server.URL, testKey, ""}

	require.Equal(t, "acct_1Seller", seller.call("GET", "/v1/account", "").text("id"))
	require.Equal(t, "acct_1Seller", platform.call("GET", "/v1/accounts/acct_1Seller", "").text("id"))

	connected, _ := platform.call("GET", "/v1/accounts", "").body["data"].([]any)
	require.Len(t, connected, 1)

	made := seller.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, made.status)
	require.Equal(t, http.StatusNotFound, platform.call("GET", "/v1/payment_intents/"+made.text("id"), "").status)

	own := platform.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "k")
	require.NotEqual(t, made.text("id"), own.text("id"), "the key belongs to the account that is acted for")

	for _, as := range []string{"acct_nobody", otherAccount} {
		refused := caller{t, server.URL, testKey, as}.call("GET", "/v1/account", "")
		require.Equal(t, http.StatusForbidden, refused.status)
		require.Equal(t, "account_invalid", refused.text("code"))
	}
}

func TestAccounts_SurviveARestart(t *testing.T) {
	t.Parallel()

	state := filepath.Join(t.TempDir(), "state")
	ids := map[string]string{}

	server := twoAccounts(t, state)
	for name, c := range callers(t, server) {
		ids[name] = c.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "k").text("id")
	}

	require.NoError(t, server.Close())

	for name, c := range callers(t, twoAccounts(t, state)) {
		again := c.call("POST", "/v1/payment_intents", createForm, "Idempotency-Key", "k")
		require.Equal(t, ids[name], again.text("id"), name)
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"), name)
		require.Len(t, c.call("GET", "/v1/payment_intents", "").body["data"], 1, name)
		require.Len(t, c.call("GET", "/v1/events", "").body["data"], 3, name)
	}
}

func TestAccounts_RefusesWhatCannotBe(t *testing.T) {
	t.Parallel()

	for name, options := range map[string]sandbox.Options{
		"no id":  {Accounts: []sandbox.Account{{ID: "shop"}}},
		"twice":  {Accounts: []sandbox.Account{{ID: "acct_1"}, {ID: "acct_1"}}},
		"no key": {Accounts: []sandbox.Account{{ID: "acct_1", Keys: []string{"whsec_1"}}}},
		"key of two": {Accounts: []sandbox.Account{
			{ID: "acct_1", Keys: []string{otherKey}}, {ID: "acct_2", Keys: []string{otherKey}},
		}},
		"unknown platform":   {Accounts: []sandbox.Account{{ID: "acct_1", Platform: "acct_2"}}},
		"its own platform":   {Accounts: []sandbox.Account{{ID: "acct_1", Platform: "acct_1"}}},
		"secret key limited": {Restricted: map[string][]string{"sk_test_1": {"*:read"}}},
		"unknown resource":   {Restricted: map[string][]string{"rk_test_1": {"horses:read"}}},
		"unknown kind":       {Restricted: map[string][]string{"rk_test_1": {"charges:ride"}}},
	} {
		_, err := sandbox.New(options)
		require.Error(t, err, name)
	}
}

func TestBalance_AddsUp(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)

	params := cardIntent(2000)
	params.Confirm, params.PaymentMethod = new(true), new("pm_card_visa")
	_, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	balance, err := api.Balance.Get(nil)
	require.NoError(t, err)
	require.Equal(t, int64(2000-88), balance.Pending[0].Amount)
	require.Equal(t, int64(0), balance.Available[0].Amount)
	require.Equal(t, stripe.CurrencyUSD, balance.Pending[0].Currency)

	server.Advance(3 * 24 * time.Hour)

	balance, err = api.Balance.Get(nil)
	require.NoError(t, err)
	require.Equal(t, int64(2000-88), balance.Available[0].Amount)
	require.Equal(t, int64(0), balance.Pending[0].Amount)
}
