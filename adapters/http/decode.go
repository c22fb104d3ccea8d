package http

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// createBody is the body of POST /payments. Amount stays as it was spelled:
// it must not pass through a float. Where null is not the same as nothing, or
// as an empty text, there is a pointer.
type createBody struct {
	Amount   jsontext.Value     `json:"amount"`
	Currency *string            `json:"currency"`
	Key      *string            `json:"idempotency_key"`
	Metadata map[string]*string `json:"metadata"`
}

// createRequest is what a client asks for, checked.
type createRequest struct {
	key   operation.Key
	order payment.Order
}

func decodeCreate(form []byte, header http.Header) (createRequest, error) {
	var body createBody
	if err := json.Unmarshal(form, &body, json.RejectUnknownMembers(true)); err != nil {
		return createRequest{}, decodeFault(err)
	}

	order, err := orderOf(body)
	if err != nil {
		return createRequest{}, err
	}

	key, err := keyOf(body.Key, header)
	if err != nil {
		return createRequest{}, err
	}

	return createRequest{key: key, order: order}, nil
}

// requireJSON lets backends leave the type out. A browser may not: it sends a body
// without a type, of any page, without asking first (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
func requireJSON(h http.Header) error {
	contentType := h.Get("Content-Type")
	if contentType == "" && h.Get("Origin") == "" {
		return nil
	}

	if media, _, err := mime.ParseMediaType(contentType); err != nil || media != "application/json" {
		return fault.New(unsupportedMedia, "Send the body as application/json.")
	}

	return nil
}

// decodeFault says what is wrong with a body in the client's terms.
func decodeFault(err error) error {
	var (
		syntax   *jsontext.SyntacticError
		semantic *json.SemanticError
	)

	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return fault.Wrap(fault.Invalid, err, "The body has a field twice: "+pointer(syntax.JSONPointer)+".")
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &semantic):
		return fault.Wrap(fault.Invalid, err, "The body has an unknown field: "+pointer(semantic.JSONPointer)+
			". Known are amount, currency, idempotency_key and metadata.")
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		return fault.Wrap(fault.Invalid, err, "The field "+pointer(semantic.JSONPointer)+
			" has the wrong type; metadata maps strings to strings, currency and idempotency_key are strings.")
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		return fault.Wrap(fault.Invalid, err, "The body ends too early; send one JSON object.")
	default:
		return fault.Wrap(fault.Invalid, err, "The body is not one JSON object.")
	}
}

func pointer(p jsontext.Pointer) string {
	const most = 60

	return strings.TrimPrefix(fault.Shorten(string(p), most), "/")
}

func orderOf(body createBody) (payment.Order, error) {
	if body.Currency == nil {
		return payment.Order{}, fault.New(fault.Invalid, "currency is missing; send an ISO 4217 code such as USD")
	}

	currency, err := money.ParseCurrency(*body.Currency)
	if err != nil {
		return payment.Order{}, err
	}

	text, err := amountText(body.Amount)
	if err != nil {
		return payment.Order{}, err
	}

	amount, err := money.Parse(text, currency)
	if err != nil {
		return payment.Order{}, err
	}

	entries, err := metadataOf(body.Metadata)
	if err != nil {
		return payment.Order{}, err
	}

	metadata, err := payment.ParseMetadata(entries)
	if err != nil {
		return payment.Order{}, err
	}

	return payment.Order{Amount: amount, Metadata: metadata}, nil
}

// metadataOf refuses null, which would pass for an empty text.
func metadataOf(body map[string]*string) (map[string]string, error) {
	if body == nil {
		return nil, nil
	}

	entries := make(map[string]string, len(body))

	for key, value := range body {
		if value == nil {
			return nil, fault.New(fault.Invalid, "a metadata value is null; send a string or leave the entry out")
		}

		entries[key] = *value
	}

	return entries, nil
}

// amountText is the number or decimal string as the client spelled it.
func amountText(value jsontext.Value) (string, error) {
	switch {
	case len(value) == 0:
		return "", fault.New(fault.Invalid, "amount is missing; send it in major units, such as 1000.00")
	case value.Kind() == jsontext.KindNumber:
		return string(value), nil
	case value.Kind() == jsontext.KindString:
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", fault.Wrap(fault.Invalid, err, "amount is not valid text")
		}

		return text, nil
	default:
		return "", fault.New(fault.Invalid, "amount must be a number or a decimal string, such as 1000.00")
	}
}

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
	const name = "Idempotency-Key"

	values := h.Values(name)
	if len(values) == 0 {
		return nil, nil
	}

	if len(values) > 1 {
		return nil, fault.New(fault.Invalid, "the Idempotency-Key header is there more than once")
	}

	text := strings.TrimSpace(values[0])
	if !strings.HasPrefix(text, `"`) {
		return &text, nil
	}

	text, ok := unquote(text)
	if !ok {
		return nil, fault.New(fault.Invalid, "the Idempotency-Key header starts with a quote but is no quoted string")
	}

	return &text, nil
}

// unquote reads an RFC 8941 string: only \" and \\ are escaped.
func unquote(quoted string) (string, bool) {
	if len(quoted) < 2 || !strings.HasSuffix(quoted, `"`) {
		return "", false
	}

	var text strings.Builder

	inner := quoted[1 : len(quoted)-1]
	for i := 0; i < len(inner); i++ {
		switch {
		case inner[i] == '"':
			return "", false
		case inner[i] != '\\':
			text.WriteByte(inner[i])
		case i+1 < len(inner) && (inner[i+1] == '"' || inner[i+1] == '\\'):
			i++
			text.WriteByte(inner[i])
		default:
			return "", false
		}
	}

	return text.String(), true
}
