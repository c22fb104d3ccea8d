package events

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Dismiss lets a person decide that a parked event is never applied.
type Dismiss struct {
	inbox    ports.Inbox
	payments PaymentsByIntent
	observer Observer
}

// NewDismiss returns the use case.
func NewDismiss(inbox ports.Inbox, payments PaymentsByIntent, observer Observer) *Dismiss {
	return &Dismiss{inbox: inbox, payments: payments, observer: observer}
}

// Do dismisses the event: it is not applied and no longer counts as parked. The error is
// fault.Invalid if the event is not parked, and fault.NotFound if there is none.
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

	if entry.Tenant, err = ownerOf(ctx, uc.payments, event); err != nil {
		return ports.StoredEvent{}, err
	}

	entry.Before, entry.After = outcomeIs(ports.EventParked), outcomeIs(ports.EventDismissed)
	entry.Before["parked_reason"] = string(event.Reason)

	if err := uc.inbox.Dismiss(ctx, id, entry); err != nil {
		return ports.StoredEvent{}, operations.Moved(err, "Event "+id)
	}

	uc.observer.Decided(ctx, entry)

	return uc.inbox.Event(ctx, id)
}

// ownerOf is whose payment an event is about; zero, so the installation's, if there is none.
func ownerOf(ctx context.Context, payments PaymentsByIntent, event ports.StoredEvent) (operation.Tenant, error) {
	known, err := payments.PaymentsByIntent(ctx, []string{event.ObjectID})

	return known[event.ObjectID].Tenant, err
}

// objectInboxEvent is what the audit calls the object of these decisions.
const objectInboxEvent = "inbox_event"

// outcomeIs is what the audit keeps about an event before and after a decision.
func outcomeIs(outcome ports.EventOutcome) map[string]any {
	return map[string]any{"outcome": string(outcome)}
}
