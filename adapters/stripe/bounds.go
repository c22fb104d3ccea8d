package stripe

import (
	"regexp"
	"strings"
	"unicode"

	"github.com/marketflow/marketflow/domain/fault"
)

// What comes from Stripe, or from something in its place, is bounded here before it
// is passed on, kept or logged (OWASP API10:2023, "Unsafe consumption of APIs").
const (
	// maxSentence bounds Stripe's words, in bytes; they are a sentence or two.
	maxSentence = 500
	// maxID is Stripe's longest id
	// (https://docs.stripe.com/upgrades#what-changes-does-stripe-consider-to-be-backwards-compatible).
	maxID = 255
	// maxSecret bounds a client secret: an intent's id and as much again.
	maxSecret = 2*maxID + len("_secret_")
)

var (
	idForm        = regexp.MustCompile(`^[a-z][a-z0-9]*_[A-Za-z0-9_-]+$`)
	requestIDForm = regexp.MustCompile(`^req_[A-Za-z0-9]{1,64}$`)
	codeForm      = regexp.MustCompile(`^[a-z0-9_]{1,100}$`)
	typeForm      = regexp.MustCompile(`^[a-z0-9_.]{1,255}$`)
	secretForm    = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	// secret finds client secrets, API keys and signing secrets.
	secret = regexp.MustCompile(`(_secret_|[sr]k_(?:live|test)_|whsec_)[0-9A-Za-z]+`)
)

// isID: "evt_1", "ch_3MmlLr…": letters, digits, underscores and hyphens behind a prefix.
func isID(text string) bool { return len(text) <= maxID && idForm.MatchString(text) }

// isIntentID: with anything else the service could not look a payment up again.
func isIntentID(text string) bool { return strings.HasPrefix(text, "pi_") && isID(text) }

// isSecret: a client's browser gets it, and it is never looked at here.
func isSecret(text string) bool { return len(text) <= maxSecret && secretForm.MatchString(text) }

// requestID is Stripe's id of a request (https://docs.stripe.com/api/request_ids),
// or nothing.
func requestID(header string) string {
	if !requestIDForm.MatchString(header) {
		return ""
	}

	return header
}

// code is an error's code or type, or nothing.
func code(text string) string {
	if !codeForm.MatchString(text) {
		return ""
	}

	return text
}

// sentence is what Stripe says to a person: cut, in one line, and without secrets.
func sentence(text string) string {
	short := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) { // Cf turns the reading direction, for one
			return ' '
		}

		return r
	}, fault.Shorten(text, maxSentence))

	return withoutSecrets(strings.ToValidUTF8(short, "\uFFFD"))
}

func withoutSecrets(text string) string { return secret.ReplaceAllString(text, "${1}***") }
