package ports

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/operation"
)

// Disputes reads disputes and changes nothing: they are written with their payment, by Facts and
// Operations. An unreachable or overloaded database is fault.Unavailable.
type Disputes interface {
	// Dispute returns a dispute. None: fault.NotFound.
	Dispute(ctx context.Context, id uuid.UUID) (dispute.Dispute, error)

	// DisputesByProviderID returns disputes by the provider's ids. One that is not there is left out.
	DisputesByProviderID(ctx context.Context, ids []string) (map[string]dispute.Dispute, error)

	// OpenDisputes returns up to limit disputes that are not decided, those with the next greater
	// ids.
	OpenDisputes(ctx context.Context, after uuid.UUID, limit int) ([]dispute.Dispute, error)

	// ListDisputes returns up to limit disputes that fit the filter and come after a position; a
	// zero one is the beginning. They are sorted newest first, or by their deadline, the first one
	// first: then those without one are not among them. The position is of what they are sorted by.
	ListDisputes(ctx context.Context, filter DisputeFilter, after list.Position, limit int) ([]dispute.Dispute, error)
}

// DisputeFilter says which disputes are looked for. A zero field leaves nothing out.
type DisputeFilter struct {
	// Tenant is whose disputes are looked for. It is never zero.
	Tenant    operation.Tenant
	Status    dispute.Status
	Kind      dispute.Kind
	PaymentID uuid.UUID
	// Due is until when evidence is taken. A span leaves those out that have no deadline.
	Due     list.Span
	Created list.Span
	// ByDue sorts by the deadline.
	ByDue bool
}

// Fits tells whether a dispute is looked for.
func (f DisputeFilter) Fits(d dispute.Dispute) bool {
	return f.Tenant == d.Tenant && (f.Status == "" || f.Status == d.Status) && (f.Kind == "" || f.Kind == d.Kind()) &&
		(f.PaymentID == uuid.Nil || f.PaymentID == d.PaymentID) && f.Created.Has(d.CreatedAt) &&
		(!f.needsDue() || !d.EvidenceDueBy.IsZero() && f.Due.Has(d.EvidenceDueBy))
}

func (f DisputeFilter) needsDue() bool { return f.ByDue || f.Due != (list.Span{}) }

// PositionOf is where a dispute stands in a list.
func (f DisputeFilter) PositionOf(d dispute.Dispute) list.Position {
	if f.ByDue {
		return list.Position{At: d.EvidenceDueBy, ID: d.ID}
	}

	return list.Position{At: d.CreatedAt, ID: d.ID}
}

// DisputeObject is the provider's side of a dispute.
type DisputeObject struct {
	dispute.Snapshot

	// IntentID is the intent of the payment that is disputed; empty if it has none, so that it is
	// not ours.
	IntentID string
	// Evidence is the mark of the operation that gave or staged evidence last; zero if none of
	// ours did.
	Evidence operation.Mark
	// Live is the mode that it is from; nil if it does not say so.
	Live *bool
}

// DisputeReads is the part of Provider that reads disputes. What is read is complete: if a part
// cannot be read, it is an error.
type DisputeReads interface {
	// Disputes reads every dispute about an intent, newest first, as soon as it exists, each with
	// all that it has moved on our balance. What cannot be an intent's id is fault.NotFound. Where the
	// key may not list disputes there are none, so nobody concludes that one that is known has gone.
	Disputes(ctx context.Context, intentID string) ([]DisputeObject, error)

	// Dispute reads a dispute. None: fault.NotFound.
	Dispute(ctx context.Context, id string) (DisputeObject, error)

	// DisputesBetween reads every dispute created between from and to, as Intents does. One that
	// cannot be read is an error, and the reading goes on. Where the key may not list disputes, there
	// are none.
	DisputesBetween(ctx context.Context, from, to time.Time) iter.Seq2[DisputeObject, error]
}

// DisputeCalls is the part of Calls about disputes.
type DisputeCalls interface {
	// SubmitEvidence gives the texts that the order's options name to the bank, with all that was
	// staged before; an empty one takes away what was staged. Without the option
	// dispute.OptionSubmit they are only staged. The dispute carries the mark afterwards.
	SubmitEvidence(mark operation.Mark, disputeID string, order operation.Order) (Call, error)

	// AcceptDispute gives in: the dispute is lost, for good.
	AcceptDispute(mark operation.Mark, disputeID string, order operation.Order) (Call, error)
}

// DisputeRenderer is the part of Renderer about disputes.
type DisputeRenderer interface {
	// Dispute is the answer to a client whose operation has left the dispute as d is.
	Dispute(d dispute.Dispute) FrozenResponse
}
