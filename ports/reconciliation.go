package ports

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// Reconciliation reads and writes what the comparison of our records with the provider's
// needs.
//
// Every method is one commit. Errors: an unreachable or overloaded database is
// fault.Unavailable, and then surely nothing was written. If a write may have been
// committed, the error is fault.Unknown.
type Reconciliation interface {
	// ReconciledThrough returns the cursor: everything that happened at the provider before
	// it has been looked at. It is zero if nothing has. now is the database's clock, the
	// only clock that cursors are compared with. An older release with a wrong clock may
	// have left a cursor after now.
	ReconciledThrough(ctx context.Context) (through, now time.Time, err error)

	// MoveReconciledThrough sets the cursor to a time if it still is from and the database
	// is in that incarnation; if not, nothing happens and the answer is false. A repeated
	// call that has succeeded before is false.
	MoveReconciledThrough(ctx context.Context, from, to time.Time, incarnation string) (bool, error)

	// EndReconciliation writes down that everything was looked at in this incarnation, if
	// the database still is in it; if not, nothing happens and the answer is false.
	EndReconciliation(ctx context.Context, incarnation string) (bool, error)

	// HoldReconciliation takes the lease that only one run has at a time, or extends it for
	// the same token. It is false while somebody else has it. Repeating it is harmless.
	HoldReconciliation(ctx context.Context, lease Lease) (bool, error)

	// ReleaseReconciliation gives the lease back. If token does not have it, nothing
	// happens.
	ReleaseReconciliation(ctx context.Context, token uuid.UUID) error

	// UnknownEvents returns the ids of those events that the inbox does not have.
	UnknownEvents(ctx context.Context, ids []string) ([]string, error)

	// PaymentsByIntent returns the payments of the intents by the intent's id. An intent
	// without a payment is left out.
	PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error)

	// OpenPayments returns up to limit open payments that were created before a position
	// and not before from, newest first. It also returns the position to go on from, which
	// is zero if there are no more. It looks at a bounded number of payments, so there may
	// be more although it returns few or none.
	OpenPayments(
		ctx context.Context, from time.Time, before PaymentPosition, limit int,
	) (open []payment.Payment, next PaymentPosition, err error)

	// Sweep returns where the sweep of a band of open payments goes on; zero if it begins
	// again.
	Sweep(ctx context.Context, band int) (PaymentPosition, error)

	// SetSweep keeps the position for Sweep. Repeating it is harmless.
	SetSweep(ctx context.Context, band int, at PaymentPosition) error
}

// Incarnations knows which life of the database this is. A new one begins when another
// server takes over, after a restore and after a crash: then the database may have lost its
// last commits.
type Incarnations interface {
	// Incarnation names the present life. Standing is how far reconciliation has come in
	// it. An unreachable database is fault.Unavailable.
	Incarnation(ctx context.Context) (incarnation string, standing operation.Standing, err error)

	// Reconciled tells whether reconciliation is through in the present life. It asks the
	// database only while that is not known.
	Reconciled(ctx context.Context) (bool, error)
}

// PaymentPosition is a place among the payments, in the order of their creation.
type PaymentPosition struct {
	CreatedAt time.Time
	ID        uuid.UUID
}

// Discrepancy is a difference between our records and the provider's. It has only the ids
// and statuses that the difference is about.
type Discrepancy struct {
	Kind       DiscrepancyKind
	PaymentID  uuid.UUID
	CustomerID uuid.UUID
	IntentID   string
	EventID    string
	EventType  string
	// Status is our status and ProviderStatus is the provider's.
	Status, ProviderStatus payment.Status
	// Repaired says that our records are now right.
	Repaired bool
	// Cause is why it was not repaired. It is nil if it was repaired or nobody tried.
	Cause error
}

// DiscrepancyKind is a way in which our records and the provider's can differ.
type DiscrepancyKind string

// The kinds.
const (
	DiscrepancyMissedEvent    DiscrepancyKind = "missed_event"
	DiscrepancyStatus         DiscrepancyKind = "status"
	DiscrepancyMissingPayment DiscrepancyKind = "missing_payment"
	// The operation that an object names is not here, or not as it was done.
	DiscrepancyMissingOperation DiscrepancyKind = "missing_operation"
	// Our records of a payment's refunds differ from the provider's.
	DiscrepancyRefund DiscrepancyKind = "refund"
	// A customer of ours is not here.
	DiscrepancyMissingCustomer DiscrepancyKind = "missing_customer"
	// DiscrepancyDispute: a dispute of ours is missing, or is not as the provider has it.
	DiscrepancyDispute       DiscrepancyKind = "dispute"
	DiscrepancyContradiction DiscrepancyKind = "contradiction"
)
