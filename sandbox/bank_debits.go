package sandbox

import (
	"slices"
	"strings"
)

// bankDebit is a test bank account (Stripe, "ACH Direct Debit", test accounts): a
// payment with it is processed for days, and only then succeeds or fails.
type bankDebit struct {
	last4 string
	// failure is why the bank gives nothing back; nil where it pays.
	failure *decline
	// stays is true where the payment is processed for ever.
	stays bool
}

// typeOfBank is the type of payment method that takes days.
const typeOfBank = "us_bank_account"

// addBankDebits adds pm_usBankAccount_…, by their whole names.
func addBankDebits(named map[string]*testCard) {
	failing := func(code, message string) *decline { return &decline{Code: code, Message: message} }

	for name, account := range map[string]bankDebit{
		"success": {last4: "6789"},
		"accountClosed": {last4: "1113", failure: failing("account_closed",
			"The customer's account has been closed.")},
		"noAccount": {last4: "1116", failure: failing("no_account",
			"The customer's account could not be located.")},
		"insufficientFunds": {last4: "2227", failure: failing(declineFunds,
			"The customer's account has insufficient funds to cover this payment.")},
		"debitNotAuthorized": {last4: "3335", failure: failing("debit_not_authorized",
			"The customer has notified their bank that this payment was unauthorized.")},
		"processing": {last4: "0009", stays: true},
	} {
		named["pm_usBankAccount_"+name] = &testCard{bank: &account, country: "US"}
	}

	named["pm_usBankAccount_dispute"] = &testCard{
		bank: &bankDebit{last4: "1115"}, country: "US",
		disputes: []disputeKind{{reason: "debit_not_authorized", network: "R10", final: true}},
	}
}

// methodType is the type of payment method that the test card is of.
func (c *testCard) methodType() string {
	switch {
	case c.bank != nil:
		return typeOfBank
	case c.later != nil:
		return c.later.kind
	default:
		return typeOfCards
	}
}

// process takes a locked intent's payment to the bank.
func (s *account) process(rq *request, pay *payment) {
	made := s.newCharge(pay, nil)

	next := *pay.intent
	next.Status, next.LastError, next.LatestCharge = statusProcessing, nil, made.ID
	pay.intent = &next
	s.saveMethod(rq, pay)

	rq.emit("payment_intent.processing", pay.intent, nil)
	rq.emit("charge.pending", made, nil)
	s.concludeLater(pay, made)
}

// concludeLater ends what the bank processes.
func (s *account) concludeLater(pay *payment, made *charge) {
	if made.Method.card().bank.stays {
		return
	}

	s.schedule.at(unixTime(made.Created).Add(s.options.ProcessingTime), func() {
		s.inBackground(func(rq *request) {
			rq.change(pay)

			index := slices.IndexFunc(pay.charges, func(c *charge) bool { return c.ID == made.ID })
			if before := pay.charges[index]; before.Pending {
				s.conclude(rq, pay, index, before.Method.card().bank.failure)
			}
		})
	})
}

// conclude books what the bank said about a pending charge.
func (s *account) conclude(rq *request, pay *payment, index int, failure *decline) {
	next := *pay.charges[index]
	next.Pending, next.Paid, next.Failure = false, failure == nil, failure

	intent := *pay.intent

	if failure != nil {
		next.Captured, next.AmountCaptured = false, 0
		pay.charges[index] = &next
		intent.Status = statusRequiresPaymentMethod
		intent.LastError = &paymentError{
			Kind: typeInvalidRequest, Code: failure.Code, Message: failure.Message, Charge: next.ID, Method: intent.Method,
		}
		intent.Method = nil
		pay.intent = &intent

		rq.emit("charge.failed", &next, nil)
		s.countFailure(rq, pay)

		return
	}

	s.book(pay, &next)
	pay.charges[index] = &next
	intent.Status, intent.AmountReceived = statusSucceeded, intent.Amount
	pay.intent = &intent

	rq.emit("charge.succeeded", &next, nil)
	rq.emit("payment_intent.succeeded", &intent, nil)
	s.disputeIfAsked(rq, pay)
}

// stopDebit ends the pending charge of an intent that is being canceled.
func (s *account) stopDebit(rq *request, pay *payment) {
	index := len(pay.charges) - 1
	next := *pay.charges[index]
	next.Pending, next.Captured, next.AmountCaptured = false, false, 0
	next.Failure = &decline{Code: "charge_canceled", Message: "The payment was canceled while it was processing."}
	pay.charges[index] = &next

	rq.emit("charge.failed", &next, nil)
}

// readMandate reads the customer's consent to a debit. Nothing is made of it:
// mandates are not in the books.
func readMandate(p *params) {
	data := p.child("mandate_data")
	if data == nil {
		return
	}

	acceptance := data.child("customer_acceptance")
	if acceptance == nil {
		data.refuse(invalid("Missing required param: "+data.path("customer_acceptance")+".", data.path("customer_acceptance"),
			codeParameterMissing))

		return
	}

	acceptance.required("type")
	acceptance.oneOf("type", "online", "offline")
	markRead(acceptance.form)
}

// checkType refuses a payment method that the intent does not take.
func (i *paymentIntent) checkType() *refusal {
	kind := i.Method.card().methodType()

	switch {
	case !slices.Contains(i.Types, kind):
		return i.notTaken(kind, speaksOfPayment, "payment_intent_incompatible_payment_method")
	case kind == typeOfBank && i.Currency != defaultCurrency:
		return invalid("The currency provided ("+i.Currency+") is invalid for the payment method type us_bank_account, "+
			"which only supports usd.", "currency", "payment_intent_invalid_parameter")
	case kind == typeOfBank && i.CaptureMethod == captureManual:
		return invalid("The payment method type us_bank_account cannot be captured by hand.", "capture_method",
			"payment_intent_invalid_parameter")
	default:
		return nil
	}
}

// notTaken refuses a type of payment method that an intent does not take.
func (t *methodTypes) notTaken(kind, what, code string) *refusal {
	return invalid("The PaymentMethod provided ("+kind+") is not allowed for this "+what+". Please attach a PaymentMethod of "+
		"one of the following types to this "+what+": "+strings.Join(t.Types, ", ")+".", objectMethod, code)
}

const (
	bankRouting = "110000000"
	bankName    = "STRIPE TEST BANK"
	bankHolder  = "individual"
	bankKind    = "checking"
)

func (b *bankDebit) write(w *jsonWriter) {
	w.object(typeOfBank)
	w.str("account_holder_type", bankHolder)
	w.str("account_type", bankKind)
	w.str("bank_name", bankName)
	w.null("financial_connections_account")
	w.str("fingerprint", "sandboxbank"+b.last4)
	w.str("last4", b.last4)
	w.object("networks")
	w.str("preferred", "ach")
	w.strings("supported", []string{"ach"})
	w.endObject()
	w.str("routing_number", bankRouting)
	w.null("status_details")
	w.endObject()
}

func (b *bankDebit) writeDetails(w *jsonWriter) {
	w.object("payment_method_details")
	w.str("type", typeOfBank)
	w.object(typeOfBank)
	w.str("account_holder_type", bankHolder)
	w.str("account_type", bankKind)
	w.str("bank_name", bankName)
	w.str("fingerprint", "sandboxbank"+b.last4)
	w.str("last4", b.last4)
	w.null("payment_reference")
	w.str("routing_number", bankRouting)
	w.endObject()
	w.endObject()
}
