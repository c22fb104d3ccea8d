package telemetry

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/internal/telemetry/rootspan"
	"github.com/marketflow/marketflow/ports"
)

// Observer turns what the use cases report into spans, metrics and log lines. It
// implements the Observer of each package in app.
type Observer struct {
	metrics *Metrics
	log     *zap.Logger
	tracer  trace.Tracer
}

// NewObserver returns an observer.
func NewObserver(metrics *Metrics, log *zap.Logger, tracing trace.TracerProvider) *Observer {
	return &Observer{metrics: metrics, log: log, tracer: tracing.Tracer("github.com/marketflow/marketflow/app")}
}

// Names of fields that occur in several log lines and spans.
const (
	keyPaymentID  = "payment_id"
	keyCustomerID = "customer_id"
	keyIntentID   = "intent_id"
	keyRefundID   = "refund_id"
	keyDisputeID  = "dispute_id"
	keyEventID    = "event_id"
	keyEventType  = "event_type"

	keyKind = "operation_kind"

	// eventFields are the most fields about an event in a line.
	eventFields = 8

	attributePaymentID  = "marketflow.payment.id"
	attributeCustomerID = "marketflow.customer.id"
)

// Start implements ports.Spans. Below a span that nobody records there is none: ctx is
// returned as it is.
func (o *Observer) Start(ctx context.Context, name string, op *ports.Operation) context.Context {
	if rootspan.Dropped(ctx) {
		return ctx
	}

	options := rootspan.Options(ctx)

	if op != nil {
		options = append(slices.Clone(options), trace.WithAttributes(attributeOf(*op)))

		if link, ok := linkTo(op.Origin); ok {
			options = append(options, trace.WithLinks(link))
		}
	}

	ctx, _ = o.tracer.Start(ctx, name, options...) //nolint:spancheck // End ends it

	return ctx
}

// End implements ports.Spans.
func (o *Observer) End(ctx context.Context, err error) {
	span := trace.SpanFromContext(ctx)
	defer span.End()

	if err == nil {
		return
	}

	kind := fault.KindOf(err)
	span.SetAttributes(attribute.String("error.type", string(kind)))

	// A client's mistake is not an error of the service (OpenTelemetry, HTTP semantic
	// conventions, "Status"), and its text quotes what the client sent.
	switch kind {
	case fault.Internal, fault.Unavailable, fault.Unknown:
		span.RecordError(err)
		span.SetStatus(codes.Error, string(kind))
	default:
	}
}

// Link implements ports.Spans.
func (o *Observer) Link(ctx context.Context, origin ports.Origin) {
	if link, ok := linkTo(origin); ok {
		trace.SpanFromContext(ctx).AddLink(link)
	}
}

// TraceParent implements ports.Spans.
func (o *Observer) TraceParent(ctx context.Context) string {
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)

	return carrier.Get("traceparent")
}

func linkTo(origin ports.Origin) (trace.Link, bool) {
	if origin.TraceParent == "" {
		return trace.Link{}, false
	}

	carrier := propagation.MapCarrier{"traceparent": origin.TraceParent}
	span := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))

	return trace.Link{SpanContext: span}, span.IsValid()
}

func paymentID(id uuid.UUID) attribute.KeyValue {
	return attribute.String(attributePaymentID, id.String())
}

// attributeOf and fieldOf name what an operation is about.
func attributeOf(op ports.Operation) attribute.KeyValue {
	if op.Kind.OnCustomer() {
		return attribute.String(attributeCustomerID, op.CustomerID().String())
	}

	return paymentID(op.PaymentID())
}

func fieldOf(op ports.Operation) zap.Field {
	if op.Kind.OnCustomer() {
		return zap.Stringer(keyCustomerID, op.CustomerID())
	}

	return zap.Stringer(keyPaymentID, op.PaymentID())
}

// Answered implements operations.Observer.
func (o *Observer) Answered(ctx context.Context, id uuid.UUID, from ports.ReplaySource) {
	if from != "" {
		o.metrics.Replayed(from)
	}

	span := trace.SpanFromContext(ctx)
	span.SetAttributes(attribute.Bool("marketflow.idempotent_replayed", from != ""))

	if id != uuid.Nil { // it is about a payment
		span.SetAttributes(paymentID(id))
	}
}

// DuplicatePrevented implements operations.Observer.
func (o *Observer) DuplicatePrevented(kind fault.Kind) { o.metrics.DuplicatePrevented(kind) }

// PaymentCreated implements operations.Observer.
func (o *Observer) PaymentCreated(ctx context.Context, p payment.Payment, by operation.Finisher) {
	o.metrics.PaymentChanged(p)
	o.tell(ctx, "payment created", zap.Stringer(keyPaymentID, p.ID),
		zap.String(keyIntentID, p.IntentID), zap.String("by", string(by)))
}

// tell has the request's line say what has changed. Outside of a request that is a line of
// its own.
func (o *Observer) tell(ctx context.Context, change string, fields ...zap.Field) {
	if !logctx.Add(ctx, append(fields, zap.String("change", change))...) {
		o.log.Info(change, append(fields, logctx.Field(ctx))...)
	}
}

// PaymentChanged implements operations.Observer, payments.ChangeObserver.
func (o *Observer) PaymentChanged(ctx context.Context, before, after payment.Payment) {
	if before.Status == after.Status {
		return
	}

	o.metrics.PaymentChanged(after)
	o.tell(ctx, changed(after), zap.Stringer(keyPaymentID, after.ID), zap.String("from", string(before.Status)))
}

// RefundsChanged implements operations.Observer, payments.ChangeObserver.
func (o *Observer) RefundsChanged(ctx context.Context, before, after ports.FullPayment) {
	for _, r := range after.Refunds {
		was, here := refund.Find(before.Refunds, r.ID)
		if here && was.Status == r.Status && was.Made() == r.Made() {
			continue
		}

		o.metrics.RefundChanged(r)
		o.tell(ctx, "refund "+string(r.Status), zap.Stringer(keyPaymentID, r.PaymentID), zap.Stringer(keyRefundID, r.ID))
	}

	for _, d := range after.Disputes {
		was, here := before.Dispute(d.ID)

		// An inquiry that escalates is a chargeback that was received.
		if !here || was.Kind() != d.Kind() {
			o.metrics.DisputeReceived(d.Kind())
		}

		if !here || was.Status != d.Status {
			o.metrics.DisputeChanged(d.Status)
			o.tell(ctx, "dispute "+string(d.Status), zap.Stringer(keyPaymentID, d.PaymentID), zap.Stringer(keyDisputeID, d.ID))
		}
	}
}

func changed(p payment.Payment) string { return "payment " + string(p.Status) }

// OperationFinished implements operations.Observer.
func (o *Observer) OperationFinished(
	ctx context.Context, op ports.Operation, by operation.Finisher, outcome operation.Outcome, cause error,
) {
	o.metrics.OperationFinished(op.Kind, by, outcome)

	if op.Kind.OnCustomer() && outcome == operation.OutcomeDone {
		o.tell(ctx, string(op.Kind), fieldOf(op), zap.String("by", string(by)))
	}

	if rejected, ok := errors.AsType[*ports.RejectedError](cause); ok {
		o.log.Warn("operation rejected by the provider", logctx.Field(ctx), fieldOf(op),
			zap.String(keyKind, string(op.Kind)), zap.String("code", rejected.Code))
	}

	if deployment, ok := errors.AsType[*ports.DeploymentError](cause); ok {
		o.log.Error("the provider does not accept requests of this deployment", logctx.Field(ctx),
			fieldOf(op), zap.String(keyKind, string(op.Kind)),
			zap.String("code", deployment.Code), zap.Error(deployment))
	}
}

// OutcomeUnknown implements operations.Observer.
func (o *Observer) OutcomeUnknown(ctx context.Context, op ports.Operation, cause error) {
	news := "outcome unknown"
	if errors.Is(cause, ports.ErrUnavailable) {
		news = "not sent yet"
	}

	o.log.Warn(news, logctx.Field(ctx), fieldOf(op), zap.String(keyKind, string(op.Kind)),
		zap.Int("attempts", op.Attempts), zap.Error(cause))
}

// NeedsAttention implements operations.Observer.
func (o *Observer) NeedsAttention(ctx context.Context, op ports.Operation, cause error) {
	news := "operation needs attention"

	if errors.Is(cause, ports.ErrContradiction) {
		news = "the provider contradicts our records"

		o.metrics.DiscrepancyFound(ports.DiscrepancyContradiction, false)
	}

	o.log.Error(news, logctx.Field(ctx), fieldOf(op), zap.String(keyKind, string(op.Kind)),
		zap.Duration("age", op.Age), zap.Error(cause))
}

// Decided implements operations.Observer and events.Observer.
func (o *Observer) Decided(ctx context.Context, entry ports.AuditEntry) {
	o.log.Warn("a person has decided", logctx.Field(ctx), zap.String("action", string(entry.Action)),
		zap.String("object_type", entry.ObjectType), zap.String("object_id", entry.ObjectID),
		zap.String("actor", entry.Actor), behalf(entry), zap.String("reason", entry.Reason))
}

// behalf is for whom somebody has decided, if that was said.
func behalf(entry ports.AuditEntry) zap.Field {
	if entry.OnBehalfOf == "" {
		return zap.Skip()
	}

	return zap.String("on_behalf_of", entry.OnBehalfOf)
}

// KeyChanged implements tenants.Observer.
func (o *Observer) KeyChanged(ctx context.Context, entry ports.AuditEntry) {
	o.log.Info("an API key, a tenant or a secret was changed", logctx.Field(ctx), zap.String("action", string(entry.Action)),
		zap.String(entry.ObjectType, entry.ObjectID), zap.String("actor", entry.Actor), behalf(entry),
		zap.String("reason", entry.Reason))
}

// EventTaken implements events.Observer.
func (o *Observer) EventTaken(e ports.Event, outcome ports.EventOutcome) {
	var lag time.Duration
	if !e.CreatedAt.IsZero() {
		lag = time.Since(e.CreatedAt)
	}

	o.metrics.EventTaken(e.Type, outcome, lag)
}

// EventHandled implements events.Observer.
func (o *Observer) EventHandled(ctx context.Context, e ports.Event, applied ports.Applied) {
	span := trace.SpanFromContext(ctx)
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("marketflow.event.id", e.ID),
			attribute.String("marketflow.event.type", e.Type),
			attribute.String("marketflow.event.outcome", string(applied.Outcome)))

		if applied.PaymentID != uuid.Nil {
			span.SetAttributes(paymentID(applied.PaymentID))
		}

		o.Link(ctx, applied.Origin)
	}

	fields := append(make([]zap.Field, 0, eventFields),
		zap.String(keyEventID, e.ID), zap.String(keyEventType, e.Type),
		zap.String("object_id", e.ObjectID), zap.String("outcome", string(applied.Outcome)))

	if applied.PaymentID != uuid.Nil {
		fields = append(fields, zap.Stringer(keyPaymentID, applied.PaymentID))
	}

	before, after := applied.Before.Status, applied.After.Status

	switch {
	case applied.Outcome == ports.EventParked:
		o.log.Warn("event parked", append(fields, logctx.Field(ctx), zap.String("reason", string(applied.Reason)))...)
	case applied.Outcome == ports.EventApplied && before != after:
		o.metrics.PaymentChanged(applied.After)
		o.tell(ctx, changed(applied.After), append(fields, zap.String("from", string(before)))...)
	case !logctx.Add(ctx, fields...):
		o.log.Debug("event changed no status", append(fields, logctx.Field(ctx))...)
	}
}

// EventContradicts implements events.Observer.
func (o *Observer) EventContradicts(ctx context.Context, e ports.Event, cause error) {
	o.log.Error("an event contradicts our records", logctx.Field(ctx), zap.String(keyEventID, e.ID),
		zap.String(keyEventType, e.Type), zap.String("object_id", e.ObjectID), zap.Error(cause))
}

// ParkedLeft implements events.Observer.
func (o *Observer) ParkedLeft(ctx context.Context, intentID string, cause error) {
	o.log.Warn("parked events wait", logctx.Field(ctx), zap.String(keyIntentID, intentID), zap.Error(cause))
}

// DiscrepancyFound implements reconcile.Observer.
func (o *Observer) DiscrepancyFound(ctx context.Context, d ports.Discrepancy, dryRun bool) {
	fields := []zap.Field{logctx.Field(ctx), zap.String("discrepancy", string(d.Kind))}

	if d.PaymentID != uuid.Nil {
		fields = append(fields, zap.Stringer(keyPaymentID, d.PaymentID))
	}

	if d.CustomerID != uuid.Nil {
		fields = append(fields, zap.Stringer(keyCustomerID, d.CustomerID))
	}

	for _, text := range []struct{ key, value string }{
		{keyIntentID, d.IntentID},
		{keyEventID, d.EventID},
		{keyEventType, d.EventType},
		{labelStatus, string(d.Status)},
		{"provider_status", string(d.ProviderStatus)},
	} {
		if text.value != "" {
			fields = append(fields, zap.String(text.key, text.value))
		}
	}

	switch {
	case dryRun:
		o.log.Warn("discrepancy found", fields...)

		return
	case d.Repaired:
		o.log.Warn("discrepancy repaired", fields...)
	default:
		o.log.Error("discrepancy left", append(fields, zap.Error(d.Cause))...)
	}

	o.metrics.DiscrepancyFound(d.Kind, d.Repaired)
}

// CursorReset implements reconcile.Observer.
func (o *Observer) CursorReset(ctx context.Context, wrong, to time.Time) {
	o.log.Warn("the cursor of reconciliation was in the future", logctx.Field(ctx),
		zap.Time("cursor", wrong), zap.Time("set_to", to))
}

// LeaseKept implements reconcile.Observer.
func (o *Observer) LeaseKept(ctx context.Context, cause error) {
	o.log.Warn("lease of reconciliation not released", logctx.Field(ctx), zap.Error(cause))
}

// DatabaseAdopted implements account.Observer.
func (o *Observer) DatabaseAdopted(
	ctx context.Context, from, to binding.Binding, actor, reason string, givenUp int,
) {
	o.log.Warn("the database was adopted", logctx.Field(ctx), zap.String("actor", actor), zap.String("reason", reason),
		zap.Any("from", from), zap.Any("to", to), zap.Int("given_up", givenUp))
}
