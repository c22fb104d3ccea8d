package tests

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// owner answers for Stripe which account the key belongs to, as a test wants it. It
// stands in front of a sandbox that can be swapped for another.
type owner struct {
	// account is what GET /v1/account answers: an account's id, or the status of an
	// error. "away" answers every call with 503.
	account atomic.Value
	// elsewhere, when set, answers instead of the world's sandbox.
	elsewhere atomic.Pointer[sandbox.Sandbox]
	// writes counts the calls that change something at Stripe.
	writes atomic.Int64
}

func newOwner(account any) *owner {
	o := new(owner)
	o.account.Store(fmt.Sprint(account))

	return o
}

func (o *owner) handler(proxy *httputil.ReverseProxy) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, _ := o.account.Load().(string)
		if r.Method != http.MethodGet {
			o.writes.Add(1)
		}

		switch other := o.elsewhere.Load(); {
		case account == "away":
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/v1/account" && strings.HasPrefix(account, "acct_"):
			_, _ = fmt.Fprintf(w, `{"id":%q,"object":"account"}`, account)
		case r.URL.Path == "/v1/account":
			var status int

			_, _ = fmt.Sscan(account, &status)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"error":{"type":"invalid_request_error","message":"no"}}`))
		case other != nil:
			other.ServeHTTP(w, r)
		default:
			proxy.ServeHTTP(w, r)
		}
	})
}

// restart stops the service and starts it with other settings.
func (w *world) restart(change func(*config.Config)) error {
	w.t.Helper()
	require.NoError(w.t, w.service.Stop(context.Background()))

	c := w.config
	change(&c)

	return w.tryStart(c)
}

func same(*config.Config) {}

// adopt runs what `marketflow account adopt` runs.
func (w *world) adopt(reason string) (adopted account.Adopted, err error) {
	err = bootstrap.WithBinding(w.t.Context(), w.config, "test", func(ctx context.Context, b *account.Binding) error {
		var err error

		adopted, err = b.Adopt(ctx, "a test", reason)

		return err
	}, bootstrap.With(zap.NewNop()))

	return adopted, err
}

// command runs one that only reads.
func (w *world) command() error {
	return w.withTools(func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.Inbox.Events(ctx, ports.EventFilter{}, 1)

		return err
	})
}

// Another account behind the same address is noticed by its id, or because it lacks
// our intents.
func TestBinding_AnotherAccountIsRefused(t *testing.T) {
	t.Parallel()

	for name, accounts := range map[string][2]any{
		"BothKnown":    {"acct_1", "acct_2"},
		"KnownOnlyNow": {404, "acct_2"},
		"KnownBefore":  {"acct_1", 403},
		"NeverKnown":   {403, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			stripe := newOwner(accounts[0])
			w := newWorld(t, through(t, stripe.handler))
			require.Equal(t, http.StatusCreated, w.create(order).status)
			require.NoError(t, w.restart(same), "the same account")

			other, err := sandbox.New(sandbox.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, other.Close()) })

			// An operation that recovery would send again, to any account.
			w.exec(`INSERT INTO operations (id, kind, idempotency_key, fingerprint, amount, currency,
				stripe_key, stripe_path, stripe_params, leased_until, retry_at)
				VALUES (gen_random_uuid(), 'create', 'open', sha256(''), 10, 'USD', 'mf_create_x', '/v1/payment_intents',
					'amount=1000', now() + '1 day', now())`)

			stripe.elsewhere.Store(other)
			stripe.account.Store(fmt.Sprint(accounts[1]))

			writes := stripe.writes.Load()

			for _, err := range []error{w.restart(same), w.command()} {
				require.Error(t, err)
				require.Contains(t, err.Error(), "marketflow account adopt")
				require.NotContains(t, err.Error(), "\n")
			}

			require.Equal(t, writes, stripe.writes.Load(), "nothing was sent to it")

			adopted, err := w.adopt("another account from today on")
			require.NoError(t, err)
			require.Equal(t, 1, adopted.GivenUp, "what was for the old account is not sent to the new one")
			require.NoError(t, w.restart(same))
			require.Equal(t, 1, w.count(
				"SELECT count(*) FROM operations WHERE idempotency_key = 'open' AND state = 'needs_attention'"))
			require.Equal(t, 1, w.count("SELECT count(*) FROM installation_adoptions WHERE reason = 'another account from today on'"))
			require.Equal(t, http.StatusCreated, w.create(`{"amount":10,"currency":"USD"}`).status)

			_, err = w.adopt("")
			require.ErrorIs(t, err, account.ErrNothingToAdopt)
		})
	}
}

// Each setting that leads elsewhere is named, with the value that was recorded.
func TestBinding_EverySettingIsCompared(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.handler))
	host := strings.TrimPrefix(w.config.StripeAPIBase, "http://")

	elsewhere := w.config
	through(t, stripe.handler)(&elsewhere)

	for what, change := range map[string]func(*config.Config){
		"mode: recorded test, now live":                       func(c *config.Config) { c.StripeSecretKey = "sk_live_1" },
		"mode: recorded test, now live)":                      func(c *config.Config) { c.StripeSecretKey = "rk_live_1" },
		"Stripe's API: recorded " + host + ", now 127.0.0.1:": func(c *config.Config) { c.StripeAPIBase = elsewhere.StripeAPIBase },
	} {
		require.ErrorContains(t, w.restart(change), what)
	}

	// A rolled key, and another spelling of the same address.
	require.NoError(t, w.restart(func(c *config.Config) {
		c.StripeSecretKey, c.StripeAPIBase = "rk_test_rolled", c.StripeAPIBase+"/"
	}))

	for column, what := range map[string]string{
		"system_identifier": "PostgreSQL system identifier: recorded 1, now ",
		"database_name":     "database name: recorded 1, now ",
	} {
		var before string

		require.NoError(t, w.db.Pool().QueryRow(t.Context(), "SELECT "+column+" FROM installation").Scan(&before))

		w.exec("UPDATE installation SET " + column + " = '1'")
		require.ErrorContains(t, w.command(), what)

		w.exec("UPDATE installation SET "+column+" = $1", before)
		require.NoError(t, w.command())
	}
}

// A dead key stops the start at once. A key that may not read its account is accepted.
func TestBinding_ADeadKeyStopsTheStart(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.handler))

	stripe.account.Store("401")
	require.ErrorContains(t, w.restart(same), "STRIPE_SECRET_KEY")
	require.ErrorContains(t, w.command(), "STRIPE_SECRET_KEY")

	stripe.account.Store("403")
	w.start(w.config)
	require.Equal(t, http.StatusCreated, w.create(order).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM installation WHERE stripe_account = 'acct_1'"),
		"unknown never overwrites known")
}

// A service starts while Stripe is away. It sends nothing before Stripe has said
// which account the key belongs to. Then it goes on by itself, or ends.
func TestBinding_NothingIsSentBeforeStripeNamesTheAccount(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.handler))
	created := w.create(order)

	stripe.account.Store("away")
	require.NoError(t, w.restart(same))

	writes := stripe.writes.Load()

	w.create(`{"amount":10,"currency":"USD","idempotency_key":"meanwhile"}`).problem(http.StatusServiceUnavailable, "unavailable")
	require.Zero(t, w.count("SELECT count(*) FROM operations WHERE idempotency_key = 'meanwhile'"), "nothing was begun")
	require.Equal(t, writes, stripe.writes.Load())
	require.Equal(t, string(created.body), string(w.create(order).body), "replays are still answered")
	require.Equal(t, "pending", w.status(created.text("id")))

	paid := w.webhook(minimalEvent("succeeded", created.text("stripe_payment_intent_id"), "succeeded"))
	require.Equal(t, http.StatusOK, paid.status)
	require.NoError(t, w.command(), "an operator can read what is stored")

	stripe.account.Store("acct_1")
	w.eventually(func() bool {
		return w.create(`{"amount":10,"currency":"USD","idempotency_key":"meanwhile"}`).status == http.StatusCreated
	}, "Stripe is back")

	stripe.account.Store("away")
	require.NoError(t, w.restart(same))
	stripe.account.Store("acct_2")

	ended := make(chan error, 1)
	go func() { ended <- w.service.Wait(context.WithoutCancel(t.Context())) }()

	select {
	case err := <-ended:
		require.ErrorContains(t, err, "recorded acct_1, now acct_2")
	case <-time.After(time.Minute):
		t.Fatal("the service still runs with another account's key")
	}
}
