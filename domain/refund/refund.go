// Package refund says what a refund is, which of them count against their payment, and
// how what the provider lists becomes our record.
package refund

import (
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Refund is money that goes back to a customer, or was to go back.
type Refund struct {
	// ID is the id of the operation that asked for it. One from elsewhere has an id made of
	// the installation and of the provider's.
	ID uuid.UUID
	// Tenant is its payment's; zero until it is written.
	Tenant    operation.Tenant
	PaymentID uuid.UUID
	// ProviderID is the provider's: "re_…" at Stripe. It is empty while nobody knows whether
	// the provider has made it.
	ProviderID string
	// Key is the idempotency key that asked for it; zero if there was none.
	Key    operation.Key
	Amount money.Price
	Status Status
	// Reason is why, in the provider's words; empty if none was given. FailureReason is why it
	// failed or was cancelled.
	Reason, FailureReason string
	Origin                Origin
	Reference             Reference
	Metadata              map[string]string
	// Version grows with every change.
	Version int64
	// CreatedAt and UpdatedAt are in UTC.
	CreatedAt, UpdatedAt time.Time
}

// Status is where a refund stands (https://docs.stripe.com/refunds).
type Status string

// The statuses. A refund that has succeeded may still fail, up to a month later. Failed and
// Cancelled are final: the money has not reached the customer.
const (
	Pending        Status = "pending"
	RequiresAction Status = "requires_action"
	Succeeded      Status = "succeeded"
	Failed         Status = "failed"
	Cancelled      Status = "cancelled"
)

// Statuses lists every status.
func Statuses() []Status { return []Status{Pending, RequiresAction, Succeeded, Failed, Cancelled} }

// Valid says whether s is one of Statuses.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Final says whether a refund keeps this status for ever.
func (s Status) Final() bool { return s == Failed || s == Cancelled }

// UnderWay says whether the money may still be on its way.
func (s Status) UnderWay() bool { return s == Pending || s == RequiresAction }

// Counts says whether a refund takes its amount from what its payment may still give back.
func (s Status) Counts() bool { return !s.Final() }

// Origin is where a refund was asked for.
type Origin string

// The origins.
const (
	FromAPI     Origin = "api"
	FromConsole Origin = "console"
	// FromStripe: in the provider's dashboard, or by another program.
	FromStripe Origin = "stripe"
)

// Origins lists every origin.
func Origins() []Origin { return []Origin{FromAPI, FromConsole, FromStripe} }

// Reference is the number by which the customer's bank finds a refund. Type is the
// provider's word for what it is.
type Reference struct{ Type, Value string }

// Reasons are those that a client may give
// (https://docs.stripe.com/api/refunds/create#create_refund-reason).
func Reasons() []string { return []string{"duplicate", "fraudulent", "requested_by_customer"} }

// Made tells whether the provider is known to have made it.
func (r Refund) Made() bool { return r.ProviderID != "" }

// Cancellable tells whether it can be cancelled: only while it waits for the customer
// (https://docs.stripe.com/api/refunds/cancel).
func (r Refund) Cancellable() bool { return r.Status == RequiresAction }

// SameAs tells whether nothing of what may change differs, the version apart.
func (r Refund) SameAs(q Refund) bool {
	return r.ID == q.ID && r.ProviderID == q.ProviderID && r.Key == q.Key && r.Amount == q.Amount && r.Status == q.Status &&
		r.Reason == q.Reason && r.FailureReason == q.FailureReason && r.Origin == q.Origin && r.Reference == q.Reference &&
		maps.Equal(r.Metadata, q.Metadata)
}

// NextVersion is the version of a refund that changes now. It also grows if a database has
// lost its last minutes, because then the time has gone on.
func (r Refund) NextVersion(now time.Time) int64 { return max(r.Version+1, now.UnixMilli()) }

// Changed is r with the version and the time of a change at now.
func (r Refund) Changed(now time.Time) Refund {
	r.Version, r.UpdatedAt = r.NextVersion(now), now.UTC()

	return r
}

// Sums are what a payment's refunds take of it, in minor units of its currency.
type Sums struct{ Pending, Refunded int64 }

// SumsOf adds up refunds: absolute values, from all of a payment's.
func SumsOf(refunds []Refund) (sums Sums) {
	for _, r := range refunds {
		switch {
		case r.Status == Succeeded:
			sums.Refunded += r.Amount.Minor()
		case r.Status.UnderWay():
			sums.Pending += r.Amount.Minor()
		}
	}

	return sums
}

// Find returns the refund of that id among refunds.
func Find(refunds []Refund, id uuid.UUID) (Refund, bool) {
	at := slices.IndexFunc(refunds, func(r Refund) bool { return r.ID == id })
	if at < 0 {
		return Refund{}, false
	}

	return refunds[at], true
}

// With is refunds with r in the place of the one that has its id, or after them. refunds stay
// as they are.
func With(refunds []Refund, r Refund) []Refund {
	with := slices.Clone(refunds)

	if at := slices.IndexFunc(with, func(one Refund) bool { return one.ID == r.ID }); at >= 0 {
		with[at] = r

		return with
	}

	return append(with, r)
}

// Without is refunds without the one of that id. refunds stay as they are.
func Without(refunds []Refund, id uuid.UUID) []Refund {
	return slices.DeleteFunc(slices.Clone(refunds), func(r Refund) bool { return r.ID == id })
}
