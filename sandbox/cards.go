package sandbox

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
	// later is set where somebody else pays first.
	later *payLater
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

// fingerprint is equal for equal cards, as at Stripe.
func (c *testCard) fingerprint() string { return "sandbox" + c.brand + c.last4 }

func writeChecks(w *jsonWriter, card *testCard) {
	w.object("checks")
	w.strOrNull("address_line1_check", card.line1)
	w.strOrNull("address_postal_code_check", card.zip)
	w.str("cvc_check", orDefault(card.cvc, checkPass))
	w.endObject()
}
