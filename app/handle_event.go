package app

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// HandleEvent takes a provider's signed event.
type HandleEvent struct {
	deps  Deps
	inbox *inbox
}

// NewHandleEvent returns the use case.
func NewHandleEvent(deps Deps) *HandleEvent { return &HandleEvent{deps: deps, inbox: newInbox(deps)} }

// Check tells from the signature alone whether an event could come with it. Its
// fault is Unauthenticated.
func (uc *HandleEvent) Check(signature string) error { return uc.deps.Webhooks.Check(signature) }

// SignedEvent is a payload whose signature was verified: only Verify makes one.
type SignedEvent struct{ payload []byte }

// Verify checks who signed payload. Its fault is Unauthenticated.
func (uc *HandleEvent) Verify(payload []byte, signature string) (SignedEvent, error) {
	if err := uc.deps.Webhooks.Verify(payload, signature); err != nil {
		return SignedEvent{}, err
	}

	return SignedEvent{payload}, nil
}

// Do stores and applies an event. Once it returns without an error the event is
// durable. Its faults are Invalid, Unavailable (nothing was stored) and Unknown
// (perhaps it was): the provider sends it again.
func (uc *HandleEvent) Do(ctx context.Context, signed SignedEvent) (ports.Applied, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.HandleEvent", func(ctx context.Context) (ports.Applied, error) {
		event, err := uc.deps.Webhooks.Parse(signed.payload)
		if err != nil {
			return ports.Applied{}, err
		}

		applied, err := uc.inbox.apply(ctx, event)
		if err != nil {
			return applied, err
		}

		uc.inbox.handled(event, applied.Outcome)

		return applied, nil
	})
}

// inbox applies events: those that arrive, those that were parked, and those
// that reconciliation fetches.
type inbox struct{ deps Deps }

func newInbox(deps Deps) *inbox { return &inbox{deps: deps} }

// handled counts an event that was taken from the provider.
func (in *inbox) handled(e ports.Event, outcome ports.EventOutcome) {
	var lag time.Duration
	if !e.CreatedAt.IsZero() {
		lag = time.Since(e.CreatedAt)
	}

	in.deps.Recorder.EventHandled(e.Type, outcome, lag)
}

// foreign tells whether an event is none of ours.
func (in *inbox) foreign(e ports.Event) bool {
	return in.deps.Binding.foreign(e.Live, e.Account) || in.deps.Binding.foreign(e.Intent.Live, "")
}

// keepOrApply stores an event, and does what it asks for where it is ours.
func (in *inbox) storeOrApply(ctx context.Context, e ports.Event) (ports.Applied, error) {
	if in.foreign(e) {
		outcome, err := in.deps.Inbox.StoreForeign(ctx, e)

		return ports.Applied{Outcome: outcome}, err
	}

	return in.deps.Inbox.Apply(ctx, e)
}

// apply stores an event and does what it asks for, in one commit.
func (in *inbox) apply(ctx context.Context, e ports.Event) (ports.Applied, error) {
	applied, err := in.storeOrApply(ctx, e)
	if err == nil && applied.Outcome == ports.EventUnfinished {
		applied, err = in.finishOperation(ctx, e)
	}

	if err != nil {
		return applied, err
	}

	in.report(ctx, e, applied)

	// The payment may have been written between the snapshot that missed it
	// and the commit that parked the event.
	if applied.Outcome == ports.EventParked && applied.Reason == ports.ParkedUnknown {
		in.applyReadyFor(ctx, e.ObjectID)
	}

	return applied, nil
}

// finishOperation finishes an operation whose intent an event is about: the event
// overtook the provider's answer, or the answer was lost.
func (in *inbox) finishOperation(ctx context.Context, e ports.Event) (ports.Applied, error) {
	op, err := in.deps.Operations.FindByPayment(ctx, e.Intent.PaymentID)
	if err != nil {
		return ports.Applied{}, err
	}

	finish := &finisher{deps: in.deps, inbox: in}
	intent := e.Intent
	intent.Status = payment.Pending // the event itself moves it on, so that the history has both

	completion, err := finish.completion(op, intent, ports.ByWebhook)
	if err == nil {
		var (
			done    ports.Finished
			applied ports.Applied
		)

		done, applied, err = in.deps.Inbox.FinishAndApply(ctx, completion, e)
		if err == nil {
			finish.finished(ctx, completion, done, ports.ByWebhook)

			return applied, nil
		}
	}

	if !errors.Is(err, ports.ErrContradiction) {
		return ports.Applied{}, err
	}

	in.deps.Log.Error("an event contradicts its operation", logctx.Field(ctx), zap.String("event_id", e.ID), zap.Error(err))

	return ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedContradiction, PaymentID: op.PaymentID},
		in.deps.Inbox.Park(ctx, e, ports.ParkedContradiction)
}

// applyRipeFor applies what was parked for an intent. What fails stays parked
// and is tried again in the background.
func (in *inbox) applyReadyFor(ctx context.Context, intentID string) {
	events, err := in.deps.Inbox.ReadyFor(ctx, intentID)
	if err == nil {
		err = in.applyStored(ctx, events)
	}

	if err != nil {
		in.deps.Log.Warn("parked events wait", logctx.Field(ctx), zap.String("intent_id", intentID), zap.Error(err))
	}
}

// applyStored applies events out of the inbox, each in a span of its own.
func (in *inbox) applyStored(ctx context.Context, events []ports.StoredEvent, opts ...trace.SpanStartOption) error {
	var failed error

	for _, stored := range events {
		_, err := inSpan(ctx, in.deps.Tracer, "app.ApplyParkedEvent", func(ctx context.Context) (ports.Applied, error) {
			event, err := in.deps.Webhooks.Parse(stored.Raw)
			if err != nil {
				return ports.Applied{}, err
			}

			applied, err := in.storeOrApply(ctx, event)
			if err == nil {
				in.report(ctx, event, applied)
			}

			return applied, err
		}, opts...)
		failed = errors.Join(failed, err)
	}

	return failed
}

// report tells the span, the metrics and the log what an event did.
func (in *inbox) report(ctx context.Context, e ports.Event, applied ports.Applied) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(
		attribute.String("marketflow.event.id", e.ID),
		attribute.String("marketflow.event.type", e.Type),
		attribute.String("marketflow.event.outcome", string(applied.Outcome)))

	if applied.PaymentID != uuid.Nil {
		span.SetAttributes(attribute.String("marketflow.payment.id", applied.PaymentID.String()))
	}

	if link, ok := linkTo(applied.Origin.TraceParent); ok {
		span.AddLink(link)
	}

	fields := []zap.Field{
		logctx.Field(ctx), zap.String("event_id", e.ID), zap.String("event_type", e.Type),
		zap.String("object_id", e.ObjectID), zap.String("outcome", string(applied.Outcome)),
	}
	if applied.PaymentID != uuid.Nil {
		fields = append(fields, zap.Stringer("payment_id", applied.PaymentID))
	}

	switch applied.Outcome {
	case ports.EventApplied:
		in.deps.Recorder.PaymentChanged(e.Change, applied.Amount)
		in.deps.Log.Info("payment "+string(e.Change), append(fields, zap.String("from", string(applied.From)))...)
	case ports.EventParked:
		in.deps.Log.Warn("event parked", append(fields, zap.String("reason", string(applied.Reason)))...)
	default:
		in.deps.Log.Debug("event changed nothing", fields...)
	}
}
