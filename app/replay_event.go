package app

import (
	"context"
	"fmt"

	"github.com/marketflow/marketflow/ports"
)

// ReplayEvent applies a stored event once more, by hand.
type ReplayEvent struct {
	deps  Deps
	inbox *inbox
}

// NewReplayEvent returns the use case.
func NewReplayEvent(deps Deps) *ReplayEvent { return &ReplayEvent{deps: deps, inbox: newInbox(deps)} }

// Do applies the event with that id; one that was applied already is
// EventDuplicate. None: fault.NotFound.
func (uc *ReplayEvent) Do(ctx context.Context, id string) (ports.Applied, error) {
	stored, err := uc.deps.Inbox.Event(ctx, id)
	if err != nil {
		return ports.Applied{}, err
	}

	event, err := uc.deps.Webhooks.Parse(stored.Raw)
	if err != nil {
		return ports.Applied{}, fmt.Errorf("event %s: %w", id, err)
	}

	return uc.inbox.apply(ctx, event)
}
