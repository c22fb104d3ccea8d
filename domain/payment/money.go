package payment

import (
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/refund"
)

// MaxRefunds is the most refunds that may be asked for of one payment.
const MaxRefunds = 500

// Dispute is what counts of a dispute against its payment.
type Dispute struct {
	ID uuid.UUID
	// Status is the provider's word.
	Status string
	// Counted is what it takes, in the payment's currency.
	Counted money.Money
	// Blocks: nothing can be refunded while it is so.
	Blocks bool
}

// Counting is p with the sums of its refunds and disputes, all of them, as the provider says.
// The sums are absolute: no sum is ever made of another one.
func (p Payment) Counting(refunds []refund.Refund, disputes []Dispute) Payment {
	return p.WithRefunds(refunds).WithDisputes(disputes).Balanced()
}

// WithRefunds is p with the sums of all its refunds.
func (p Payment) WithRefunds(refunds []refund.Refund) Payment {
	sums := refund.SumsOf(refunds)
	p.RefundPending, p.Refunded = p.sum(sums.Pending), p.sum(sums.Refunded)

	return p
}

// WithDisputes is p with what all its disputes count, in the order in which they were opened.
// The one that counts most is the last that blocks refunds, else the last.
func (p Payment) WithDisputes(disputes []Dispute) Payment {
	p.Disputed, p.DisputeStatus, p.BlockedBy = p.sum(0), "", uuid.Nil

	var counted int64

	for _, d := range disputes {
		counted += max(d.Counted.Minor(), 0)

		if d.Blocks || p.BlockedBy == uuid.Nil {
			p.DisputeStatus = d.Status
		}

		if d.Blocks {
			p.BlockedBy = d.ID
		}
	}

	p.Disputed = p.sum(counted)

	return p
}

// Balanced is p with Overdrawn set to exactly what exceeds the captured amount, so that it falls
// again. It is for facts from the provider alone: what we ask for must fit without it.
func (p Payment) Balanced() Payment {
	if over := max(p.taken()-p.Received().Minor(), 0); over != p.Overdrawn.Minor() {
		p.Overdrawn = p.sum(over)
	}

	return p
}

func (p Payment) sum(minor int64) money.Money { return money.Of(minor, p.Amount.Currency()) }

// taken is what refunds and disputes take, in minor units.
func (p Payment) taken() int64 {
	return p.RefundPending.Minor() + p.Refunded.Minor() + p.Disputed.Minor()
}

// Refundable is how much can be refunded now: nothing while a dispute blocks it.
func (p Payment) Refundable() money.Money {
	if p.Status != Succeeded || p.BlockedBy != uuid.Nil {
		return p.sum(0)
	}

	return p.sum(max(p.Received().Minor()-p.taken(), 0))
}

// SameMoney tells whether the sums of refunds and disputes are the same.
func (p Payment) SameMoney(q Payment) bool {
	return p.RefundPending.Minor() == q.RefundPending.Minor() && p.Refunded.Minor() == q.Refunded.Minor() &&
		p.Disputed.Minor() == q.Disputed.Minor() && p.Overdrawn.Minor() == q.Overdrawn.Minor() &&
		p.DisputeStatus == q.DisputeStatus && p.BlockedBy == q.BlockedBy
}

// RefundAsk is a refund that a client asks for.
type RefundAsk struct {
	Amount money.Price
	// Expected is what the client believes can be refunded; zero if it does not say so.
	Expected money.Price
	// Versions are those of the payment with which it may be done; nil: any.
	Versions []int64
}

// MayRefund is nil if, as far as we know, the refund can be given. Its errors are
//   - fault.PreconditionFailed: the client has not seen the payment as it is;
//   - fault.InvalidState: it is not paid;
//   - fault.Disputed: a chargeback is open;
//   - fault.AmountExceeded: there is not that much left.
func (p Payment) MayRefund(ask RefundAsk) *fault.Error {
	left := p.Refundable()

	switch {
	case ask.Versions != nil && !slices.Contains(ask.Versions, p.Version):
		f := fault.Newf(fault.PreconditionFailed, "The payment has version %d, which If-Match does not name. Nothing was done. "+
			"Read it again before you decide.", p.Version)
		f.Version = p.Version

		return p.about(f)
	case p.Status != Succeeded:
		f := fault.Newf(fault.InvalidState, "The payment is %s: there is nothing to give back.", p.Status)
		f.Allowed = []string{}

		for _, allowed := range p.Allowed() {
			f.Allowed = append(f.Allowed, string(allowed))
		}

		return p.about(f)
	case p.BlockedBy != uuid.Nil:
		f := fault.New(fault.Disputed, "The customer has disputed this payment, so nothing can be refunded until that is decided. "+
			"To give the money back, accept the dispute.")
		f.DisputeID = p.BlockedBy

		return p.about(f)
	case !ask.Expected.IsZero() && ask.Expected.Money() != left:
		f := fault.Newf(fault.PreconditionFailed, "%s can be refunded, not %s as expected_refundable says. Nothing was done. "+
			"Read the payment again before you decide.", left, ask.Expected)
		f.Available, f.Version = left.Decimal(), p.Version

		return p.about(f)
	case ask.Amount.Currency() != p.Amount.Currency() || ask.Amount.Minor() > left.Minor():
		f := fault.Newf(fault.AmountExceeded, "%s cannot be refunded: %s is left.", ask.Amount, left)
		f.Available = left.Decimal()

		return p.about(f)
	default:
		return nil
	}
}

// Reserve is p, whose refunds these are, with another one that is asked for. It decides under
// the payment's lock: what it allows is written in the same commit. Its errors are those of
// MayRefund, and fault.InvalidState if there are too many.
func (p Payment) Reserve(refunds []refund.Refund, r refund.Refund, ask RefundAsk) (Payment, error) {
	p = p.WithRefunds(refunds)

	if f := p.MayRefund(ask); f != nil {
		return p, f
	}

	if len(refunds) >= MaxRefunds {
		return p, p.about(fault.Newf(fault.InvalidState, "The payment has %d refunds already, which is the most.", len(refunds)))
	}

	// Overdrawn stays as it is: it is not ours to set.
	return p.WithRefunds(refund.With(refunds, r)), nil
}

func (p Payment) about(f *fault.Error) *fault.Error {
	f.PaymentID, f.IntentStatus = p.ID, string(p.IntentStatus)

	return f
}

// MoneyTold is what an event about a payment's refunds or disputes says.
type MoneyTold struct {
	// Marked: the object has the mark of an operation of ours.
	Marked bool
	// GivenBack is what the charge says was refunded, with what a partial capture has let go;
	// zero money if it is not said.
	GivenBack money.Money
	// Refund is the refund that it is about, and Known our record of that; nil if there is none.
	Refund *refund.Snapshot
	Known  *refund.Refund
}

// DecideMoney says what an event about a payment's refunds or disputes does. None is ever
// applied: it only tells that there may be something to read, and the payment stays as it is.
func DecideMoney(t MoneyTold, k Known) (Verdict, Payment) {
	switch p := k.Payment; {
	case p != nil && p.explains(t):
		return Stale, *p
	case p != nil:
		return Hints, *p
	case k.Operation != nil: // it comes with the payment
		return Early, Payment{}
	case t.Marked:
		return Lost, Payment{}
	default: // nothing in it is ours, and there is no payment
		return Foreign, Payment{}
	}
}

// explains tells whether there is nothing to read: our records say of the refund what the event says,
// or as much was given back as we know of. A sum may be made up of other refunds than ours. But then
// one of ours has failed, and whoever writes that has read it after this event, with the others: nobody
// writes what was read before an event was stored (ports.Facts). model/refunds has the stories.
//
// What is reserved explains nothing, because it may never be made. What a partial capture lets go is
// no refund: whether Stripe counts it or not, the sum is at least what was given back.
func (p Payment) explains(t MoneyTold) bool {
	switch {
	case t.Refund != nil:
		return t.Known != nil && !t.Refund.Tells(*t.Known)
	case t.GivenBack.IsZero(): // it is about a dispute, or does not say
		return false
	case p.Status == Cancelled: // what was held is let go
		return true
	default:
		return t.GivenBack.Currency() == p.Amount.Currency() && t.GivenBack.Minor() <= p.Refunded.Minor()
	}
}
