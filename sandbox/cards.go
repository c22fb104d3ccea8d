package sandbox

// testCard is one of Stripe's test payment methods ("Testing") and what a
// payment with it does.
type testCard struct {
	brand   string
	last4   string
	country string
	// decline is set on a card whose issuer says no.
	decline *decline
	// authenticate is true where the issuer asks for 3-D Secure.
	authenticate bool
	// dispute is the reason of the dispute that a payment opens, or empty.
	dispute string
	// refund is the status that a refund begins with, and settles the one
	// that it ends in; both empty for a refund that succeeds at once.
	refund, settles string
}

// decline is an issuer's no.
type decline struct {
	Code        string
	DeclineCode string
	Message     string
}

// Refund statuses.
const (
	refundPending        = "pending"
	refundSucceeded      = "succeeded"
	refundFailed         = "failed"
	refundCanceled       = "canceled"
	refundRequiresAction = "requires_action"
)

const genericDecline = "Your card was declined."

// testCards are the payment methods by the names that Stripe gives them.
//
//nolint:gochecknoglobals // a table, never written
var testCards = cardTable()

//nolint:goconst // a table of Stripe's names
func cardTable() map[string]*testCard {
	visa := func(last4 string) testCard { return testCard{brand: "visa", last4: last4, country: "US"} }
	declining := func(last4, code, declineCode, message string) *testCard {
		card := visa(last4)
		card.decline = &decline{Code: code, DeclineCode: declineCode, Message: message}

		return &card
	}
	disputed := func(last4, reason string) *testCard {
		card := visa(last4)
		card.dispute = reason

		return &card
	}
	refunding := func(last4, first, then string) *testCard {
		card := visa(last4)
		card.refund, card.settles = first, then

		return &card
	}

	table := map[string]*testCard{
		"pm_card_visa":       {brand: "visa", last4: "4242", country: "US"},
		"pm_card_visa_debit": {brand: "visa", last4: "5556", country: "US"},
		"pm_card_mastercard": {brand: "mastercard", last4: "4444", country: "US"},
		"pm_card_amex":       {brand: "amex", last4: "8431", country: "US"},
		"pm_card_discover":   {brand: "discover", last4: "9424", country: "US"},
		"pm_card_jcb":        {brand: "jcb", last4: "0505", country: "JP"},

		"pm_card_chargeDeclined": declining("0002", "card_declined", "generic_decline", genericDecline),
		"pm_card_chargeDeclinedInsufficientFunds": declining("9995", "card_declined", "insufficient_funds",
			"Your card has insufficient funds."),
		"pm_card_chargeDeclinedLostCard":   declining("9987", "card_declined", "lost_card", genericDecline),
		"pm_card_chargeDeclinedStolenCard": declining("9979", "card_declined", "stolen_card", genericDecline),
		"pm_card_chargeDeclinedExpiredCard": declining("0069", "expired_card", "expired_card",
			"Your card has expired."),
		"pm_card_chargeDeclinedIncorrectCvc": declining("0127", "incorrect_cvc", "incorrect_cvc",
			"Your card's security code is incorrect."),
		"pm_card_chargeDeclinedProcessingError": declining("0119", "processing_error", "processing_error",
			"An error occurred while processing your card. Try again in a little bit."),

		"pm_card_authenticationRequired": {brand: "visa", last4: "3184", country: "IE", authenticate: true},

		"pm_card_createDispute":                   disputed("0259", "fraudulent"),
		"pm_card_createDisputeProductNotReceived": disputed("2685", "product_not_received"),

		"pm_card_pendingRefund": refunding("7726", refundPending, refundSucceeded),
		"pm_card_refundFail":    refunding("5126", refundSucceeded, refundFailed),
		// Of the sandbox's own making: Stripe has no card whose refund waits
		// for the customer, and without one nobody can try a refund's cancel.
		"pm_card_refundRequiresAction": refunding("7734", refundRequiresAction, ""),
	}

	for alias, name := range map[string]string{
		"pm_card_us":                                   "pm_card_visa",
		"pm_card_threeDSecure2Required":                "pm_card_authenticationRequired",
		"pm_card_threeDSecureRequired":                 "pm_card_authenticationRequired",
		"pm_card_authenticationRequiredOnSetup":        "pm_card_authenticationRequired",
		"pm_card_visa_chargeDeclined":                  "pm_card_chargeDeclined",
		"pm_card_visa_chargeDeclinedInsufficientFunds": "pm_card_chargeDeclinedInsufficientFunds",
		"pm_card_visa_chargeDeclinedLostCard":          "pm_card_chargeDeclinedLostCard",
		"pm_card_visa_chargeDeclinedStolenCard":        "pm_card_chargeDeclinedStolenCard",
		"pm_card_visa_chargeDeclinedExpiredCard":       "pm_card_chargeDeclinedExpiredCard",
		"pm_card_visa_chargeDeclinedIncorrectCvc":      "pm_card_chargeDeclinedIncorrectCvc",
		"pm_card_visa_chargeDeclinedProcessingError":   "pm_card_chargeDeclinedProcessingError",
		"pm_card_chargeDeclinedExpired":                "pm_card_chargeDeclinedExpiredCard",
	} {
		table[alias] = table[name]
	}

	return table
}

// paymentMethod is one use of a test card: Stripe, too, makes a new object of
// each use of pm_card_….
type paymentMethod struct {
	ID      string
	Created int64
	Live    bool
	// Card is the card's name in testCards.
	Card string
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
	w.object("card")

	card := m.card()
	w.str("brand", card.brand)
	writeChecks(w, card)
	w.str("country", card.country)
	w.num("exp_month", cardExpMonth)
	w.num("exp_year", cardExpYear)
	w.str("fingerprint", card.fingerprint())
	w.str("funding", "credit")
	w.null("generated_from")
	w.str("last4", card.last4)
	w.object("networks")
	w.strings("available", []string{card.brand})
	w.null("preferred")
	w.endObject()
	w.object("three_d_secure_usage")
	w.boolean("supported", true)
	w.endObject()
	w.null("wallet")
	w.endObject()

	w.num("created", m.Created)
	w.null("customer")
	w.boolean("livemode", m.Live)
	w.emptyObject("metadata")
	w.str("type", "card")
	w.endObject()
}

// fingerprint is equal for equal cards, as at Stripe.
func (c *testCard) fingerprint() string { return "sandbox" + c.brand + c.last4 }

func writeChecks(w *jsonWriter, card *testCard) {
	w.object("checks")
	w.null("address_line1_check")
	w.null("address_postal_code_check")

	if card.decline != nil && card.decline.Code == "incorrect_cvc" {
		w.str("cvc_check", "fail")
	} else {
		w.str("cvc_check", "pass")
	}

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
