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
)

// hints tell a client what a body may hold.
type hints struct{ fields, types string }

// decode reads a JSON body of at most so many bytes strictly: unknown and duplicate
// fields, other spellings of a name and trailing data are errors.
func decode(w http.ResponseWriter, r *http.Request, most int, body any, h hints) error {
	if err := requireJSON(r.Header); err != nil {
		return err
	}

	form, err := readBody(w, r, most)
	if err != nil {
		return err
	}

	return decodeForm(form, body, h)
}

// decodeOptional is decode for a body that may be empty.
func decodeOptional(w http.ResponseWriter, r *http.Request, most int, body any, h hints) error {
	if r.ContentLength == 0 {
		return nil
	}

	if err := requireJSON(r.Header); err != nil {
		return err
	}

	form, err := readBody(w, r, most)
	if err != nil || len(form) == 0 {
		return err
	}

	return decodeForm(form, body, h)
}

// decodeForm also refuses null, which would decode as an object without fields.
func decodeForm(form []byte, body any, h hints) error {
	if jsontext.Value(form).Kind() == jsontext.KindNull {
		return fault.New(fault.Invalid, "The body is not one JSON object.")
	}

	if err := json.Unmarshal(form, body, json.RejectUnknownMembers(true)); err != nil {
		return decodeFault(err, h)
	}

	return nil
}

// requireJSON lets backends leave the type out, but not browsers: a browser sends a
// body without a type for any page, without asking the server first
// (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
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
func decodeFault(err error, h hints) error {
	var (
		syntax   *jsontext.SyntacticError
		semantic *json.SemanticError
	)

	invalid := func(detail string) error { return fault.Wrap(fault.Invalid, err, detail) }

	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return invalid("The body has a field twice: " + pointer(syntax.JSONPointer) + ".")
	case errors.Is(err, json.ErrUnknownName) && errors.As(err, &semantic):
		return invalid("The body has an unknown field: " + pointer(semantic.JSONPointer) + ". Known are " + h.fields + ".")
	case errors.As(err, &semantic) && semantic.JSONPointer != "":
		return invalid("The field " + pointer(semantic.JSONPointer) + " has the wrong type; " + h.types + ".")
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		return invalid("The body ends too early; send one JSON object.")
	default:
		return invalid("The body is not one JSON object.")
	}
}

func pointer(p jsontext.Pointer) string {
	const most = 60

	return strings.TrimPrefix(fault.Shorten(string(p), most), "/")
}
