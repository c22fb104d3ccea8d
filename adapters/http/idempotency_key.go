package http

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
)

// keyOf is the idempotency key of the body or the header, which must agree.
func keyOf(inBody *string, h http.Header) (operation.Key, error) {
	inHeader, err := headerKey(h)
	if err != nil {
		return "", err
	}

	switch {
	case inBody == nil && inHeader == nil:
		return "", nil
	case inBody != nil && inHeader != nil && *inBody != *inHeader:
		return "", fault.New(fault.Invalid,
			"the Idempotency-Key header and the body's idempotency_key differ; send one of them, or the same in both")
	case inBody != nil:
		return operation.ParseKey(*inBody)
	default:
		return operation.ParseKey(*inHeader)
	}
}

// headerKey reads the Idempotency-Key header: a quoted string as RFC 8941
// section 3.3.3 and the idempotency draft have it, or bare as Stripe's clients
// send it.
func headerKey(h http.Header) (*string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return nil, nil
	}

	if len(values) > 1 {
		return nil, fault.New(fault.Invalid, "the Idempotency-Key header was sent more than once")
	}

	text := strings.TrimSpace(values[0])
	if !strings.HasPrefix(text, `"`) {
		return &text, nil
	}

	if !quotedString.MatchString(text) {
		return nil, fault.New(fault.Invalid, "the Idempotency-Key header starts with a quote but is not a quoted string")
	}

	text = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(text[1 : len(text)-1])

	return &text, nil
}

// quotedString is an RFC 8941 string: only \" and \\ are escaped.
var quotedString = regexp.MustCompile(`(?s)^"(?:[^"\\]|\\["\\])*"$`)
