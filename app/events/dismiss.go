package events

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// Dismiss ends a parked event by a person's decision.
type Dismiss struct {
	inbox    ports.Inbox
	observer Observer
}

// NewDismiss returns the use case.
func NewDismiss(inbox ports.Inbox, observer Observer) *Dismiss {
	return &Dismiss{inbox: inbox, observer: observer}
}

// Do dismisses the event: it is neither applied nor counted any more. One that is
// not parked is fault.Invalid; no such event is fault.NotFound.
func (uc *Dismiss) Do(ctx context.Context, id string, decision operations.Decision) (ports.StoredEvent, error) {
	return ports.InSpan(ctx, uc.observer, "app.DismissEvent", func(ctx context.Context) (ports.StoredEvent, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *Dismiss) do(ctx context.Context, id string, decision operations.Decision) (ports.StoredEvent, error) {
	entry, err := decision.Entry(ports.AuditEventDismissed, objectInboxEvent, id)
	if err != nil {
		return ports.StoredEvent{}, err
	}

	event, err := uc.inbox.Event(ctx, id)
	if err != nil {
		return ports.StoredEvent{}, err
	}

	if event.Outcome != ports.EventParked {
		return ports.StoredEvent{}, fault.Newf(fault.Invalid, "Event %s is %s: only a parked one can be dismissed.",
			id, event.Outcome)
	}

	entry.Before, entry.After = outcomeIs(ports.EventParked), outcomeIs(ports.EventDismissed)
	entry.Before["parked_reason"] = string(event.Reason)

	if err := uc.inbox.Dismiss(ctx, id, entry); err != nil {
		return ports.StoredEvent{}, operations.Moved(err, "Event "+id)
	}

	uc.observer.Decided(ctx, entry)

	return uc.inbox.Event(ctx, id)
}

// objectInboxEvent is the type of what is decided about here.
const objectInboxEvent = "inbox_event"

// outcomeIs is what the audit keeps of an event before and after a decision.
func outcomeIs(outcome ports.EventOutcome) map[string]any {
	return map[string]any{"outcome": string(outcome)}
}
