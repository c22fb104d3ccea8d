package stripe

import (
	stripego "github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/ports"
)

// aboutTheAmount holds the error codes (https://docs.stripe.com/error-codes) that
// the order's amount itself causes, in every account and at any time. Only these
// answers are frozen: the client's key gives the same one for ever.
//
// Every other 400 or 404 may succeed tomorrow: somebody completes the account,
// switches a payment method on, corrects a URL or deploys a version that sends other
// parameters. Not listed therefore: parameter_invalid_integer,
// parameter_invalid_empty, parameter_missing and parameter_unknown (we write the
// parameters, so these are our own mistakes); "Invalid currency", which has no code
// and depends on the account's country; any code that Stripe adds later.
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

// aboutTheOrder holds the error codes (https://docs.stripe.com/error-codes) that another
// choice of the client causes. A method that is switched off in the Dashboard
// (payment_method_unactivated) is not listed: that is about the deployment.
//
//nolint:gochecknoglobals // a constant table
var aboutTheOrder = map[stripego.ErrorCode]bool{
	stripego.ErrorCodePaymentIntentIncompatiblePaymentMethod: true,
	stripego.ErrorCodePaymentMethodCurrencyMismatch:          true,
	stripego.ErrorCodePaymentMethodInvalidParameter:          true,
	stripego.ErrorCodeEmailInvalid:                           true,
}

// chosen holds the parameters whose values are the client's, as they are.
//
//nolint:gochecknoglobals // a constant table
var chosen = map[string]bool{
	"payment_method": true, "return_url": true, "receipt_email": true, "statement_descriptor_suffix": true,
	"description": true, offSession: true,
}

// ordered tells whether a rejection is about what the client has chosen, apart from the
// amount.
func (want asked) ordered(rejection *stripego.Error) bool {
	switch rejection.Code {
	case stripego.ErrorCodePaymentMethodUnactivated, stripego.ErrorCodeParameterUnknown:
		return false
	case stripego.ErrorCodePaymentIntentInvalidParameter: // of a create it may be about the account's methods
		return want.id != "" || chosen[rejection.Param]
	default:
		return aboutTheOrder[rejection.Code] || chosen[rejection.Param]
	}
}

// aboutTheState holds the error codes that the intent's state causes
// (https://docs.stripe.com/error-codes). An earlier attempt of ours may have brought it to
// that state.
//
//nolint:gochecknoglobals // a constant table
var aboutTheState = map[stripego.ErrorCode]bool{
	stripego.ErrorCodePaymentIntentUnexpectedState:      true,
	stripego.ErrorCodeChargeAlreadyCaptured:             true,
	stripego.ErrorCodeChargeExpiredForCapture:           true,
	stripego.ErrorCodeCaptureChargeAuthorizationExpired: true,
	stripego.ErrorCodeCaptureUnauthorizedPayment:        true,
}

// rejectsChange decides whether a failure proves that an operation on an intent was rejected.
// Because of the state, also a copy is: the core reads what became of the original. So it
// does if the key was used for another request, which the database has lost. Any other
// rejection counts only for the first send.
func (f *failure) rejectsChange(want asked, first bool) (outcome, error) {
	if f.rejection == nil {
		return unknown, nil
	}

	err := ports.RejectedError{
		Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg), Kept: f.replayed,
	}

	switch {
	case !f.mayReject() && f.reason != ReasonIdempotency:
		return unknown, nil
	case aboutTheState[f.rejection.Code], f.reason == ReasonIdempotency:
		err.State = true

		return rejected, &err
	case aboutTheAmount[f.rejection.Code]:
		err.Amount = true

		return rejected, &err
	case f.rejection.Type == stripego.ErrorTypeCard:
		return rejected, &err
	case want.confirms && want.ordered(f.rejection):
		err.Order = true

		return rejected, &err
	case first:
		return deploymentRejected, &ports.DeploymentError{Code: err.Code, Message: err.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}

// mayReject: the status is one with which Stripe rejects a request for good.
func (f *failure) mayReject() bool {
	return f.reason == ReasonBadRequest || f.reason == ReasonPayment || f.reason == ReasonUnknownPath
}

// rejectsCreate decides whether a failure proves that there is no intent, and that nothing
// sent so far will make one; if not, the outcome is unknown. first says that the
// request was never sent before this attempt: a 400 or 404 to a copy proves nothing
// about the original, a 402 does.
//
// Only an error of Stripe's counts, not a status that a proxy may have set, and not
// an error that names an intent: then there is one. 401 and 403 are unknown:
// somebody repairs the key, and the same request is sent again.
func (f *failure) rejectsCreate(want asked, first bool) (outcome, error) {
	if f.rejection == nil || (f.rejection.PaymentIntent != nil && f.rejection.PaymentIntent.ID != "") {
		return unknown, nil
	}

	final := ports.RejectedError{
		Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg), Kept: f.replayed,
	}

	switch {
	case f.reason == ReasonPayment && f.rejection.Type == stripego.ErrorTypeCard: // the bank declined
		return rejected, &final
	case f.reason == ReasonBadRequest && first && aboutTheAmount[f.rejection.Code]:
		final.Amount = true

		return rejected, &final
	case f.reason == ReasonBadRequest && first && f.rejection.Code == stripego.ErrorCodeResourceMissing &&
		f.rejection.Param == "customer": // somebody has deleted it
		final.Order = true

		return rejected, &final
	case first && f.reason != ReasonPayment && f.mayReject() && want.ordered(f.rejection):
		final.Order = true

		return rejected, &final
	case f.reason == ReasonPayment, first && f.mayReject():
		return deploymentRejected, &ports.DeploymentError{Code: final.Code, Message: final.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}
