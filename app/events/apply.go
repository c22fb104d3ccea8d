package events

import (
	"context"
	"errors"
	"time"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Apply stores and applies events. They arrive, are fetched by reconciliation, or are
// applied once more by a person.
type Apply struct {
	inbox      ports.Inbox
	operations ports.Operations
	engine     *operations.Engine
	parked     *Parked
	observer   Observer
}

// NewApply returns the use case.
func NewApply(
	inbox ports.Inbox, ops ports.Operations, engine *operations.Engine, parked *Parked, observer Observer,
) *Apply {
	return &Apply{inbox: inbox, operations: ops, engine: engine, parked: parked, observer: observer}
}

// Foreign tells whether an event is not ours.
func (a *Apply) Foreign(e ports.Event) bool { return a.parked.foreign(e) }

// Take does what Do does, and counts the event as new from the provider.
func (a *Apply) Take(ctx context.Context, e ports.Event) (ports.Applied, error) {
	applied, err := a.Do(ctx, e)
	if err == nil {
		a.observer.EventTaken(e, applied.Outcome)
	}

	return applied, err
}

// Do stores and applies an event in one commit.
func (a *Apply) Do(ctx context.Context, e ports.Event) (ports.Applied, error) {
	applied, err := a.parked.storeOrApply(ctx, e)
	if err == nil && applied.Outcome == ports.EventUnfinished {
		applied, err = a.finishOperation(ctx, e)
	}

	if err != nil {
		return applied, err
	}

	a.observer.EventHandled(ctx, e, applied)

	// The payment may have been written between the snapshot that missed it
	// and the commit that parked the event.
	if applied.Outcome == ports.EventParked && applied.Reason == ports.ParkedUnknown {
		a.parked.ApplyFor(ctx, e.ObjectID)
	}

	return applied, nil
}

// finishOperation finishes the create whose intent an event is about. The event came
// before the provider's answer, or the answer was lost.
func (a *Apply) finishOperation(ctx context.Context, e ports.Event) (ports.Applied, error) {
	op, err := a.operations.FindByID(ctx, e.Intent.PaymentID)
	if err != nil {
		return ports.Applied{}, err
	}

	result, err := a.engine.Result(op, ports.Object{Intent: beginning(e.Intent)}, operation.ByWebhook)
	if err == nil {
		var (
			done    ports.Finished
			applied ports.Applied
		)

		done, applied, err = a.inbox.FinishAndApply(ctx, *result.Made, e)
		if err == nil {
			a.engine.Finished(ctx, result, done, operation.ByWebhook)

			return applied, nil
		}
	}

	if !errors.Is(err, ports.ErrContradiction) {
		return ports.Applied{}, err
	}

	a.observer.EventContradicts(ctx, e, err)

	return ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedContradiction, PaymentID: op.ID},
		a.inbox.Park(ctx, e, ports.ParkedContradiction)
}

// beginning is an intent as it was when it was made, so that the history shows the
// creation and then the event's change.
func beginning(i ports.Intent) ports.Intent {
	i.Status, i.IntentStatus, i.Declined = payment.Pending, payment.IntentRequiresPaymentMethod, false
	i.Capturable, i.Captured, i.CaptureBefore = money.Money{}, money.Money{}, time.Time{}

	return i
}
