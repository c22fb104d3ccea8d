package sandbox

import "net/http"

// Error types, as in Stripe's "Errors" reference.
const (
	typeAPI            = "api_error"
	typeCard           = "card_error"
	typeIdempotency    = "idempotency_error"
	typeInvalidRequest = "invalid_request_error"
)

// Error codes that the sandbox answers with, as in Stripe's "Error codes".
const (
	codeAccountInvalid           = "account_invalid"
	codeAmountTooLarge           = "amount_too_large"
	codeAmountTooSmall           = "amount_too_small"
	codeAuthenticationFailure    = "payment_intent_authentication_failure"
	codeAuthenticationRequired   = "authentication_required"
	codeChargeAlreadyRefunded    = "charge_already_refunded"
	codeChargeDisputed           = "charge_disputed"
	codeIdempotencyKeyInUse      = "idempotency_key_in_use"
	codeEmailInvalid             = "email_invalid"
	codeParameterInvalidEmpty    = "parameter_invalid_empty"
	codeParameterInvalidInteger  = "parameter_invalid_integer"
	codeParameterMissing         = "parameter_missing"
	codeParameterUnknown         = "parameter_unknown"
	codeParametersExclusive      = "parameters_exclusive"
	codePaymentMethodUnsupported = "payment_method_unsupported_type"
	codeRateLimit                = "rate_limit"
	codeResourceMissing          = "resource_missing"
	codeSecretKeyRequired        = "secret_key_required" //nolint:gosec // not a secret
	codeSetupAuthentication      = "setup_intent_authentication_failure"
	codeSetupUnexpectedState     = "setup_intent_unexpected_state"
	codeUnexpectedState          = "payment_intent_unexpected_state"
	codeURLInvalid               = "url_invalid"
)

// refusal is what Stripe answers instead of the object that was asked for.
type refusal struct {
	status      int
	kind        string
	code        string
	declineCode string
	message     string
	param       string
	charge      string
	logURL      string // request_log_url

	// intent and method are what the error says about the payment it speaks
	// of; nil where the error speaks of none.
	intent *paymentIntent
	setup  *setupIntent
	method *paymentMethod
	// public is true where a publishable key sees the error.
	public bool

	// executed is true once the request had begun to run. Only then does the
	// idempotency layer keep the answer (Stripe, "Idempotent requests").
	executed bool

	// shouldRetry is the Stripe-Should-Retry header: "true", "false" or none.
	shouldRetry string
}

// invalid is a request that fails validation, before anything has run.
func invalid(message, param, code string) *refusal {
	return &refusal{
		status:  http.StatusBadRequest,
		kind:    typeInvalidRequest,
		code:    code,
		message: message,
		param:   param,
	}
}

// refused is a valid request that the objects' state does not allow.
func refused(message, code string) *refusal {
	return &refusal{
		status:   http.StatusBadRequest,
		kind:     typeInvalidRequest,
		code:     code,
		message:  message,
		executed: true,
	}
}

// missing is a reference to an object that is not in the books.
func missing(kind, id, param string) *refusal {
	return &refusal{
		status:   http.StatusNotFound,
		kind:     typeInvalidRequest,
		code:     codeResourceMissing,
		message:  "No such " + kind + ": '" + id + "'",
		param:    param,
		executed: true,
	}
}

// docsOf is where Stripe explains an error code; its slugs use hyphens.
func docsOf(code string) string {
	slug := []byte(code)
	for i, c := range slug {
		if c == '_' {
			slug[i] = '-'
		}
	}

	return "https://stripe.com/docs/error-codes/" + string(slug)
}

// writeJSON writes the error body, its members in alphabetical order as
// Stripe's are.
func (r *refusal) writeJSON(w *jsonWriter) {
	w.beginObject()
	w.object("error")

	writeIfSet(w, "charge", r.charge)
	writeIfSet(w, "code", r.code)
	writeIfSet(w, "decline_code", r.declineCode)

	if r.code != "" {
		w.str("doc_url", docsOf(r.code))
	}

	w.str("message", r.message)
	writeIfSet(w, "param", r.param)

	if r.intent != nil {
		r.object(w, objectIntent, r.intent)
	}

	if r.method != nil {
		r.object(w, objectMethod, r.method)
	}

	writeIfSet(w, "request_log_url", r.logURL)

	if r.setup != nil {
		r.object(w, objectSetup, r.setup)
	}

	w.str("type", r.kind)
	w.endObject()
	w.endObject()
	w.buf = append(w.buf, '\n')
}

// object writes an object that the error speaks of.
func (r *refusal) object(w *jsonWriter, name string, d document) {
	if r.public {
		d = publicly(render(d), d)
	}

	w.doc(name, d)
}

func writeIfSet(w *jsonWriter, name, value string) {
	if value != "" {
		w.str(name, value)
	}
}
