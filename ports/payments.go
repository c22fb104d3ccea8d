package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// Payments reads payments. An unreachable or overloaded database is
// fault.Unavailable.
type Payments interface {
	// Payment returns the payment now. None: fault.NotFound.
	Payment(ctx context.Context, id uuid.UUID) (payment.Payment, error)

	// History returns a payment's transitions, oldest first; none for a
	// payment that does not exist.
	History(ctx context.Context, id uuid.UUID) ([]Transition, error)
}

// Transition is one step in a payment's history.
type Transition struct {
	// From is empty for the first one.
	From, To payment.Status
	// Cause is who brought it: "api", "recovery", "evt_…", ….
	Cause string
	At    time.Time
}
