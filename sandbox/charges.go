package sandbox

import (
	"slices"
	"strconv"
)

// charge is one version of a Charge.
type charge struct {
	intentText

	ID             string
	Seq            int64
	Intent         string
	Amount         int64
	AmountCaptured int64
	AmountRefunded int64
	Currency       string
	Created        int64
	Live           bool
	Captured       bool
	Paid           bool
	Refunded       bool
	Disputed       bool
	Transaction    string
	Failure        *decline
	Method         *paymentMethod
	Customer       string `json:"customer,omitempty"`
	Authenticated  bool
	// Pending is true while a bank processes the charge.
	Pending bool `json:"pending,omitempty"`
	// Secure is the result of a 3-D Secure that asked the customer nothing.
	Secure string `json:"secure,omitempty"`
	// CaptureBefore is when an authorization that nobody captured lapses.
	CaptureBefore int64
	Metadata      metadata
}

// How long an uncaptured card authorization lasts, in seconds: seven days, for
// what a merchant charges to a Visa alone five, less a margin (Stripe, "Place a
// hold on a payment method").
const (
	authorizationSeconds         = 7 * 24 * 60 * 60
	merchantAuthorizationSeconds = (4*24 + 18) * 60 * 60
)

// authorizedFor is how long the intent's card holds the money.
func (i *paymentIntent) authorizedFor() int64 {
	if i.OffSession && i.Method.card().brand == brandVisa {
		return merchantAuthorizationSeconds
	}

	return authorizationSeconds
}

// newCharge books an attempt to pay; no is the issuer's refusal, if any.
func (s *account) newCharge(pay *payment, no *decline) *charge {
	i := pay.intent
	made := &charge{
		ID: newID("ch_3"), Intent: i.ID, Amount: i.Amount, Currency: i.Currency, Created: s.clock.seconds(), Live: s.live,
		Paid: no == nil, Failure: no, Method: i.Method, Customer: i.Customer, Metadata: i.Metadata, intentText: i.intentText,
		Authenticated: i.Authenticated, Seq: s.books.sequence.Add(1),
	}

	if !made.Authenticated && i.wantsSecure() {
		made.Secure = i.Method.card().unasked()
	}

	switch {
	case no != nil:
	case i.Method.card().bank != nil:
		made.Captured, made.AmountCaptured, made.Paid, made.Pending = true, made.Amount, false, true
	case i.CaptureMethod == captureManual:
		made.CaptureBefore = made.Created + i.authorizedFor()
	case i.CaptureMethod == captureAutomaticAsync:
		made.Captured, made.AmountCaptured = true, made.Amount
	default:
		made.Captured, made.AmountCaptured = true, made.Amount
		s.book(pay, made)
	}

	pay.charges = append(pay.charges, made)
	s.books.charges.add(made.ID, made.Created, member{payment: pay, index: len(pay.charges) - 1})

	return made
}

// book enters the money of a captured charge that is not in the books yet.
func (s *account) book(pay *payment, c *charge) {
	c.Transaction = s.newTransaction(pay, c, balanceTransaction{
		Kind: transactionCharge, Amount: c.AmountCaptured, Fee: fee(c.AmountCaptured), Source: c.ID,
		Immediate: c.Method.card().available, Description: c.Description,
	}).ID
}

// isBooking tells whether the money of an asynchronous capture is still to be
// entered (Stripe, "Asynchronous capture").
func (c *charge) isBooking() bool { return c.Captured && c.Paid && c.Transaction == "" }

// bookLater enters the money of an asynchronous capture and tells of it.
func (s *account) bookLater(pay *payment, made *charge) {
	s.schedule.at(unixTime(made.Created).Add(s.options.SettleDelay), func() {
		s.inBackground(func(rq *request) {
			rq.change(pay)

			index := slices.IndexFunc(pay.charges, func(c *charge) bool { return c.ID == made.ID })
			before := pay.charges[index]

			if !before.isBooking() {
				return
			}

			next := *before
			s.book(pay, &next)
			pay.charges[index] = &next

			rq.emit("charge.updated", &next, changes(before, &next))
			s.disputeIfAsked(rq, pay)
		})
	})
}

// getCharge is GET /v1/charges/:id.
func (s *account) getCharge(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	at, ok := s.books.charges.get(rq.objectID)
	if !ok {
		return missing(objectCharge, rq.objectID, "id")
	}

	rq.read(at.payment)

	rq.answer(at.payment, at.payment.charges[at.index])

	return nil
}

// listCharges is GET /v1/charges.
func (s *account) listCharges(rq *request) *refusal {
	customerID := s.readCustomerFilter(rq.params)

	if rq.params.text("transfer_group") != "" {
		rq.params.refuse(notSupported("transfer_group"))
	}

	pick := func(p *payment, i int) viewable { return p.charges[i] }

	return s.listMembers(rq, s.books.charges, objectCharge, "/v1/charges", pick, func(m member) bool {
		return customerID == "" || m.charge().Customer == customerID
	})
}

func (c *charge) status() string {
	if c.Failure != nil {
		return statusFailed
	}

	if c.Pending {
		return refundPending
	}

	return statusSucceeded
}

func (c *charge) writeJSON(w *jsonWriter) { c.write(w, view{}) }

func (c *charge) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", c.ID)
	w.str("object", objectCharge)
	w.num("amount", c.Amount)
	w.num("amount_captured", c.AmountCaptured)
	w.num("amount_refunded", c.AmountRefunded)
	w.null("application")
	w.null("application_fee")
	w.null("application_fee_amount")
	v.ref(w, objectTransaction, c.Transaction)
	c.Method.Billing.write(w)
	w.str("calculated_statement_descriptor", c.statementDescriptor())
	w.boolean("captured", c.Captured)
	w.num("created", c.Created)
	w.str("currency", c.Currency)
	v.ref(w, objectCustomer, c.Customer)
	w.strOrNull("description", c.Description)
	w.boolean("disputed", c.Disputed)
	w.null("failure_balance_transaction")
	c.writeFailure(w)
	w.emptyObject("fraud_details")
	w.null("invoice")
	w.boolean("livemode", c.Live)
	c.Metadata.write(w)
	w.null(onBehalfOf)
	c.writeOutcome(w)
	w.boolean("paid", c.Paid)
	v.ref(w, objectIntent, c.Intent)
	w.str("payment_method", c.Method.ID)
	c.writeMethodDetails(w)
	w.emptyObject("radar_options")
	w.strOrNull("receipt_email", c.ReceiptEmail)
	w.null("receipt_number")
	w.null("receipt_url")
	w.boolean("refunded", c.Refunded)
	c.writeRefunds(w, v)
	w.null("review")
	c.Shipping.write(w)
	w.null("source")
	w.null("source_transfer")
	w.strOrNull("statement_descriptor", c.Descriptor)
	w.strOrNull("statement_descriptor_suffix", c.DescriptorSuffix)
	w.str("status", c.status())
	w.null("transfer_data")
	w.strOrNull("transfer_group", c.TransferGroup)
	w.endObject()
}

func (c *charge) statementDescriptor() string {
	if c.Descriptor != "" {
		return c.Descriptor
	}

	return "SANDBOX"
}

func (c *charge) writeFailure(w *jsonWriter) {
	if c.Failure == nil {
		w.null("failure_code")
		w.null("failure_message")

		return
	}

	w.str("failure_code", c.Failure.Code)
	w.str("failure_message", c.Failure.Message)
}

func (c *charge) writeOutcome(w *jsonWriter) {
	status, reason, message, kind := "approved_by_network", "", "Payment complete.", "authorized"

	switch {
	case c.Failure == nil:
	case c.Failure.Blocked:
		status, reason, kind = "not_sent_to_network", "highest_risk_level", "blocked"
		message = "Stripe blocked this payment as too risky."
	default:
		status, reason, kind = "declined_by_network", c.Failure.DeclineCode, "issuer_declined"
		message = "The bank returned the decline code `" + reason + "`."
	}

	card := c.Method.card()

	w.object("outcome")
	w.str("network_status", status)
	w.strOrNull("reason", reason)
	w.str("risk_level", orDefault(card.risk, riskNormal))
	w.num("risk_score", card.riskScore())
	w.str("seller_message", message)
	w.str("type", kind)
	w.endObject()
}

func (c *charge) writeMethodDetails(w *jsonWriter) {
	card := c.Method.card()
	switch {
	case card.bank != nil:
		card.bank.writeDetails(w)

		return
	case card.later != nil:
		card.later.writeDetails(w)

		return
	}

	month, year := c.Method.expiry()

	w.object("payment_method_details")
	w.object("card")
	w.num("amount_authorized", c.Amount)
	w.str("brand", card.brand)

	if c.CaptureBefore != 0 {
		w.num("capture_before", c.CaptureBefore)
	}

	writeChecks(w, card)
	w.str("country", card.country)
	w.num("exp_month", month)
	w.num("exp_year", year)
	writeFeature(w, "extended_authorization", "disabled")
	w.str("fingerprint", card.fingerprint())
	w.str("funding", card.funding)
	writeFeature(w, "incremental_authorization", "unavailable")
	w.null("installments")
	w.str("last4", c.Method.last4())
	w.null("mandate")
	writeFeature(w, "multicapture", "unavailable")
	w.str("network", card.brand)
	w.object("network_token")
	w.boolean("used", false)
	w.endObject()
	w.object("overcapture")
	w.num("maximum_amount_capturable", c.Amount)
	w.str("status", "unavailable")
	w.endObject()
	c.writeThreeDSecure(w)
	w.null("wallet")
	w.endObject()
	w.str("type", "card")
	w.endObject()
}

func writeFeature(w *jsonWriter, name, status string) {
	w.object(name)
	w.str("status", status)
	w.endObject()
}

func (c *charge) writeThreeDSecure(w *jsonWriter) {
	result, flow, indicator := c.Secure, "", ""
	if c.Authenticated {
		result, flow, indicator = secureAuthenticated, "challenge", "05"
	}

	if result == "" {
		w.null("three_d_secure")

		return
	}

	if result == secureAcknowledged {
		indicator = "06"
	}

	w.object("three_d_secure")
	w.strOrNull("authentication_flow", flow)
	w.strOrNull("electronic_commerce_indicator", indicator)
	w.null("exemption_indicator")
	w.str("result", result)
	w.null("result_reason")
	w.null("transaction_id")
	w.str("version", "2.2.0")
	w.endObject()
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
