package events

import (
	"context"
	"fmt"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// Reprocess applies a stored event once more, by hand.
type Reprocess struct {
	inbox    ports.Inbox
	webhooks ports.Webhooks
	payments PaymentsByIntent
	apply    *Apply
}

// NewReprocess returns the use case.
func NewReprocess(inbox ports.Inbox, webhooks ports.Webhooks, payments PaymentsByIntent, apply *Apply) *Reprocess {
	return &Reprocess{inbox: inbox, webhooks: webhooks, payments: payments, apply: apply}
}

// Do applies the event with that id. The outcome is EventDuplicate if it was applied
// already, and EventForeign if it is foreign. If there is no such event, the error is
// fault.NotFound.
//
// A dismissed event is parked again first. That undoes a person's decision and needs an
// actor and a reason; without them the error is fault.Invalid. Other events need no
// decision: the provider's own retry would do the same.
func (uc *Reprocess) Do(ctx context.Context, id string, decision operations.Decision) (ports.Applied, error) {
	stored, err := uc.inbox.Event(ctx, id)
	if err != nil {
		return ports.Applied{}, err
	}

	if stored.Outcome == ports.EventForeign {
		return ports.Applied{Outcome: ports.EventForeign}, nil // its payload is not kept
	}

	if len(stored.Raw) == 0 {
		return ports.Applied{}, fault.Newf(fault.Invalid, "The body of event %s is not kept: it is about a person.", id)
	}

	event, err := uc.webhooks.Parse(stored.Raw)
	if err != nil {
		return ports.Applied{}, fmt.Errorf("event %s: %w", id, err)
	}

	if stored.Outcome == ports.EventDismissed {
		if err := uc.reopen(ctx, stored, decision); err != nil {
			return ports.Applied{}, err
		}
	}

	return uc.apply.Do(ctx, event)
}

func (uc *Reprocess) reopen(ctx context.Context, stored ports.StoredEvent, decision operations.Decision) error {
	entry, err := decision.Entry(ports.AuditEventReopened, objectInboxEvent, stored.ID)
	if err != nil {
		return fault.Newf(fault.Invalid, "Event %s was dismissed by a person, and this would undo it. %s",
			stored.ID, fault.From(err).Detail)
	}

	if entry.Tenant, err = ownerOf(ctx, uc.payments, stored); err != nil {
		return err
	}

	entry.Before, entry.After = outcomeIs(ports.EventDismissed), outcomeIs(ports.EventParked)

	return operations.Moved(uc.inbox.Undismiss(ctx, stored.ID, entry), "Event "+stored.ID)
}
