package sandbox

import "fmt"

// capturePaymentIntent is POST /v1/payment_intents/:id/capture.
func (s *account) capturePaymentIntent(rq *request) *refusal {
	p := rq.params
	amount, partial := p.integer("amount_to_capture")
	readMetadata(p, nil)

	var text intentText

	readDescriptors(p, &text)

	if partial && amount < 1 {
		p.refuse(invalid("This value must be greater than or equal to 1.", "amount_to_capture",
			codeParameterInvalidInteger))
	}

	if final, sent := p.boolean("final_capture"); sent && !final {
		p.refuse(invalid("Multicapture is not available for this payment.", "final_capture", ""))
	}

	if r := rq.finish(); r != nil {
		return r
	}

	pay, r := s.findPayment(rq.objectID)
	if r != nil {
		return r
	}

	rq.change(pay)

	if r := captureState(pay.intent); r != nil {
		return r
	}

	if !partial {
		amount = pay.intent.AmountCapturable
	}

	if amount > pay.intent.AmountCapturable {
		r := refused("The requested capture amount is greater than the authorized amount.", codeAmountTooLarge)
		r.param = "amount_to_capture"

		return r
	}

	next := *pay.intent
	next.Metadata = readMetadata(p, next.Metadata)
	readDescriptors(p, &next.intentText)
	pay.intent = &next

	s.capture(rq, pay, amount)

	rq.answer(pay, pay.intent)

	return nil
}

func captureState(i *paymentIntent) *refusal {
	switch i.Status {
	case statusRequiresCapture:
		return nil
	case statusSucceeded:
		return unexpected(i, "This PaymentIntent could not be captured because it has already been captured.")
	default:
		return unexpected(i, "This PaymentIntent could not be captured because it has a status of "+i.Status+
			". Only a PaymentIntent with one of the following statuses may be captured: requires_capture.")
	}
}

// capture takes an amount of a locked intent's authorization and lets go of the
// rest.
func (s *account) capture(rq *request, pay *payment, amount int64) {
	index := len(pay.charges) - 1
	taken := *pay.charges[index]
	taken.Captured, taken.AmountCaptured, taken.CaptureBefore = true, amount, 0
	s.book(pay, &taken)

	settled := &taken
	if rest := taken.Amount - amount; rest > 0 {
		settled = s.release(pay, &taken, rest)
	}

	pay.charges[index] = settled

	next := *pay.intent
	next.Status, next.AmountCapturable, next.AmountReceived = statusSucceeded, 0, amount
	pay.intent = &next

	rq.emit("charge.captured", settled, nil)
	rq.emit("payment_intent.succeeded", &next, nil)
	s.disputeIfAsked(rq, pay)
}

// lapseLater cancels an authorization that nobody captures in time.
func (s *account) lapseLater(pay *payment, made *charge) {
	s.schedule.at(unixTime(made.CaptureBefore), func() {
		_ = s.lapse(pay) // it was captured or canceled meanwhile
	})
}

func (s *account) lapse(pay *payment) (err error) {
	s.inBackground(func(rq *request) {
		rq.change(pay)

		if pay.intent.Status != statusRequiresCapture {
			err = fmt.Errorf("%w: %s has the status %s, not requires_capture", errBadControl, pay.intent.ID, pay.intent.Status)

			return
		}

		rq.emit("charge.expired", pay.charges[len(pay.charges)-1], nil)
		s.cancel(rq, pay, reasonAutomatic)
	})

	return err
}

// Lapse ends an intent's authorization as its seventh day would. It returns an
// error where nothing is authorized.
func (s *Sandbox) Lapse(intentID string) error {
	account, pay := s.paymentAnywhere(intentID)
	if pay == nil {
		return fmt.Errorf("%w: payment intent %s", errNoObject, intentID)
	}

	return account.lapse(pay)
}

func readDescriptors(p *params, text *intentText) {
	setText(p, "statement_descriptor", &text.Descriptor)
	setText(p, "statement_descriptor_suffix", &text.DescriptorSuffix)
}
