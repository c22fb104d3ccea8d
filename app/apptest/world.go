// Package apptest has what the tests of the use cases share: a world of real parts, and an
// Observer that records what it is told. Only tests import it.
package apptest

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	// SecretKey opens the sandbox.
	SecretKey = "sk_test_app"
	// WebhookSecret signs its events.
	WebhookSecret = "whsec_app"
)

// World has the parts that use cases are made of: PostgreSQL, Stripe's sandbox behind the
// real adapter, and the cache in memory. Each test has its own. To make a part fail, a test
// replaces it with a fake before it makes the use case.
type World struct {
	Store        *postgres.Store
	Stripe       *sandbox.Server
	Installation operation.Installation
	Account      ports.ProviderAccount
	Operations   ports.Operations
	Payments     ports.Payments
	Refunds      ports.Refunds
	Disputes     ports.Disputes
	Customers    ports.Customers
	Facts        ports.Facts
	Inbox        ports.Inbox
	Decisions    ports.Decisions
	Lives        ports.Incarnations
	Provider     ports.Provider
	Calls        ports.Calls
	Webhooks     ports.Webhooks
	Cache        ports.ReplayCache
	Renderer     ports.Renderer
	Observer     *Observer

	tb testing.TB
	db *pgtest.DB
}

// New returns a world in which nothing has happened.
func New(tb testing.TB) *World {
	tb.Helper()

	w := &World{tb: tb, db: pgtest.New(tb), Stripe: sandbox.Start(tb), Observer: &Observer{}, Renderer: edge.Renderer{}}

	pool, err := postgres.NewPool(tb.Context(), postgres.PoolConfig{URL: w.db.URL, MaxConns: 4})
	require.NoError(tb, err)
	tb.Cleanup(pool.Close)
	require.NoError(tb, postgres.Ping(tb.Context(), pool), "the first connection takes longer than a store waits for one")

	w.Store = postgres.NewStore(pool, pool, IndexedNames()...)
	w.Operations, w.Payments, w.Facts, w.Inbox, w.Decisions = w.Store, w.Store, w.Store, w.Store, w.Store
	w.Customers, w.Lives, w.Refunds, w.Disputes = w.Store, w.Store, w.Store, w.Store

	w.Installation.ID, err = w.Store.InstallationID(tb.Context())
	require.NoError(tb, err)

	gateway := NewGateway(w.Stripe.URL)
	w.Provider, w.Account, w.Calls = gateway, gateway, stripe.Calls{}

	w.Webhooks, err = stripe.NewWebhooks([]string{WebhookSecret}, nil, time.Now)
	require.NoError(tb, err)

	w.ForgetReplays()

	return w
}

// IndexedNames are the names of metadata by which a world's payments are found.
func IndexedNames() payments.IndexedNames { return payments.IndexedNames{"order_id", "shop"} }

// NewGateway returns a gateway to the sandbox at url.
func NewGateway(url string) *stripe.Gateway {
	return stripe.NewGateway(stripe.Config{SecretKey: SecretKey, APIBase: url}, stripe.WithSleep(noSleep))
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

type noMeter struct{}

func (noMeter) Hit()  {}
func (noMeter) Miss() {}

// ForgetReplays replaces the cache with an empty one, like that of a new process. An engine
// keeps the cache that it was made with.
func (w *World) ForgetReplays() {
	w.tb.Helper()

	cache, err := memory.NewReplayCache(memory.DefaultBounds(), noMeter{})
	require.NoError(w.tb, err)

	w.Cache = cache
}

// Binding returns a binding of the world's account and provider.
func (w *World) Binding() *account.Binding {
	return account.NewBinding(w.Store, w.Installation, w.Account, w.Provider, w.Observer)
}

// Parked returns what applies parked events.
func (w *World) Parked() *events.Parked {
	return events.NewParked(w.Inbox, w.Webhooks, w.Binding(), w.Observer)
}

// Refresh returns what reads a payment's intent.
func (w *World) Refresh() *payments.Refresh {
	return payments.NewRefresh(w.Refunds, w.Facts, w.Provider, w.Calls, w.Renderer, w.Installation, w.Observer)
}

// Engine returns an engine made of the current parts, which knows every kind of operation.
func (w *World) Engine() *operations.Engine {
	return operations.NewEngine(w.Operations, w.Provider, w.Renderer, w.Cache, w.Parked(), w.Lives, w.Observer,
		[]operations.Definition{
			payments.CreateDefinition(w.Renderer, w.Calls), payments.CaptureDefinition(w.Renderer, w.Calls, w.Refresh()),
			payments.CancelDefinition(w.Renderer, w.Refresh()), payments.ConfirmDefinition(w.Renderer, w.Refresh()),
			payments.UpdateDefinition(w.Renderer, w.Refresh()),
			payments.RefundDefinition(w.Renderer, w.Refresh()),
			payments.CancelRefundDefinition(w.Renderer, w.Refresh()),
			disputes.EvidenceDefinition(w.Renderer, w.Disputes, w.Provider, w.Refresh()),
			disputes.AcceptDefinition(w.Renderer, w.Disputes, w.Provider, w.Refresh()),
			customers.CreateDefinition(w.Renderer, w.Calls, w.Provider),
			customers.UpdateDefinition(w.Renderer, w.Customers, w.Provider),
			customers.DeleteDefinition(w.Renderer, w.Customers, w.Provider),
			customers.SetupDefinition(w.Renderer, w.Customers, w.Provider),
			customers.DetachDefinition(w.Renderer, w.Provider),
		})
}

// List returns what finds payments.
func (w *World) List() *payments.List {
	return payments.NewList(w.Store, w.Lives, w.Installation, IndexedNames(), w.Observer)
}

// Timeline returns what tells a payment's story.
func (w *World) Timeline() *payments.Timeline {
	return payments.NewTimeline(w.Payments, w.Refunds, w.Decisions, w.Inbox, w.Store, w.Lives, w.Observer)
}

// CustomerChange returns what the operations on customers share.
func (w *World) CustomerChange() *customers.Change {
	return customers.NewChange(w.Engine(), w.Customers, w.Provider, w.Calls, w.Renderer, w.Installation, w.Lives, w.Observer)
}

// DisputeChange returns what the operations on disputes share.
func (w *World) DisputeChange() *disputes.Change {
	return disputes.NewChange(
		w.Engine(), w.Disputes, w.Calls, w.Renderer, w.Installation, w.Refresh(), w.Lives, w.Observer,
	)
}

// Change returns what capture and cancel share.
func (w *World) Change() *payments.Change {
	return payments.NewChange(w.Engine(), w.Payments, w.Calls, w.Installation, w.Refresh(), w.Lives, w.Observer)
}

// Recover returns what recovers operations.
func (w *World) Recover() *operations.Recover {
	return operations.NewRecover(w.Operations, w.Provider, w.Engine(), w.Observer)
}

// Apply returns what applies events, with its own engine.
func (w *World) Apply() *events.Apply {
	return events.NewApply(w.Inbox, w.Operations, w.Engine(), w.Parked(), w.Observer)
}

// NewID returns a new id of a payment.
func NewID(tb testing.TB) uuid.UUID {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return id
}
