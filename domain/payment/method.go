package payment

// Method is how the last attempt to pay was made, as far as people may see it.
type Method struct {
	// Type is the provider's word, such as "card"; empty if nothing is known.
	Type string
	// Card is the zero value if it is no card.
	Card Card
}

// Card is what is printed on a receipt.
type Card struct {
	Brand, Last4      string
	ExpMonth, ExpYear int
}

// Decline is why the last attempt to pay was declined. The zero value is no decline.
type Decline struct {
	// Code is the provider's error code, such as "card_declined", and DeclineCode the
	// bank's reason, such as "insufficient_funds"; either may be empty.
	Code, DeclineCode string
	// Message is the provider's, for the customer.
	Message string
}

// hopeless holds the reasons after which no further attempt makes sense, whatever the card:
// the payment is taken for fraud, was made before, or cannot be made
// (https://docs.stripe.com/declines/codes). Each other one is about this card or this moment.
//
//nolint:gochecknoglobals // a constant table
var hopeless = map[string]bool{
	// The payment is taken for fraud, or the card is known to be in the wrong hands. Whoever
	// pays with it should not be invited to try the next one.
	"fraudulent":         true,
	"merchant_blacklist": true,
	"lost_card":          true,
	"stolen_card":        true,
	"pickup_card":        true,
	// The same amount was paid with the same card a moment ago.
	"duplicate_transaction": true,
	// The amount itself is not possible.
	"invalid_amount": true,
	// The customer has withdrawn the consent to be charged.
	"stop_payment_order":               true,
	"revocation_of_authorization":      true,
	"revocation_of_all_authorizations": true,
}

// Retryable tells whether another attempt makes sense, with the same card or another one.
func (d Decline) Retryable() bool { return !hopeless[d.DeclineCode] && !hopeless[d.Code] }

// Retryable tells whether another attempt to pay makes sense after the last one was declined.
func (p Payment) Retryable() bool { return p.Decline.Retryable() && !p.Status.Final() }

// PaidBy is p with what the answer to the attempt that has paid it says of its method: an event
// may have said before that it is paid, but not how.
func (p Payment) PaidBy(s Snapshot) Payment {
	if p.Status == Succeeded && s.Status == Succeeded && p.Method.Type == "" {
		p.Method = s.Method
	}

	return p
}

// IsZero tells whether there is no decline.
func (d Decline) IsZero() bool { return d == Decline{} }
