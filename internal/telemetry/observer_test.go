package telemetry_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// A payment counts when its status changes, whoever has changed it, and not for a step on
// the way.
func TestObserver_CountsStatuses(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	core, lines := observer.New(zap.InfoLevel)
	o := telemetry.NewObserver(m, zap.New(core), sdktrace.NewTracerProvider())

	pending, succeeded := paid(t, payment.Pending, "10", "USD"), paid(t, payment.Succeeded, "10", "USD")
	succeeded.Captured = amount(t, "4", "USD").Money()
	held := pending
	held.IntentStatus = payment.IntentRequiresCapture

	o.PaymentCreated(t.Context(), pending, operation.ByRequest)
	o.PaymentChanged(t.Context(), pending, held)
	o.PaymentChanged(t.Context(), held, held)

	for _, outcome := range []ports.EventOutcome{ports.EventApplied, ports.EventHint} {
		o.EventHandled(t.Context(), ports.Event{ID: "evt_1"}, ports.Applied{Outcome: outcome, Before: pending, After: held})
	}

	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_total{currency="USD",status="pending"}`:   1,
		`marketflow_payments_total{currency="USD",status="succeeded"}`: 0,
	})
	require.Equal(t, 1, lines.Len(), "the creation")

	o.PaymentChanged(t.Context(), held, succeeded)
	o.EventHandled(t.Context(), ports.Event{ID: "evt_2"}, ports.Applied{
		Outcome: ports.EventApplied, Before: held, After: succeeded,
	})

	requireMetrics(t, m, map[string]float64{
		`marketflow_payments_total{currency="USD",status="succeeded"}`: 2,
		`marketflow_payments_amount_total{currency="USD"}`:             8,
	})
	require.Equal(t, 2, lines.FilterMessage("payment succeeded").Len())
}

// A request's own line says what it has changed, and of which event. What a person may have
// to look at has a line of its own.
func TestObserver_TellsTheLineOfTheRequest(t *testing.T) {
	t.Parallel()

	pending, succeeded := paid(t, payment.Pending, "10", "USD"), paid(t, payment.Succeeded, "10", "USD")
	pending.ID = uuid.New()
	succeeded.ID = pending.ID
	id := map[string]any{"payment_id": pending.ID.String()}
	event := map[string]any{"event_id": "evt_1", "event_type": "payment_intent.succeeded", "object_id": "pi_1"}

	handled := func(applied ports.Applied) func(o *telemetry.Observer, ctx context.Context) {
		return func(o *telemetry.Observer, ctx context.Context) {
			o.EventHandled(ctx, ports.Event{ID: "evt_1", Type: "payment_intent.succeeded", ObjectID: "pi_1"}, applied)
		}
	}

	for name, c := range map[string]struct {
		happens func(o *telemetry.Observer, ctx context.Context)
		told    []map[string]any
		line    string // outside of a request, or in any case
		level   zapcore.Level
	}{
		"created": {
			func(o *telemetry.Observer, ctx context.Context) { o.PaymentCreated(ctx, pending, operation.ByRequest) },
			[]map[string]any{id, {"intent_id": pending.IntentID, "by": "request", "change": "payment created"}},
			"payment created", zap.InfoLevel,
		},
		"changed": {
			func(o *telemetry.Observer, ctx context.Context) { o.PaymentChanged(ctx, pending, succeeded) },
			[]map[string]any{id, {"from": "pending", "change": "payment succeeded"}},
			"payment succeeded", zap.InfoLevel,
		},
		"applied": {
			handled(ports.Applied{Outcome: ports.EventApplied, PaymentID: pending.ID, Before: pending, After: succeeded}),
			[]map[string]any{id, event, {"outcome": "applied", "from": "pending", "change": "payment succeeded"}},
			"payment succeeded", zap.InfoLevel,
		},
		"a step on the way": {
			handled(ports.Applied{Outcome: ports.EventApplied, PaymentID: pending.ID, Before: pending, After: pending}),
			[]map[string]any{id, event, {"outcome": "applied"}},
			"event changed no status", zap.DebugLevel,
		},
		"duplicate": {
			handled(ports.Applied{Outcome: ports.EventDuplicate}),
			[]map[string]any{event, {"outcome": "duplicate"}},
			"event changed no status", zap.DebugLevel,
		},
		"parked": {handled(ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}), nil, "event parked", zap.WarnLevel},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			core, lines := observer.New(zap.DebugLevel)
			o := telemetry.NewObserver(telemetry.NewMetrics(), zap.New(core), sdktrace.NewTracerProvider())

			c.happens(o, t.Context())
			require.Equal(t, 1, lines.FilterMessage(c.line).FilterLevelExact(c.level).Len(), "outside of a request")

			request := &logctx.Request{ID: "req_1"}
			c.happens(o, logctx.WithRequest(t.Context(), request))

			want := make(map[string]any)
			for _, part := range c.told {
				maps.Copy(want, part)
			}

			told := zapcore.NewMapObjectEncoder()
			for _, field := range request.Told() {
				field.AddTo(told)
			}

			require.Equal(t, want, told.Fields)

			own := lines.FilterMessage(c.line).All()[1:]
			require.Equal(t, c.told == nil, len(own) == 1, "a line of its own")
		})
	}
}

// A span that is not recorded has none below it; a caller's that we only know of has.
func TestObserver_StartsNothingBelowADroppedSpan(t *testing.T) {
	t.Parallel()

	sampled := sdktrace.WithSampler(sdktrace.AlwaysSample())
	caller := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, Remote: true})

	for name, c := range map[string]struct {
		sampler sdktrace.TracerProviderOption
		parent  func(t *testing.T, provider trace.TracerProvider) context.Context
		starts  bool
	}{
		"dropped":  {sdktrace.WithSampler(sdktrace.NeverSample()), started, false},
		"recorded": {sampled, started, true},
		"none":     {sampled, func(t *testing.T, _ trace.TracerProvider) context.Context { t.Helper(); return t.Context() }, true},
		"remote": {sampled, func(t *testing.T, _ trace.TracerProvider) context.Context {
			t.Helper()

			return trace.ContextWithRemoteSpanContext(t.Context(), caller)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			provider := sdktrace.NewTracerProvider(c.sampler)
			o := telemetry.NewObserver(telemetry.NewMetrics(), zap.NewNop(), provider)
			parent := c.parent(t, provider)
			below := o.Start(parent, "app.CreatePayment", &ports.Operation{})

			require.Equal(t, c.starts, trace.SpanFromContext(below).IsRecording())
			require.Equal(t, c.starts, trace.SpanContextFromContext(below).SpanID() != trace.SpanContextFromContext(parent).SpanID())

			o.End(below, errors.New("it failed"))
			require.Equal(t, name == "recorded", trace.SpanFromContext(parent).IsRecording(), "only its own span ends")
		})
	}
}

// started is in a span of the provider's.
func started(t *testing.T, provider trace.TracerProvider) context.Context {
	t.Helper()

	ctx, span := provider.Tracer("test").Start(t.Context(), "request")
	t.Cleanup(func() { span.End() })

	return ctx
}

// What happens to an operation is told with its kind and its payment.
func TestObserver_NamesTheOperation(t *testing.T) {
	t.Parallel()

	m := telemetry.NewMetrics()
	core, lines := observer.New(zap.InfoLevel)
	o := telemetry.NewObserver(m, zap.New(core), sdktrace.NewTracerProvider())
	op := ports.Operation{ID: uuid.New(), Kind: operation.Capture, Subject: uuid.New(), Attempts: 2, Age: time.Hour}

	o.OutcomeUnknown(t.Context(), op, errors.New("the answer was lost"))
	o.NeedsAttention(t.Context(), op, ports.ErrContradiction)
	o.OperationFinished(t.Context(), op, operation.ByRequest, operation.OutcomeRejected, &ports.RejectedError{Code: "c"})
	o.OperationFinished(t.Context(), op, operation.ByRequest, operation.OutcomeDeploymentRejected, &ports.DeploymentError{Code: "d"})

	require.Equal(t, 4, lines.Len())

	for _, line := range lines.All() {
		require.Equal(t, op.Subject.String(), line.ContextMap()["payment_id"], line.Message)
		require.Equal(t, "capture", line.ContextMap()["operation_kind"], line.Message)
	}

	requireMetrics(t, m, map[string]float64{
		`marketflow_operations_finished_total{by="request",kind="capture",outcome="rejected"}`:            1,
		`marketflow_operations_finished_total{by="request",kind="capture",outcome="deployment_rejected"}`: 1,
		`marketflow_discrepancies_total{kind="contradiction",repaired="false"}`:                           1,
	})
}
