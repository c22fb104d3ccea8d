package sandbox

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
	// Waiting is true while the balance does not cover it.
	Waiting bool `json:"waiting,omitempty"`
	// Reversal is true for one that takes the charge off the customer's statement,
	// and Reference is the number by which a bank finds any other.
	Reversal  bool   `json:"reversal,omitempty"`
	Reference string `json:"reference,omitempty"`
	// Email is where a customer who has to act is written to.
	Email string `json:"email,omitempty"`
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

	if r.FailureTransaction != "" {
		v.ref(w, "failure_balance_transaction", r.FailureTransaction)
	}

	writeIfSet(w, "failure_reason", r.FailureReason)
	writeIfSet(w, "instructions_email", r.Email)
	r.Metadata.write(w)
	r.writeNextAction(w)
	v.ref(w, objectIntent, r.Intent)
	w.strOrNull("reason", r.Reason)
	w.null("receipt_number")
	w.null("source_transfer_reversal")
	w.str("status", r.Status)
	w.null("transfer_reversal")
	w.endObject()
}

// writeNextAction writes that the customer has been asked where the money goes.
func (r *refund) writeNextAction(w *jsonWriter) {
	if r.Status != refundRequiresAction {
		return
	}

	w.object("next_action")
	w.object("display_details")
	w.object("email_sent")
	w.num("email_sent_at", r.Created)
	w.str("email_sent_to", orDefault(r.Email, "customer@example.com"))
	w.endObject()
	w.num("expires_at", r.Created+refundActionSeconds)
	w.endObject()
	w.str("type", "display_details")
	w.endObject()
}

func (r *refund) writeDestination(w *jsonWriter) {
	kind := "card"
	if r.Bank {
		kind = "us_bank_transfer"
	}

	w.object("destination_details")
	w.object(kind)

	if r.Bank {
		w.strOrNull("reference", r.Reference)
	} else {
		writeIfSet(w, "reference", r.Reference)
	}

	switch {
	case r.Status != refundSucceeded:
	case r.Reversal:
		w.str("reference_status", "unavailable")
	case r.Reference != "":
		w.str("reference_status", "available")
	default:
		w.str("reference_status", refundPending)
	}

	if !r.Bank {
		r.writeCardDestination(w)
	}

	w.endObject()
	w.str("type", kind)
	w.endObject()
}

func (r *refund) writeCardDestination(w *jsonWriter) {
	if r.Status == refundSucceeded {
		w.str("reference_type", "acquirer_reference_number")
	}

	switch {
	case r.Reversal:
		w.str("type", "reversal")
	case r.Status == refundPending:
		w.str("type", refundPending)
	default:
		w.str("type", "refund")
	}
}

// counts tells whether the refund's money is gone or on its way.
func (r *refund) counts() bool { return r.Status != refundFailed && r.Status != refundCanceled }

// createRefund is POST /v1/refunds.
func (s *account) createRefund(rq *request) *refusal {
	p := rq.params
	made := &refund{
		Reason: p.oneOf("reason", refundReasons...), Metadata: readMetadata(p, nil), Email: p.text("instructions_email"),
	}
	chargeID, intentID := p.text(objectCharge), p.text(objectIntent)

	if p.text(objectCustomer) != "" { // of a refund from a customer's balance
		p.refuse(notSupported(objectCustomer))
	}

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

	if r := pay.checkRefund(pay.charges[index], amount, left); r != nil {
		return r
	}

	if made.Email != "" && pay.charges[index].Method.card().refund != refundRequiresAction {
		return invalid("The parameter instructions_email is for payment methods that cannot be refunded without their "+
			"customer.", "instructions_email", "")
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
func (p *payment) checkRefund(c *charge, amount, left int64) *refusal {
	rule := currencies[c.Currency]

	switch {
	case !c.Paid:
		return refused("Charge "+c.ID+" failed and cannot be refunded.", "")
	case !c.Captured:
		return refused("Charge "+c.ID+" is not captured: cancel its PaymentIntent instead of refunding it.",
			"charge_not_refundable")
	case p.isChargedBack(c.ID):
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

	s.changeRefund(rq, at, &next)

	rq.answer(at.payment, at.payment.refunds[at.index])

	return nil
}

// cancelRefund is POST /v1/refunds/:id/cancel: only a refund that waits for the
// customer can be canceled; in the Dashboard, for a while, one to a card as well.
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
	if before.Status != refundRequiresAction && (!rq.dashboard || !before.isUnderWay()) {
		return refused("Canceling this refund is unsupported: it has a status of "+before.Status+
			". Only a refund with the status requires_action may be canceled.", "")
	}

	s.endRefund(rq, at, refundCanceled, "merchant_request")

	rq.answer(at.payment, at.payment.refunds[at.index])

	return nil
}

// listRefunds is GET /v1/refunds, and GET /v1/charges/:id/refunds, where a
// charge's list of refunds goes on.
func (s *account) listRefunds(rq *request) *refusal {
	return s.listMembers(rq, s.books.refunds, objectRefund, "/v1/refunds", func(p *payment, i int) viewable {
		return p.refunds[i]
	})
}
