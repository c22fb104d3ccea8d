package ports

import (
	"context"
	"time"
)

// Backlog tells what is not settled yet.
type Backlog interface {
	// Backlog counts it now. An unreachable database is fault.Unavailable.
	Backlog(ctx context.Context) (BacklogStats, error)
}

// BacklogMost is the most of a kind that is counted: it stands for that many or
// more, so that counting costs the same however much there is.
const BacklogMost = 10_000

// BacklogStats is what is not settled yet. Ages are zero where there is nothing.
type BacklogStats struct {
	// Claims counts the claims that are pending or need attention, each up to
	// BacklogMost.
	Claims map[ClaimState]int64
	// OldestUnfinished is the age of the oldest pending claim of those counted.
	OldestUnfinished time.Duration
	// Parked counts the parked events, up to BacklogMost.
	Parked int64
	// OldestParked is the time since the oldest parked event was received.
	OldestParked time.Duration
}
