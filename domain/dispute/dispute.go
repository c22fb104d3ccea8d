// Package dispute says what a dispute is: a customer's bank that asks for the money of a
// payment back. It decides what follows from what the provider says of one: how much counts
// against the payment, whether refunds are blocked, and what may be done about it.
package dispute

import (
	"bytes"
	"cmp"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// Kind says whether the bank has taken the money or only asks.
type Kind string

// The kinds.
const (
	// Inquiry: the bank asks. No money has moved, and refunds are possible: a full one ends it.
	Inquiry Kind = "inquiry"
	// Chargeback: the bank takes the money at once, and gives it back to whoever wins.
	Chargeback Kind = "chargeback"
)

// Status is Stripe's word for where a dispute stands
// (https://docs.stripe.com/api/disputes/object#dispute_object-status). There may be others,
// which are kept as they are.
type Status string

// The words that decide something.
const (
	InquiryNeedsResponse Status = "warning_needs_response"
	InquiryUnderReview   Status = "warning_under_review"
	InquiryClosed        Status = "warning_closed"
	NeedsResponse        Status = "needs_response"
	UnderReview          Status = "under_review"
	Won                  Status = "won"
	Lost                 Status = "lost"
)

// Kind is that of a dispute with this status. A word that is not known is a chargeback's, unless
// it begins as those of inquiries do: it is safer to believe that money is asked back.
func (s Status) Kind() Kind {
	if strings.HasPrefix(string(s), "warning_") {
		return Inquiry
	}

	return Chargeback
}

// Closed tells whether the bank has decided. It may still change its mind: what is lost may
// become won (https://docs.stripe.com/disputes/how-disputes-work#late-wins). A word that is not known does
// not close a dispute.
func (s Status) Closed() bool { return s == Won || s == Lost || s == InquiryClosed }

// NeedsResponse tells whether the bank waits for evidence.
func (s Status) NeedsResponse() bool { return s == NeedsResponse || s == InquiryNeedsResponse }

// Dispute is one dispute about a payment, as the provider last said. Only a snapshot changes it.
type Dispute struct {
	Snapshot

	// ID is made of the installation and the provider's id, so that a database that has lost
	// the dispute gives it the same id again.
	ID uuid.UUID
	// Tenant is the payment's.
	Tenant    operation.Tenant
	PaymentID uuid.UUID
	// Counted is how much of the payment it takes away, in the payment's currency.
	Counted money.Money
	// Version grows with every change.
	Version   int64
	UpdatedAt time.Time
}

// Snapshot is what the provider says of a dispute at one moment.
type Snapshot struct {
	// ProviderID is the provider's: "du_…" at Stripe.
	ProviderID string
	// Amount is what is disputed. It may differ from what was paid, also in its currency.
	Amount money.Money
	Status Status
	// Reason is Stripe's word, and NetworkReasonCode the card network's; empty if not said.
	Reason, NetworkReasonCode string
	// EvidenceDueBy is until when evidence is taken; zero if none is.
	EvidenceDueBy time.Time
	// Submissions is how often evidence was given to the bank.
	Submissions int
	// Balance is what the dispute has moved on our balance at the provider, oldest first.
	Balance []Balance
	// CreatedAt is the provider's time, in UTC.
	CreatedAt time.Time
}

// Balance is one movement of money on our balance at the provider, in that balance's currency.
type Balance struct {
	// Amount is negative if it was taken from us. Fee is on top of that; a negative one was
	// given back.
	Amount, Fee money.Money
	At          time.Time
}

// Kind says whether the bank has taken the money or only asks.
func (s Snapshot) Kind() Kind { return s.Status.Kind() }

// Blocks tells whether no refund may be made because of the dispute: while a chargeback is open,
// the customer would be paid twice
// (https://docs.stripe.com/disputes/how-disputes-work). A dispute whose status is not known is taken for open.
func (s Snapshot) Blocks() bool { return s.Kind() == Chargeback && !s.Status.Closed() }

// CanAnswer tells whether the bank takes evidence or that the dispute is accepted.
func (s Snapshot) CanAnswer(now time.Time) bool {
	return s.Status.NeedsResponse() && !s.EvidenceDueBy.IsZero() && !now.After(s.EvidenceDueBy)
}

// IsOverdue tells whether the time for an answer is over, though none was given.
func (s Snapshot) IsOverdue(now time.Time) bool {
	return s.Status.NeedsResponse() && !s.EvidenceDueBy.IsZero() && now.After(s.EvidenceDueBy)
}

// CountedOf is how much of what a payment has captured the dispute takes away. Whether money is
// gone is what the balance says, never the status: what is lost may come back in part, and what
// was won may not be back yet. Of what is gone the same share of the dispute's amount counts, rounded
// up, at most what was captured: all of that if the dispute is in another currency.
func (s Snapshot) CountedOf(captured money.Money) money.Money {
	away, of := s.away()

	if s.Kind() == Inquiry || away <= 0 {
		return money.Of(0, captured.Currency())
	}

	if s.Amount.Currency() != captured.Currency() {
		return captured
	}

	share := big.NewInt(s.Amount.Minor())
	share.Mul(share, big.NewInt(away))
	share.Add(share, big.NewInt(of-1))
	share.Quo(share, big.NewInt(of))

	if most := big.NewInt(captured.Minor()); share.Cmp(most) > 0 {
		return captured
	}

	return money.Of(share.Int64(), captured.Currency())
}

// away is how much of all that was taken is not back. Sums in two currencies cannot be compared:
// then all is gone until the dispute is won and something came back.
func (s Snapshot) away() (away, of int64) {
	back, mixed := int64(0), false

	for _, b := range s.Balance {
		if minor := b.Amount.Minor(); minor < 0 {
			of -= minor
		} else {
			back += minor
		}

		mixed = mixed || b.Amount.Currency() != s.Balance[0].Amount.Currency()
	}

	switch {
	case mixed && s.Status == Won && back > 0:
		return 0, of
	case mixed:
		return of, of
	default:
		return of - back, of
	}
}

// SameAs tells whether nothing differs but the version and the time of the change.
func (d Dispute) SameAs(e Dispute) bool {
	return d.ID == e.ID && d.PaymentID == e.PaymentID && d.Counted == e.Counted && d.Snapshot.SameAs(e.Snapshot)
}

// SameAs tells whether the provider says the same.
func (s Snapshot) SameAs(t Snapshot) bool {
	return s.ProviderID == t.ProviderID && s.Amount == t.Amount && s.Status == t.Status && s.Reason == t.Reason &&
		s.NetworkReasonCode == t.NetworkReasonCode && s.EvidenceDueBy.Equal(t.EvidenceDueBy) &&
		s.Submissions == t.Submissions && s.CreatedAt.Equal(t.CreatedAt) &&
		slices.EqualFunc(s.Balance, t.Balance, func(a, b Balance) bool {
			return a.Amount == b.Amount && a.Fee == b.Fee && a.At.Equal(b.At)
		})
}

// NextVersion is the version of a dispute that changes now. It also grows if a database has
// lost its last minutes, because then the time has gone on.
func (d Dispute) NextVersion(now time.Time) int64 { return max(d.Version+1, now.UnixMilli()) }

// Following is a payment's disputes as the snapshots say that were read after known was loaded,
// oldest first. of is the payment as it was read, and id makes the id of a dispute that is new.
// One that is no longer read stays as it was: the provider deletes none.
func Following(
	known []Dispute, read []Snapshot, of payment.Payment, id func(providerID string) uuid.UUID,
) []Dispute {
	after := slices.Clone(known)

	for _, s := range read {
		at := slices.IndexFunc(after, func(d Dispute) bool { return d.ProviderID == s.ProviderID })
		if at < 0 {
			after = append(after, Dispute{ID: id(s.ProviderID), Tenant: of.Tenant, PaymentID: of.ID})
			at = len(after) - 1
		}

		after[at].Snapshot = s
	}

	for i := range after {
		after[i].Counted = after[i].CountedOf(of.Received())
	}

	slices.SortFunc(after, func(a, b Dispute) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})

	return after
}

// Counts is what counts of d against its payment.
func (d Dispute) Counts() payment.Dispute {
	return payment.Dispute{ID: d.ID, Status: string(d.Status), Counted: d.Counted, Blocks: d.Blocks()}
}
