package app

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

// parkedBatch is how many parked events one run looks at.
const parkedBatch = 100

// ApplyParked applies parked events whose payment has appeared since.
type ApplyParked struct {
	deps  Deps
	inbox *inbox
}

// NewApplyParked returns the use case.
func NewApplyParked(deps Deps) *ApplyParked { return &ApplyParked{deps: deps, inbox: newInbox(deps)} }

// Do applies a batch and returns how many there were. What fails stays parked.
// Each event gets a trace of its own, as in RecoverClaims.Do.
func (uc *ApplyParked) Do(ctx context.Context, about ...trace.SpanStartOption) (int, error) {
	events, err := uc.deps.Inbox.Ripe(ctx, parkedBatch)
	if err != nil {
		return 0, err
	}

	return len(events), uc.inbox.applyStored(ctx, events, about...)
}
