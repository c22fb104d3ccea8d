package sandbox

import (
	"net/http"
	"strings"
)

// token is a card that a customer's page has sent by its number, to be used once.
// The number is forgotten at once: what is kept is which test card it was.
type token struct {
	ID      string
	CardID  string
	Created int64
	Live    bool
	Used    bool `json:"used,omitempty"`
	Card    string
	Name    string `json:"name,omitempty"`
	Month   int64
	Year    int64
}

func (t *token) writeJSON(w *jsonWriter) { t.write(w, view{}) }

func (t *token) write(w *jsonWriter, _ view) {
	card := testCards[t.Card]

	w.beginObject()
	w.str("id", t.ID)
	w.str("object", "token")
	w.object("card")
	w.str("id", t.CardID)
	w.str("object", "card")

	for _, line := range []string{
		"address_city", "address_country", "address_line1", "address_line1_check", "address_line2", "address_state",
		"address_zip", "address_zip_check",
	} {
		w.null(line)
	}

	w.str("brand", tokenBrands[card.brand])
	w.str("country", card.country)
	w.str("cvc_check", "unchecked")
	w.null("dynamic_last4")
	w.num("exp_month", t.Month)
	w.num("exp_year", t.Year)
	w.str("fingerprint", card.fingerprint())
	w.str("funding", card.funding)
	w.str("last4", card.last4)
	w.emptyObject("metadata")
	w.strOrNull("name", t.Name)
	w.null("tokenization_method")
	w.endObject()
	w.null("client_ip")
	w.num("created", t.Created)
	w.boolean("livemode", t.Live)
	w.str("type", typeOfCards)
	w.boolean("used", t.Used)
	w.endObject()
}

// tokenBrands are brands as the older Card object has them.
//
//nolint:gochecknoglobals,goconst // a table, never written
var tokenBrands = map[string]string{
	brandVisa: "Visa", "mastercard": "MasterCard", "amex": "American Express", "discover": "Discover", "diners": "Diners Club",
	"jcb": "JCB", "unionpay": "UnionPay",
}

// createToken is POST /v1/tokens, of cards alone.
func (s *account) createToken(rq *request) *refusal {
	p := rq.params

	name := ""
	if card := p.child(typeOfCards); card != nil {
		name = card.text("name")
	}

	choice := readCard(p)

	if strings.HasPrefix(choice.name, "tok_") {
		p.refuse(invalid("Missing required param: card[number].", "card[number]", codeParameterMissing))
	}

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	made := &token{
		ID: newID("tok_1"), CardID: newID("card_1"), Created: s.clock.seconds(), Live: s.live, Card: choice.name, Name: name,
		Month: choice.month, Year: choice.year,
	}
	keptOne := &keptToken{}
	replace(rq, &keptOne.kept, keyToken, made.ID, made)
	s.books.wallet.tokens.add(made.ID, made.Created, keptOne)
	rq.answer(nil, made)

	return nil
}

// getToken is GET /v1/tokens/:id.
func (s *account) getToken(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	found, ok := s.books.wallet.tokens.get(rq.objectID)
	if !ok {
		return missing("token", rq.objectID, "id")
	}

	rq.answer(nil, found.now())

	return nil
}

// fromToken makes a payment method of a token's card, once.
func (s *account) fromToken(rq *request, c methodChoice) (*paymentMethod, *refusal) {
	found, ok := s.books.wallet.tokens.get(c.name)
	if !ok {
		return nil, badReference(missing("token", c.name, c.param))
	}

	rq.openWallet()

	t := *found.now()
	if t.Used {
		return nil, invalid("You cannot use a Stripe token more than once: "+t.ID+".", c.param, "token_already_used")
	}

	t.Used = true
	replace(rq, &found.kept, keyToken, t.ID, &t)

	c.name, c.month, c.year = t.Card, t.Month, t.Year

	return s.newMethod(c), nil
}

// readCard reads the card of a new payment method: a token or, from a customer's
// page, the number of a test card. Other numbers are refused as at Stripe: they
// have no business on a server.
func readCard(p *params) methodChoice {
	card := p.child(typeOfCards)

	switch {
	case card == nil:
		p.refuse(invalid("Missing required param: "+p.path(typeOfCards)+".", p.path(typeOfCards), codeParameterMissing))

		return methodChoice{}
	case card.has("number") && p.state.pageYear != 0:
		return readNumber(card)
	case card.has("number"):
		markRead(card.form)
		p.refuse(&refusal{
			status: http.StatusPaymentRequired, kind: typeInvalidRequest,
			message: "Sending credit card numbers directly to the Stripe API is generally unsafe. We suggest you use test " +
				"tokens that map to the test card you are using, see https://stripe.com/docs/testing.",
		})

		return methodChoice{}
	}

	name := card.required("token")
	made := strings.HasPrefix(name, "tok_1") // by POST /v1/tokens

	if name != "" && !made && (!strings.HasPrefix(name, "tok_") || testCards[name] == nil) {
		p.refuse(badReference(missing("token", name, card.path("token"))))
	}

	return methodChoice{name: name, param: card.path("token")}
}

// readNumber finds the test card of a number.
func readNumber(card *params) methodChoice {
	number := strings.NewReplacer(" ", "", "-", "").Replace(card.required("number"))
	month, hasMonth := card.integer("exp_month")
	year, hasYear := card.integer("exp_year")
	card.text("cvc")

	if networks := card.child("networks"); networks != nil {
		networks.text("preferred")
	}

	if !hasMonth {
		card.required("exp_month")
	}

	if !hasYear {
		card.required("exp_year")
	}

	if year > 0 && year < 100 { // as people write it
		year += 2000
	}

	checkExpiry(card, month, year)

	if year < card.state.pageYear {
		card.refuse(invalidYear(card))
	}

	name := cardNumbers[number]

	switch {
	case name != "":
	case !passesLuhn(number):
		card.refuse(cardError("incorrect_number", "", "Your card number is incorrect.", card.path("number")))
	default:
		card.refuse(cardError(codeCardDeclined, "test_mode_live_card", "Your card was declined. Your request was in test mode, "+
			"but used a non test card. For a list of valid test cards, visit: https://stripe.com/docs/testing.", ""))
	}

	return methodChoice{name: name, month: month, year: year}
}

// Years that a card may expire in: what Stripe takes for a year at all.
const (
	firstExpYear = 2000
	lastExpYear  = 2100
	monthsOfYear = 12
)

func checkExpiry(p *params, month, year int64) {
	switch {
	case month < 1 || month > monthsOfYear:
		p.refuse(cardError("invalid_expiry_month", "", "Your card's expiration month is invalid.", p.path("exp_month")))
	case year < firstExpYear || year > lastExpYear:
		p.refuse(invalidYear(p))
	}
}

func invalidYear(p *params) *refusal {
	return cardError("invalid_expiry_year", "", "Your card's expiration year is invalid.", p.path("exp_year"))
}

// cardError is a card that is refused before anything has run.
func cardError(code, declineCode, message, param string) *refusal {
	return &refusal{
		status: http.StatusPaymentRequired, kind: typeCard, code: code, declineCode: declineCode, message: message, param: param,
	}
}

// passesLuhn tells whether the number's last digit checks the others (ISO/IEC
// 7812-1, annex B).
func passesLuhn(number string) bool {
	const shortest = 12

	if len(number) < shortest || strings.Trim(number, "0123456789") != "" {
		return false
	}

	sum := 0

	for i := range number {
		digit := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			digit *= 2
		}

		sum += digit/10 + digit%10 //nolint:mnd // the digits of a number below 20
	}

	return sum%10 == 0
}

// cardNumbers are the numbers of Stripe's test cards ("Testing"), which only a
// customer's page may send, by the card's name. They are no secrets, and the
// sandbox keeps no number.
//
//nolint:gochecknoglobals // a table, never written
var cardNumbers = numberTable()

func numberTable() map[string]string {
	table := map[string]string{}

	for entry := range strings.FieldsSeq(`4242424242424242:visa 4000056655665556:visa_debit 5555555555554444:mastercard
		2223003122003222:mastercard 5200828282828210:mastercard_debit 5105105105105100:mastercard_prepaid
		378282246310005:amex 371449635398431:amex 6011111111111117:discover 6011000990139424:discover 3056930009020004:diners
		36227206271667:diners 3566002020360505:jcb 6200000000000005:unionpay
		4000000000000002:chargeDeclined 4000000000009995:chargeDeclinedInsufficientFunds
		4000000000009987:chargeDeclinedLostCard 4000000000009979:chargeDeclinedStolenCard
		4000000000000069:chargeDeclinedExpiredCard 4000000000000127:chargeDeclinedIncorrectCvc
		4000000000000119:chargeDeclinedProcessingError 4000000000006975:chargeDeclinedVelocityLimitExceeded
		4000000000000341:chargeCustomerFail 4100000000000019:radarBlock 4000000000004954:riskLevelHighest
		4000000000009235:riskLevelElevated 4000000000000101:cvcCheckFail 4000000000000036:avsZipFail
		4000000000000028:avsLine1Fail 4000000000000010:avsFail 4000000000000044:avsUnchecked
		4000002500003155:authenticationRequiredOnSetup 4000002760003184:authenticationRequired
		4000003800000446:authenticationRequiredSetupForOffSession
		4000008260003178:authenticationRequiredChargeDeclinedInsufficientFunds 4000000000003220:threeDSecure2Required
		4000008400001629:threeDSecureRequiredChargeDeclined 4000008400001280:threeDSecureRequiredProcessingError
		4000000000003055:threeDSecureOptional 4000000000003097:threeDSecureOptionalProcessingError
		4000000000000259:createDispute 4000000000002685:createDisputeProductNotReceived
		4000000000001976:createDisputeInquiry 4000000000005423:createIssuerFraudRecord
		4000000000007726:pendingRefund 4000000000005126:refundFail 4000000000000077:bypassPending`) {
		number, name, _ := strings.Cut(entry, ":")
		table[number] = "pm_card_" + name
	}

	return table
}
