package sandbox

import "slices"

// refund is one version of a Refund.
type refund struct {
	ID       string
	Seq      int64
	Charge   string
	Intent   string
	Amount   int64
	Currency string
	Created  int64
	Status   string
	Reason   string
	Metadata metadata
	// Bank is true for one that goes to a bank account.
	Bank bool `json:"bank,omitempty"`
	// Transaction takes the money from the balance; FailureTransaction brings
	// it back. An authorization that is let go moves none: both are empty.
	Transaction        string
	FailureTransaction string
	FailureReason      string
}

// reasonFraudulent is a reason of refunds, cancellations, declines and disputes.
const reasonFraudulent = "fraudulent"

// refundReasons are the reasons that a client may give.
//
//nolint:gochecknoglobals // a table, never written
var refundReasons = []string{"duplicate", reasonFraudulent, "requested_by_customer"}

func (r *refund) writeJSON(w *jsonWriter) { r.write(w, view{}) }

func (r *refund) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", r.ID)
	w.str("object", objectRefund)
	w.num("amount", r.Amount)
	v.ref(w, objectTransaction, r.Transaction)
	v.ref(w, objectCharge, r.Charge)
	w.num("created", r.Created)
	w.str("currency", r.Currency)
	r.writeDestination(w)

	if r.FailureReason != "" {
		v.ref(w, "failure_balance_transaction", r.FailureTransaction)
		w.str("failure_reason", r.FailureReason)
	}

	r.Metadata.write(w)
	v.ref(w, objectIntent, r.Intent)
	w.strOrNull("reason", r.Reason)
	w.null("receipt_number")
	w.null("source_transfer_reversal")
	w.str("status", r.Status)
	w.null("transfer_reversal")
	w.endObject()
}

func (r *refund) writeDestination(w *jsonWriter) {
	w.object("destination_details")

	if r.Bank {
		w.emptyObject("us_bank_transfer")
		w.str("type", "us_bank_transfer")
		w.endObject()

		return
	}

	w.object("card")

	if r.Status == refundSucceeded {
		w.str("reference_status", refundPending)
		w.str("reference_type", "acquirer_reference_number")
	}

	w.str("type", "refund")
	w.endObject()
	w.str("type", "card")
	w.endObject()
}

// counts tells whether the refund's money is gone or on its way.
func (r *refund) counts() bool { return r.Status != refundFailed && r.Status != refundCanceled }

// createRefund is POST /v1/refunds.
func (s *account) createRefund(rq *request) *refusal {
	p := rq.params
	made := &refund{Reason: p.oneOf("reason", refundReasons...), Metadata: readMetadata(p, nil)}
	chargeID, intentID := p.text(objectCharge), p.text(objectIntent)

	readCustomer(p)

	if p.text("currency") != "" { // of a refund from a customer's balance
		p.refuse(notSupported("currency"))
	}

	amount, partial := p.integer("amount")
	if partial && amount < 1 {
		p.refuse(invalid("Invalid positive integer", "amount", codeParameterInvalidInteger))
	}

	if chargeID == "" && intentID == "" {
		p.refuse(invalid("One of the following params should be provided for this request: payment_intent or charge.",
			"", codeParameterMissing))
	}

	if r := rq.finish(); r != nil {
		return r
	}

	pay, index, r := s.findRefundable(rq, chargeID, intentID)
	if r != nil {
		return r
	}

	left := pay.charges[index].refundable()
	if !partial {
		amount = left
	}

	if r := checkRefund(pay.charges[index], amount, left); r != nil {
		return r
	}

	made.Amount = amount
	s.refund(rq, pay, index, made)

	rq.answer(pay, pay.refunds[len(pay.refunds)-1])

	return nil
}

// findRefundable finds and locks the payment whose charge is to be refunded.
func (s *account) findRefundable(rq *request, chargeID, intentID string) (*payment, int, *refusal) {
	if chargeID != "" {
		at, ok := s.books.charges.get(chargeID)
		if !ok {
			return nil, 0, missing(objectCharge, chargeID, objectCharge)
		}

		rq.change(at.payment)

		if intentID != "" && at.payment.intent.ID != intentID {
			return nil, 0, refused("The charge "+chargeID+" does not belong to the PaymentIntent "+intentID+".", "")
		}

		return at.payment, at.index, nil
	}

	pay, ok := s.books.payments.get(intentID)
	if !ok {
		return nil, 0, missing(objectIntent, intentID, objectIntent)
	}

	rq.change(pay)

	for index, c := range pay.charges {
		if c.Captured && c.Paid {
			return pay, index, nil
		}
	}

	return nil, 0, refused("This PaymentIntent ("+intentID+") does not have a successful charge to refund.", "")
}

// refundable is what is left of a charge to give back. What a partial capture
// let go of counts as refunded already.
func (c *charge) refundable() int64 { return c.Amount - c.AmountRefunded }

// checkRefund refuses to give back more than was captured.
func checkRefund(c *charge, amount, left int64) *refusal {
	rule := currencies[c.Currency]

	switch {
	case !c.Paid:
		return refused("Charge "+c.ID+" failed and cannot be refunded.", "")
	case !c.Captured:
		return refused("Charge "+c.ID+" is not captured: cancel its PaymentIntent instead of refunding it.",
			"charge_not_refundable")
	case c.Disputed:
		return refused("Charge "+c.ID+" has been charged back; cannot issue a refund.", codeChargeDisputed)
	case left == 0:
		return refused("Charge "+c.ID+" has already been refunded.", codeChargeAlreadyRefunded)
	case amount > left:
		r := refused("Refund amount ("+rule.money(amount, c.Currency)+") is greater than unrefunded amount on charge ("+
			rule.money(left, c.Currency)+")", "")
		r.param = "amount"

		return r
	default:
		return nil
	}
}

// refund books a refund of a locked payment's charge and plans its end.
func (s *account) refund(rq *request, pay *payment, index int, made *refund) {
	c := pay.charges[index]
	card := c.Method.card()

	made.Status, made.Bank = orDefault(card.refund, refundSucceeded), card.bank != nil
	s.fileRefund(pay, c, made)
	made.Transaction = s.newTransaction(pay, transactionRefund, -made.Amount, 0, made.ID).ID

	next := *c
	next.AmountRefunded += made.Amount
	next.Refunded = next.AmountRefunded == next.Amount
	pay.charges[index] = &next

	rq.emit("charge.refunded", &next, changes(c, &next))
	s.tellOfRefund(rq, "refund.created", made, nil)

	if card.settles != "" {
		s.settleLater(pay, made)
	}
}

// fileRefund enters a refund into the books, except for its money.
func (s *account) fileRefund(pay *payment, c *charge, made *refund) {
	made.ID, made.Created, made.Seq = newID("re_3"), s.clock.seconds(), s.books.sequence.Add(1)
	made.Charge, made.Intent, made.Currency = c.ID, c.Intent, c.Currency
	pay.refunds = append(pay.refunds, made)
	s.books.refunds.add(made.ID, made.Created, member{payment: pay, index: len(pay.refunds) - 1})
}

// settleLater ends a refund that its card does not let end at once.
func (s *account) settleLater(pay *payment, made *refund) {
	s.schedule.at(unixTime(made.Created).Add(s.options.SettleDelay), func() {
		s.inBackground(func(rq *request) {
			rq.change(pay)

			index := slices.IndexFunc(pay.refunds, func(r *refund) bool { return r.ID == made.ID })
			s.settle(rq, pay, index)
		})
	})
}

// settle brings a refund to the end that its card stands for.
func (s *account) settle(rq *request, pay *payment, index int) {
	before := pay.refunds[index]
	c := pay.find(before.Charge)

	settled, isCharge := c.(*charge)
	if !isCharge || !settling(before, settled.Method.card()) {
		return
	}

	next := *before
	next.Status = settled.Method.card().settles

	if next.Status == refundFailed {
		next.FailureReason = "expired_or_canceled_card"
		next.FailureTransaction = s.newTransaction(pay, transactionRefundFailure, next.Amount, 0, next.ID).ID
	}

	pay.refunds[index] = &next
	s.announceRefund(rq, pay, before, &next)
}

// settling tells whether a refund has not come to its end yet.
func settling(r *refund, card *testCard) bool {
	return r.Status == card.refund && card.settles != "" && card.settles != r.Status
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

	index := slices.IndexFunc(pay.charges, func(c *charge) bool { return c.ID == after.Charge })
	old := pay.charges[index]
	next := *old
	next.AmountRefunded -= after.Amount
	next.Refunded = false
	pay.charges[index] = &next

	rq.emit("charge.updated", &next, changes(old, &next))
}

// tellOfRefund emits an event that newer API versions alone have, where somebody
// is there to hear it.
func (s *account) tellOfRefund(rq *request, kind string, r *refund, previous rawDocument) {
	if s.options.RefundEvents || s.hasReceiver(func(e *webhookEndpoint) bool { return e.APIVersion >= refundEventsSince }) {
		rq.emit(kind, r, previous)
	}
}

// release books the part of an authorization that is let go: by a partial
// capture, a cancellation or its lapse. Stripe shows it as a refund that moved
// no money.
func (s *account) release(pay *payment, c *charge, amount int64) *charge {
	s.fileRefund(pay, c, &refund{Amount: amount, Status: refundSucceeded})

	next := *c
	next.AmountRefunded += amount
	next.Refunded = next.AmountRefunded == next.Amount

	return &next
}

// getRefund is GET /v1/refunds/:id.
func (s *account) getRefund(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.refunds.get(rq.objectID)
	if !ok {
		return missing(objectRefund, rq.objectID, "id")
	}

	rq.read(at.payment)

	rq.answer(at.payment, at.payment.refunds[at.index])

	return nil
}

// updateRefund is POST /v1/refunds/:id: only metadata can be changed.
func (s *account) updateRefund(rq *request) *refusal {
	readMetadata(rq.params, nil)

	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.refunds.get(rq.objectID)
	if !ok {
		return missing(objectRefund, rq.objectID, "id")
	}

	rq.change(at.payment)

	before := at.payment.refunds[at.index]
	next := *before
	next.Metadata = readMetadata(rq.params, before.Metadata)

	if r := rq.params.finish(); r != nil { // merged, they may be too many
		return r
	}

	at.payment.refunds[at.index] = &next
	s.announceRefund(rq, at.payment, before, &next)

	rq.answer(at.payment, &next)

	return nil
}

// cancelRefund is POST /v1/refunds/:id/cancel: only a refund that waits for the
// customer can be canceled.
func (s *account) cancelRefund(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.refunds.get(rq.objectID)
	if !ok {
		return missing(objectRefund, rq.objectID, "id")
	}

	rq.change(at.payment)

	before := at.payment.refunds[at.index]
	if before.Status != refundRequiresAction {
		return refused("You cannot cancel this refund because it has a status of "+before.Status+
			". Only a refund with the status requires_action may be canceled.", "")
	}

	next := *before
	next.Status, next.FailureReason = refundCanceled, "merchant_request"
	next.FailureTransaction = s.newTransaction(at.payment, transactionRefundFailure, next.Amount, 0, next.ID).ID
	at.payment.refunds[at.index] = &next
	s.announceRefund(rq, at.payment, before, &next)

	rq.answer(at.payment, &next)

	return nil
}

// listRefunds is GET /v1/refunds.
func (s *account) listRefunds(rq *request) *refusal {
	return s.listMembers(rq, s.books.refunds, objectRefund, "/v1/refunds", func(p *payment, i int) viewable {
		return p.refunds[i]
	})
}
