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

// owner is a Stripe that tells whose the key is, as a test wants it, in front of
// a sandbox that can be swapped for another.
type owner struct {
	// account is what GET /v1/account tells: an id, or the status of a refusal.
	account atomic.Value
	// elsewhere, when set, answers instead of the world's sandbox.
	elsewhere atomic.Pointer[sandbox.Sandbox]
	// writes counts what asks Stripe to do something.
	writes atomic.Int64
}

func newOwner(account any) *owner {
	o := new(owner)
	o.account.Store(fmt.Sprint(account))

	return o
}

func (o *owner) door(proxy *httputil.ReverseProxy) http.Handler {
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

	service, err := bootstrap.Start(w.t.Context(), c, "test", bootstrap.With(zap.NewNop()))
	if err != nil {
		return err
	}

	w.service, w.url = service, "http://"+service.Addr()
	w.t.Cleanup(func() { require.NoError(w.t, service.Stop(context.Background())) })

	return nil
}

func same(*config.Config) {}

func (w *world) adopt(reason string) (adopted account.Adopted) {
	w.t.Helper()

	require.NoError(w.t, bootstrap.WithBinding(w.t.Context(), w.config, "test", func(ctx context.Context, b *account.Binding) error {
		var err error

		adopted, err = b.Adopt(ctx, "a test", reason)

		return err
	}, bootstrap.With(zap.NewNop())))

	return adopted
}

// tools runs what a command would.
func (w *world) tools() error {
	return bootstrap.WithTools(w.t.Context(), w.config, "test", func(ctx context.Context, tools bootstrap.Tools) error {
		_, err := tools.Inbox.Events(ctx, ports.EventFilter{}, 1)

		return err
	}, bootstrap.With(zap.NewNop()))
}

// Another account behind the same address, found out by its id or by what it
// does not have.
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
			w := newWorld(t, through(t, stripe.door))
			require.Equal(t, http.StatusCreated, w.create(order).status)
			require.NoError(t, w.restart(same), "the same account")

			other, err := sandbox.New(sandbox.Options{})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, other.Close()) })

			// An operation that would be sent again, to whoever answers.
			_, err = w.db.Pool().Exec(t.Context(), `INSERT INTO payment_requests (payment_id, idempotency_key, fingerprint, amount,
				currency, stripe_key, stripe_params, leased_until, retry_at)
				VALUES (gen_random_uuid(), 'open', sha256(''), 10, 'USD', 'marketflow_payment_x', 'amount=1000', now() + '1 day', now())`)
			require.NoError(t, err)

			stripe.elsewhere.Store(other)
			stripe.account.Store(fmt.Sprint(accounts[1]))

			writes := stripe.writes.Load()

			for _, err := range []error{w.restart(same), w.tools()} {
				require.Error(t, err)
				require.Contains(t, err.Error(), "marketflow account adopt")
				require.NotContains(t, err.Error(), "\n")
			}

			require.Equal(t, writes, stripe.writes.Load(), "nothing was sent to it")

			adopted := w.adopt("another account from today on")
			require.Equal(t, 1, adopted.GivenUp, "what was for the old account is not sent to the new one")
			require.NoError(t, w.restart(same))
			require.Equal(t, 1, w.count(
				"SELECT count(*) FROM payment_requests WHERE idempotency_key = 'open' AND state = 'needs_attention'"))
			require.Equal(t, 1, w.count("SELECT count(*) FROM installation_adoptions WHERE reason = 'another account from today on'"))
			require.Equal(t, http.StatusCreated, w.create(`{"amount":10,"currency":"USD"}`).status)
			require.ErrorIs(t, w.tryAdopt(), account.ErrNothingToAdopt)
		})
	}
}

func (w *world) tryAdopt() error {
	return bootstrap.WithBinding(w.t.Context(), w.config, "test", func(ctx context.Context, b *account.Binding) error {
		_, err := b.Adopt(ctx, "a test", "")

		return err
	}, bootstrap.With(zap.NewNop()))
}

// Each setting that leads elsewhere is named, with what was recorded.
func TestBinding_EverySettingIsCompared(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.door))
	host := strings.TrimPrefix(w.config.StripeAPIBase, "http://")

	elsewhere := w.config
	through(t, stripe.door)(&elsewhere)

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

		_, err := w.db.Pool().Exec(t.Context(), "UPDATE installation SET "+column+" = '1'")
		require.NoError(t, err)
		require.ErrorContains(t, w.tools(), what)

		_, err = w.db.Pool().Exec(t.Context(), "UPDATE installation SET "+column+" = $1", before)
		require.NoError(t, err)
		require.NoError(t, w.tools())
	}
}

// A dead key is said at once; one that may not tell its account is believed.
func TestBinding_Keys(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.door))

	stripe.account.Store("401")
	require.ErrorContains(t, w.restart(same), "STRIPE_SECRET_KEY")
	require.ErrorContains(t, w.tools(), "STRIPE_SECRET_KEY")

	stripe.account.Store("403")
	w.start(w.config)
	require.Equal(t, http.StatusCreated, w.create(order).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM installation WHERE stripe_account = 'acct_1'"),
		"unknown never overwrites known")
}

// A service starts while Stripe is away. Nothing is sent before Stripe has said
// whose the key is; then all goes on by itself, or ends.
func TestBinding_StripeIsAwayAtStart(t *testing.T) {
	t.Parallel()

	stripe := newOwner("acct_1")
	w := newWorld(t, through(t, stripe.door))
	created := w.create(order)

	stripe.account.Store("away")
	require.NoError(t, w.restart(same))

	writes := stripe.writes.Load()

	w.create(`{"amount":10,"currency":"USD","idempotency_key":"meanwhile"}`).problem(http.StatusServiceUnavailable, "unavailable")
	require.Zero(t, w.count("SELECT count(*) FROM payment_requests WHERE idempotency_key = 'meanwhile'"), "nothing was begun")
	require.Equal(t, writes, stripe.writes.Load())
	require.Equal(t, string(created.body), string(w.create(order).body), "replays go on")
	require.Equal(t, "pending", w.status(created.text("id")))

	paid := w.webhook(minimalEvent("succeeded", created.text("stripe_payment_intent_id"), "succeeded"))
	require.Equal(t, http.StatusOK, paid.status)
	require.NoError(t, w.tools(), "an operator looks at what is stored")

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
		t.Fatal("the service goes on with another account's key")
	}
}
