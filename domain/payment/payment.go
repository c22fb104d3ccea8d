// Package payment says what a payment is: its identity, what was ordered, its status and
// amounts, and how those may change.
package payment

import (
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Payment is a snapshot of one payment. Decide and Read say how it may change, and only
// the store changes it.
type Payment struct {
	// ID is a UUIDv7 of ours.
	ID uuid.UUID
	// Tenant owns it.
	Tenant operation.Tenant
	// IntentID is the provider's id: "pi_…" at Stripe.
	IntentID string
	// Key is the idempotency key that created it; zero if there was none.
	Key operation.Key
	// CustomerID is our customer who pays; uuid.Nil if none is known.
	CustomerID uuid.UUID
	Amount     money.Price
	Metadata   Metadata
	Status     Status
	// IntentStatus is the provider's own word, as last seen; empty if it is not known.
	IntentStatus  IntentStatus
	CaptureMethod CaptureMethod
	// Capturable is what is held and can be captured. Captured is what was received: less
	// than Amount after a partial capture.
	Capturable, Captured money.Money
	// RefundPending, Refunded and Disputed are what its refunds and disputes take of Captured,
	// and Overdrawn is by how much they exceed it. Only facts from the provider set that.
	RefundPending, Refunded, Disputed, Overdrawn money.Money
	// DisputeStatus is the provider's word for the dispute that counts most; empty if there
	// was none. BlockedBy is the dispute because of which nothing can be refunded now.
	DisputeStatus string
	BlockedBy     uuid.UUID
	// CaptureBefore is when the hold lapses; zero if nothing is held or it is not known.
	CaptureBefore time.Time
	// Declined: an attempt to pay was declined once.
	Declined bool
	// Description is what the client says that it is for.
	Description string
	// Method is how the last attempt to pay was made, if that is known.
	Method Method
	// Decline is why the last attempt was declined, if no other has followed.
	Decline Decline
	// Version grows with every change, and with every event that says that there may be
	// one.
	Version int64
	// CreatedAt and UpdatedAt are in UTC.
	CreatedAt, UpdatedAt time.Time
}

// CaptureMethod says who captures the money once a customer has paid.
type CaptureMethod string

// The methods.
const (
	// CaptureAutomatic: the provider captures at once.
	CaptureAutomatic CaptureMethod = "automatic"
	// CaptureManual: the money is only held until somebody captures it.
	CaptureManual CaptureMethod = "manual"
)

// IntentStatus is Stripe's word for where an intent stands
// (https://docs.stripe.com/payments/paymentintents/lifecycle). There may be others, which
// are kept as they are.
type IntentStatus string

// The words that decide something.
const (
	IntentRequiresPaymentMethod IntentStatus = "requires_payment_method"
	IntentRequiresConfirmation  IntentStatus = "requires_confirmation"
	IntentRequiresAction        IntentStatus = "requires_action"
	IntentProcessing            IntentStatus = "processing"
	IntentRequiresCapture       IntentStatus = "requires_capture"
	IntentSucceeded             IntentStatus = "succeeded"
	IntentCanceled              IntentStatus = "canceled"
)

// rank orders the words as an attempt to pay passes through them. A word that is not
// known has none.
func (s IntentStatus) rank() int {
	switch s {
	case IntentRequiresPaymentMethod:
		return 1
	case IntentRequiresConfirmation:
		return 2
	case IntentRequiresAction:
		return 3
	case IntentProcessing:
		return 4
	case IntentRequiresCapture:
		return 5
	default:
		return 0
	}
}

// mayBeUnderWay: the customer may be paying at this moment, or have paid.
func (s IntentStatus) mayBeUnderWay() bool { return !s.Untried() }

// Confirmable tells whether an attempt to pay may be made
// (https://docs.stripe.com/payments/paymentintents/lifecycle).
func (s IntentStatus) Confirmable() bool {
	return s == IntentRequiresPaymentMethod || s == IntentRequiresConfirmation || s == IntentRequiresAction
}

// Untried tells whether nobody has begun to pay, or the last attempt was declined.
func (s IntentStatus) Untried() bool {
	return s == IntentRequiresPaymentMethod || s == IntentRequiresConfirmation
}

// Received is what was captured. A payment from before Captured was kept has received all
// of its amount if it has succeeded.
func (p Payment) Received() money.Money {
	switch {
	case p.Captured.Minor() > 0:
		return p.Captured
	case p.Status == Succeeded:
		return p.Amount.Money()
	default:
		return money.Of(0, p.Amount.Currency())
	}
}

// isStep: somebody has begun to pay. The provider's answer to the create, which it repeats
// under its key, does not know of that.
func (s IntentStatus) isStep() bool { return s.rank() >= IntentRequiresAction.rank() }

// Allowed lists what may be tried with a payment now. The provider has the last word.
func (p Payment) Allowed() []operation.Kind {
	switch {
	case p.Refundable().Minor() > 0:
		return []operation.Kind{operation.Refund}
	case p.Status.Final():
		return nil
	case p.IntentStatus == IntentRequiresCapture:
		return []operation.Kind{operation.Capture, operation.Cancel}
	case p.IntentStatus.Confirmable():
		return []operation.Kind{operation.Confirm, operation.Cancel}
	default:
		return []operation.Kind{operation.Cancel}
	}
}

// Begun is p at its beginning, as its intent says.
func (p Payment) Begun(s Snapshot, now time.Time) Payment {
	p.Status, p.IntentStatus, p.Declined = s.Status, s.IntentStatus, s.Declined
	p.Capturable, p.Captured = money.Of(0, p.Amount.Currency()), s.Captured
	p = p.taking(s)
	p.Captured = p.Received()
	p = p.WithRefunds(nil).WithDisputes(nil)
	p.Overdrawn = p.sum(0)
	p.Version = p.NextVersion(now)

	if p.CaptureMethod == "" {
		p.CaptureMethod = CaptureAutomatic
	}

	return p
}
