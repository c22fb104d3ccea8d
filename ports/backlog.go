package ports

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/domain/operation"
)

// Backlog tells what is not finished yet.
type Backlog interface {
	// Backlog counts it now. An unreachable database is fault.Unavailable.
	Backlog(ctx context.Context) (BacklogStats, error)
}

// BacklogMost is the most of a kind that is counted: it stands for that many or
// more, so that counting costs the same however much there is.
const BacklogMost = 10_000

// BacklogStats is what is not finished yet. Ages are zero where there is nothing.
type BacklogStats struct {
	// Operations counts the operations that are pending or need attention, each up to
	// BacklogMost.
	Operations map[operation.State]int64
	// OldestUnfinished is the age of the oldest pending operation of those counted.
	OldestUnfinished time.Duration
	// Parked counts the parked events, up to BacklogMost.
	Parked int64
	// OldestParked is the time since the oldest parked event was received.
	OldestParked time.Duration
}
