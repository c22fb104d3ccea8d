package payment

import (
	"net/mail"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/marketflow/marketflow/domain/fault"
)

// What a client may say when a payment is made or confirmed. Each ParseX returns the text as
// it is, or fault.Invalid.
const (
	// maxMethodID is Stripe's longest id.
	maxMethodID = 255
	// MaxReturnURLLength is ours.
	MaxReturnURLLength = 2048
	// MaxDescriptionLength is Stripe's.
	MaxDescriptionLength = 1000
	// MaxSuffixLength is that of a whole statement descriptor, of which it is the end
	// (https://docs.stripe.com/get-started/account/statement-descriptors).
	MaxSuffixLength = 22
	// MaxEmailLength is Stripe's.
	MaxEmailLength = 512
)

// ParseMethodID checks the id of a payment method, such as "pm_1".
func ParseMethodID(text string) (string, error) {
	rest, ok := strings.CutPrefix(text, "pm_")
	if !ok || rest == "" || len(text) > maxMethodID || strings.ContainsFunc(rest, notInID) {
		return "", fault.New(fault.Invalid, "payment_method must be the id of a Stripe payment method, such as pm_1Nv0FGQ9RKHgCVdK")
	}

	return text, nil
}

func notInID(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
}

// ParseReturnURL checks where a customer comes back to.
func ParseReturnURL(text string) (string, error) {
	u, err := url.Parse(text)

	switch {
	case len(text) > MaxReturnURLLength:
		return "", fault.Newf(fault.Invalid, "return_url is over %d bytes", MaxReturnURLLength)
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", u.User != nil, !storable(text),
		strings.ContainsFunc(text, unicode.IsSpace):
		return "", fault.New(fault.Invalid, "return_url must be an absolute URL that begins with https:// or http://")
	default:
		return text, nil
	}
}

// ParseDescription checks what a payment is for.
func ParseDescription(text string) (string, error) {
	switch {
	case utf8.RuneCountInString(text) > MaxDescriptionLength:
		return "", fault.Newf(fault.Invalid, "description is over %d characters", MaxDescriptionLength)
	case !storable(text):
		return "", fault.New(fault.Invalid, "description is not valid text")
	default:
		return text, nil
	}
}

// ParseStatementDescriptorSuffix checks what a customer reads on the card's statement after
// the account's own name (https://docs.stripe.com/get-started/account/statement-descriptors).
func ParseStatementDescriptorSuffix(text string) (string, error) {
	other := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`<>\'"*`, r) }
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

	if text == "" || len(text) > MaxSuffixLength || strings.ContainsFunc(text, other) || !strings.ContainsFunc(text, letter) {
		return "", fault.Newf(fault.Invalid, `statement_descriptor_suffix must have 1 to %d characters of plain Latin, with at least `+
			`one letter and none of < > \ ' " *`, MaxSuffixLength)
	}

	return text, nil
}

// ParseEmail checks an address, without a name.
func ParseEmail(text string) (string, error) {
	address, err := mail.ParseAddress(text)
	if err != nil || address.Address != text || len(text) > MaxEmailLength || strings.ContainsFunc(text, unicode.IsControl) {
		// Without the cause: it would quote the address, which does not belong into a log.
		return "", fault.Newf(fault.Invalid, "receipt_email must be a plain e-mail address of at most %d characters", MaxEmailLength)
	}

	return text, nil
}
