package stripe

import (
	stripego "github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/ports"
)

// aboutTheAmount are the codes of Stripe's error page
// (https://docs.stripe.com/error-codes) that the order's own money causes, whoever
// sends it, wherever and whenever: only these are kept for ever under a client's
// key.
//
// Everything else that Stripe answers with 400 or 404 may be gone tomorrow, because
// somebody completes the account, switches a payment method on, corrects a URL or
// deploys a version that sends other parameters. So codes that only look like the
// order's are not in here: parameter_invalid_integer, parameter_invalid_empty,
// parameter_missing and parameter_unknown (we write the parameters, so these are our
// own mistakes); an "Invalid currency" has no code and depends on the account's
// country. A code that Stripe adds later is not in here either.
//
//nolint:gochecknoglobals // a constant table
var aboutTheAmount = map[stripego.ErrorCode]bool{
	// "The specified amount is less than the minimum amount allowed."
	stripego.ErrorCodeAmountTooSmall: true,
	// "The specified amount is greater than the maximum amount allowed."
	stripego.ErrorCodeAmountTooLarge: true,
	// "The charge amount must be a positive integer in the smallest currency unit, and
	// not exceed the minimum or maximum amount."
	stripego.ErrorCodeInvalidChargeAmount: true,
}

// rejects tells why there is no intent, and none comes of what was sent so far; an
// outcome of unknown where that is not proven. first says that the request had
// never been sent before this attempt: a copy's 400 or 404 does not speak for the
// original, a 402 does.
//
// Only Stripe's own word counts, not a status that some proxy has set; and an error
// that names an intent says that there is one. 401 and 403 stay unknown: the key is
// repaired and the same request sent again.
func (f *failure) rejects(first bool) (outcome, error) {
	if f.rejection == nil || (f.rejection.PaymentIntent != nil && f.rejection.PaymentIntent.ID != "") {
		return unknown, nil
	}

	final := ports.RejectedError{Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg)}

	switch {
	case f.reason == ReasonPayment && f.rejection.Type == stripego.ErrorTypeCard: // the bank's word
		return rejected, &final
	case f.reason == ReasonBadRequest && first && aboutTheAmount[f.rejection.Code]:
		final.Amount = true

		return rejected, &final
	case f.reason == ReasonPayment, first && (f.reason == ReasonBadRequest || f.reason == ReasonUnknownPath):
		return deploymentRejected, &ports.DeploymentError{Code: final.Code, Message: final.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}
