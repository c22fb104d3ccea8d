package http

import (
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/fault"
)

// neverVersion is the version of no object.
const neverVersion = -1

// oneIfMatch is the one version that If-Match demands of a customer; 0 if it demands none.
func oneIfMatch(h http.Header) (int64, error) {
	versions, err := ifMatch(h)

	switch {
	case err != nil || versions == nil:
		return 0, err
	case len(versions) > 1:
		return 0, fault.New(fault.Invalid, "If-Match names several versions; send the one that you have read")
	case len(versions) == 0 || versions[0] <= 0: // it matches nothing
		return neverVersion, nil
	default:
		return versions[0], nil
	}
}

// optionalText is a text, null, or nothing.
type optionalText struct {
	text       string
	sent, null bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (o *optionalText) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	o.sent, o.null = true, from.PeekKind() == jsontext.KindNull

	return json.UnmarshalDecode(from, &o.text) //nolint:wrapcheck // decode's caller says what is wrong
}
