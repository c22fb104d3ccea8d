package ports

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// FullPayment is a payment with all its refunds and disputes. Whoever changes one of them
// gives the payment a new version, so that all are of one moment.
type FullPayment struct {
	Payment payment.Payment
	// Refunds and Disputes are in the order of their creation.
	Refunds  []refund.Refund
	Disputes []payment.Dispute
}

// Counting is f, whose payment has the sums of its refunds and disputes, as facts from the
// provider.
func (f FullPayment) Counting() FullPayment {
	f.Payment = f.Payment.Counting(f.Refunds, f.Disputes)

	return f
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

	// RefundsMade returns up to limit refunds that the provider is known to have made, created
	// between two times, both included, by our records.
	RefundsMade(ctx context.Context, from, to time.Time, limit int) ([]refund.Refund, error)

	// Overdrawn returns up to limit payments of which more was taken than was captured.
	Overdrawn(ctx context.Context, limit int) ([]payment.Payment, error)
}

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
	// exists. One that cannot be read is ErrContradiction.
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
