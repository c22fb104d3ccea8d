package events

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/marketflow/marketflow/ports"
)

// parkedBatch is how many parked events one run looks at among the newest, and once more
// from where the last run stopped.
const parkedBatch = 500

// ApplyParked applies parked events whose payment has appeared since. Normally whoever
// writes the second of the two, event or payment, applies the event at once. ApplyParked
// is for events that both missed, for example because a process crashed.
type ApplyParked struct {
	inbox  ports.Inbox
	parked *Parked

	mu sync.Mutex
	// next is where the walk through all parked events goes on. A new process starts
	// with the newest.
	next ports.InboxPosition
}

// NewApplyParked returns the use case.
func NewApplyParked(inbox ports.Inbox, parked *Parked) *ApplyParked {
	return &ApplyParked{inbox: inbox, parked: parked}
}

// Do applies parked events that are ready and returns how many there were. It looks at
// the newest, which may have become ready a moment ago, and at some of the others, so that
// each gets its turn. An event that fails stays parked. Each event gets its own trace.
func (uc *ApplyParked) Do(ctx context.Context) (int, error) {
	ready, behind, err := uc.inbox.Ready(ctx, ports.InboxPosition{}, parkedBatch)
	if err != nil {
		return 0, err
	}

	if more := (behind != ports.InboxPosition{}); more {
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

// walk looks at the next batch of those that are older than the newest.
func (uc *ApplyParked) walk(ctx context.Context, newest ports.InboxPosition) ([]string, error) {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	if uc.next == (ports.InboxPosition{}) {
		uc.next = newest
	}

	ready, next, err := uc.inbox.Ready(ctx, uc.next, parkedBatch)
	if err == nil {
		uc.next = next
	}

	return ready, err
}
