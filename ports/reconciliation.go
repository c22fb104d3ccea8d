package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// Reconciliation holds our books against the provider's. An unreachable or
// overloaded database is fault.Unavailable.
type Reconciliation interface {
	// ReconciledThrough is the time up to which the provider's events have been
	// looked at; zero if never.
	ReconciledThrough(ctx context.Context) (time.Time, error)

	// SetReconciledThrough remembers it. It never moves back.
	SetReconciledThrough(ctx context.Context, through time.Time) error

	// UnknownEvents returns those of the events that the inbox does not have.
	UnknownEvents(ctx context.Context, ids []string) ([]string, error)

	// PaymentsByIntent returns the payments of those intents that have one.
	PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error)

	// Unsettled returns up to limit payments that are not final and were created
	// before a time, oldest first, after the given one (zero: from the start).
	Unsettled(ctx context.Context, before time.Time, after payment.Payment, limit int) ([]payment.Payment, error)

	// Advance moves a payment on by the state machine, with its history; false
	// where that leads nowhere from where the payment stands.
	Advance(ctx context.Context, id uuid.UUID, to payment.Status, cause string) (bool, error)
}
