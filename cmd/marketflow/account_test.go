package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// accounts is a Stripe that knows whose each key is.
func accounts(t *testing.T) string {
	t.Helper()

	stripe, err := sandbox.New(sandbox.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, stripe.Close()) })

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/account" {
			stripe.ServeHTTP(w, r)

			return
		}

		account := "acct_two"
		if strings.Contains(r.Header.Get("Authorization"), "One") {
			account = "acct_one"
		}

		_, _ = fmt.Fprintf(w, `{"id":%q,"object":"account"}`, account)
	}))
	t.Cleanup(server.Close)

	return server.URL
}

// Every command that looks into the database or talks to Stripe refuses settings
// that lead elsewhere, until a person says that they are meant.
func TestAccount_ShowAndAdopt(t *testing.T) {
	t.Parallel()

	url, stripe := pgtest.New(t).URL, accounts(t)
	settings := func(key string) []string {
		return []string{
			"DATABASE_URL=" + url, "STRIPE_API_BASE=" + stripe, "STRIPE_SECRET_KEY=" + key,
			"STRIPE_WEBHOOK_SECRET=whsec_4Hq8Zt2Lw6Rk9Xb3Nv7Jm1Ys5Dc0Gf4Kp", "AUTH=off",
			"HTTP_ADDR=127.0.0.1:0",
		}
	}

	ours, rolled, other := settings("sk_test_51OneA7Hq2Lw9Rk4Xb8Nv3"), settings("rk_test_51OneB5Jm1Ys6Dc0Gf2Zt"),
		settings("sk_test_51TwoA8Kp3Vx7Qe1Wm5Ru")

	fresh := program(t, ours, "account", "show")
	require.Zero(t, fresh.code, fresh.stderr)
	require.Regexp(t, `Stripe account +not known +acct_one\n`, fresh.stdout)
	require.Regexp(t, `^installation [0-9a-f-]{36}\n`, fresh.stdout)

	require.Zero(t, program(t, other, "inbox", "list").code, "looking binds nothing")
	require.Zero(t, program(t, ours, "reconcile").code, "talking to Stripe does")
	require.Zero(t, program(t, rolled, "reconcile").code, "a new key of the same account")

	for _, args := range [][]string{
		{"serve"},
		{"reconcile"},
		{"inbox", "list"},
		{"inbox", "show", "evt_1"},
		{"operations", "list"},
		{"payments", "show", "pi_1"},
		{"account", "show"},
	} {
		got := program(t, other, args...)
		require.Equal(t, 1, got.code, args)
		require.Contains(t, got.stderr, "Stripe account: recorded acct_one, now acct_two", args)
		require.Contains(t, got.stderr, "marketflow account adopt")
	}

	shown := program(t, other, "account", "show", "-o", "json")
	require.Equal(t, 1, shown.code)

	var row shownRow

	require.NoError(t, json.Unmarshal([]byte(shown.stdout), &row), shown.stdout)
	require.False(t, row.Holds)
	require.Equal(t, "acct_one", row.Recorded.Account)
	require.Equal(t, "acct_two", row.Now.Account)
	require.NotEmpty(t, row.Recorded.System)
	require.Equal(t, row.Recorded.System, row.Now.System)
	require.Equal(t, strings.TrimPrefix(stripe, "http://"), row.Recorded.Host)
	require.Contains(t, row.Problem, "acct_two")

	nothing := program(t, ours, "account", "adopt")
	require.Equal(t, 1, nothing.code)
	require.Contains(t, nothing.stderr, "nothing to adopt")

	adopted := program(t, other, "account", "adopt", "--reason", "we have moved")
	require.Zero(t, adopted.code, adopted.stderr)
	require.Contains(t, adopted.stderr, "we have moved", "the log has it")
	require.Zero(t, program(t, other, "reconcile").code)
	require.Contains(t, program(t, other, "account", "show").stdout, "account acct_one, ")
	require.Contains(t, program(t, other, "account", "show").stdout, ": we have moved\n")
	require.Equal(t, 1, program(t, ours, "reconcile").code)
}

// The ids of operations are made of the installation's. So a database in use keeps its own.
func TestInstallationID_OfADatabaseInUse(t *testing.T) {
	t.Parallel()

	d := newDesk(t)
	d.capturing(uuid.New(), "pi_1")

	env := append(d.environment(), "INSTALLATION_ID=0190d5a5-7c1f-7000-8000-0000000000aa")

	for _, args := range [][]string{{"serve"}, {"account", "show"}, {"reconcile"}} {
		got := program(t, env, args...)
		require.Equal(t, 1, got.code, args)
		require.Contains(t, got.stderr, "INSTALLATION_ID is 0190d5a5-7c1f-7000-8000-0000000000aa, but this database is in use already")
	}
}
