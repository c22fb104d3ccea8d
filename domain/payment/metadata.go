package payment

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/marketflow/marketflow/domain/fault"
)

// The metadata keys that we write into every intent of ours. By them we recognise an
// intent whose answer was lost.
const (
	// MetadataPaymentID holds our payment id.
	MetadataPaymentID = "payment_id"
	// MetadataMark holds the mark of the operation that made the intent.
	MetadataMark = "marketflow"
	// MetadataKey holds the client's idempotency key.
	MetadataKey = "marketflow_key"
	// MetadataCapture holds the mark of the operation that captured the intent.
	MetadataCapture = "marketflow_capture"
)

// Stripe's limits on metadata (https://docs.stripe.com/metadata), less the four entries
// that are ours.
const (
	MaxMetadataEntries     = 46
	MaxMetadataKeyLength   = 40
	MaxMetadataValueLength = 500
)

// Metadata is what a client wants to keep with a payment. It is nil if nothing was sent.
type Metadata map[string]string

// ParseMetadata checks a client's metadata. Too many entries, keys or values
// that are too long, an empty key, square brackets or control characters in a key,
// and the reserved keys are fault.Invalid.
func ParseMetadata(entries map[string]string) (Metadata, error) {
	if len(entries) > MaxMetadataEntries {
		return nil, fault.Newf(fault.Invalid, "metadata has %d entries; the most is %d", len(entries), MaxMetadataEntries)
	}

	for key, value := range entries {
		if err := checkMetadataKey(key); err != nil {
			return nil, err
		}

		if utf8.RuneCountInString(value) > MaxMetadataValueLength {
			return nil, fault.Newf(fault.Invalid, "metadata value of %q is over %d characters", key, MaxMetadataValueLength)
		}

		if !storable(value) {
			return nil, fault.Newf(fault.Invalid, "metadata value of %q is not valid text", key)
		}
	}

	return entries, nil
}

func checkMetadataKey(key string) error {
	switch {
	case key == "":
		return fault.New(fault.Invalid, "metadata has an empty key")
	case utf8.RuneCountInString(key) > MaxMetadataKeyLength:
		return fault.Newf(fault.Invalid, "a metadata key is over %d characters", MaxMetadataKeyLength)
	case !storable(key), strings.ContainsAny(key, "[]"), strings.ContainsFunc(key, unicode.IsControl):
		return fault.New(fault.Invalid, "a metadata key holds a square bracket or a control character")
	case key == MetadataPaymentID, key == MetadataMark, key == MetadataKey, key == MetadataCapture:
		return fault.Newf(fault.Invalid, "metadata key %q is reserved; choose another name", key)
	}

	return nil
}

// storable says whether PostgreSQL's text can hold s: UTF-8 without U+0000.
func storable(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// MetadataChange are the entries of a payment's metadata that change. An empty one is removed.
type MetadataChange map[string]string

// ParseMetadataChange checks what a client changes. A name that is ours, or might become so, is
// fault.Invalid, as is whatever ParseMetadata does not take.
func ParseMetadataChange(entries map[string]string) (MetadataChange, error) {
	for name := range entries {
		if strings.HasPrefix(name, MetadataMark) {
			return nil, fault.New(fault.Invalid, "metadata keys that begin with marketflow are reserved; choose another name")
		}
	}

	change, err := ParseMetadata(entries)

	return MetadataChange(change), err
}

// With is m with a change. m stays as it is.
func (m Metadata) With(change MetadataChange) Metadata {
	with := make(Metadata, len(m)+len(change))
	maps.Copy(with, m)

	for name, value := range change {
		if with[name] = value; value == "" {
			delete(with, name)
		}
	}

	if m == nil && len(with) == 0 {
		return nil
	}

	return with
}

// CheckWith returns fault.Invalid if m with a change has too many entries.
func (m Metadata) CheckWith(change MetadataChange) error {
	if n := len(m.With(change)); n > MaxMetadataEntries {
		return fault.Newf(fault.Invalid, "the payment would have %d entries of metadata; the most is %d", n, MaxMetadataEntries)
	}

	return nil
}
