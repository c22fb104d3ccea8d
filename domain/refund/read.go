package refund

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// Snapshot is what the provider says about one refund at one moment.
type Snapshot struct {
	// ID is the provider's, and IntentID is that of the payment's intent; empty if it is not
	// said.
	ID, IntentID string
	// PaymentID is our payment's id as the provider remembers it; uuid.Nil if it does not.
	PaymentID uuid.UUID
	Amount    money.Price
	Status    Status
	Reason    string
	// FailureReason is why it failed or was cancelled.
	FailureReason string
	Reference     Reference
	// MovedMoney: it has a row in the account's balance.
	MovedMoney bool
	// Marked says that Mark, which the operation wrote that asked for it, is there. Key is the
	// client's key, and Metadata are what the client gave.
	Mark      operation.Mark
	Marked    bool
	Key       operation.Key
	Metadata  map[string]string
	Live      *bool
	CreatedAt time.Time
}

// expiredHold is the reason of what a hold lets go that nobody has captured in time
// (https://docs.stripe.com/api/refunds/object#refund_object-reason).
const expiredHold = "expired_uncaptured_charge"

// OfMoney are those of a payment's refunds that give money back. listed are all of them, the
// oldest first. What a
// partial capture lets go is listed as a refund too: it takes nothing of what was captured.
// uncaptured is how much that was, in minor units.
//
// Our sandbox's has no row in the balance. Stripe's pages speak of one, so the first refund of
// all counts as it as well if it is of just that amount: it is made with the capture, before which
// nothing can be refunded. Nobody of us has asked for it.
func OfMoney(listed []Snapshot, uncaptured int64) []Snapshot {
	kept := make([]Snapshot, 0, len(listed))

	for i, s := range listed {
		strange := !s.Marked && s.Status == Succeeded
		letGo := strange && (s.Reason == expiredHold ||
			uncaptured > 0 && (!s.MovedMoney || i == 0 && s.Amount.Minor() == uncaptured))

		if !letGo {
			kept = append(kept, s)
		}
	}

	return kept
}

// Ours tells whether an operation of this installation has asked for it.
func (s Snapshot) Ours(i operation.Installation) bool {
	return s.Marked && s.Mark.Installation == i.ID && s.Mark.Kind == operation.Refund
}

// IDIn is the id of our record of it.
func (s Snapshot) IDIn(i operation.Installation) uuid.UUID {
	if s.Ours(i) {
		return s.Mark.Operation
	}

	return i.ObjectID(s.ID)
}

// Read is a payment's refunds as the provider lists them, all of them. known are those that we
// have written down. What the provider does not list, but may still make, stays: only its
// operation tells what becomes of it. So does one that was made and is not listed: it has not
// gone, because the provider deletes no refund.
//
// It is right only if the payment still has the version with which known was loaded before the
// provider was asked.
func Read(known []Refund, listed []Snapshot, paymentID uuid.UUID, i operation.Installation) []Refund {
	read := slices.Clone(known)

	for _, s := range listed {
		read = With(read, recordOf(read, s, paymentID, i).Taking(s))
	}

	return read
}

// recordOf is our record of a refund, or a new one. The provider's id comes first, because
// anybody may take the mark away, or copy it to another refund.
func recordOf(known []Refund, s Snapshot, paymentID uuid.UUID, i operation.Installation) Refund {
	if at := slices.IndexFunc(known, func(r Refund) bool { return r.ProviderID == s.ID }); at >= 0 {
		return known[at]
	}

	id, ours := s.IDIn(i), s.Ours(i)

	r, taken := Find(known, id)

	switch {
	case taken && !r.Made():
		return r
	case taken:
		id, ours = i.ObjectID(s.ID), false
	}

	r = Refund{ID: id, PaymentID: paymentID, Origin: FromStripe, CreatedAt: s.CreatedAt}
	if ours {
		r.Origin, r.Key = FromAPI, s.Key
	}

	return r
}

// Taking is r as the provider says.
func (r Refund) Taking(s Snapshot) Refund {
	r.ProviderID, r.Amount, r.Status = s.ID, s.Amount, s.Status
	r.Reason, r.FailureReason = s.Reason, s.FailureReason

	if s.Reference.Value != "" {
		r.Reference = s.Reference
	}

	if len(s.Metadata) > 0 || len(r.Metadata) > 0 { // no metadata and none given are the same
		r.Metadata = s.Metadata
	}

	return r
}

// Tells tells whether s says something that r, our record of it, does not have.
func (s Snapshot) Tells(r Refund) bool { return !r.Taking(s).SameAs(r) }
