package payment

import (
	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/money"
)

// Told is what an event of the provider's says about a payment.
type Told struct {
	// PaymentID is our id as the provider remembers it; uuid.Nil if it does not say.
	PaymentID uuid.UUID
	// Amount is zero if it does not say.
	Amount money.Price
	// Status is the one that the event asks for; empty if it only confirms what we
	// have.
	Status Status
}

// Known is what we have written down about the intent of an event.
type Known struct {
	// Payment is the payment of the intent; nil if there is none.
	Payment *Payment
	// Operation is the operation of Told.PaymentID; nil if there is none. It is not
	// looked at if there is a payment.
	Operation *KnownOperation
}

// KnownOperation is what counts of an operation whose payment is not there.
type KnownOperation struct {
	// Ended: it made another payment, or was rejected.
	Ended bool
	// InHand: somebody is sending it at this moment.
	InHand bool
}

// Verdict is what follows from an event.
type Verdict string

// The verdicts.
const (
	// Applies: the payment moves to the status that the event asks for.
	Applies Verdict = "applies"
	// Stale: the payment has that status already, or a later one.
	Stale Verdict = "stale"
	// Ignored: it changes nothing that we keep.
	Ignored Verdict = "ignored"
	// Contradicts: it does not fit what we have written down. A person has to look.
	Contradicts Verdict = "contradicts"
	// Early: its payment is not here yet.
	Early Verdict = "early"
	// Finishes: an open operation has its intent now and has to be finished first.
	Finishes Verdict = "finishes"
)

// Judge decides what an event does. It is the only place that does.
func Judge(t Told, k Known) Verdict {
	switch {
	case k.Payment != nil:
		return k.Payment.judge(t)
	case k.Operation != nil:
		return k.Operation.judge(t)
	case t.Status != "":
		return Early
	default:
		return Ignored
	}
}

func (p *Payment) judge(t Told) Verdict {
	switch {
	case t.PaymentID != uuid.Nil && t.PaymentID != p.ID, !t.Amount.IsZero() && t.Amount != p.Amount:
		return Contradicts
	case p.Status.CanBecome(t.Status):
		return Applies
	default:
		return Stale
	}
}

func (o *KnownOperation) judge(t Told) Verdict {
	switch {
	case o.Ended:
		return Contradicts
	case o.InHand && t.Status == "": // whoever sends it will have the intent in a moment
		return Stale
	default:
		return Finishes
	}
}
