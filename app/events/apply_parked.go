package events

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/marketflow/marketflow/ports"
)

// parkedBatch is how many parked events one run looks at, once among the newest
// and once where the last run stopped.
const parkedBatch = 500

// ApplyParked applies parked events whose payment has appeared since. Where an
// event and its payment are written, whoever comes second applies the event; this
// is for what both have missed, or did not live to do.
type ApplyParked struct {
	inbox  ports.Inbox
	parked *Parked

	mu sync.Mutex
	// next is where the walk through all parked events goes on. A process that
	// starts begins anew.
	next ports.ParkedPosition
}

// NewApplyParked returns the use case.
func NewApplyParked(inbox ports.Inbox, parked *Parked) *ApplyParked {
	return &ApplyParked{inbox: inbox, parked: parked}
}

// Do looks at the newest parked events, where a race was lost a moment ago, and at
// some of the others, so that each is looked at in its turn, and applies those
// that are ready. It returns how many there were. What fails stays parked.
// Each event gets a trace of its own.
func (uc *ApplyParked) Do(ctx context.Context) (int, error) {
	ready, behind, err := uc.inbox.Ready(ctx, ports.ParkedPosition{}, parkedBatch)
	if err != nil {
		return 0, err
	}

	if more := (behind != ports.ParkedPosition{}); more {
		older, err := uc.walk(ctx, behind)
		if err != nil {
			return 0, err
		}

		ready = append(older, ready...)
	}

	var failed error

	for _, id := range ready {
		stored, err := uc.inbox.Event(ctx, id)
		if err != nil {
			return 0, errors.Join(failed, fmt.Errorf("parked event %s: %w", id, err))
		}

		failed = errors.Join(failed, uc.parked.applyStored(ctx, stored))
	}

	return len(ready), failed
}

// walk looks at the next of those that are older than the newest.
func (uc *ApplyParked) walk(ctx context.Context, newest ports.ParkedPosition) ([]string, error) {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	if uc.next == (ports.ParkedPosition{}) {
		uc.next = newest
	}

	ready, next, err := uc.inbox.Ready(ctx, uc.next, parkedBatch)
	if err == nil {
		uc.next = next
	}

	return ready, err
}
