package sandbox

import (
	"fmt"
	"strings"
)

// Authenticate answers the 3-D Secure challenge of a payment or setup intent as
// the customer would on its page. It returns an error where the intent does not
// ask for one.
func (s *Sandbox) Authenticate(intentID string, approve bool) error {
	if strings.HasPrefix(intentID, setupPrefix) {
		return s.authenticateSetup(intentID, approve)
	}

	account, pay := s.paymentAnywhere(intentID)
	if pay == nil {
		return noIntent(intentID)
	}

	var err error

	account.inBackground(func(rq *request) {
		rq.change(pay)

		if pay.intent.Status != statusRequiresAction {
			err = asksNothing(intentID, pay.intent.Status)

			return
		}

		account.authenticated(rq, pay, approve)
	})

	return err
}

func noIntent(id string) error { return fmt.Errorf("%w: intent %s", errNoObject, id) }

func asksNothing(id, status string) error {
	return fmt.Errorf("%w: %s has the status %s, not requires_action", errBadControl, id, status)
}

// authenticated goes on with a locked intent once its customer has decided.
func (s *account) authenticated(rq *request, pay *payment, approved bool) {
	if !approved && pay.intent.Method.card().later != nil {
		s.failAuthentication(rq, pay, "payment_method_customer_decline", "The customer did not approve the payment. Provide a "+
			"new payment method to attempt to fulfill this intent again.")

		return
	}

	if !approved {
		s.failAuthentication(rq, pay, codeAuthenticationFailure, "The provided PaymentMethod has failed authentication. "+
			"You can provide payment_method_data or a new PaymentMethod to attempt to fulfill this PaymentIntent again.")

		return
	}

	next := *pay.intent
	next.Authenticated, next.Action = true, nil
	pay.intent = &next

	if next.ConfirmationMethod == confirmManual {
		next.Status = statusRequiresConfirmation // the server confirms again

		return
	}

	if no := next.Method.card().decline; no != nil {
		s.declinePayment(rq, pay, no)

		return
	}

	s.pay(rq, pay)
}
