package sandbox

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
)

// isPublishable tells whether a key is one that a customer's page may have.
func isPublishable(key string) bool { return strings.HasPrefix(key, "pk_") }

// takePublishable takes the publishable key out of a form, where Stripe.js sends
// it, so that nothing else takes it for a parameter. A secret key stays there: it
// is no key in a form.
func (f *form) takePublishable() string {
	at := slices.IndexFunc(f.fields, func(each *field) bool { return each.name == "key" && isPublishable(each.value) })
	if at < 0 {
		return ""
	}

	key := f.fields[at].value
	f.fields = slices.Delete(f.fields, at, at+1)

	return key
}

// public tells what a publishable key may not do, or nil. The caller knows that
// there is such an endpoint.
func (rq *request) public() *refusal {
	if !rq.endpoint.public {
		r := unauthorized("This API call cannot be made with a publishable API key. Please use a secret API key. You can find a " +
			"list of your API keys at https://dashboard.stripe.com/account/apikeys.")
		r.code = codeSecretKeyRequired

		return r
	}

	// These are the server's to decide.
	for _, name := range []string{"capture_method", "error_on_requires_action", "off_session", "payment_method_types"} {
		if rq.params.has(name) {
			return invalid("The parameter "+name+" cannot be used with a publishable API key.", name, "")
		}
	}

	for _, path := range rq.params.list("expand") {
		if path != objectMethod { // the rest is not for the customer to see
			return invalid("This property cannot be expanded ("+path+").", "expand", "")
		}
	}

	return nil
}

// readSecret reads the client secret, which a publishable key must know.
func (rq *request) readSecret() string {
	if rq.access.publishable {
		return rq.params.required("client_secret")
	}

	return rq.params.text("client_secret")
}

func wrongSecret(what string) *refusal {
	code := "payment_intent_invalid_parameter"
	if what == speaksOfSetup {
		code = "setup_intent_invalid_parameter"
	}

	return refused("The client_secret provided does not match the client_secret associated with this "+what+".", code)
}

// hidden are the fields that publishable keys do not see.
//
//nolint:gochecknoglobals,goconst // a table, never written
var hidden = map[string][]string{
	objectIntent: {
		"amount_capturable", "amount_received", "application", "application_fee_amount", "customer", "invoice",
		latestCharge, "metadata", onBehalfOf, "payment_method_options", "review", "statement_descriptor",
		"statement_descriptor_suffix", "transfer_data", "transfer_group",
	},
	objectSetup: {
		"application", "customer", "flow_directions", "latest_attempt", "mandate", "metadata", onBehalfOf,
		"payment_method_options", "single_use_mandate",
	},
	objectMethod: {"metadata"},
}

// publicly is an object's text, rendered at depth 0, without what publishable keys
// do not see: fields of its own, and cards' fingerprints wherever they are.
func publicly(text []byte, object document) rawDocument {
	var hides []string

	switch object.(type) {
	case *paymentIntent:
		hides = hidden[objectIntent]
	case *setupIntent:
		hides = hidden[objectSetup]
	case *paymentMethod:
		hides = hidden[objectMethod]
	}

	// At depth 0 the object's own fields begin on lines that two spaces indent, and
	// a line end is never within a text.
	const own = `  "`

	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n}")), []byte("\n"))
	seen := make([]byte, 0, len(text))
	skips := false

	for _, line := range lines {
		if bytes.HasPrefix(line, []byte(own)) {
			name, _, _ := bytes.Cut(line[len(own):], []byte(`"`))
			skips = slices.Contains(hides, string(name))
		}

		if skips || bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte(`"fingerprint": "`)) {
			continue
		}

		seen = append(append(seen, line...), '\n')
	}

	seen = bytes.TrimSuffix(bytes.TrimSuffix(seen, []byte("\n")), []byte(","))

	return append(seen, "\n}"...)
}

// allowOrigins lets pages of other origins do what publishable keys may (CORS):
// it answers preflights, and marks answers as readable, unless there is a secret
// key in the header: without a key there, one in the form is publishable or is
// refused. It returns true where there is nothing more to do.
func (s *Sandbox) allowOrigins(w http.ResponseWriter, r *http.Request) (done bool) {
	if r.Header.Get("Origin") == "" {
		return false
	}

	asked := r.Method
	if r.Method == http.MethodOptions {
		asked = r.Header.Get("Access-Control-Request-Method")
	}

	rq := &request{method: asked, path: r.URL.Path}
	if found, refusal := rq.route(); refusal != nil || !found.public {
		return false
	}

	header := w.Header()
	header.Add("Vary", "Origin")

	if r.Method == http.MethodOptions {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Allow-Methods", "GET, POST")
		header.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
		header.Set("Access-Control-Max-Age", "300")
		w.WriteHeader(http.StatusNoContent)

		return true
	}

	if key := apiKey(r); key == "" || isPublishable(key) {
		header.Set("Access-Control-Allow-Origin", "*")
		header.Set("Access-Control-Expose-Headers", "Request-Id, Stripe-Should-Retry")
	}

	return false
}

// fromElsewhere refuses a secret key that a page of another origin sends: a form
// can, without asking for permission.
func (rq *request) fromElsewhere(r *http.Request) *refusal {
	if rq.access.publishable || !fromPage(r) || http.NewCrossOriginProtection().Check(r) == nil {
		return nil
	}

	return &refusal{
		status: http.StatusForbidden, kind: typeInvalidRequest,
		message: "The sandbox takes secret keys from no web page of another origin. Pages have publishable keys, pk_test_….",
	}
}
