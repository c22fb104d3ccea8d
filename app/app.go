// Package app holds the use cases, one file each. They decide; the ports act.
package app

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// Deps is what the use cases need of the outside.
type Deps struct {
	Operations ports.Operations
	Payments   ports.Payments
	Inbox      ports.Inbox
	Gateway    ports.PaymentGateway
	Webhooks   ports.Webhooks
	Renderer   ports.Renderer
	// Cache is this process's own memory.
	Cache    ports.ReplayCache
	Recorder ports.Recorder
	// Binding tells which events are not ours.
	Binding        *Binding
	Reconciliation ports.Reconciliation
	// Backlog is needed by Reconcile alone.
	Backlog ports.Backlog
	// Operations and Audit are for people's commands.
	Decisions ports.Decisions
	Audit     ports.Audit
	Log       *zap.Logger
	Tracer    trace.Tracer
}

const (
	// leaseFor is how long an operation stays with a process that has died. It is
	// extended while a call to the provider takes longer.
	leaseFor = 3 * time.Second
	// sendTimeout is the most that a client waits for the provider.
	sendTimeout = 10 * time.Second
	// resendFor: Stripe may forget a key once it is 24 hours old and would then
	// run it as a new request (docs.stripe.com/api/idempotent_requests), so a
	// operation older than this is never sent again.
	resendFor = 23 * time.Hour
	// keptFor is how long Stripe keeps an answer under a key at least (same page).
	keptFor = 24 * time.Hour
)

// patiently bounds a call to the provider, by the wall clock too: Go's own clock
// stands still while the machine is suspended, and an attempt that was sent after
// that could come when the provider has forgotten the key.
func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, time.Now().Round(0).Add(sendTimeout))
}

// inSpan runs fn in a span of its own, which carries fn's error once.
func inSpan[T any](
	ctx context.Context, tracer trace.Tracer, name string, fn func(context.Context) (T, error), opts ...trace.SpanStartOption,
) (T, error) {
	ctx, span := tracer.Start(ctx, name, opts...)
	defer span.End()

	result, err := fn(ctx)
	if err != nil {
		kind := fault.KindOf(err)
		span.SetAttributes(attribute.String("error.type", string(kind)))

		// A client's mistake is not an error of the service's (OpenTelemetry, HTTP
		// semantic conventions, "Status"), and its text quotes what the client sent.
		switch kind {
		case fault.Internal, fault.Unavailable, fault.Unknown:
			span.RecordError(err)
			span.SetStatus(codes.Error, string(kind))
		default:
		}
	}

	return result, err
}

// traceParent is the W3C traceparent of ctx's span; empty without one.
func traceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)

	return carrier.Get("traceparent")
}

// linkTo points from a span to the request that traceparent names.
func linkTo(traceparent string) (trace.Link, bool) {
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	origin := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))

	return trace.Link{SpanContext: origin}, origin.IsValid()
}
