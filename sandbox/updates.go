package sandbox

import "slices"

// updatable are the statuses in which an intent's amount, currency and payment
// method may still change.
//
//nolint:gochecknoglobals // a table, never written
var updatable = []string{statusRequiresPaymentMethod, statusRequiresConfirmation, statusRequiresAction}

// updatePaymentIntent is POST /v1/payment_intents/:id. Stripe sends no event
// for it.
func (s *account) updatePaymentIntent(rq *request) *refusal {
	// Everything is read onto a copy that is thrown away first, so that a
	// request that does not parse is refused before the intent is looked for.
	readUpdate(rq.params, &paymentIntent{Currency: defaultCurrency, Amount: maxAmount})

	if r := rq.finish(); r != nil {
		return r
	}

	pay, r := s.findPayment(rq.objectID)
	if r != nil {
		return r
	}

	rq.change(pay)

	// "Any operations on the PaymentIntent fail with an error"
	// (https://docs.stripe.com/api/payment_intents/cancel).
	if pay.intent.Status == statusCanceled {
		return unexpected(pay.intent, "This PaymentIntent could not be updated because it has a status of canceled.")
	}

	for _, name := range []string{"amount", "currency", "payment_method"} {
		if rq.params.has(name) && !slices.Contains(updatable, pay.intent.Status) {
			return unexpected(pay.intent, "This PaymentIntent's "+name+" could not be updated because it has a status of "+
				pay.intent.Status+". You may only update the "+name+" of a PaymentIntent with one of the following "+
				"statuses: requires_payment_method, requires_confirmation, requires_action.")
		}
	}

	next := *pay.intent
	if r := s.update(rq, pay, &next); r != nil {
		return r
	}

	pay.intent = &next

	rq.answer(pay, pay.intent)

	return nil
}

// update writes a request's parameters to the next version of an intent.
func (s *account) update(rq *request, pay *payment, next *paymentIntent) *refusal {
	choice := readUpdate(rq.params, next)

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	if r := checkAmount(next.Amount, next.Currency, currencies[next.Currency], "amount"); r != nil {
		return r
	}

	if next.Customer != pay.intent.Customer {
		if r := s.checkCustomer(next.Customer); r != nil {
			return r
		}

		if !choice.sent() && next.Method != nil { // it may be another customer's
			return s.chooseMethod(rq, next, choice)
		}
	}

	if !choice.sent() {
		return nil
	}

	method, r := s.findMethod(rq, choice, next.Customer, speaksOfPayment)
	if r != nil {
		return r
	}

	s.keepMethod(pay, method)
	next.Method, next.Authenticated, next.Action = method, false, nil
	next.Status = statusRequiresConfirmation

	return nil
}

// readUpdate reads what an update may change and returns the name of the new
// payment method, if any.
func readUpdate(p *params, next *paymentIntent) (method methodChoice) {
	if amount, sent := p.integer("amount"); sent {
		next.Amount = amount
	}

	if p.has("currency") {
		next.Currency, _ = readCurrency(p)
	}

	readTypes(p, &next.methodTypes)
	readCaptureMethod(p, next)
	next.Metadata = readMetadata(p, next.Metadata)
	readIntentText(p, &next.intentText)
	next.Customer = orDefault(p.text(objectCustomer), next.Customer)

	return readMethod(p)
}
