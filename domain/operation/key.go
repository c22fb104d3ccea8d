package operation

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/marketflow/marketflow/domain/fault"
)

// MaxKeyLength is how many characters an idempotency key may have. Stripe has the same
// limit.
const MaxKeyLength = 255

// Key is an idempotency key: a client's own name for one request. The zero value is no key.
type Key string

// ParseKey checks a client's key: 1 to MaxKeyLength characters of UTF-8 without control
// characters. For any other text the error is fault.Invalid.
func ParseKey(text string) (Key, error) {
	if text == "" {
		return "", fault.New(fault.Invalid, "idempotency key is empty; send 1 to 255 characters or leave it out")
	}

	if n := utf8.RuneCountInString(text); n > MaxKeyLength {
		return "", fault.Newf(fault.Invalid, "idempotency key has %d characters; the most is %d", n, MaxKeyLength)
	}

	if !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return "", fault.New(fault.Invalid, "idempotency key holds a control character or is not valid UTF-8")
	}

	return Key(text), nil
}
