package sandbox

import (
	"slices"
	"strconv"
	"strings"
)

// Dispute statuses.
const (
	disputeNeedsResponse = "needs_response"
	disputeUnderReview   = "under_review"
	disputeWon           = "won"
	disputeLost          = "lost"
	inquiryNeedsResponse = "warning_needs_response"
	inquiryUnderReview   = "warning_under_review"
	inquiryClosed        = "warning_closed"
)

// disputeKind is what a cardholder may complain of.
type disputeKind struct {
	reason  string
	network string // the network's code for it
	// inquiry is true where the issuer asks first and takes no money.
	inquiry bool
}

// Visa's codes for the two reasons that most disputes have.
const (
	networkFraud   = "10.4"
	networkMissing = "13.1"
)

// dispute is one version of a Dispute.
type dispute struct {
	ID           string
	Seq          int64
	Charge       string
	Intent       string
	Amount       int64
	Currency     string
	Created      int64
	Live         bool
	Reason       string
	Status       string
	Evidence     []pair
	Submissions  int64
	Metadata     metadata
	Transactions []*balanceTransaction
	Brand        string
	NetworkCode  string `json:"network_code,omitempty"`
}

// evidenceFields are the texts that a merchant may send (Stripe, "Dispute
// evidence").
//
//nolint:gochecknoglobals // a table, never written
var evidenceFields = []string{
	"access_activity_log", "billing_address", "cancellation_policy", "cancellation_policy_disclosure",
	"cancellation_rebuttal", "customer_communication", "customer_email_address", "customer_name",
	"customer_purchase_ip", "customer_signature", "duplicate_charge_documentation", "duplicate_charge_explanation",
	"duplicate_charge_id", "product_description", "receipt", "refund_policy", "refund_policy_disclosure",
	"refund_refusal_explanation", "service_date", "service_documentation", "shipping_address", "shipping_carrier",
	"shipping_date", "shipping_documentation", "shipping_tracking_number", "uncategorized_file", "uncategorized_text",
}

// evidenceSeconds is how long a merchant has to answer.
const evidenceSeconds = 9 * 24 * 60 * 60

func (d *dispute) writeJSON(w *jsonWriter) { d.write(w, view{}) }

func (d *dispute) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", d.ID)
	w.str("object", objectDispute)
	w.num("amount", d.Amount)
	w.array("balance_transactions")

	for _, t := range d.Transactions {
		w.element()
		t.write(w, view{now: v.now})
	}

	w.endArray()
	v.ref(w, objectCharge, d.Charge)
	w.num("created", d.Created)
	w.str("currency", d.Currency)
	w.object("evidence")

	for _, name := range evidenceFields {
		text, _ := metadata(d.Evidence).get(name)
		w.strOrNull(name, text)
	}

	w.endObject()
	w.object("evidence_details")
	w.num("due_by", d.Created+evidenceSeconds)
	w.boolean("has_evidence", len(d.Evidence) > 0)
	w.boolean("past_due", v.now > d.Created+evidenceSeconds)
	w.num("submission_count", d.Submissions)
	w.endObject()
	w.boolean("is_charge_refundable", d.isInquiry())
	w.boolean("livemode", d.Live)
	d.Metadata.write(w)
	v.ref(w, objectIntent, d.Intent)
	w.object("payment_method_details")
	w.object("card")
	w.str("brand", d.Brand)
	w.str("network_reason_code", d.networkReason())
	w.endObject()
	w.str("type", "card")
	w.endObject()
	w.str("reason", d.Reason)
	w.str("status", d.Status)
	w.endObject()
}

// networkReason is the network's code for the reason; disputes of older state
// files have none.
func (d *dispute) networkReason() string {
	if d.NetworkCode != "" {
		return d.NetworkCode
	}

	if d.Reason == reasonFraudulent {
		return networkFraud
	}

	return networkMissing
}

// openDispute is the cardholder's complaint about an amount of a charge that
// went through: the money and a fee leave the balance at once, but for an
// inquiry.
func (s *account) openDispute(rq *request, pay *payment, amount int64, kind disputeKind) {
	index := len(pay.charges) - 1
	next := *pay.charges[index]
	next.Disputed = next.Disputed || !kind.inquiry
	pay.charges[index] = &next

	made := &dispute{
		ID: newID("du_1"), Charge: next.ID, Intent: next.Intent, Amount: amount, Currency: next.Currency,
		Created: s.clock.seconds(), Reason: kind.reason, NetworkCode: kind.network, Status: disputeNeedsResponse,
		Brand: next.Method.card().brand, Seq: s.books.sequence.Add(1), Live: s.live,
	}

	if kind.inquiry {
		made.Status = inquiryNeedsResponse
	} else {
		made.Transactions = []*balanceTransaction{
			s.newTransaction(pay, transactionAdjustment, -made.Amount, disputeFee, made.ID),
		}
	}

	pay.disputes = append(pay.disputes, made)
	s.books.disputes.add(made.ID, made.Created, member{payment: pay, index: len(pay.disputes) - 1})

	rq.emit("charge.dispute.created", made, nil)

	if !kind.inquiry {
		rq.emit("charge.dispute.funds_withdrawn", made, nil)
	}
}

// isInquiry tells whether the issuer only asks.
func (d *dispute) isInquiry() bool { return strings.HasPrefix(d.Status, "warning_") }

// isClosed tells whether nothing more can be done about the dispute.
func (d *dispute) isClosed() bool {
	return d.Status == disputeWon || d.Status == disputeLost || d.Status == inquiryClosed
}

// newWarning is the Early Fraud Warning that an issuer gives of a charge. It is
// in its event alone.
func (s *account) newWarning(pay *payment) rawDocument {
	c := pay.charges[len(pay.charges)-1]

	w := jsonWriter{buf: make([]byte, 0, renderedSize)}
	w.beginObject()
	w.str("id", newID("issfr_1"))
	w.str("object", "radar.early_fraud_warning")
	w.boolean("actionable", true)
	w.str("charge", c.ID)
	w.num("created", s.clock.seconds())
	w.str("fraud_type", "misc")
	w.boolean("livemode", s.live)
	w.str("payment_intent", c.Intent)
	w.endObject()

	return rawDocument(w.buf)
}

// getDispute is GET /v1/disputes/:id.
func (s *account) getDispute(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.disputes.get(rq.objectID)
	if !ok {
		return missing(objectDispute, rq.objectID, "id")
	}

	rq.read(at.payment)

	rq.answer(at.payment, at.payment.disputes[at.index])

	return nil
}

// listDisputes is GET /v1/disputes.
func (s *account) listDisputes(rq *request) *refusal {
	return s.listMembers(rq, s.books.disputes, objectDispute, "/v1/disputes", func(p *payment, i int) viewable {
		return p.disputes[i]
	})
}

// updateDispute is POST /v1/disputes/:id. In test mode the evidence's
// uncategorized_text decides the dispute: winning_evidence or losing_evidence.
func (s *account) updateDispute(rq *request) *refusal {
	evidence := readEvidence(rq.params.child("evidence"))
	submit, sent := rq.params.boolean("submit")
	readMetadata(rq.params, nil)

	if r := rq.finish(); r != nil {
		return r
	}

	at, r := s.openDisputeAt(rq, len(evidence) > 0)
	if r != nil {
		return r
	}

	next := *at.payment.disputes[at.index]
	next.Metadata = readMetadata(rq.params, next.Metadata)
	next.Evidence = mergeEvidence(next.Evidence, evidence)

	if len(evidence) > 0 && (submit || !sent) {
		next.Submissions++
		next.Status = next.verdict()
	}

	s.changeDispute(rq, at, &next)

	rq.answer(at.payment, &next)

	return nil
}

// closeDispute is POST /v1/disputes/:id/close: the merchant gives in.
func (s *account) closeDispute(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, r := s.openDisputeAt(rq, true)
	if r != nil {
		return r
	}

	next := *at.payment.disputes[at.index]
	next.Status = disputeLost

	if at.payment.disputes[at.index].isInquiry() {
		next.Status = inquiryClosed
	}

	s.changeDispute(rq, at, &next)

	rq.answer(at.payment, &next)

	return nil
}

// openDisputeAt finds and locks a dispute, which must be open if asked.
func (s *account) openDisputeAt(rq *request, mustBeOpen bool) (member, *refusal) {
	at, ok := s.books.disputes.get(rq.objectID)
	if !ok {
		return member{}, missing(objectDispute, rq.objectID, "id")
	}

	rq.change(at.payment)

	if mustBeOpen && at.payment.disputes[at.index].isClosed() {
		return member{}, refused("This dispute is already closed.", "")
	}

	return at, nil
}

// changeDispute books a new version and tells of it.
func (s *account) changeDispute(rq *request, at member, next *dispute) {
	before := at.payment.disputes[at.index]
	closed := next.isClosed() && !before.isClosed()
	reinstated := closed && next.Status == disputeWon

	if reinstated {
		back := s.newTransaction(at.payment, transactionAdjustment, next.Amount, -disputeFee, next.ID)
		next.Transactions = append(slices.Clone(next.Transactions), back)
	}

	at.payment.disputes[at.index] = next
	rq.emit("charge.dispute.updated", next, changes(before, next))

	if reinstated {
		rq.emit("charge.dispute.funds_reinstated", next, nil)
	}

	if closed {
		rq.emit("charge.dispute.closed", next, changes(before, next))
	}
}

func readEvidence(p *params) []pair {
	var evidence []pair

	for _, name := range evidenceFields {
		if text, sent := p.textOrEmpty(name); sent {
			evidence = append(evidence, pair{Key: name, Value: text})
		}
	}

	return evidence
}

func mergeEvidence(before, added []pair) []pair {
	merged := metadata(slices.Clone(before))
	for _, entry := range added {
		merged = merged.set(entry.Key, entry.Value)
	}

	return merged
}

// verdict is what the evidence that was sent in makes of the dispute.
func (d *dispute) verdict() string {
	if d.isInquiry() {
		return inquiryUnderReview
	}

	text, _ := metadata(d.Evidence).get("uncategorized_text")

	switch text {
	case "winning_evidence":
		return disputeWon
	case "losing_evidence":
		return disputeLost
	default:
		return disputeUnderReview
	}
}

// refundsURL is where a charge's refunds are listed.
func refundsURL(chargeID string) string { return "/v1/charges/" + chargeID + "/refunds" }

// writeRefunds writes a charge's refunds, newest first, as an expanded list.
func (c *charge) writeRefunds(w *jsonWriter, v view) {
	inner, asked := v.expand["refunds"]
	if !asked || v.payment == nil {
		return
	}

	count := 0

	w.object("refunds")
	w.str("object", "list")
	w.array("data")

	for _, r := range slices.Backward(v.payment.refunds) {
		if r.Charge != c.ID {
			continue
		}

		count++

		w.element()
		r.write(w, view{expand: inner["data"], payment: v.payment, now: v.now})
	}

	w.endArray()
	w.boolean("has_more", false)
	w.key("total_count")
	w.buf = strconv.AppendInt(w.buf, int64(count), 10)
	w.str("url", refundsURL(c.ID))
	w.endObject()
}
