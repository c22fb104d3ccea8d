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

// BacklogStats is what is not settled yet. Ages are zero where there is nothing.
type BacklogStats struct {
	// Claims counts the claims that are pending or need attention.
	Claims map[ClaimState]int64
	// OldestUnfinished is the age of the oldest of those claims.
	OldestUnfinished time.Duration
	// Parked counts the parked events.
	Parked int64
	// OldestParked is the time since the oldest parked event was received.
	OldestParked time.Duration
}
