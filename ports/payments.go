package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// Payments reads payments and changes nothing. An unreachable or overloaded database is
// fault.Unavailable.
type Payments interface {
	// Payment returns the payment as it is now. None: fault.NotFound.
	Payment(ctx context.Context, id uuid.UUID) (payment.Payment, error)

	// History returns a payment's transitions, oldest first. A payment that does not exist
	// has none.
	History(ctx context.Context, id uuid.UUID) ([]Transition, error)
}

// Transition is one step in a payment's history.
type Transition struct {
	// From is empty for the first one.
	From, To payment.Status
	// Cause is what brought it: "request", "recovery", the event's id, ….
	Cause string
	At    time.Time
}
