package sandbox

import (
	"fmt"
	"slices"
	"sync"
)

const (
	// referenceSeconds is when a refund's bank reference is known: Stripe says
	// within seven business days.
	referenceSeconds = 5 * 24 * 60 * 60
	// refundFundsSeconds is how long a refund waits for the balance to cover it,
	// and refundActionSeconds how long for its customer.
	refundFundsSeconds  = 30 * 24 * 60 * 60
	refundActionSeconds = 90 * 24 * 60 * 60
	referenceLength     = 23
)

// Reasons why a refund fails (Stripe, "The Refund object", failure_reason).
const (
	failureDisputed = "charge_for_pending_refund_disputed"
	failureExpired  = "expired_or_canceled_card"
	failureFunds    = "insufficient_funds"
	failureMerchant = "merchant_request"
	failureUnknown  = "unknown"
)

// failureReasons are all of them.
//
//nolint:gochecknoglobals // a table, never written
var failureReasons = []string{
	failureDisputed, "declined", failureExpired, failureFunds, "lost_or_stolen_card", failureMerchant, failureUnknown,
}

// waitingRefunds are those that the balance does not cover, oldest first.
type waitingRefunds struct {
	mu   sync.Mutex
	list []member
}

// refund books a refund of a locked payment's charge and plans its end.
func (s *account) refund(rq *request, pay *payment, index int, made *refund) {
	c := pay.charges[index]
	card := c.Method.card()

	made.Status, made.Bank = orDefault(card.refund, refundSucceeded), card.bank != nil
	at := s.fileRefund(pay, c, made)

	switch {
	case s.draw(pay, c, made):
	case made.Bank:
		made.Status, made.FailureReason = refundFailed, failureFunds
	default:
		made.Status, made.Waiting = refundPending, true
	}

	if made.counts() {
		next := *c
		next.AmountRefunded += made.Amount
		next.Refunded = next.AmountRefunded == next.Amount
		pay.charges[index] = &next

		rq.emit("charge.refunded", &next, changes(c, &next))
		s.tellOfRefund(rq, "refund.created", made, nil)
		s.afterRefund(rq, pay, &next)
	} else {
		s.tellOfRefund(rq, "refund.created", made, nil)
		rq.emit("charge.refund.updated", made, nil)
		s.tellOfRefund(rq, "refund.failed", made, nil)
	}

	s.planRefund(at)
}

// fileRefund enters a refund into the books, except for its money.
func (s *account) fileRefund(pay *payment, c *charge, made *refund) member {
	made.ID, made.Created, made.Seq = newID("re_3"), s.clock.seconds(), s.books.sequence.Add(1)
	made.Charge, made.Intent, made.Currency = c.ID, c.Intent, c.Currency
	pay.refunds = append(pay.refunds, made)
	at := member{payment: pay, index: len(pay.refunds) - 1}
	s.books.refunds.add(made.ID, made.Created, at)

	return at
}

// draw takes a refund's money from the balance, unless it has to wait for that
// to cover it.
func (s *account) draw(pay *payment, c *charge, r *refund) bool {
	drawn := s.prepare(pay, c, balanceTransaction{
		Kind: transactionRefund, Amount: -r.Amount, Source: r.ID, Description: describe("REFUND FOR CHARGE", c),
	})

	if !s.options.RefundsNeedBalance {
		s.ledger.enter(drawn)
	} else if !s.ledger.enterCovered(drawn) {
		return false
	}

	s.file(pay, drawn)
	r.Transaction = drawn.ID

	return true
}

// describe is what Stripe writes beside a movement of a charge's money.
func describe(what string, c *charge) string {
	if c.Description == "" {
		return what
	}

	return what + " (" + c.Description + ")"
}

// later changes a payment when the clock has come to a time.
func (s *account) later(due int64, pay *payment, change func(*request)) {
	s.schedule.at(unixTime(due), func() {
		s.inBackground(func(rq *request) {
			rq.change(pay)
			change(rq)
		})
	})
}

// planRefund plans what becomes of a refund by itself from where it stands. Each
// plan looks again when its time has come.
func (s *account) planRefund(at member) {
	r := at.payment.refunds[at.index]

	if r.Waiting {
		s.waiting.mu.Lock()
		s.waiting.list = append(s.waiting.list, at)
		s.waiting.mu.Unlock()
		s.fundsComing(r.Created) // what came a moment ago did not find it
		s.later(r.Created+refundFundsSeconds, at.payment, func(rq *request) {
			if at.payment.refunds[at.index].Waiting {
				s.endRefund(rq, at, refundFailed, failureFunds)
			}
		})
	}

	if r.Status == refundRequiresAction {
		s.later(r.Created+refundActionSeconds, at.payment, func(rq *request) {
			if at.payment.refunds[at.index].Status == refundRequiresAction {
				s.endRefund(rq, at, refundFailed, failureUnknown)
			}
		})
	}

	if settling(r, at.refunded().Method.card()) {
		s.schedule.at(unixTime(r.Created).Add(s.options.SettleDelay), func() {
			s.inBackground(func(rq *request) {
				rq.change(at.payment)
				s.settle(rq, at)
			})
		})
	}

	if r.needsReference() {
		s.later(r.Created+referenceSeconds, at.payment, func(rq *request) {
			if next := *at.payment.refunds[at.index]; next.needsReference() {
				next.Reference = randomDigits(referenceLength)
				s.changeRefund(rq, at, &next)
			}
		})
	}
}

// refunded is the charge that a refund gives back.
func (m member) refunded() *charge {
	return m.payment.charges[m.payment.chargeIndex(m.payment.refunds[m.index].Charge)]
}

// chargeIndex is where a charge of the payment is.
func (p *payment) chargeIndex(id string) int {
	return slices.IndexFunc(p.charges, func(c *charge) bool { return c.ID == id })
}

// settling tells whether a refund has not come to the end that its card stands for.
func settling(r *refund, card *testCard) bool {
	return !r.Waiting && r.Status == card.refund && card.settles != "" && card.settles != r.Status
}

// settle brings a refund to the end that its card stands for.
func (s *account) settle(rq *request, at member) {
	r, card := at.payment.refunds[at.index], at.refunded().Method.card()

	switch {
	case !settling(r, card):
	case card.settles == refundFailed:
		s.endRefund(rq, at, refundFailed, failureExpired)
	default:
		next := *r
		next.Status = card.settles
		s.changeRefund(rq, at, &next)
	}
}

// needsReference tells whether the bank's reference is still to come.
func (r *refund) needsReference() bool {
	return r.Status == refundSucceeded && r.Transaction != "" && r.Reference == "" && !r.Reversal
}

// isUnderWay tells whether a refund may not have reached the customer's bank yet.
func (r *refund) isUnderWay() bool {
	moved := r.Transaction != "" && r.FailureTransaction == "" && r.Reference == "" && !r.Reversal

	return r.Waiting || (moved && (r.Status == refundSucceeded || r.Status == refundPending))
}

// fundsComing pays refunds that wait once money is available.
func (s *account) fundsComing(at int64) {
	if s.options.RefundsNeedBalance {
		s.schedule.at(unixTime(at), s.payWaiting)
	}
}

// payWaiting pays refunds that the balance now covers, oldest first.
func (s *account) payWaiting() {
	s.waiting.mu.Lock()
	waiting := slices.Clone(s.waiting.list)
	s.waiting.mu.Unlock()

	var done []member

	for _, at := range waiting {
		s.inBackground(func(rq *request) {
			rq.read(at.payment)

			next := *at.payment.refunds[at.index]
			if next.Waiting && !s.draw(at.payment, at.refunded(), &next) {
				return
			}

			done = append(done, at)

			if rq.changed = next.Waiting; rq.changed {
				next.Status, next.Waiting = orDefault(at.refunded().Method.card().refund, refundSucceeded), false
				s.changeRefund(rq, at, &next)
			}
		})
	}

	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()

	s.waiting.list = slices.DeleteFunc(s.waiting.list, func(at member) bool { return slices.Contains(done, at) })
}

// endRefund ends a refund whose money did not reach the customer and, where it
// had left the balance, brings it back.
func (s *account) endRefund(rq *request, at member, status, reason string) {
	next := *at.payment.refunds[at.index]
	next.Status, next.FailureReason, next.Waiting = status, reason, false

	if next.Transaction != "" {
		next.FailureTransaction = s.newTransaction(at.payment, at.refunded(), balanceTransaction{
			Kind: transactionRefundFailure, Amount: next.Amount, Source: next.ID,
			Description: describe("REFUND FAILURE", at.refunded()),
		}).ID
	}

	s.changeRefund(rq, at, &next)
}

// changeRefund books a refund's next version, tells of it and plans what follows.
func (s *account) changeRefund(rq *request, at member, next *refund) {
	before := at.payment.refunds[at.index]
	at.payment.refunds[at.index] = next

	s.announceRefund(rq, at.payment, before, next)

	if next.Status != before.Status || next.Waiting != before.Waiting {
		s.planRefund(at)
	}
}

// announceRefund tells of a refund's change and, where it gives the money back
// to the charge, books that.
func (s *account) announceRefund(rq *request, pay *payment, before, after *refund) {
	rq.emit("charge.refund.updated", after, changes(before, after))
	s.tellOfRefund(rq, "refund.updated", after, changes(before, after))

	if after.Status == refundFailed && before.Status != refundFailed {
		s.tellOfRefund(rq, "refund.failed", after, changes(before, after))
	}

	if after.counts() || !before.counts() {
		return
	}

	index := pay.chargeIndex(after.Charge)
	old := pay.charges[index]
	next := *old
	next.AmountRefunded -= after.Amount
	next.Refunded = false
	pay.charges[index] = &next

	rq.emit("charge.updated", &next, changes(old, &next))
	s.afterRefund(rq, pay, &next)
}

// afterRefund tells of what a charge's refunds mean for complaints about it.
func (s *account) afterRefund(rq *request, pay *payment, c *charge) {
	if c.Refunded {
		s.closeInquiries(rq, pay, c.ID)
	}

	s.judgeWarnings(rq, pay, c)
}

// tellOfRefund emits an event that newer API versions alone have, where somebody
// is there to hear it.
func (s *account) tellOfRefund(rq *request, kind string, r *refund, previous rawDocument) {
	if s.options.RefundEvents || s.hasReceiver(func(e *webhookEndpoint) bool { return e.APIVersion >= refundEventsSince }) {
		rq.emit(kind, r, previous)
	}
}

// RefundMove is what becomes of a refund at the customer's bank.
type RefundMove struct {
	// Status is pending, requires_action, succeeded, failed or canceled.
	Status string `json:"status"`
	// FailureReason is why it failed or was canceled: one of Stripe's, or empty for
	// unknown and merchant_request.
	FailureReason string `json:"failure_reason"`
	// Reversal makes it one that takes the charge off the customer's statement and
	// has no reference (default: it stays what it is).
	Reversal bool `json:"reversal"`
}

// refundMoves are the statuses that a refund can go to from each.
//
//nolint:gochecknoglobals // a table, never written
var refundMoves = map[string][]string{
	refundRequiresAction: {refundPending, refundSucceeded, refundFailed, refundCanceled},
	refundPending:        {refundRequiresAction, refundSucceeded, refundFailed, refundCanceled},
	refundSucceeded:      {refundFailed, refundCanceled},
}

// MoveRefund plays the customer's bank: a refund succeeds, fails (up to a month
// after it had succeeded), needs the customer or turns out to be a reversal. It
// returns an error where the refund cannot go there.
func (s *Sandbox) MoveRefund(id string, move RefundMove) error {
	a, at := s.memberAnywhere(id, func(b *books) *shelf[member] { return b.refunds })
	if a == nil {
		return fmt.Errorf("%w: refund %s", errNoObject, id)
	}

	return a.ask(at.payment, func(rq *request) error { return a.moveRefund(rq, at, move) })
}

func (s *account) moveRefund(rq *request, at member, move RefundMove) error {
	before := at.payment.refunds[at.index]
	ends := move.Status == refundFailed || move.Status == refundCanceled

	switch {
	case move.Status == "" && !move.Reversal:
		return fmt.Errorf("%w: neither a status nor a reversal", errBadControl)
	case before.Transaction == "" && !before.Waiting:
		return fmt.Errorf("%w: %s moved no money", errBadControl, before.ID)
	case move.Status != "" && !slices.Contains(refundMoves[before.Status], move.Status):
		return fmt.Errorf("%w: %s is %s: it can become one of %v", errBadControl, before.ID, before.Status,
			refundMoves[before.Status])
	case move.FailureReason != "" && (!ends || !slices.Contains(failureReasons, move.FailureReason)):
		return fmt.Errorf("%w: a refund that fails or is canceled has a failure_reason, one of %v", errBadControl,
			failureReasons)
	case move.Reversal && (ends || before.Bank || before.Reference != ""):
		return fmt.Errorf("%w: %s is no reversal", errBadControl, before.ID)
	case ends:
		usual := map[string]string{refundFailed: failureUnknown, refundCanceled: failureMerchant}
		s.endRefund(rq, at, move.Status, orDefault(move.FailureReason, usual[move.Status]))

		return nil
	}

	next := *before
	next.Status, next.Reversal = orDefault(move.Status, next.Status), next.Reversal || move.Reversal

	if next.Waiting && move.Status != "" {
		return fmt.Errorf("%w: %s waits for the balance to cover it", errBadControl, before.ID)
	}

	s.changeRefund(rq, at, &next)

	return nil
}

// ask changes a payment as somebody outside asks for, who is told why not.
func (s *account) ask(pay *payment, change func(*request) error) (err error) {
	s.inBackground(func(rq *request) {
		rq.read(pay)

		err = change(rq)
		rq.changed = err == nil
	})

	return err
}

// memberAnywhere finds an object of a payment in whichever account it is; nil
// where it is in none.
func (s *Sandbox) memberAnywhere(id string, shelf func(*books) *shelf[member]) (*account, member) {
	for _, a := range s.accounts {
		if at, ok := shelf(a.books).get(id); ok {
			return a, at
		}
	}

	return nil, member{}
}

// randomDigits is a bank's reference.
func randomDigits(n int) string {
	text := []byte(randomText("", n))
	for i, c := range text {
		text[i] = '0' + c%10
	}

	return string(text)
}
