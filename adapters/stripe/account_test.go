package stripe_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/ports"
)

func TestAPI(t *testing.T) {
	t.Parallel()

	for base, want := range map[string]string{
		"":                             "api.stripe.com",
		"https://api.stripe.com":       "api.stripe.com",
		"https://API.Stripe.com:443/":  "api.stripe.com",
		"http://api.stripe.com:443":    "api.stripe.com:443",
		"http://127.0.0.1:12111":       "127.0.0.1:12111",
		"http://user:hunter2@proxy:80": "proxy",
		"https://proxy.internal/path":  "proxy.internal",
		"http://[::1]:12111":           "[::1]:12111",
	} {
		host, _ := stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1", APIBase: base}).API()
		require.Equal(t, want, host, base)
	}

	for key, want := range map[string]binding.Mode{
		"sk_live_1": binding.Live, "rk_live_1": binding.Live, "sk_test_1": binding.Test, "rk_test_1": binding.Test,
		"sk_1": binding.Test,
	} {
		_, mode := stripe.NewGateway(stripe.Config{SecretKey: key}).API()
		require.Equal(t, want, mode, key)
	}
}

func TestAccount(t *testing.T) {
	t.Parallel()

	rejection := `{"error":{"type":"invalid_request_error","message":"no"}}`

	for name, c := range map[string]struct {
		status   int
		body     string
		account  string
		rejected bool
		unknown  bool
	}{
		"an account":                    {200, `{"id":"acct_1","object":"account"}`, "acct_1", false, false},
		"a restricted key":              {403, rejection, "", false, false},
		"a stand-in without accounts":   {404, rejection, "", false, false},
		"a stand-in that is no Stripe":  {404, "not found", "", false, false},
		"a stand-in that answers 400":   {400, rejection, "", false, false},
		"a stand-in that answers 405":   {405, "", "", false, false},
		"a stand-in that answers 501":   {501, "", "", false, false},
		"a key that Stripe rejects":     {401, rejection, "", true, false},
		"an outage":                     {500, rejection, "", false, true},
		"a rate limit":                  {429, rejection, "", false, true},
		"HTML":                          {200, "<html>", "", false, true},
		"{}":                            {200, "{}", "", false, true},
		"another object":                {200, `{"id":"cus_1"}`, "", false, true},
		"an impossible id":              {200, `{"id":"acct_1\n"}`, "", false, true},
		"an id that is too long":        {200, `{"id":"acct_` + strings.Repeat("1", 255) + `"}`, "", false, true},
		"a proxy that wants a password": {407, "", "", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/v1/account" || r.Header.Get("Authorization") != "Bearer sk_test_1" {
					t.Errorf("%s %s", r.Method, r.URL)
				}

				answer(w, c.status, c.body)
			})

			account, err := bed.gateway.Account(t.Context())

			switch {
			case c.rejected:
				require.ErrorIs(t, err, ports.ErrKeyRejected)
			case c.unknown:
				require.Error(t, err)
				require.NotErrorIs(t, err, ports.ErrKeyRejected)
			default:
				require.NoError(t, err)
				require.Equal(t, c.account, account)
			}
		})
	}
}

// The next call is made over a connection of its own.
func TestAccount_KeepsNoConnection(t *testing.T) {
	t.Parallel()

	peers := map[string]string{}
	bed := newBed(t, func(w http.ResponseWriter, r *http.Request) {
		peers[r.URL.Path] = r.RemoteAddr

		answer(w, http.StatusOK, `{"id":"acct_1"}`)
	})

	_, err := bed.gateway.Account(t.Context())
	require.NoError(t, err)

	_, err = bed.gateway.Intent(t.Context(), "pi_1")
	require.Error(t, err, "that is no intent")
	require.NotEqual(t, peers["/v1/account"], peers["/v1/payment_intents/pi_1"])
}
