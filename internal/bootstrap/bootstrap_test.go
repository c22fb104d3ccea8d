package bootstrap_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func settings(t *testing.T, databaseURL string) config.Config {
	t.Helper()

	c, err := config.FromEnvironment(map[string]string{
		"HTTP_ADDR":             "127.0.0.1:0",
		"DRAIN_DELAY":           "0",
		"DATABASE_URL":          databaseURL,
		"STRIPE_SECRET_KEY":     "sk_test_51BootstrapBootstrap",
		"STRIPE_WEBHOOK_SECRET": "whsec_BootstrapBootstrapBootstrapBootstrap",
		"AUTH":                  "off",
		"STRIPE_API_BASE":       "http://127.0.0.1:1",
	})
	require.NoError(t, err)

	return c
}

func silent() bootstrap.Swap { return bootstrap.With(zap.NewNop()) }

// Every entry point is built and run: a provider that nobody asks for, or one
// that fails, cannot hide.
func TestStart_TheWholeGraph(t *testing.T) {
	t.Parallel()

	redis, err := devserver.StartRedis()
	require.NoError(t, err)
	t.Cleanup(redis.Stop)

	for name, change := range map[string]func(*config.Config){
		"without Redis":       func(*config.Config) {},
		"with Redis":          func(c *config.Config) { c.RedisURL = config.Secret(redis.URL()) },
		"with rate limiting":  func(c *config.Config) { c.RedisURL = config.Secret(redis.URL()); c.RateLimit = 10 },
		"rate limiting alone": func(c *config.Config) { c.RateLimit = 10 },
		"with profiling":      func(c *config.Config) { c.PprofAddr = "127.0.0.1:0" },
		"never reconciling":   func(c *config.Config) { c.ReconcileInterval = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			c := settings(t, pgtest.New(t).URL)
			change(&c)

			service, err := bootstrap.Start(t.Context(), c, "test", silent())
			require.NoError(t, err)

			for _, path := range []string{"/health", "/readyz", "/metrics", "/openapi.yaml"} {
				require.Equal(t, http.StatusOK, get(t, "http://"+service.Addr()+path), path)
			}

			require.NoError(t, service.Stop(t.Context()))

			err = bootstrap.WithTools(t.Context(), c, "test", func(_ context.Context, tools bootstrap.Tools) error {
				require.NotNil(t, tools.Inbox)
				require.NotNil(t, tools.ReprocessEvent)
				require.NotNil(t, tools.CloseOperation)
				require.NotNil(t, tools.ShowPayment)
				require.NotNil(t, tools.ListPayments)
				require.NotNil(t, tools.Reconcile)

				return nil
			}, silent())
			require.NoError(t, err)
		})
	}
}

// A question to the database that takes long, such as a scrape's, takes no connection of
// the requests'.
func TestStart_ReportsTakeNoConnectionOfRequests(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	c := settings(t, db.URL)
	c.DatabaseMaxConns = 1

	service, err := bootstrap.Start(t.Context(), c, "test", silent())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

	unknown := "http://" + service.Addr() + "/payments/" + uuid.NewString()
	require.Equal(t, http.StatusNotFound, get(t, unknown)) // so it knows that nothing is missing

	tx, err := db.Pool().Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), "LOCK TABLE reconciliation")
	require.NoError(t, err)

	scrape, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+service.Addr()+"/metrics", http.NoBody)
	require.NoError(t, err)

	scraped := make(chan error, 1)

	go func() {
		resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(scrape)
		if err == nil {
			err = resp.Body.Close()
		}

		scraped <- err
	}()

	require.Eventually(t, func() bool {
		var waiting int

		return db.Pool().QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting) == nil && waiting > 0
	}, 20*time.Second, 5*time.Millisecond)

	require.Equal(t, http.StatusNotFound, get(t, unknown))
	require.NoError(t, tx.Rollback(t.Context()))
	require.NoError(t, <-scraped)
}

// Any part can be swapped, for tests.
func TestStart_PartsCanBeSwapped(t *testing.T) {
	t.Parallel()

	cache := &countingCache{}
	c := settings(t, pgtest.New(t).URL)

	service, err := bootstrap.Start(t.Context(), c, "test", silent(), bootstrap.With[ports.ReplayCache](cache))
	require.NoError(t, err)

	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+service.Addr()+"/payments",
		strings.NewReader(`{"amount":1,"currency":"USD","idempotency_key":"k"}`))
	require.NoError(t, err)

	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "nobody listens where Stripe should be")
	require.Equal(t, 1, cache.asked)
}

// What the cache has may be of commits that the database has lost.
func TestStart_ANewLifeOfTheDatabaseEmptiesTheCache(t *testing.T) {
	t.Parallel()

	server := pgtest.NewServer(t, devserver.PostgresOptions{Settings: servers.Volatile()})
	require.NoError(t, postgres.Migrate(t.Context(), server.URL()))

	cache := &countingCache{}
	c := settings(t, server.URL())

	service, err := bootstrap.Start(t.Context(), c, "test", silent(), bootstrap.With[ports.ReplayCache](cache))
	require.NoError(t, err)

	t.Cleanup(func() { require.NoError(t, service.Stop(context.Background())) })

	require.Zero(t, cache.cleared.Load())
	require.NoError(t, server.Restart(t.Context(), servers.ShutdownCrash))
	require.Eventually(t, func() bool { return cache.cleared.Load() > 0 }, 30*time.Second, 10*time.Millisecond)
}

func TestStart_RefusesADatabaseThatIsBehind(t *testing.T) {
	t.Parallel()

	_, err := bootstrap.Start(t.Context(), settings(t, pgtest.NewEmpty(t).URL), "test", silent())
	require.ErrorIs(t, err, postgres.ErrBehind)
	require.ErrorContains(t, err, "marketflow migrate up")
	require.NotContains(t, err.Error(), "fx", "the graph's own words are of no use to an operator")
}

// What is allowed and seldom right is a line of the log, before the service listens.
func TestStart_Warns(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(map[string]string{
		"HTTP_ADDR": "127.0.0.1:0", "PPROF_ADDR": ":0", "RATELIMIT": "50", "DATABASE_URL": pgtest.New(t).URL,
		"STRIPE_SECRET_KEY":     "sk_test_51BootstrapBootstrap",
		"STRIPE_WEBHOOK_SECRET": "whsec_BootstrapBootstrapBootstrapBootstrap",
		"AUTH":                  "off",
		"STRIPE_API_BASE":       "http://127.0.0.1:1",
	})
	require.NoError(t, err)

	core, logs := observer.New(zap.InfoLevel)

	service, err := bootstrap.Start(t.Context(), c, "test", bootstrap.With(zap.New(core)))
	require.NoError(t, err)
	require.NoError(t, service.Stop(t.Context()))

	require.Len(t, c.Warnings, 3)
	require.Contains(t, c.Warnings[0], "AUTH: is off")
	require.Equal(t, "RATELIMIT: is not used; did you mean RATE_LIMIT?", c.Warnings[2])

	for i, line := range c.Warnings {
		require.Equal(t, line, logs.All()[i].Message)
		require.Equal(t, zap.WarnLevel, logs.All()[i].Level)
	}
}

// Without a key nobody could use the service. It says both ways out.
func TestStart_NeedsAKey(t *testing.T) {
	t.Parallel()

	db := pgtest.New(t)
	c := settings(t, db.URL)
	c.Auth = config.AuthKeys

	refused := func() {
		_, err := bootstrap.Start(t.Context(), c, "test", silent())
		require.ErrorContains(t, err, "marketflow keys create")
		require.ErrorContains(t, err, "AUTH=off")
	}
	refused()

	// A key of the other mode is none.
	store := postgres.NewStore(db.Pool(), db.Pool())

	for _, mode := range []binding.Mode{binding.Live, binding.Test} {
		refused()

		secret := tenant.NewSecret(mode)
		_, err := store.CreateAPIKey(t.Context(), tenant.Key{
			ID: uuid.New(), Tenant: 1, Name: "x", Prefix: secret.Prefix(), Mode: mode, Scopes: tenant.AllScopes(), Sum: secret.Sum(),
		}, ports.AuditEntry{ID: uuid.New(), Actor: "me", Action: ports.AuditKeyCreated})
		require.NoError(t, err)
	}

	service, err := bootstrap.Start(t.Context(), c, "test", silent())
	require.NoError(t, err)
	require.Equal(t, http.StatusUnauthorized, get(t, "http://"+service.Addr()+"/payments"))
	require.NoError(t, service.Stop(t.Context()))
}

func TestStart_SaysThatAPortIsTaken(t *testing.T) {
	t.Parallel()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })

	c := settings(t, pgtest.New(t).URL)
	c.HTTPAddr = listener.Addr().String()

	_, err = bootstrap.Start(t.Context(), c, "test", silent())
	require.ErrorContains(t, err, "HTTP_ADDR")
	require.ErrorContains(t, err, "address already in use")
}

// Metrics that have an address of their own are on no other, and are there until
// the end.
func TestStart_MetricsElsewhere(t *testing.T) {
	t.Parallel()

	c := settings(t, pgtest.New(t).URL)
	c.MetricsAddr = "127.0.0.1:0"

	service, err := bootstrap.Start(t.Context(), c, "test", silent())
	require.NoError(t, err)

	require.NotEqual(t, service.Addr(), service.MetricsAddr())
	require.Equal(t, http.StatusOK, get(t, "http://"+service.MetricsAddr()+"/metrics"))
	require.Equal(t, http.StatusNotFound, get(t, "http://"+service.Addr()+"/metrics"))
	require.Equal(t, http.StatusNotFound, get(t, "http://"+service.MetricsAddr()+"/health"))
	require.Equal(t, http.StatusOK, get(t, "http://"+service.Addr()+"/health"))
	require.NoError(t, service.Stop(t.Context()))

	_, err = new(net.Dialer).DialContext(t.Context(), "tcp", service.MetricsAddr())
	require.Error(t, err)

	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = taken.Close() })

	c.MetricsAddr = taken.Addr().String()
	_, err = bootstrap.Start(t.Context(), c, "test", silent())
	require.ErrorContains(t, err, "METRICS_ADDR")
	require.ErrorContains(t, err, "address already in use")
}

func TestStart_SaysThatTheDatabaseIsAway(t *testing.T) {
	t.Parallel()

	_, err := bootstrap.Start(t.Context(), settings(t, "postgres://x:hunter2@127.0.0.1:1/x"), "test", silent())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}

func get(t *testing.T, url string) int {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)

	transport := &http.Transport{DisableKeepAlives: true}

	resp, err := transport.RoundTrip(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	return resp.StatusCode
}

type countingCache struct {
	asked   int
	cleared atomic.Int64
}

func (c *countingCache) Get(context.Context, operation.Tenant, operation.Key) (ports.Replay, bool) {
	c.asked++

	return ports.Replay{}, false
}

func (c *countingCache) Put(context.Context, operation.Tenant, operation.Key, ports.Replay) {}

func (c *countingCache) Clear() { c.cleared.Add(1) }
