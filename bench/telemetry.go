package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/ports"
)

// floorUnobserved is the service itself, with neither tracing nor metrics.
const floorUnobserved = "unobserved"

// serveUnobserved is `marketflow serve` with the recorder and the observer swapped
// for ones that do nothing. What stays is a counter of the caches' hits, those of
// calls to Stripe, which are not weighed, and /metrics itself.
func serveUnobserved(ctx context.Context) error {
	settings, err := config.Load()
	if err != nil {
		return err
	}

	service, err := bootstrap.Start(ctx, settings, "unobserved",
		bootstrap.With[bootstrap.Observer](unobserved{}), bootstrap.With[edge.Observer](unobserved{}))
	if err != nil {
		return err
	}

	return service.Wait(ctx)
}

// unobserved measures nothing.
type unobserved struct{}

func (unobserved) Start(ctx context.Context, _ string, _ *ports.Operation) (context.Context, func(error)) {
	return ctx, func(error) {}
}

func (unobserved) Link(context.Context, ports.Origin)                                          {}
func (unobserved) TraceParent(context.Context) string                                          { return "" }
func (unobserved) Answered(context.Context, uuid.UUID, ports.ReplaySource)                     {}
func (unobserved) DuplicatePrevented(fault.Kind)                                               {}
func (unobserved) PaymentCreated(context.Context, payment.Payment, operation.Finisher)         {}
func (unobserved) OutcomeUnknown(context.Context, ports.Operation, error)                      {}
func (unobserved) NeedsAttention(context.Context, ports.Operation, error)                      {}
func (unobserved) Decided(context.Context, ports.AuditEntry)                                   {}
func (unobserved) EventTaken(ports.Event, ports.EventOutcome)                                  {}
func (unobserved) EventHandled(context.Context, ports.Event, ports.Applied)                    {}
func (unobserved) EventContradicts(context.Context, ports.Event, error)                        {}
func (unobserved) ParkedLeft(context.Context, string, error)                                   {}
func (unobserved) DiscrepancyFound(context.Context, ports.Discrepancy, bool)                   {}
func (unobserved) PaymentAdvanced(payment.Payment, payment.Status)                             {}
func (unobserved) CursorReset(context.Context, time.Time, time.Time)                           {}
func (unobserved) LeaseKept(context.Context, error)                                            {}
func (unobserved) DatabaseAdopted(_ context.Context, _, _ binding.Binding, _, _ string, _ int) {}

func (unobserved) OperationFinished(
	context.Context, uuid.UUID, operation.Finisher, operation.Outcome, error,
) {
}

func (unobserved) ObserveRequest(context.Context, string, string, int, time.Duration) {}
func (unobserved) RequestsInFlight(int)                                               {}

// telemetry holds the service as it is shipped, and with every request traced,
// against itself without tracing and metrics. What is looked for is less than what
// a machine varies by in a few seconds, so the turns are many and short.
func (s *suite) telemetry(ctx context.Context) error {
	defer func(p plan) { s.plan = p }(s.plan)

	s.rounds, s.lasts = 15, time.Second

	bare, err := s.unobserved(ctx)
	if err != nil {
		return err
	}

	all, err := s.serveWith(ctx, s.main.url, []string{"OTEL_TRACES_SAMPLER=parentbased_always_on"}, s.binary, "serve")
	if err != nil {
		return err
	}

	run := newRun()

	first := &load{addr: s.main.addr, connections: 1, requests: creates(run), accept: isOK}
	if _, err := first.closedModel(ctx, new(atomic.Uint64), time.Minute, 1); err != nil {
		return err
	}

	for _, w := range []burden{
		{"webhooks", 64, webhooks("bench"), &s.next},
		{"reads", 16, reads(s.payments), new(atomic.Uint64)},
		{"replays", 16, replays(run, 1), new(atomic.Uint64)},
	} {
		if err := s.weigh(ctx, w, bare, all); err != nil {
			return err
		}
	}

	_, err = s.take(0)

	return err
}

func (s *suite) weigh(ctx context.Context, w burden, bare, all *service) error {
	// Connections, plans and caches.
	for _, of := range []*service{s.main, all, bare} {
		if _, err := s.under(ctx, w, of)(0); err != nil {
			return err
		}
	}

	r := result{Workload: telemetryOf(w.name), Model: modelClosed, Connections: w.connections, FloorName: "none"}
	if err := s.duel(r, s.under(ctx, w, s.main), s.under(ctx, w, bare)); err != nil {
		return err
	}

	r.Workload += ", every trace"

	return s.duel(r, s.under(ctx, w, all), s.under(ctx, w, bare))
}

func telemetryOf(workload string) string { return "telemetry: " + workload }

// unobserved starts the service without telemetry.
func (s *suite) unobserved(ctx context.Context) (*service, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}

	return s.serveWith(ctx, s.main.url, []string{
		"OTEL_SDK_DISABLED=true", "GOGC=400", "GOMEMLIMIT=96MiB", // as cmd/marketflow sets them
	}, self, "-floor", floorUnobserved)
}
