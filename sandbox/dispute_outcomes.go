package sandbox

import (
	"fmt"
	"maps"
	"slices"
)

const (
	// evidenceDays are how many days a merchant has to answer, to the end of the
	// last one.
	evidenceDays = 8
	daySeconds   = hoursOfDay * 60 * 60
	// inquirySeconds is when an issuer who has only asked lets it be.
	inquirySeconds = 120 * daySeconds
	// unansweredSeconds is how long after its due date a dispute that nobody has
	// answered is lost.
	unansweredSeconds = 30 * daySeconds
)

// openDispute is the cardholder's complaint about an amount of a charge that
// went through: the money and a fee leave the balance at once, but for an
// inquiry.
func (s *account) openDispute(rq *request, pay *payment, index int, amount int64, kind disputeKind) *dispute {
	next := *pay.charges[index]
	next.Disputed = true
	pay.charges[index] = &next

	made := &dispute{
		ID: newID("du_1"), Charge: next.ID, Intent: next.Intent, Amount: amount, Currency: next.Currency,
		Created: s.clock.seconds(), Reason: kind.reason, NetworkCode: kind.network, Status: disputeNeedsResponse,
		Brand: next.Method.card().brand, Seq: s.books.sequence.Add(1), Live: s.live, Final: kind.final,
	}
	made.DueBy = endOfDay(made.Created, kind.days)

	pay.disputes = append(pay.disputes, made)
	at := member{payment: pay, index: len(pay.disputes) - 1}
	s.books.disputes.add(made.ID, made.Created, at)

	if kind.inquiry {
		made.Status = inquiryNeedsResponse
		rq.emit("charge.dispute.created", made, nil)
	} else {
		s.withdraw(pay, &next, made)
		rq.emit("charge.dispute.created", made, nil)
		rq.emit("charge.dispute.funds_withdrawn", made, nil)
		s.failPendingRefunds(rq, pay, next.ID)
	}

	s.judgeWarnings(rq, pay, &next)

	if kind.final {
		s.decide(rq, at, disputeLost, 0)
	} else {
		s.planDispute(at)
	}

	return made
}

// endOfDay is the last second of the UTC day that is some days after a time.
func endOfDay(from, days int64) int64 {
	if days == 0 {
		days = evidenceDays
	}

	return (from/daySeconds+days+1)*daySeconds - 1
}

// withdraw takes a dispute's money and fee from the balance. The dispute is a
// version that nobody has seen yet.
func (s *account) withdraw(pay *payment, c *charge, d *dispute) {
	d.Transactions = append(slices.Clone(d.Transactions), s.newTransaction(pay, c, balanceTransaction{
		Kind: transactionAdjustment, Category: categoryDispute, Amount: -d.Amount, Fee: disputeFee, Source: d.ID,
		Description: "Chargeback withdrawal for " + c.ID,
	}))
}

// failPendingRefunds ends refunds that a chargeback overtakes.
func (s *account) failPendingRefunds(rq *request, pay *payment, chargeID string) {
	for i, r := range pay.refunds {
		if r.Charge == chargeID && (r.Status == refundPending || r.Status == refundRequiresAction) {
			s.endRefund(rq, member{payment: pay, index: i}, refundFailed, failureDisputed)
		}
	}
}

// closeInquiries ends the open inquiries about a charge that was refunded in full.
func (s *account) closeInquiries(rq *request, pay *payment, chargeID string) {
	for i, d := range pay.disputes {
		if d.Charge == chargeID && d.isInquiry() && !d.isClosed() {
			s.decide(rq, member{payment: pay, index: i}, inquiryClosed, 0)
		}
	}
}

// escalate makes an inquiry a chargeback.
func (s *account) escalate(rq *request, at member) {
	before := at.payment.disputes[at.index]
	next := *before
	next.Status, next.DueBy = disputeNeedsResponse, endOfDay(s.clock.seconds(), 0)
	s.withdraw(at.payment, at.payment.charges[at.payment.chargeIndex(next.Charge)], &next)
	at.payment.disputes[at.index] = &next

	rq.emit("charge.dispute.updated", &next, changes(before, &next))
	rq.emit("charge.dispute.funds_withdrawn", &next, nil)
	s.failPendingRefunds(rq, at.payment, next.Charge)
	s.planDispute(at)
}

// decide ends a dispute and gives back what the bank has decided.
func (s *account) decide(rq *request, at member, outcome string, back int64) {
	before := at.payment.disputes[at.index]
	next := *before
	next.Status = outcome

	if back > 0 {
		returned := int64(0)
		if outcome == disputeWon {
			returned = disputeFee
		}

		next.Transactions = append(slices.Clone(next.Transactions), s.newTransaction(at.payment,
			at.payment.charges[at.payment.chargeIndex(next.Charge)], balanceTransaction{
				Kind: transactionAdjustment, Category: categoryDisputeReversal, Amount: back, Fee: -returned, Source: next.ID,
				Description: "Chargeback reversal for " + next.Charge,
			}))
	}

	at.payment.disputes[at.index] = &next

	if back > 0 {
		rq.emit("charge.dispute.funds_reinstated", &next, nil)
	}

	rq.emit("charge.dispute.closed", &next, changes(before, &next))
}

// planDispute plans what becomes of a dispute by itself from where it stands. Each
// plan looks again when its time has come.
func (s *account) planDispute(at member) {
	d := at.payment.disputes[at.index]

	if d.isInquiry() && !d.isClosed() {
		s.later(d.Created+inquirySeconds, at.payment, func(rq *request) {
			if is := at.payment.disputes[at.index]; is.isInquiry() && !is.isClosed() {
				s.decide(rq, at, inquiryClosed, 0)
			}
		})
	}

	if d.Status == disputeNeedsResponse {
		s.later(d.dueBy()+unansweredSeconds, at.payment, func(rq *request) {
			if at.payment.disputes[at.index].Status == disputeNeedsResponse {
				s.decide(rq, at, disputeLost, 0)
			}
		})
	}

	if d.verdict() != "" {
		s.schedule.at(unixTime(d.SubmittedAt).Add(s.options.SettleDelay), func() {
			s.inBackground(func(rq *request) {
				rq.change(at.payment)
				s.judge(rq, at)
			})
		})
	}
}

// judge does what the evidence says, which stands for the bank's decision.
func (s *account) judge(rq *request, at member) {
	d := at.payment.disputes[at.index]

	switch verdict := d.verdict(); verdict {
	case "": // it was decided otherwise meanwhile
	case disputeNeedsResponse:
		s.escalate(rq, at)
	case disputeWon:
		s.decide(rq, at, disputeWon, d.Amount)
	case disputeLost:
		s.decide(rq, at, disputeLost, at.payment.refundedOf(d))
	default:
		s.decide(rq, at, verdict, 0)
	}
}

// verdict is the status that submitted evidence leads to, or none (Stripe,
// "Testing", disputes).
func (d *dispute) verdict() string {
	text, _ := metadata(d.Evidence).get("uncategorized_text")

	return map[[2]string]string{
		{disputeUnderReview, "winning_evidence"}:          disputeWon,
		{disputeUnderReview, "losing_evidence"}:           disputeLost,
		{inquiryUnderReview, "winning_evidence"}:          inquiryClosed,
		{inquiryUnderReview, "losing_evidence"}:           inquiryClosed,
		{inquiryUnderReview, "escalate_inquiry_evidence"}: disputeNeedsResponse,
	}[[2]string{d.Status, text}]
}

// refundedOf is what of a disputed amount the customer had been given back before:
// the bank returns that even to a merchant who loses.
func (p *payment) refundedOf(d *dispute) int64 {
	refunded := int64(0)

	for _, r := range p.refunds {
		if r.Charge == d.Charge && r.Transaction != "" && r.counts() {
			refunded += r.Amount
		}
	}

	return min(refunded, d.Amount)
}

// Complaint is what a customer's bank says of a payment.
type Complaint struct {
	// Amount is what is disputed (default: all that no other dispute holds).
	Amount int64 `json:"amount"`
	// Reason is one of Stripe's (default: fraudulent), and NetworkReasonCode the
	// card network's code for it (default: one that fits).
	Reason            string `json:"reason"`
	NetworkReasonCode string `json:"network_reason_code"`
	// Inquiry is true where the bank only asks and takes no money.
	Inquiry bool `json:"inquiry"`
	// Final is true where no answer is possible: it is lost at once.
	Final bool `json:"final"`
	// DueInDays is how many days there are to answer (default 8).
	DueInDays int64 `json:"due_in_days"`
}

// maxDueDays is far more than any bank gives.
const maxDueDays = 365

// OpenDispute plays the customer's bank: it disputes a paid charge, named by its
// id or its intent's, and returns the dispute's id. It returns an error where there
// is nothing to dispute.
func (s *Sandbox) OpenDispute(paymentID string, complaint Complaint) (id string, err error) {
	kind, err := complaint.kind()
	if err != nil {
		return "", err
	}

	a, at := s.chargeAnywhere(paymentID)
	if a == nil {
		return "", fmt.Errorf("%w: payment %s", errNoObject, paymentID)
	}

	err = a.ask(at.payment, func(rq *request) error {
		c := at.payment.charges[at.index]
		left := at.payment.disputable(c)
		amount := complaint.Amount

		if amount == 0 {
			amount = left
		}

		switch {
		case !c.Paid || !c.Captured:
			return fmt.Errorf("%w: %s is not paid", errBadControl, c.ID)
		case left == 0:
			return fmt.Errorf("%w: all of %s is disputed already", errBadControl, c.ID)
		case amount < 1 || amount > left:
			return fmt.Errorf("%w: from 1 to %d of %s can be disputed", errBadControl, left, c.ID)
		}

		id = a.openDispute(rq, at.payment, at.index, amount, kind).ID

		return nil
	})

	return id, err
}

// kind checks a complaint.
func (c Complaint) kind() (disputeKind, error) {
	reason := orDefault(c.Reason, reasonFraudulent)
	code, known := disputeReasons[reason]

	switch {
	case !known:
		return disputeKind{}, fmt.Errorf("%w: the reason is one of %v", errBadControl,
			slices.Sorted(maps.Keys(disputeReasons)))
	case c.Inquiry && c.Final:
		return disputeKind{}, fmt.Errorf("%w: an inquiry can be answered", errBadControl)
	case c.DueInDays < 0 || c.DueInDays > maxDueDays:
		return disputeKind{}, fmt.Errorf("%w: due_in_days is from 1 to %d", errBadControl, maxDueDays)
	default:
		return disputeKind{
			reason: reason, network: orDefault(c.NetworkReasonCode, code), inquiry: c.Inquiry, final: c.Final, days: c.DueInDays,
		}, nil
	}
}

// disputable is what of a charge no other dispute is about.
func (p *payment) disputable(c *charge) int64 {
	left := c.AmountCaptured

	for _, d := range p.disputes {
		if d.Charge == c.ID && (d.holdsMoney() || !d.isClosed()) {
			left -= d.Amount
		}
	}

	return max(left, 0)
}

// chargeAnywhere finds a charge by its id, or an intent's last one.
func (s *Sandbox) chargeAnywhere(id string) (*account, member) {
	if a, at := s.memberAnywhere(id, func(b *books) *shelf[member] { return b.charges }); a != nil {
		return a, at
	}

	a, pay := s.paymentAnywhere(id)
	if pay == nil {
		return nil, member{}
	}

	pay.mu.Lock()
	defer pay.mu.Unlock()

	if len(pay.charges) == 0 {
		return nil, member{}
	}

	return a, member{payment: pay, index: len(pay.charges) - 1}
}

// Decision is what the customer's bank decides about a dispute.
type Decision struct {
	// Status is won, lost, warning_closed, or needs_response, which makes an inquiry
	// a chargeback.
	Status string `json:"status"`
	// Reinstated is what comes back although the dispute is lost (default: what had
	// been refunded before, if evidence was submitted).
	Reinstated *int64 `json:"reinstated"`
}

// DecideDispute plays the customer's bank: it decides a dispute, also one that was
// lost, which a late win turns over, or escalates an inquiry. It returns an error
// where the dispute cannot go there.
func (s *Sandbox) DecideDispute(id string, decision Decision) error {
	a, at := s.memberAnywhere(id, func(b *books) *shelf[member] { return b.disputes })
	if a == nil {
		return fmt.Errorf("%w: dispute %s", errNoObject, id)
	}

	return a.ask(at.payment, func(rq *request) error { return a.decideAs(rq, at, decision) })
}

func (s *account) decideAs(rq *request, at member, decision Decision) error {
	d := at.payment.disputes[at.index]
	back, isOpen := int64(0), !d.isClosed()

	switch {
	case decision.Reinstated != nil && (decision.Status != disputeLost || *decision.Reinstated < 0 ||
		*decision.Reinstated > d.Amount):
		return fmt.Errorf("%w: reinstated is for a lost dispute, from 0 to %d", errBadControl, d.Amount)
	case decision.Status == disputeNeedsResponse && isOpen && d.isInquiry():
		s.escalate(rq, at)

		return nil
	case decision.Status == inquiryClosed && isOpen && d.isInquiry():
	case decision.Status == disputeWon && d.holdsMoney() && len(d.Transactions) == 1:
		back = d.Amount
	case decision.Status == disputeLost && isOpen && !d.isInquiry():
		if decision.Reinstated != nil {
			back = *decision.Reinstated
		} else if d.Submissions > 0 {
			back = at.payment.refundedOf(d)
		}
	default:
		return fmt.Errorf("%w: %s is %s and cannot become %q", errBadControl, d.ID, d.Status, decision.Status)
	}

	s.decide(rq, at, decision.Status, back)

	return nil
}
