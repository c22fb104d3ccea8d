package stripe

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/domain/fault"
)

// Text that comes from Stripe, or from something in its place, is checked and cut
// here before it is passed on, stored or logged (OWASP API10:2023, "Unsafe
// consumption of APIs").
const (
	// maxSentence bounds Stripe's messages, in bytes; they are a sentence or two.
	maxSentence = 500
	// maxID is Stripe's longest id
	// (https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible).
	maxID = 255
	// Bounds on other names: ours, Stripe's are shorter.
	maxType      = 255
	maxCode      = 100
	maxRequestID = 64
	// maxSecret bounds a client secret: an intent's id, "_secret_", and as much again.
	maxSecret = 2*maxID + len("_secret_")
)

// secret finds client secrets, API keys and signing secrets.
var secret = regexp.MustCompile(`(_secret_|[sr]k_(?:live|test)_|whsec_)[0-9A-Za-z]+`)

// address finds email addresses, which Stripe quotes where it does not take one.
var address = regexp.MustCompile(`[^\s"'<>():;,]+@[^\s"'<>():;,]*`)

const capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// madeOf tells whether text has 1 to most bytes: lower-case letters, digits and others.
// It is no regular expression, because each event has several such texts.
func madeOf(text, others string, most int) bool {
	if text == "" || len(text) > most {
		return false
	}

	for i := range len(text) {
		c := text[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && strings.IndexByte(others, c) < 0 {
			return false
		}
	}

	return true
}

// isID accepts "evt_1", "ch_3MmlLr…": a prefix, then letters, digits, underscores and
// hyphens.
func isID(text string) bool {
	prefix, rest, _ := strings.Cut(text, "_")

	return len(text) <= maxID && madeOf(prefix, "", maxID) && prefix[0] >= 'a' && madeOf(rest, capitals+"_-", maxID)
}

// isIntentID accepts an id with which the intent can be read again.
func isIntentID(text string) bool { return strings.HasPrefix(text, "pi_") && isID(text) }

// isSecret accepts what can be a client secret. It goes to a customer's browser;
// nothing here reads it.
func isSecret(text string) bool { return madeOf(text, capitals+"_-", maxSecret) }

// isType accepts an event's type.
func isType(text string) bool { return madeOf(text, "_.", maxType) }

// requestID returns Stripe's id of a request
// (https://docs.stripe.com/api/request_ids), empty if it is none.
func requestID(header string) string {
	if rest, ok := strings.CutPrefix(header, "req_"); !ok || !madeOf(rest, capitals, maxRequestID) {
		return ""
	}

	return header
}

// code returns an error's code or type, empty if it is none.
func code(text string) string {
	if !madeOf(text, "_", maxCode) {
		return ""
	}

	return text
}

// sentence returns Stripe's message to a person: cut, in one line, without secrets and email
// addresses.
func sentence(text string) string {
	short := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) { // Cf can reverse the reading direction
			return ' '
		}

		return r
	}, fault.Shorten(text, maxSentence))

	return address.ReplaceAllString(withoutSecrets(strings.ToValidUTF8(short, "\uFFFD")), "***")
}

func withoutSecrets(text string) string { return secret.ReplaceAllString(text, "${1}***") }
