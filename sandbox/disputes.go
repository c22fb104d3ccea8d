package sandbox

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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
	// final is true where the merchant cannot answer: it is lost at once.
	final bool
	// days are how many the merchant has to answer; zero for the usual eight.
	days int64
}

// reasonNoncompliant is that of a payment that broke the network's own rules.
const reasonNoncompliant = "noncompliant"

// Visa's codes for the reasons that test cards have.
const (
	networkFraud      = "10.4"
	networkMissing    = "13.1"
	networkCompliance = "98"
)

// disputeReasons are Stripe's, with Visa's code for each where it has one.
//
//nolint:gochecknoglobals // a table, never written
var disputeReasons = map[string]string{
	"bank_cannot_process": "", "check_returned": "", "credit_not_processed": "13.6", "customer_initiated": "",
	"debit_not_authorized": "", "duplicate": "12.6.1", reasonFraudulent: networkFraud, "general": "",
	"incorrect_account_details": "", "insufficient_funds": "", reasonNoncompliant: networkCompliance,
	"product_not_received": networkMissing, "product_unacceptable": "13.3", "subscription_canceled": "13.2",
	"unrecognized": "",
}

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
	// DueBy is when evidence is due; Final is true where none is taken.
	DueBy int64 `json:"due_by,omitempty"`
	Final bool  `json:"final,omitempty"`
	// SubmittedAt is when evidence was last submitted, and Late whether that was too
	// late.
	SubmittedAt int64 `json:"submitted_at,omitempty"`
	Late        bool  `json:"late,omitempty"`
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

// evidenceFiles are those of them that name an uploaded file.
//
//nolint:gochecknoglobals // a table, never written
var evidenceFiles = []string{
	"cancellation_policy", "customer_communication", "customer_signature", "duplicate_charge_documentation", "receipt",
	"refund_policy", "service_documentation", "shipping_documentation", "uncategorized_file",
}

// Stripe's limits on evidence, in characters.
const (
	maxEvidenceField = 20_000
	maxEvidence      = 150_000
)

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
	w.num("due_by", d.dueBy())
	w.boolean("has_evidence", len(d.Evidence) > 0)
	w.boolean("past_due", d.Late)
	w.num("submission_count", d.Submissions)
	w.endObject()
	w.boolean("is_charge_refundable", !d.holdsMoney())
	w.boolean("livemode", d.Live)
	d.Metadata.write(w)
	v.ref(w, objectIntent, d.Intent)

	if d.Brand != "" {
		w.object("payment_method_details")
		w.object("card")
		w.str("brand", d.Brand)
		w.strOrNull("network_reason_code", d.networkReason())
		w.endObject()
		w.str("type", "card")
		w.endObject()
	}

	w.str("reason", d.Reason)
	w.str("status", d.Status)
	w.endObject()
}

// networkReason is the network's code for the reason, if there is one; disputes of
// older state files have none of their own.
func (d *dispute) networkReason() string { return orDefault(d.NetworkCode, disputeReasons[d.Reason]) }

// dueBy is when evidence is due: zero for none. Disputes of older state files had
// nine days.
func (d *dispute) dueBy() int64 {
	const olderSeconds = 9 * 24 * 60 * 60

	switch {
	case d.Final:
		return 0
	case d.DueBy == 0:
		return d.Created + olderSeconds
	default:
		return d.DueBy
	}
}

// isInquiry tells whether the issuer only asks.
func (d *dispute) isInquiry() bool { return strings.HasPrefix(d.Status, "warning_") }

// isClosed tells whether nothing more can be done about the dispute.
func (d *dispute) isClosed() bool {
	return d.Status == disputeWon || d.Status == disputeLost || d.Status == inquiryClosed
}

// holdsMoney tells whether the disputed amount is away, for now or for good. While
// it is, the charge cannot be refunded.
func (d *dispute) holdsMoney() bool { return !d.isInquiry() && d.Status != disputeWon }

// isChargedBack tells whether a charge cannot be refunded because of a dispute.
func (p *payment) isChargedBack(chargeID string) bool {
	return slices.ContainsFunc(p.disputes, func(d *dispute) bool { return d.Charge == chargeID && d.holdsMoney() })
}

// getDispute is GET /v1/disputes/:id.
func (s *account) getDispute(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.disputes.get(rq.objectID)
	if !ok {
		return missing(objectDispute, rq.objectID, objectDispute)
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

// updateDispute is POST /v1/disputes/:id. Evidence is submitted unless submit is
// false, and what had been staged so with it.
func (s *account) updateDispute(rq *request) *refusal {
	evidence := readEvidence(rq.params.child("evidence"))
	submit, sent := rq.params.boolean("submit")
	readMetadata(rq.params, nil)

	if r := rq.finish(); r != nil {
		return r
	}

	at, r := s.openDisputeAt(rq, len(evidence) > 0 || submit)
	if r != nil {
		return r
	}

	before := at.payment.disputes[at.index]
	next := *before
	next.Metadata = readMetadata(rq.params, next.Metadata)
	next.Evidence = mergeEvidence(next.Evidence, evidence)

	if r := next.checkEvidence(); r != nil {
		return r
	}

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	if submit && len(next.Evidence) > 0 || !sent && len(evidence) > 0 {
		next.submit(s.clock.seconds())
	}

	at.payment.disputes[at.index] = &next
	rq.emit("charge.dispute.updated", &next, changes(before, &next))

	if next.Submissions != before.Submissions {
		s.planDispute(at)
	}

	rq.answer(at.payment, &next)

	return nil
}

// submit sends the evidence to the bank.
func (d *dispute) submit(now int64) {
	d.Submissions++
	d.SubmittedAt, d.Late = now, now > d.dueBy()

	if d.isInquiry() {
		d.Status = inquiryUnderReview
	} else {
		d.Status = disputeUnderReview
	}
}

// checkEvidence refuses more than Stripe takes in all.
func (d *dispute) checkEvidence() *refusal {
	total := 0
	for _, entry := range d.Evidence {
		total += utf8.RuneCountInString(entry.Value)
	}

	if total > maxEvidence {
		return invalid("The combined character count of all evidence fields is limited to 150,000, but it is "+
			strconv.Itoa(total)+".", "evidence", "")
	}

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

	outcome := disputeLost
	if at.payment.disputes[at.index].isInquiry() {
		outcome = inquiryClosed
	}

	s.decide(rq, at, outcome, 0)

	rq.answer(at.payment, at.payment.disputes[at.index])

	return nil
}

// openDisputeAt finds and locks a dispute, which must be open if asked.
func (s *account) openDisputeAt(rq *request, mustBeOpen bool) (member, *refusal) {
	at, ok := s.books.disputes.get(rq.objectID)
	if !ok {
		return member{}, missing(objectDispute, rq.objectID, objectDispute)
	}

	rq.change(at.payment)

	if mustBeOpen && at.payment.disputes[at.index].isClosed() {
		return member{}, refused("This dispute is already closed", "")
	}

	return at, nil
}

func readEvidence(p *params) []pair {
	var evidence []pair

	for _, name := range evidenceFields {
		text, sent := p.textOrEmpty(name)
		if !sent {
			continue
		}

		evidence = append(evidence, pair{Key: name, Value: text})

		switch {
		case text != "" && slices.Contains(evidenceFiles, name) && !strings.HasPrefix(text, "file_"):
			p.refuse(badReference(missing("file upload", text, p.path(name))))
		case utf8.RuneCountInString(text) > maxEvidenceField:
			p.refuse(invalid("Evidence can have up to 20,000 characters a field, but "+p.path(name)+" has "+
				strconv.Itoa(utf8.RuneCountInString(text))+".", p.path(name), ""))
		}
	}

	return evidence
}

// mergeEvidence adds fields to what was there; an empty one takes its field away.
func mergeEvidence(before, added []pair) []pair {
	merged := metadata(slices.Clone(before))

	for _, entry := range added {
		merged = slices.DeleteFunc(merged, func(old pair) bool { return entry.Value == "" && old.Key == entry.Key })
		merged = merged.set(entry.Key, entry.Value)
	}

	return merged
}
