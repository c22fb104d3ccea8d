package payment

import "slices"

// Status is where a payment stands.
type Status string

// The statuses. Succeeded and Cancelled are final. Failed means that the last attempt to
// pay was declined and none is under way: the intent is back at requires_payment_method
// and may be paid later (https://docs.stripe.com/payments/paymentintents/lifecycle).
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

// CanBecome is the state machine: whether a payment may go from s to next.
//
//	pending ⇄ failed
//	pending → succeeded | cancelled
//	failed  → succeeded | cancelled
func (s Status) CanBecome(next Status) bool {
	return s != next && !s.Final() && s.Valid() && next.Valid()
}
