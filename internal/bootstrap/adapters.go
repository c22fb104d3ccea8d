package bootstrap

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/adapters/river"
	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// startTimeout bounds the calls to a dependency before the service serves.
const startTimeout = 10 * time.Second

// newPool opens the hot pool, on a database that is up to date.
func newPool(lc fx.Lifecycle, c config.Config, tracing trace.TracerProvider) (*pgxpool.Pool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	if err := checkSchema(ctx, c.DatabaseURL.Reveal()); err != nil {
		return nil, err
	}

	pool, err := postgres.NewPool(ctx, postgres.PoolConfig{
		URL: c.DatabaseURL.Reveal(), MaxConns: c.DatabaseMaxConns, Tracer: tracing, Ready: true,
	})
	if err != nil {
		return nil, err
	}

	// The first connection takes longer than a request may wait for one.
	if err := postgres.Ping(ctx, pool); err != nil {
		pool.Close()

		return nil, err
	}

	lc.Append(fx.StopHook(pool.Close))

	return pool, nil
}

// backgroundConns bounds the background pool. River's four workers need one each now and
// then; the rest is for lists and for the metrics. The one on which River listens it takes
// out of the pool, so that it comes on top.
const backgroundConns = 8

// backgroundPool is the pool of lists, reports and jobs.
type backgroundPool struct{ *pgxpool.Pool }

// newBackgroundPool opens its connections when they are needed.
func newBackgroundPool(lc fx.Lifecycle, c config.Config, tracing trace.TracerProvider) (backgroundPool, error) {
	pool, err := postgres.NewPool(context.Background(), postgres.PoolConfig{
		URL: c.DatabaseURL.Reveal(), MaxConns: backgroundConns, Tracer: tracing, Background: true,
	})
	if err != nil {
		return backgroundPool{}, err
	}

	lc.Append(fx.StopHook(pool.Close))

	return backgroundPool{pool}, nil
}

func newStore(hot *pgxpool.Pool, background backgroundPool, indexed payments.IndexedNames) *postgres.Store {
	return postgres.NewStore(hot, background.Pool, indexed...)
}

func newIndexedNames(c config.Config) payments.IndexedNames { return c.MetadataIndex }

func checkSchema(ctx context.Context, url string) error {
	m, err := postgres.NewMigrator(ctx, url)
	if err != nil {
		return err
	}

	if err := m.Check(ctx); err != nil {
		_ = m.Close()

		return err
	}

	return m.Close()
}

func newGateway(
	c config.Config, metrics *telemetry.Metrics, tracing trace.TracerProvider, log *zap.Logger,
) *stripe.Gateway {
	return stripe.NewGateway(stripe.Config{
		SecretKey:      c.StripeSecretKey.Reveal(),
		APIBase:        c.StripeAPIBase,
		AttemptTimeout: c.StripeTimeout,
		MaxInFlight:    c.StripeMaxInFlight,
	}, stripe.WithMeter(metrics.Stripe()), stripe.WithTracerProvider(tracing), stripe.WithLogger(log))
}

// newSealingKeys are none where SECRETS_KEY is not set.
func newSealingKeys(c config.Config) (secret.Keys, error) { return c.SealingKeys() }

// newWebhooks takes the secrets of the environment first.
func newWebhooks(c config.Config, stored *tenants.SigningSecrets) (*stripe.Webhooks, error) {
	secrets := make([]string, 0, len(c.StripeWebhookSecrets))
	for _, secret := range c.StripeWebhookSecrets {
		secrets = append(secrets, secret.Reveal())
	}

	return stripe.NewWebhooks(secrets, stored, time.Now)
}

// newRedis returns nil where there is no Redis.
func newRedis(lc fx.Lifecycle, c config.Config, tracing trace.TracerProvider, log *zap.Logger) (*redis.Client, error) {
	if c.RedisURL == "" {
		return nil, nil
	}

	client, err := redis.NewClient(redis.Config{URL: c.RedisURL.Reveal(), Tracer: tracing, Logger: log})
	if err != nil {
		return nil, err
	}

	lc.Append(fx.StopHook(client.Close))

	return client, nil
}

func newReplayCache(metrics *telemetry.Metrics) (*memory.ReplayCache, error) {
	return memory.NewReplayCache(memory.DefaultBounds(), metrics.MemoryCache())
}

func newRateLimiter(c config.Config, client *redis.Client, metrics *telemetry.Metrics) (ports.RateLimiter, error) {
	if c.RateLimit == 0 {
		return memory.AllowAll{}, nil
	}

	if client == nil {
		return memory.NewRateLimiter(c.RateLimit, c.RateLimit, metrics.RateLimit())
	}

	alone, err := memory.NewRateLimiter(c.RateLimit, c.RateLimit, nil)
	if err != nil {
		return nil, err
	}

	secret := sha256.Sum256([]byte("marketflow rate limit " + c.StripeSecretKey.Reveal()))

	return redis.NewRateLimiter(client, redis.LimiterConfig{
		Rate: c.RateLimit, Secret: secret[:], Without: alone,
	}, metrics.RateLimit())
}

// draining is true from the moment that the service is asked to stop.
type draining struct{ atomic.Bool }

func newHealth(
	store *postgres.Store, client *redis.Client, stored *tenants.SigningSecrets, stopping *draining,
) *edge.Health {
	unreadable := func() int { return len(stored.Unreadable()) }

	if client == nil { // a nil pointer in the interface would be asked
		return edge.NewHealth(store, nil, unreadable, stopping.Load)
	}

	return edge.NewHealth(store, client, unreadable, stopping.Load)
}

// Webhooks without a valid signature that one address may send in a second, and at
// once. Signed ones are not counted.
const (
	unsignedPerSecond = 10
	unsignedAtOnce    = 50
)

func newWebhooksResource(receive edge.ReceiveEvent) (*edge.Webhooks, error) {
	unsigned, err := memory.NewRateLimiter(unsignedPerSecond, unsignedAtOnce, nil)
	if err != nil {
		return nil, err
	}

	return edge.NewWebhooks(receive, unsigned), nil
}

func newEdgeTelemetry(
	c config.Config, metrics *telemetry.Metrics, observer edge.Observer, log *zap.Logger,
	tracing trace.TracerProvider, propagator propagation.TextMapPropagator,
) edge.Telemetry {
	t := edge.Telemetry{Log: log, Observer: observer, Tracing: tracing, Propagator: propagator}
	if c.MetricsAddr == "" {
		t.Metrics = metrics.Handler()
	}

	return t
}

func newJobs(
	lc fx.Lifecycle, c config.Config, ops *operations.Recover, parked *events.ApplyParked, hints *events.ReadHints,
	records *reconcile.Reconcile, store *postgres.Store, cache ports.ReplayCache, pool backgroundPool, metrics *telemetry.Metrics,
	log *zap.Logger,
) (*river.Jobs, error) {
	jobs, err := river.New(
		river.Config{RecoveryInterval: c.RecoveryInterval, ReconcileInterval: c.ReconcileInterval},
		river.Deps{
			Pool: pool.Pool, Recover: ops, ApplyParked: parked, ReadHints: hints, Reconcile: records,
			Meter: metrics.Jobs(), Log: log,
		})
	if err != nil {
		return nil, fmt.Errorf("setting up the background work: %w", err)
	}

	store.OnNewLife(func() {
		log.Warn("the database has begun a new life: it may have lost commits, and is compared with Stripe")
		cache.Clear()
		jobs.ReconcileNow()
	})
	lc.Append(fx.StartStopHook(jobs.Start, jobs.Stop))

	return jobs, nil
}

// newBinding takes the gateway itself, not the guard: it is the binding that opens the
// guard.
func newBinding(
	installation ports.Installation, id operation.Installation, provider ports.ProviderAccount, gateway *stripe.Gateway,
	observer account.Observer,
) *account.Binding {
	return account.NewBinding(installation, id, provider, gateway, observer)
}

// newInstallation reads the id of the installation. The configuration may give it to an
// empty database, and never changes it.
func newInstallation(c config.Config, installation ports.Installation) (operation.Installation, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()

	if c.InstallationID != uuid.Nil {
		if err := installation.SetInstallationID(ctx, c.InstallationID); err != nil {
			return operation.Installation{}, err
		}
	}

	id, err := installation.InstallationID(ctx)

	switch {
	case err != nil:
		return operation.Installation{}, err
	case c.InstallationID != uuid.Nil && c.InstallationID != id:
		//nolint:err113 // for a person
		return operation.Installation{}, fmt.Errorf("INSTALLATION_ID is %s, but this database is in use already, as "+
			"installation %s; leave INSTALLATION_ID out", c.InstallationID, id)
	default:
		return operation.Installation{ID: id}, nil
	}
}
