package bootstrap

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/fx"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/adapters/river"
	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// graph is the table of what exists, and of the port that the core knows it by.
func graph() fx.Option {
	return fx.Options(
		fx.Provide(
			fx.Annotate(newStore, fx.As(fx.Self()), fx.As(new(ports.Operations)), fx.As(new(ports.Payments)),
				fx.As(new(ports.Refunds)),
				fx.As(new(ports.Customers)), fx.As(new(ports.Erasure)), fx.As(new(reconcile.Known)),
				fx.As(new(ports.PaymentLists)), fx.As(new(ports.RefundLists)), fx.As(new(ports.Disputes)), fx.As(new(ports.MetadataIndex)),
				fx.As(new(ports.Facts)), fx.As(new(ports.Incarnations)), fx.As(new(events.PaymentsByIntent)),
				fx.As(new(ports.Inbox)), fx.As(new(ports.Backlog)), fx.As(new(ports.Reconciliation)),
				fx.As(new(ports.Decisions)), fx.As(new(ports.Audit)), fx.As(new(ports.Installation)),
				fx.As(new(ports.APIKeys)), fx.As(new(ports.Tenants)),
				fx.As(new(ports.KnownWebhookSecrets)), fx.As(new(ports.WebhookSecrets))),
			fx.Annotate(newGateway, fx.As(fx.Self()), fx.As(new(ports.ProviderAccount))),
			// All calls to the provider go through the guard.
			(*account.Binding).Guard,
			fx.Annotate(newCalls, fx.As(new(ports.Calls))),
			fx.Annotate(newWebhooks, fx.As(new(ports.Webhooks))),
			fx.Annotate(newReplayCache, fx.As(new(ports.ReplayCache))),
			fx.Annotate(newRateLimiter, fx.As(new(ports.RateLimiter))),
			fx.Annotate(newRenderer, fx.As(new(ports.Renderer))),
			fx.Annotate(telemetry.NewMetrics, fx.As(fx.Self()), fx.As(new(edge.Observer))),
			fx.Annotate(telemetry.NewObserver, fx.As(new(Observer))),
			fx.Annotate(func(o Observer) Observer { return o }, fx.As(new(ports.Spans)), fx.As(new(operations.Observer)),
				fx.As(new(events.Observer)), fx.As(new(reconcile.Observer)), fx.As(new(account.Observer)),
				fx.As(new(payments.ChangeObserver)), fx.As(new(payments.AcceptObserver)), fx.As(new(customers.EraseObserver)),
				fx.As(new(tenants.Observer))),
		),
		// The use cases.
		fx.Provide(
			fx.Annotate(newBinding, fx.As(fx.Self()), fx.As(new(events.Ours)), fx.As(new(reconcile.Ours))),
			newInstallation, operations.NewEngine, newDefinitions, operations.NewRecover, operations.NewClose,
			operations.NewAdopt,
			fx.Annotate(payments.NewCreate, fx.As(new(edge.CreatePayment))),
			fx.Annotate(payments.NewCapture, fx.As(new(edge.CapturePayment))),
			fx.Annotate(payments.NewCancel, fx.As(new(edge.CancelPayment))),
			fx.Annotate(payments.NewConfirm, fx.As(new(edge.ConfirmPayment))),
			fx.Annotate(payments.NewUpdate, fx.As(new(edge.UpdatePayment))),
			fx.Annotate(payments.NewRefund, fx.As(new(edge.RefundPayment))),
			fx.Annotate(payments.NewCancelRefund, fx.As(new(edge.CancelRefund))),
			fx.Annotate(payments.NewGetRefund, fx.As(fx.Self()), fx.As(new(edge.GetRefund))),
			fx.Annotate(payments.NewGet, fx.As(new(edge.GetPayment))), payments.NewShow, payments.NewChange, payments.NewAccept,
			customers.NewChange, customers.NewCreate, customers.NewGet, customers.NewList, customers.NewUpdate,
			customers.NewDelete, customers.NewSetup, customers.NewMethods, customers.NewDetach,
			customers.NewErase,
			disputes.NewChange, disputes.NewGet, disputes.NewEvidence, disputes.NewAccept,
			fx.Annotate(payments.NewListRefunds, fx.As(fx.Self()), fx.As(new(edge.ListRefunds))),
			fx.Annotate(disputes.NewList, fx.As(fx.Self()), fx.As(new(edge.ListDisputes))),
			fx.Annotate(customers.NewRefresh, fx.As(new(events.CustomerRefresher))),
			fx.Annotate(payments.NewList, fx.As(fx.Self()), fx.As(new(edge.ListPayments))), newIndexedNames,
			fx.Annotate(payments.NewTimeline, fx.As(fx.Self()), fx.As(new(edge.ShowTimeline))), payments.NewIndexMetadata,
			fx.Annotate(payments.NewRefresh, fx.As(fx.Self()), fx.As(new(events.Refresher)), fx.As(new(reconcile.Refresher)),
				fx.As(new(disputes.Refresh))),
			fx.Annotate(events.NewParked, fx.As(fx.Self()), fx.As(new(operations.ParkedEvents))),
			fx.Annotate(events.NewApply, fx.As(fx.Self()), fx.As(new(reconcile.Events))),
			fx.Annotate(events.NewReceive, fx.As(new(edge.ReceiveEvent))),
			events.NewApplyParked, events.NewReadHints, events.NewReprocess, events.NewReprocessType, events.NewDismiss,
			reconcile.New,
			newSealingKeys, tenants.NewSigningSecrets, tenants.NewWebhookSecrets,
			newAuthenticate, tenants.NewTenants, fx.Annotate(newKeys, fx.As(fx.Self()), fx.As(new(edge.KeyUseCases))),
			fx.Annotate(tenants.NewAudit, fx.As(fx.Self()), fx.As(new(edge.ReadAudit))),
		),
		// The public edge: its resources, and what stands around them.
		fx.Provide(edge.NewPayments, edge.NewRefunds, newLists, newDisputesResource, newCustomersResource, edge.NewAPIKeys,
			edge.NewAudit, newAccess, newWebhooksResource, newHealth, newEdgeTelemetry, edge.NewHandler),
		// What stands around it all.
		fx.Provide(newLogger, newTracing, newPool, newBackgroundPool, newRedis, newScraping, newServer,
			newProfiling, newJobs),
	)
}

// Observer is told what all the use cases do.
type Observer interface {
	operations.Observer
	events.Observer
	reconcile.Observer
	account.Observer
	payments.AcceptObserver
	tenants.Observer
}

func newRenderer() edge.Renderer { return edge.Renderer{} }

func newCalls() stripe.Calls { return stripe.Calls{} }

// newDefinitions lists the kinds of operations.
func newDefinitions(
	renderer ports.Renderer, calls ports.Calls, refresh *payments.Refresh, known ports.Customers, disputed ports.Disputes,
	provider ports.Provider,
) []operations.Definition {
	return []operations.Definition{
		payments.CreateDefinition(renderer, calls), payments.CaptureDefinition(renderer, calls, refresh),
		payments.CancelDefinition(renderer, refresh), payments.ConfirmDefinition(renderer, refresh),
		payments.UpdateDefinition(renderer, refresh), payments.RefundDefinition(renderer, refresh),
		payments.CancelRefundDefinition(renderer, refresh),
		payments.UpdateDefinition(renderer, refresh),
		disputes.EvidenceDefinition(renderer, disputed, provider, refresh),
		disputes.AcceptDefinition(renderer, disputed, provider, refresh),
		customers.CreateDefinition(renderer, calls, provider), customers.UpdateDefinition(renderer, known, provider),
		customers.DeleteDefinition(renderer, known, provider), customers.SetupDefinition(renderer, known, provider),
		customers.DetachDefinition(renderer, provider),
	}
}

func newLists(
	payments edge.ListPayments, refunds edge.ListRefunds, disputes edge.ListDisputes, timeline edge.ShowTimeline,
) *edge.Lists {
	return edge.NewLists(edge.ListUseCases{Payments: payments, Refunds: refunds, Disputes: disputes, Timeline: timeline})
}

func newDisputesResource(get *disputes.Get, evidence *disputes.Evidence, accept *disputes.Accept) *edge.Disputes {
	return edge.NewDisputes(edge.DisputeUseCases{Get: get, Evidence: evidence, Accept: accept})
}

func newCustomersResource(
	create *customers.Create, get *customers.Get, list *customers.List, update *customers.Update,
	remove *customers.Delete, setup *customers.Setup, methods *customers.Methods, detach *customers.Detach,
) *edge.Customers {
	return edge.NewCustomers(edge.CustomerUseCases{
		Create: create, Get: get, List: list, Update: update, Delete: remove, Setup: setup, Methods: methods, Detach: detach,
	})
}

// observed is what the metrics read when Prometheus scrapes.
type observed struct {
	fx.In

	Version    Version
	Config     config.Config
	Pool       *pgxpool.Pool
	Background backgroundPool
	Redis      *redis.Client
	Cache      ports.ReplayCache
	Backlog    ports.Backlog
	Records    ports.Reconciliation
	Jobs       *river.Jobs
	Secrets    *tenants.SigningSecrets
	Metrics    *telemetry.Metrics
}

func observe(in observed) {
	in.Metrics.ObserveBuild(string(in.Version))
	in.Metrics.ObserveBacklog(in.Backlog)
	in.Metrics.ObserveBackground(in.Jobs, in.Records)
	in.Metrics.ObserveSecrets(func() int { return len(in.Secrets.Unreadable()) })
	in.Metrics.ObservePool("requests", in.Pool)
	in.Metrics.ObservePool("background", in.Background)

	if in.Redis != nil {
		in.Metrics.ObserveRedisPool(in.Redis)
	}

	if cache, ok := in.Cache.(interface {
		Size() (entries int, size int64)
	}); ok {
		in.Metrics.ObserveMemoryCache(cache)
	}
}
