package ports

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// FullPayment is a payment with all its refunds and disputes. Whoever changes one of them
// gives the payment a new version, so that all are of one moment.
//
// Heard stands for which events about its refunds and disputes were stored when it was loaded.
// It is zero where none was, and where it does not matter.
type FullPayment struct {
	Payment payment.Payment
	// Refunds and Disputes are in the order of their creation.
	Refunds  []refund.Refund
	Disputes []dispute.Dispute
	Heard    int64
}

// Seen is a payment as it was read or written a moment ago. What is decided about it is written only
// if the payment still has that version, under its lock. Else it is decided anew, under the lock.
type Seen struct {
	FullPayment

	// At is when, by the database's clock, and Here is the same moment by this process's.
	At, Here time.Time
}

// Now is the database's clock now, as far as this process can tell: it was read up to a round trip
// before, and PostgreSQL keeps microseconds.
func (s Seen) Now() time.Time { return s.At.Add(time.Since(s.Here)).Truncate(time.Microsecond) }

// Counting is f, whose payment has the sums of its refunds and disputes, as facts from the
// provider.
func (f FullPayment) Counting() FullPayment {
	counting := make([]payment.Dispute, 0, len(f.Disputes))
	for _, d := range f.Disputes {
		counting = append(counting, d.Counts())
	}

	f.Payment = f.Payment.Counting(f.Refunds, counting)

	return f
}

// Dispute is one of the payment's disputes; false if it has no such.
func (f FullPayment) Dispute(id uuid.UUID) (dispute.Dispute, bool) {
	at := slices.IndexFunc(f.Disputes, func(d dispute.Dispute) bool { return d.ID == id })
	if at < 0 {
		return dispute.Dispute{}, false
	}

	return f.Disputes[at], true
}

// Refunds reads refunds and changes nothing. An unreachable or overloaded database is
// fault.Unavailable.
type Refunds interface {
	// Refund returns a refund as it is now. None: fault.NotFound.
	Refund(ctx context.Context, id uuid.UUID) (refund.Refund, error)

	// FullPayment returns a payment with its refunds and disputes. They are read after the
	// payment: they may be younger than its version says, but never older. So what is written
	// on the condition of that version was decided from what belongs to it. None:
	// fault.NotFound.
	FullPayment(ctx context.Context, id uuid.UUID) (FullPayment, error)

	// See is FullPayment for a new operation on it, and tells whether an operation has that id. Heard
	// is not read. None: fault.NotFound.
	See(ctx context.Context, id, operation uuid.UUID) (seen Seen, used bool, err error)

	// RefundsMade returns up to limit refunds that the provider is known to have made, created
	// between two times, both included, by our records.
	RefundsMade(ctx context.Context, from, to time.Time, limit int) ([]refund.Refund, error)

	// Overdrawn returns up to limit payments of which more was taken than was captured.
	Overdrawn(ctx context.Context, limit int) ([]payment.Payment, error)
}

// RefundLists finds refunds. It changes nothing. An unreachable or overloaded database is
// fault.Unavailable.
type RefundLists interface {
	// ListRefunds returns up to limit refunds that fit the filter and come after a position, the
	// newest first; a zero position is the beginning. It looks at a bounded number of refunds, so a
	// page of a filter that few fit may be short, or empty, while there are more.
	ListRefunds(ctx context.Context, filter RefundFilter, after list.Position, limit int) (RefundPage, error)
}

// RefundFilter says which refunds are looked for. A zero field leaves nothing out.
type RefundFilter struct {
	// Tenant is whose refunds are looked for. It is never zero.
	Tenant    operation.Tenant
	Status    refund.Status
	Reason    string
	Origin    refund.Origin
	PaymentID uuid.UUID
	Currency  money.Currency
	// Amount is in the Currency.
	Amount  list.Range
	Created list.Span
}

// Fits tells whether a refund is looked for.
func (f RefundFilter) Fits(r refund.Refund) bool {
	minor := r.Amount.Minor()

	return f.Tenant == r.Tenant && (f.Status == "" || f.Status == r.Status) && (f.Reason == "" || f.Reason == r.Reason) &&
		(f.Origin == "" || f.Origin == r.Origin) && (f.PaymentID == uuid.Nil || f.PaymentID == r.PaymentID) &&
		(f.Currency.Code() == "" || f.Currency == r.Amount.Currency()) && f.Created.Has(r.CreatedAt) &&
		(f.Amount.From.IsZero() || minor >= f.Amount.From.Minor()) && (f.Amount.To.IsZero() || minor <= f.Amount.To.Minor())
}

// RefundPage is a part of a list.
type RefundPage struct {
	Refunds []refund.Refund
	// Next is the position to go on from; zero if there are no more.
	Next list.Position
}

// PositionOfRefund is where a refund stands in a list.
func PositionOfRefund(r refund.Refund) list.Position { return list.Position{At: r.CreatedAt, ID: r.ID} }

// Reserve says what an operation reserves of its payment, and the refund that is written with
// it. f is as it was written, under the payment's lock. After an error nothing is written, and
// the error is returned. It may be asked more than once.
type Reserve func(f FullPayment) (FullPayment, error)

// DecideFull is Decide for an operation on refunds or disputes. A refund that changes has the
// time of the payment's change, if its version has grown with it.
type DecideFull func(f FullPayment) (FullPayment, FrozenResponse, error)

// RefundReads is the part of Provider that reads refunds.
type RefundReads interface {
	// RefundsOf reads all refunds of an intent, oldest first. It sees a refund as soon as it
	// exists. One that cannot be read is ErrContradiction. Where the provider is known to have no
	// refunds at all there are none.
	RefundsOf(ctx context.Context, intentID string) ([]refund.Snapshot, error)

	// Refunds reads every refund created between from and to, as Intents does.
	Refunds(ctx context.Context, from, to time.Time) iter.Seq2[refund.Snapshot, error]
}

// RefundCalls is the part of Calls about refunds.
type RefundCalls interface {
	// Refund gives the order's amount back, of the payment that the intent is of. The refund
	// carries the mark, the payment's id, and the client's key if there is one.
	Refund(mark operation.Mark, key operation.Key, paymentID uuid.UUID, intentID string, order operation.Order) (Call, error)

	// CancelRefund cancels a refund, by the provider's id.
	CancelRefund(mark operation.Mark, refundID string) (Call, error)
}

// RefundRenderer is the part of Renderer about refunds.
type RefundRenderer interface {
	// RefundMade and Refund are the answers to a client whose operation has made the refund, or
	// left it, as r is.
	RefundMade(r refund.Refund) FrozenResponse
	Refund(r refund.Refund) FrozenResponse
}
