package ports

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Backlog counts what is not finished yet.
type Backlog interface {
	// Backlog counts it now and changes nothing. An unreachable or overloaded database is
	// fault.Unavailable.
	Backlog(ctx context.Context) (BacklogStats, error)
}

// BacklogMost is where counting stops: it means that many or more. So counting costs the
// same however much there is.
const BacklogMost = 10_000

// LapseNotice is how long before its end a hold counts as lapsing: time for a person to
// capture or cancel.
const LapseNotice = 24 * time.Hour

// BacklogStats is what is not finished yet. An age is zero if there is nothing.
type BacklogStats struct {
	// Operations counts the operations that are pending or need attention, each up to
	// BacklogMost.
	Operations map[operation.State]int64
	// OldestUnfinished is the age of the oldest pending operation among those counted.
	OldestUnfinished time.Duration
	// Lapsing counts the payments whose hold lapses within LapseNotice, or should have lapsed,
	// up to BacklogMost.
	Lapsing int64
	// Overdrawn counts the payments of which refunds and disputes take more than was captured,
	// up to BacklogMost.
	Overdrawn int64
	// OldestRefund is the age of the oldest refund that is pending or waits for the customer.
	OldestRefund time.Duration
	// Parked counts the parked events, up to BacklogMost.
	Parked int64
	// OldestParked is the time since the oldest parked event was received.
	OldestParked time.Duration
	Disputes     OpenDisputes
}

// OpenDisputes are the disputes that are not decided.
type OpenDisputes struct {
	// Unanswered counts those that wait for evidence, by the time that is left for it.
	Unanswered map[TimeLeft]int64
	// AtStake is what open chargebacks have taken from their payments, one sum for each currency.
	AtStake []money.Money
}

// TimeLeft is how long evidence is still taken.
type TimeLeft string

// The times left. A dispute counts in one of them.
const (
	Overdue     TimeLeft = "overdue"
	WithinOne   TimeLeft = "1d"
	WithinThree TimeLeft = "3d"
	WithinSeven TimeLeft = "7d"
	Later       TimeLeft = "later"
)
