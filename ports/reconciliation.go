package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// Reconciliation holds our records against the provider's. An unreachable or
// overloaded database is fault.Unavailable.
type Reconciliation interface {
	// ReconciledThrough is the cursor: everything that happened at the provider
	// before it has been looked at; zero if nothing has. now is the database's
	// clock, the only one that cursors are compared with. An older release whose
	// clock was wrong may have left a cursor that is after now.
	ReconciledThrough(ctx context.Context) (through, now time.Time, err error)

	// MoveReconciledThrough sets the cursor to a time if it still is the one that
	// was read; false if it is not.
	MoveReconciledThrough(ctx context.Context, from, to time.Time) (bool, error)

	// HoldReconciliation takes the lease that one run at a time has, or extends
	// it by the same token; false while somebody else has it.
	HoldReconciliation(ctx context.Context, lease Lease) (bool, error)

	// ReleaseReconciliation gives the lease back, where token still has it.
	ReleaseReconciliation(ctx context.Context, token uuid.UUID) error

	// UnknownEvents returns those of the events that the inbox does not have.
	UnknownEvents(ctx context.Context, ids []string) ([]string, error)

	// PaymentsByIntent returns the payments of those intents that have one.
	PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error)

	// OpenPayments returns up to limit payments that are not final, newest first,
	// that stand before a position and were created at from or later; and the
	// position to go on from, zero where there are no more. It looks at a bounded
	// number of payments: there may be more although it returns few, or none.
	OpenPayments(
		ctx context.Context, from time.Time, before PaymentPosition, limit int,
	) (open []payment.Payment, next PaymentPosition, err error)

	// Sweep is where the sweep of a band of open payments goes on; zero where it
	// begins.
	Sweep(ctx context.Context, band int) (PaymentPosition, error)

	// SetSweep remembers it.
	SetSweep(ctx context.Context, band int, at PaymentPosition) error

	// Advance moves a payment on by the state machine, with its history; false
	// where that leads nowhere from where the payment stands.
	Advance(ctx context.Context, id uuid.UUID, to payment.Status, cause string) (bool, error)
}

// PaymentPosition is a place among the payments, which are in the order of their
// creation.
type PaymentPosition struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// Discrepancy is a difference between our records and the provider's. IDs and
// statuses are there as far as the difference is about them.
type Discrepancy struct {
	Kind      DiscrepancyKind
	PaymentID uuid.UUID
	IntentID  string
	EventID   string
	EventType string
	// Status is ours and ProviderStatus the provider's.
	Status, ProviderStatus payment.Status
	// Repaired: our records are right now.
	Repaired bool
	// Cause is why it was not repaired; nil where nobody tried.
	Cause error
}

// DiscrepancyKind is a way in which our records and the provider's can differ.
type DiscrepancyKind string

// The kinds.
const (
	DiscrepancyMissedEvent    DiscrepancyKind = "missed_event"
	DiscrepancyStatus         DiscrepancyKind = "status"
	DiscrepancyMissingPayment DiscrepancyKind = "missing_payment"
	DiscrepancyContradiction  DiscrepancyKind = "contradiction"
)
