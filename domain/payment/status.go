package payment

import "slices"

// Status is where a payment stands.
type Status string

// The statuses. Succeeded and Cancelled are final; Failed is not: a declined
// PaymentIntent goes back to requires_payment_method and may be paid later
// (https://docs.stripe.com/payments/paymentintents/lifecycle).
const (
	Pending   Status = "pending"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Statuses lists every status.
func Statuses() []Status { return []Status{Pending, Succeeded, Failed, Cancelled} }

// Valid says whether s is one of Statuses.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Final says whether a payment with status s keeps it for ever.
func (s Status) Final() bool { return s == Succeeded || s == Cancelled }

// Sources is the state machine: the statuses from which a payment may go to s. A change
// from any other status is stale and does nothing.
//
//	pending → succeeded | failed | cancelled
//	failed  → succeeded | cancelled
//
// The store compares and sets with it; no other code decides.
func (s Status) Sources() []Status {
	switch s {
	case Succeeded, Cancelled:
		return []Status{Pending, Failed}
	case Failed:
		return []Status{Pending}
	case Pending:
		return nil // every payment begins here, and none comes back
	default:
		return nil
	}
}

// CanBecome says whether the state machine leads from s to next in one step.
func (s Status) CanBecome(next Status) bool { return slices.Contains(next.Sources(), s) }
