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

	// History returns a payment's newest MaxHistory transitions, oldest first. A payment that
	// does not exist has none.
	History(ctx context.Context, id uuid.UUID) ([]Transition, error)
}

// MaxHistory is the most transitions that are read of one payment.
const MaxHistory = 500

// Facts writes what was read of a payment: its intent, its refunds and its disputes. The caller
// loads the payment with these, then reads the provider, then writes. If the payment has changed in
// between, what was read may be older than what is written down, so nothing is written. If an event
// about its refunds or disputes was stored in between, it may be older than what that tells. Such an
// event changes no version, because the payment stays as it is.
//
// Atomicity: every method is one commit. Idempotency: repeating a call that has succeeded
// changes nothing. A repeated decision has the same entry; the entry's id tells that it has
// been done, and the answer is true. Errors: an unreachable or overloaded database is fault.Unavailable, and
// then surely nothing was written. If a write may have been committed: fault.Unknown.
type Facts interface {
	// Write makes the payment, its refunds and its disputes what f says, with the payment's
	// history, if it still has f.Payment.Version and f.Heard. It gets a new version if anything
	// differs from what is written down. lost are operations that the database has lost, which are written
	// as finished with it; one that is there stays as it is. Those of the payment's
	// events that are hints and were stored before the payment was loaded get the outcome;
	// EventParked means as contradictions. If the payment has another version, or more was heard
	// of it, nothing happens and the answer is false. No payment: fault.NotFound.
	Write(
		ctx context.Context, f FullPayment, lost []NewOperation, outcome EventOutcome, cause string,
	) (bool, error)

	// Accept is Write by a person's decision, in one commit with its entry in the audit. It
	// may also change the amount and a final status. The payment's events that are parked
	// as contradictions are dismissed.
	Accept(ctx context.Context, f FullPayment, entry AuditEntry) (bool, error)
}

// Transition is one step in a payment's history.
type Transition struct {
	// From is empty for the first one.
	From, To payment.Status
	// Cause is what brought it: "request", "recovery", the event's id, ….
	Cause string
	At    time.Time
}
