package payment

import (
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
)

// Snapshot is what the provider says about a payment's intent at one moment. A field is
// zero if it is not said.
type Snapshot struct {
	// PaymentID is our id as the provider remembers it.
	PaymentID     uuid.UUID
	Amount        money.Price
	Status        Status
	IntentStatus  IntentStatus
	CaptureMethod CaptureMethod
	// Capturable and Captured are the zero value if they are not said: zero dollars are.
	Capturable, Captured money.Money
	CaptureBefore        time.Time
	// Declined: the last attempt to pay was declined.
	Declined bool
	// Method and Decline are of the last attempt to pay.
	Method  Method
	Decline Decline
}

// Told is what one of the provider's events says about a payment.
type Told struct {
	Snapshot

	// Asks is the status that the event asks for; empty if it tells of a step on the way.
	Asks Status
	// Unmarked: the object has metadata, but nothing in them is ours. Marked: it has the
	// mark of an operation of ours.
	Unmarked, Marked bool
}

// Known is what we have written down about the intent of an event.
type Known struct {
	// Payment is the payment of the intent; nil if there is none.
	Payment *Payment
	// Operation is the operation of Told.PaymentID; nil if there is none. It is not
	// looked at if there is a payment.
	Operation *KnownOperation
}

// KnownOperation is what counts of a create whose payment is not there.
type KnownOperation struct {
	// Ended: it made another payment, or was rejected.
	Ended bool
	// InHand: somebody is sending it at this moment.
	InHand bool
}

// Verdict is what follows from an event, or from an intent that was read.
type Verdict string

// The verdicts.
const (
	// Applies: the payment changes.
	Applies Verdict = "applies"
	// Hints: the payment may have changed, but only reading its intent tells. What an event of the
	// intent tells for sure is applied at once, and the payment gets a new version.
	Hints Verdict = "hints"
	// Stale: the payment is there already, or further.
	Stale Verdict = "stale"
	// Ignored: it changes nothing that we keep.
	Ignored Verdict = "ignored"
	// Foreign: it is about an object that is not ours.
	Foreign Verdict = "foreign"
	// Contradicts: it does not fit what we have written down. A person has to look.
	Contradicts Verdict = "contradicts"
	// Early: its payment is not here yet.
	Early Verdict = "early"
	// Lost: it is about a payment of ours that the database has lost.
	Lost Verdict = "lost"
	// Finishes: an open operation has its intent now and has to be finished first.
	Finishes Verdict = "finishes"
)

// Decide says what an event does, and how the payment is afterwards. Without Applies or
// Hints the payment stays as it is.
//
// Succeeded and cancelled are applied from the event, because they are final. Anything else
// that an event tells may be past already, because events come late and in any order
// (https://docs.stripe.com/webhooks#event-ordering), and their times are no help: they have
// seconds. So a step on the way is applied only if it leads forward. Once an attempt was
// declined, the way begins again, and "forward" has no meaning: then the intent is read.
func Decide(t Told, k Known) (Verdict, Payment) {
	switch {
	case k.Payment != nil:
		return k.Payment.decide(t)
	case t.Unmarked:
		return Foreign, Payment{}
	case k.Operation != nil:
		return k.Operation.decide(t), Payment{}
	case t.Marked: // an operation is written down before its object is made
		return Lost, Payment{}
	case t.PaymentID != uuid.Nil: // no mark, and no row that is as old as the marks
		return Foreign, Payment{}
	case t.Asks != "":
		return Early, Payment{}
	default:
		return Ignored, Payment{}
	}
}

func (o *KnownOperation) decide(t Told) Verdict {
	switch {
	case o.Ended:
		return Contradicts
	case o.InHand && t.Asks == "" && !t.IntentStatus.isStep(): // whoever sends it will have the intent in a moment
		return Stale
	default:
		return Finishes
	}
}

func (p Payment) decide(t Told) (Verdict, Payment) {
	switch {
	case p.differs(t.Snapshot):
		return Contradicts, p
	case t.Asks.Final():
		return p.end(t.Snapshot, t.Asks)
	case p.Status.Final():
		return Stale, p
	case p.Declined, p.Status == Failed, t.Asks == Failed && p.IntentStatus.mayBeUnderWay(), t.Asks == "" && t.Declined:
		p.Declined = true // now, because the next event may come before the intent is read

		return Hints, p
	case t.Asks == Failed:
		p.Status, p.IntentStatus, p.Declined = Failed, IntentRequiresPaymentMethod, true
		p = p.taking(t.Snapshot)

		return Applies, p
	case t.IntentStatus.rank() > p.IntentStatus.rank():
		p.IntentStatus = t.IntentStatus
		p = p.taking(t.Snapshot)

		if p.IntentStatus == IntentRequiresCapture && p.CaptureBefore.IsZero() {
			return Hints, p // only reading tells when the hold lapses
		}

		return Applies, p
	case t.IntentStatus == IntentRequiresCapture && p.IntentStatus == IntentRequiresCapture && p.CaptureBefore.IsZero():
		return Hints, p // it was born so
	default:
		return Stale, p
	}
}

// differs: the intent is of another payment, or of another amount.
func (p Payment) differs(s Snapshot) bool {
	return s.PaymentID != uuid.Nil && s.PaymentID != p.ID || !s.Amount.IsZero() && s.Amount != p.Amount
}

// end gives a payment a final status. Another final status, or another sum, contradicts
// what we have, except that less was captured than is known so far.
func (p Payment) end(s Snapshot, status Status) (Verdict, Payment) {
	most := p.Amount.Money()
	if p.Status.Final() {
		most = p.Received()
	}

	received := s.Captured

	switch {
	case status == Cancelled:
		received = money.Of(0, p.Amount.Currency())
	case received.Minor() == 0: // it is not said: nobody succeeds in paying nothing
		received = most
	}

	compared, err := received.Compare(most)

	switch {
	case err != nil || compared > 0 || p.Status.Final() && p.Status != status:
		return Contradicts, p
	case p.Status.Final() && compared == 0:
		return Stale, p
	}

	p.Status, p.IntentStatus = status, IntentSucceeded
	if status == Cancelled {
		p.IntentStatus = IntentCanceled
	}

	s.Captured = received
	p = p.taking(s).Balanced()

	return Applies, p
}

// Read says what follows from an intent that was read after the payment p was loaded, and
// how the payment is afterwards. It is right only if the payment still has p's version
// when it is written. The verdict is Applies, Stale or Contradicts.
func Read(p Payment, s Snapshot) (Verdict, Payment) {
	switch {
	case p.differs(s), p.Status.Final() && !s.Status.Final():
		return Contradicts, p
	case s.Status.Final():
		return p.end(s, s.Status)
	}

	before := p
	p.Status, p.Declined = s.Status, p.Declined || s.Declined || p.wentBack(s)

	if s.IntentStatus != "" {
		p.IntentStatus = s.IntentStatus
	}

	// Any update of an intent clears what it says of its decline
	// (https://docs.stripe.com/api/payment_intents/object#payment_intent_object-last_payment_error).
	if p.Declined && p.IntentStatus == IntentRequiresPaymentMethod {
		p.Status = Failed
	}

	p = p.taking(s)

	if p.SameAs(before) {
		return Stale, p
	}

	return Applies, p
}

// wentBack: the intent stands before where it stood, which only a decline brings about. But
// a capture that is under way moves it from requires_capture to processing.
func (p Payment) wentBack(s Snapshot) bool {
	rank := s.IntentStatus.rank()

	return 0 < rank && rank < p.IntentStatus.rank() && p.IntentStatus != IntentRequiresCapture
}

// SameAs tells whether nothing of what may change differs, the version apart.
func (p Payment) SameAs(q Payment) bool {
	return p.Status == q.Status && p.IntentStatus == q.IntentStatus && p.CaptureMethod == q.CaptureMethod &&
		p.Capturable == q.Capturable && p.Captured == q.Captured && p.CaptureBefore.Equal(q.CaptureBefore) &&
		p.Declined == q.Declined && p.Method == q.Method && p.Decline == q.Decline && p.SameMoney(q)
}

// taking is p with what a snapshot says beside the status.
func (p Payment) taking(s Snapshot) Payment {
	held := p.IntentStatus == IntentRequiresCapture

	if s.CaptureMethod != "" {
		p.CaptureMethod = s.CaptureMethod
	}

	if s.Captured.Minor() > 0 {
		p.Captured = s.Captured
	}

	switch {
	case !held:
		p.Capturable, p.CaptureBefore = money.Of(0, p.Amount.Currency()), time.Time{}
	case !s.Capturable.IsZero():
		p.Capturable = s.Capturable
	}

	if held && !s.CaptureBefore.IsZero() {
		p.CaptureBefore = s.CaptureBefore
	}

	if s.Method.Type != "" {
		p.Method = s.Method
	}

	return p.withDecline(s)
}

// withDecline is p with the reason of its decline. Any update of an intent clears what it
// says of that, so a reason that is not said stays, until another attempt begins or succeeds.
func (p Payment) withDecline(s Snapshot) Payment {
	switch {
	case p.Status == Pending, p.Status == Succeeded:
		if !p.Decline.IsZero() && s.Method.Type == "" { // it is the declined attempt's
			p.Method = Method{}
		}

		p.Decline = Decline{}
	case !s.Decline.IsZero():
		p.Decline = s.Decline
	}

	return p
}

// NextVersion is the version of a payment that changes now. It also grows if a database
// has lost its last minutes, because then the time has gone on.
func (p Payment) NextVersion(now time.Time) int64 { return max(p.Version+1, now.UnixMilli()) }

// Accepted is p as the provider has it, by a person's decision: also with another amount
// or another final status than ours. If there is nothing to accept, or the intent is of
// another payment or in another currency, the error is fault.Invalid.
func Accepted(p Payment, s Snapshot) (Payment, error) {
	switch {
	case s.PaymentID != uuid.Nil && s.PaymentID != p.ID:
		return p, fault.Newf(fault.Invalid, "The intent is of payment %s, not of %s.", s.PaymentID, p.ID)
	case s.Amount.IsZero() || s.Amount.Currency() != p.Amount.Currency():
		return p, fault.Newf(fault.Invalid, "The intent is not in %s: it cannot be accepted.", p.Amount.Currency())
	}

	before := p
	p.Amount, p.Status, p.IntentStatus = s.Amount, s.Status, s.IntentStatus
	p.Declined = p.Declined || s.Declined
	p.Captured = money.Money{}
	p = p.taking(s)
	p.Captured = p.Received()
	p = p.Balanced()

	if p.SameAs(before) && p.Amount == before.Amount {
		return p, fault.New(fault.Invalid, "The payment is as the provider has it: there is nothing to accept.")
	}

	return p, nil
}
