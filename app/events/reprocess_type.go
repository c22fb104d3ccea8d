package events

import (
	"context"
	"errors"
	"fmt"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// unhandledBatch is how many events are listed at once, without their bodies.
const unhandledBatch = 500

// ReprocessType applies the stored events of a type that was not handled when they came.
type ReprocessType struct {
	inbox    ports.Inbox
	webhooks ports.Webhooks
	apply    *Apply
}

// NewReprocessType returns the use case.
func NewReprocessType(inbox ports.Inbox, webhooks ports.Webhooks, apply *Apply) *ReprocessType {
	return &ReprocessType{inbox: inbox, webhooks: webhooks, apply: apply}
}

// Reprocessed is what became of the unhandled events of a type.
type Reprocessed struct {
	// Outcomes counts those that are processed now. EventDuplicate means that somebody else
	// was faster.
	Outcomes map[ports.EventOutcome]int
	// Failed counts those that could not be read or applied. They stay unhandled.
	Failed int
}

// Events counts all of them.
func (r Reprocessed) Events() int {
	all := r.Failed
	for _, n := range r.Outcomes {
		all += n
	}

	return all
}

var errNotHandled = errors.New("this release does not handle it either")

// Do applies all unhandled events of a type one by one, the oldest first. One that fails
// stays unhandled, and the first such error is returned at the end; only an outage stops
// the run. It may be repeated. If this release does not handle the type either, the error is
// fault.Invalid. What was done is returned also with an error.
func (uc *ReprocessType) Do(ctx context.Context, eventType string) (Reprocessed, error) {
	done := Reprocessed{Outcomes: map[ports.EventOutcome]int{}}

	var (
		at     ports.InboxPosition
		failed error
	)

	for {
		ids, next, err := uc.inbox.Unhandled(ctx, eventType, at, unhandledBatch)
		if err != nil {
			return done, err
		}

		for _, id := range ids {
			applied, err := uc.one(ctx, id)

			switch {
			case err == nil:
				done.Outcomes[applied.Outcome]++
			case errors.Is(err, errNotHandled):
				return done, fault.Newf(fault.Invalid, "This release does not handle events of type %s.", eventType)
			case fault.KindOf(err) == fault.Unavailable || ctx.Err() != nil:
				return done, err
			default:
				done.Failed++

				if failed == nil {
					failed = err
				}
			}
		}

		if at = next; at == (ports.InboxPosition{}) {
			return done, failed
		}
	}
}

func (uc *ReprocessType) one(ctx context.Context, id string) (ports.Applied, error) {
	stored, err := uc.inbox.Event(ctx, id)
	if err != nil {
		return ports.Applied{}, err
	}

	event, err := uc.webhooks.Parse(stored.Raw)

	switch {
	case err != nil:
		return ports.Applied{}, fmt.Errorf("event %s: %w", id, err)
	case !event.Handled:
		return ports.Applied{}, errNotHandled
	}

	applied, err := uc.apply.Do(ctx, event)
	if err != nil {
		return applied, fmt.Errorf("event %s: %w", id, err)
	}

	return applied, nil
}
