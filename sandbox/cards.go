package sandbox

import (
	"net/http"
	"strings"
)

// testCard is one of Stripe's test payment methods ("Testing") and what a
// payment with it does.
type testCard struct {
	brand   string
	second  string // the network that a co-branded card has beside its brand
	last4   string
	country string
	funding string
	// decline is set on a card whose issuer, or Radar, says no.
	decline *decline
	// attaches is true where a customer can have the card although it is
	// declined.
	attaches bool
	// authentication tells when the issuer asks for 3-D Secure.
	authentication authentication
	// risk is Radar's opinion, empty for a normal one.
	risk string
	// cvc, line1 and zip are the results of the checks; empty: passed or, for
	// an address, not made.
	cvc, line1, zip string
	// available is true where the money needs no time to be available.
	available bool
	// disputes are what a payment opens, and warned is true where its issuer
	// reports fraud (an early fraud warning).
	disputes []disputeKind
	warned   bool
	// refund is the status that a refund begins with, and settles the one
	// that it ends in; both empty for a refund that succeeds at once.
	refund, settles string
	// bank is set where it is no card at all.
	bank *bankDebit
}

// authentication is what a card's issuer does about 3-D Secure (Stripe,
// "Testing", 3D Secure).
type authentication int

const (
	// authenticationOptional asks only where the merchant wants it. Zero, the
	// usual card's, acknowledges the attempt and asks for nothing.
	authenticationOptional authentication = iota + 1
	// authenticationBroken fails where the merchant wants it; the payment goes on.
	authenticationBroken
	// authenticationUnsupported cannot be asked.
	authenticationUnsupported
	// authenticationNever is that of a card that is declined before it.
	authenticationNever
	// authenticationOnSession asks whenever the customer is there.
	authenticationOnSession
	// authenticationUnlessSetUp asks also where the customer is not there, unless
	// the card was set up for that.
	authenticationUnlessSetUp
	// authenticationAlways asks for every payment.
	authenticationAlways
)

// challenges tells whether the customer must prove who they are.
func (m *paymentMethod) challenges(offSession, wanted bool) bool {
	switch m.card().authentication {
	case authenticationAlways:
		return true
	case authenticationUnlessSetUp:
		return !offSession || !m.SetUp
	case authenticationOnSession:
		return !offSession
	case authenticationOptional:
		return wanted
	default:
		return false
	}
}

// Results of 3-D Secure, as a charge's three_d_secure.result has them.
const (
	secureAuthenticated   = "authenticated"
	secureAcknowledged    = "attempt_acknowledged"
	secureNotSupported    = "not_supported"
	secureProcessingError = "processing_error"
)

// unasked is the result of 3-D Secure that the merchant wanted and that asked
// the customer nothing.
func (c *testCard) unasked() string {
	switch c.authentication {
	case authenticationBroken:
		return secureProcessingError
	case authenticationUnsupported:
		return secureNotSupported
	default:
		return secureAcknowledged
	}
}

// Radar's opinions and the results of checks.
const (
	riskNormal       = "normal"
	riskElevated     = "elevated"
	riskHighest      = "highest"
	checkPass        = "pass"
	checkFail        = "fail"
	checkUnavailable = "unavailable"
)

// riskScore is Radar's number for its opinion: from 65 it is elevated, from 75
// the highest.
func (c *testCard) riskScore() int64 {
	switch c.risk {
	case riskElevated:
		return 70
	case riskHighest:
		return 90
	default:
		return 20
	}
}

// networks are what the card can be charged through.
func (c *testCard) networks() []string {
	if c.second != "" {
		return []string{c.second, c.brand}
	}

	return []string{c.brand}
}

// decline is an issuer's no.
type decline struct {
	Code        string
	DeclineCode string
	Message     string
	// Blocked is true where Radar says no and the issuer is not asked.
	Blocked bool `json:"blocked,omitempty"`
}

// Refund statuses.
const (
	refundPending        = "pending"
	refundSucceeded      = "succeeded"
	refundFailed         = statusFailed
	refundCanceled       = "canceled"
	refundRequiresAction = "requires_action"
)

// Reasons of declines, and messages that more than one card has.
const (
	codeCardDeclined    = "card_declined"
	codeIncorrectCVC    = "incorrect_cvc"
	codeProcessingError = "processing_error"
	declineGeneric      = "generic_decline"
	declineFunds        = "insufficient_funds"
	noFunds             = "Your card has insufficient funds."
)

// paymentMethod is one use of a test card: Stripe, too, makes a new object of
// each use of pm_card_….
type paymentMethod struct {
	ID      string
	Created int64
	Live    bool
	// Card is the card's name in testCards.
	Card string
	// SetUp is true for a card that its customer has authenticated for payments
	// at which they are not present.
	SetUp bool `json:"set_up,omitempty"`
}

// card returns the test card behind the method.
func (m *paymentMethod) card() *testCard { return testCards[m.Card] }

// Expiry of every test card: far away, whatever the clock is moved to.
const (
	cardExpMonth = 12
	cardExpYear  = 2042
)

func (m *paymentMethod) writeJSON(w *jsonWriter) {
	w.beginObject()
	w.str("id", m.ID)
	w.str("object", "payment_method")
	writeBillingDetails(w)

	if m.card().bank == nil {
		m.writeCard(w)
	}

	w.num("created", m.Created)
	w.null("customer")
	w.boolean("livemode", m.Live)
	w.emptyObject("metadata")
	w.str("type", m.card().methodType())

	if bank := m.card().bank; bank != nil {
		bank.write(w)
	}

	w.endObject()
}

func (m *paymentMethod) writeCard(w *jsonWriter) {
	card := m.card()

	w.object("card")
	w.str("brand", card.brand)
	writeChecks(w, card)
	w.str("country", card.country)
	w.num("exp_month", cardExpMonth)
	w.num("exp_year", cardExpYear)
	w.str("fingerprint", card.fingerprint())
	w.str("funding", card.funding)
	w.null("generated_from")
	w.str("last4", card.last4)
	w.object("networks")
	w.strings("available", card.networks())
	w.null("preferred")
	w.endObject()
	w.object("three_d_secure_usage")
	w.boolean("supported", card.authentication != authenticationUnsupported)
	w.endObject()
	w.null("wallet")
	w.endObject()
}

// fingerprint is equal for equal cards, as at Stripe.
func (c *testCard) fingerprint() string { return "sandbox" + c.brand + c.last4 }

func writeChecks(w *jsonWriter, card *testCard) {
	w.object("checks")
	w.strOrNull("address_line1_check", card.line1)
	w.strOrNull("address_postal_code_check", card.zip)
	w.str("cvc_check", orDefault(card.cvc, checkPass))
	w.endObject()
}

func writeBillingDetails(w *jsonWriter) {
	w.object("billing_details")
	w.object("address")

	for _, line := range []string{"city", "country", "line1", "line2", "postal_code", "state"} {
		w.null(line)
	}

	w.endObject()
	w.null("email")
	w.null("name")
	w.null("phone")
	w.endObject()
}

// findMethod resolves what a client calls a payment method: a test card's name
// or the id of an earlier use.
func (s *account) findMethod(name string) (*paymentMethod, *refusal) {
	if testCards[name] != nil {
		return &paymentMethod{ID: newID("pm_1"), Created: s.clock.seconds(), Live: s.live, Card: name}, nil
	}

	if method, ok := s.books.methods.get(name); ok {
		return method, nil
	}

	r := missing("PaymentMethod", name, "payment_method")
	r.status = 400

	return nil, r
}

// readMethod reads the payment method of an intent: payment_method, or
// payment_method_data with a token, which makes one of it.
func readMethod(p *params) (name string) {
	data := p.child("payment_method_data")
	name = p.text(objectMethod)

	switch {
	case data == nil && strings.HasPrefix(name, "tok_"):
		p.refuse(badReference(missing("PaymentMethod", name, objectMethod)))
	case data != nil && name != "":
		p.refuse(invalid("You may only specify one of these parameters: payment_method, payment_method_data.",
			objectMethod, codeParametersExclusive))
	case data != nil:
		return readCard(data)
	}

	return name
}

// readCard reads the token of a new card. Numbers are refused as at Stripe: they
// have no business on a server.
func readCard(p *params) (token string) {
	if kind := p.required("type"); kind != "" && kind != typeOfCards {
		p.refuse(invalid("The sandbox knows the payment method type card only, not "+kind+".", p.path("type"), ""))
	}

	card := p.child("card")
	if card.has("number") {
		markRead(card.form)
		p.refuse(&refusal{
			status: http.StatusPaymentRequired, kind: typeInvalidRequest,
			message: "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test " +
				"tokens that map to the test card you are using, see https://stripe.com/docs/testing.",
		})

		return ""
	}

	if card == nil {
		p.refuse(invalid("Missing required param: "+p.path("card")+".", p.path("card"), codeParameterMissing))

		return ""
	}

	token = card.required("token")
	if token != "" && (!strings.HasPrefix(token, "tok_") || testCards[token] == nil) {
		p.refuse(badReference(missing("token", token, card.path("token"))))
	}

	return token
}
