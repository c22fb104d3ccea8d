// Package bootstrap wires the service: one table from ports to adapters (graph.go) and
// their constructors (adapters.go). It is the only package that uses fx.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/dig"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/adapters/river"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
)

// Service is the running service.
type Service struct {
	graph   *fx.App
	server  *server
	metrics *scraping
	// unbound gets the error if the database turns out not to be ours.
	unbound lateRefusal
	log     *zap.Logger
	grace   time.Duration
}

// Swap replaces a part of the graph, for tests.
type Swap struct{ option fx.Option }

// With replaces what the graph provides as T.
func With[T any](part T) Swap { return Swap{option: fx.Decorate(func(T) T { return part })} }

// Start builds the graph and starts the service. It returns once the service
// listens.
func Start(ctx context.Context, c config.Config, version Version, swaps ...Swap) (*Service, error) {
	s := &Service{unbound: make(lateRefusal, 1), grace: c.ShutdownTimeout}

	// The server comes last: start hooks run in this order, stop hooks in reverse.
	s.graph = build(c, version, os.Stdout, swaps, fx.Supply(s.unbound),
		fx.Invoke(bind, knowKeys, knowSecrets, observe, indexMetadata, func(*river.Jobs, *profiling) {}),
		fx.Populate(&s.log, &s.metrics, &s.server))
	if err := s.graph.Err(); err != nil {
		return nil, plain(err)
	}

	for _, warning := range c.Warnings {
		s.log.Warn(warning)
	}

	if err := s.graph.Start(ctx); err != nil {
		return nil, plain(err)
	}

	s.log.Info("listening", zap.String("addr", s.Addr()), zap.String("version", string(version)))

	return s, nil
}

// Version is the binary's.
type Version string

// logOutput is where the log goes.
type logOutput struct{ io.Writer }

func build(c config.Config, version Version, log io.Writer, swaps []Swap, roots ...fx.Option) *fx.App {
	options := []fx.Option{
		graph(), fx.Supply(c, version, logOutput{log}, new(draining)), fx.NopLogger, fx.StopTimeout(c.ShutdownTimeout),
	}
	for _, swap := range swaps {
		options = append(options, swap.option)
	}

	return fx.New(append(options, roots...)...)
}

// plain removes the graph's own words from an error. What is left says what is wrong
// with the configuration or a dependency.
func plain(err error) error { return dig.RootCause(err) } //nolint:wrapcheck // it unwraps

// Addr is where the service listens.
func (s *Service) Addr() string { return s.server.net.Addr().String() }

// MetricsAddr is where /metrics is served: Addr, unless the configuration says otherwise.
func (s *Service) MetricsAddr() string {
	if s.metrics.net == nil {
		return s.Addr()
	}

	return s.metrics.net.Addr().String()
}

// Wait runs until ctx is done or the server fails, then stops the service.
func (s *Service) Wait(ctx context.Context) error {
	var failed error

	select {
	case <-ctx.Done():
	case failed = <-s.server.failed:
		s.server.delay = 0 // no request can come in any more
	case failed = <-s.unbound:
	}

	return errors.Join(failed, s.Stop(context.WithoutCancel(ctx)))
}

// Stop lets requests in flight end and stops the service.
func (s *Service) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.grace)
	defer cancel()

	s.log.Info("stopping")

	if err := s.graph.Stop(ctx); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}

	return nil
}

// Tools is what the commands other than serve need.
type Tools struct {
	fx.In

	Inbox          ports.Inbox
	Decisions      ports.Decisions
	Audit          ports.Audit
	ReprocessEvent *events.Reprocess
	ReprocessType  *events.ReprocessType
	DismissEvent   *events.Dismiss
	CloseOperation *operations.Close
	AdoptOperation *operations.Adopt
	ShowPayment    *payments.Show
	ListPayments   *payments.List
	Disputes       ports.Disputes
	ListDisputes   *disputes.List
	ListRefunds    *payments.ListRefunds
	IndexMetadata  *payments.IndexMetadata
	AcceptPayment  *payments.Accept
	Refunds        ports.Refunds
	Customers      ports.Customers
	EraseCustomer  *customers.Erase
	Reconcile      *reconcile.Reconcile
	Keys           *tenants.Keys
	Tenants        *tenants.Tenants
	WebhookSecrets *tenants.WebhookSecrets
	ReadAudit      *tenants.Audit
}

// WithTools runs fn with the use cases and without the servers, on a database that
// belongs to these settings. It logs to stderr: stdout is for the command's answer.
func WithTools(
	ctx context.Context, c config.Config, version Version, fn func(context.Context, Tools) error, swaps ...Swap,
) error {
	return with(ctx, c, version, swaps, func(ctx context.Context, part struct {
		fx.In

		Tools   Tools
		Binding *account.Binding
		Log     *zap.Logger
	},
	) error {
		if err := check(ctx, part.Binding, part.Log); err != nil {
			return err
		}

		return fn(ctx, part.Tools)
	})
}

// WithBinding runs fn with what compares the database and the settings, whether or not
// they belong together.
func WithBinding(
	ctx context.Context, c config.Config, version Version, fn func(context.Context, *account.Binding) error, swaps ...Swap,
) error {
	return with(ctx, c, version, swaps, fn)
}

// with runs fn with a part of the graph.
func with[T any](
	ctx context.Context, c config.Config, version Version, swaps []Swap, fn func(context.Context, T) error,
) (err error) {
	var part T

	graph := build(c, version, os.Stderr, swaps, fx.Invoke(func(t T) { part = t }))
	if err := graph.Err(); err != nil {
		return plain(err)
	}

	if err := graph.Start(ctx); err != nil {
		return plain(err)
	}

	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.ShutdownTimeout)
		defer cancel()

		err = errors.Join(err, graph.Stop(ctx))
	}()

	return fn(ctx, part)
}
