package bootstrap

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/adapters/river"
	"github.com/marketflow/marketflow/app"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// graph is the one table: what exists, and the port that the core knows it by.
func graph() fx.Option {
	return fx.Options(
		fx.Provide(
			fx.Annotate(postgres.NewStore, fx.As(fx.Self()), fx.As(new(ports.Operations)), fx.As(new(ports.Payments)),
				fx.As(new(ports.Inbox)), fx.As(new(ports.Backlog)), fx.As(new(ports.Reconciliation)),
				fx.As(new(ports.Decisions)), fx.As(new(ports.Audit)), fx.As(new(ports.Installation))),
			fx.Annotate(newGateway, fx.As(new(ports.PaymentGateway)), fx.As(new(ports.ProviderAccount))),
			fx.Annotate(newWebhooks, fx.As(new(ports.Webhooks))),
			fx.Annotate(newReplayCache, fx.As(new(ports.ReplayCache))),
			fx.Annotate(newRateLimiter, fx.As(new(ports.RateLimiter))),
			fx.Annotate(newRenderer, fx.As(new(ports.Renderer))),
			fx.Annotate(telemetry.NewMetrics, fx.As(fx.Self()), fx.As(new(ports.Recorder)), fx.As(new(edge.Observer))),
		),
		// The use cases.
		fx.Provide(newAppDeps, app.NewBinding, app.NewCreatePayment, app.NewGetPayment, app.NewHandleEvent, app.NewReprocessEvent,
			app.NewRecoverOperations, app.NewApplyParked, app.NewReconcile,
			app.NewDismissEvent, app.NewCloseOperation, app.NewAdoptOperation, app.NewShowPayment),
		// What stands around them.
		fx.Provide(newLogger, newTracing, newPool, newRedis, newHandler, newScraping, newServer, newProfiling,
			newJobsPool, newJobs),
	)
}

func newRenderer() edge.Renderer { return edge.Renderer{} }

// appParams gathers the ports.
type appParams struct {
	fx.In

	Operations ports.Operations
	Payments   ports.Payments
	Inbox      ports.Inbox
	Binding    *app.Binding
	Webhooks   ports.Webhooks
	Renderer   ports.Renderer
	Cache      ports.ReplayCache
	Recorder   ports.Recorder
	Records    ports.Reconciliation
	Backlog    ports.Backlog
	Decisions  ports.Decisions
	Audit      ports.Audit
	Log        *zap.Logger
	Tracing    trace.TracerProvider
}

func newAppDeps(in appParams) app.Deps {
	return app.Deps{
		Operations: in.Operations, Payments: in.Payments, Inbox: in.Inbox, Gateway: in.Binding.Guard(),
		Binding: in.Binding, Webhooks: in.Webhooks,
		Renderer: in.Renderer, Cache: in.Cache, Recorder: in.Recorder,
		Reconciliation: in.Records, Backlog: in.Backlog, Decisions: in.Decisions, Audit: in.Audit, Log: in.Log,
		Tracer: in.Tracing.Tracer("github.com/marketflow/marketflow/app"),
	}
}

// observed is what the metrics ask when Prometheus asks them.
type observed struct {
	fx.In

	Version Version
	Config  config.Config
	Pool    *pgxpool.Pool
	Redis   *redis.Client
	Cache   ports.ReplayCache
	Backlog ports.Backlog
	Records ports.Reconciliation
	Jobs    *river.Jobs
	Metrics *telemetry.Metrics
}

func observe(in observed) {
	in.Metrics.ObserveBuild(string(in.Version))
	in.Metrics.ObserveBacklog(in.Backlog)
	in.Metrics.ObserveBackground(in.Jobs, in.Records)
	in.Metrics.ObservePool("requests", in.Pool)

	if in.Redis != nil {
		in.Metrics.ObserveRedisPool(in.Redis)
	}

	if cache, ok := in.Cache.(interface {
		Size() (entries int, size int64)
	}); ok {
		in.Metrics.ObserveMemoryCache(cache)
	}
}
