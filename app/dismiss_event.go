package app

import (
	"context"

	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// DismissEvent ends a parked event by a person's decision.
type DismissEvent struct{ deps Deps }

// NewDismissEvent returns the use case.
func NewDismissEvent(deps Deps) *DismissEvent { return &DismissEvent{deps: deps} }

// Do dismisses the event: it is neither applied nor counted any more. One that is
// not parked is fault.Invalid; no such event is fault.NotFound.
func (uc *DismissEvent) Do(ctx context.Context, id string, decision Decision) (ports.StoredEvent, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.DismissEvent", func(ctx context.Context) (ports.StoredEvent, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *DismissEvent) do(ctx context.Context, id string, decision Decision) (ports.StoredEvent, error) {
	entry, err := decision.entry(ports.AuditEventDismissed, objectInboxEvent, id)
	if err != nil {
		return ports.StoredEvent{}, err
	}

	event, err := uc.deps.Inbox.Event(ctx, id)
	if err != nil {
		return ports.StoredEvent{}, err
	}

	if event.Outcome != ports.EventParked {
		return ports.StoredEvent{}, fault.Newf(fault.Invalid, "Event %s is %s: only a parked one can be dismissed.",
			id, event.Outcome)
	}

	entry.Before, entry.After = outcomeIs(ports.EventParked), outcomeIs(ports.EventDismissed)
	entry.Before["parked_reason"] = string(event.Reason)

	if err := uc.deps.Inbox.Dismiss(ctx, id, entry); err != nil {
		return ports.StoredEvent{}, moved(err, "Event "+id)
	}

	uc.deps.Log.Warn("event dismissed by a person", logctx.Field(ctx), zap.String("event_id", id),
		zap.String("actor", entry.Actor), zap.String("reason", entry.Reason))

	return uc.deps.Inbox.Event(ctx, id)
}
