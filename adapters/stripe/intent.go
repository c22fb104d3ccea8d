package stripe

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	stripego "github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// intentObject is the part of a PaymentIntent that we read. Its names and types
// are the same in every API version (https://docs.stripe.com/api/payment_intents/object).
// What we could do without is a lenient type: a surprise there must not lose an event.
type intentObject struct {
	ID            string          `json:"id"`
	Amount        *int64          `json:"amount"`
	Capturable    lenientInt      `json:"amount_capturable"`
	Received      lenientInt      `json:"amount_received"`
	Currency      string          `json:"currency"`
	Status        string          `json:"status"`
	CaptureMethod lenientText     `json:"capture_method"`
	ClientSecret  string          `json:"client_secret"`
	Created       int64           `json:"created"`
	Livemode      *bool           `json:"livemode"`
	Metadata      *intentMetadata `json:"metadata"`
	Description   description     `json:"description"`
	Customer      lenientText     `json:"customer"`
	// LastPaymentError is there after a declined attempt to pay.
	LastPaymentError jsontext.Value `json:"last_payment_error"`
	// LatestCharge is an id, or the charge itself if that was asked for.
	LatestCharge jsontext.Value `json:"latest_charge"`
	NextAction   rawObject      `json:"next_action"`
}

// intentMetadata are the entries that we write, and the client's.
type intentMetadata struct {
	PaymentID string      `json:"payment_id"`         // payment.MetadataPaymentID
	Mark      lenientText `json:"marketflow"`         // payment.MetadataMark
	Key       lenientText `json:"marketflow_key"`     // payment.MetadataKey
	Capture   lenientText `json:"marketflow_capture"` // payment.MetadataCapture
	// Others are the client's; Stripe's values are texts.
	Others map[string]jsontext.Value `json:",embed"`
}

// key is the client's key, or none where it cannot be one.
func (m *intentMetadata) key() operation.Key {
	key, err := operation.ParseKey(string(m.Key))
	if err != nil {
		return ""
	}

	return key
}

// others is nil if there are none.
func (m *intentMetadata) others() map[string]string {
	if len(m.Others) == 0 {
		return nil
	}

	others := make(map[string]string, len(m.Others))

	for name, form := range m.Others {
		var value string
		if decode(form, &value) == nil {
			others[name] = value
		}
	}

	return others
}

// lenientText is a text. Any other JSON reads as an empty one.
type lenientText string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *lenientText) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	text, err := lenient[string](from)
	*l = lenientText(text)

	return err
}

// description is lenientText for what most intents do not have: nothing costs nothing.
type description string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *description) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	if *d = ""; from.PeekKind() != jsontext.KindString {
		return from.SkipValue() //nolint:wrapcheck // the JSON is malformed, and json says where
	}

	text, err := from.ReadToken()
	if err == nil {
		*d = description(text.String())
	}

	return err //nolint:wrapcheck // the same
}

// rawObject is an object as it is. Any other JSON, such as null, reads as none.
type rawObject jsontext.Value

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (r *rawObject) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	if *r = nil; from.PeekKind() != jsontext.KindBeginObject {
		return from.SkipValue() //nolint:wrapcheck // the JSON is malformed, and json says where
	}

	form, err := from.ReadValue()
	*r = rawObject(form.Clone())

	return err //nolint:wrapcheck // the same
}

// lenientInt is an integer. Any other JSON reads as if nothing were said.
type lenientInt struct {
	value int64
	said  bool
}

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *lenientInt) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	value, err := lenient[*int64](from)
	if *l = (lenientInt{}); value != nil {
		*l = lenientInt{*value, true}
	}

	return err
}

// lenient reads a value, which is T's zero value if the JSON has another type.
func lenient[T any](from *jsontext.Decoder) (read T, err error) {
	form, err := from.ReadValue()
	if err != nil {
		return read, err //nolint:wrapcheck // the JSON is malformed, and json says where
	}

	if decode(form, &read) != nil {
		return *new(T), nil //nolint:nilerr // another type is no error
	}

	return read, nil
}

// decode reads Stripe's JSON. Names must match in case: a client's own "Payment_ID"
// is not ours. Duplicate names and invalid UTF-8 are accepted: an error would lose
// an event.
func decode(form []byte, into any) error {
	//nolint:wrapcheck // the caller says what it decoded
	return json.Unmarshal(form, into, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// isPossible says that the intent can be read again and, with its client secret, paid.
func (o *intentObject) isPossible() bool {
	return isIntentID(o.ID) && (o.ClientSecret == "" || isSecret(o.ClientSecret))
}

func (o *intentObject) matches(want asked) bool {
	if want.id != "" {
		return o.ID == want.id
	}

	return o.Amount != nil && *o.Amount == want.amount &&
		strings.EqualFold(o.Currency, want.currency) && string(o.Customer) == want.customer &&
		o.Metadata != nil && o.Metadata.PaymentID == want.paymentID
}

// intent leaves out a client secret that cannot be one.
func (o *intentObject) intent() ports.Intent {
	clientSecret := o.ClientSecret
	if !isSecret(clientSecret) {
		clientSecret = ""
	}

	got := ports.Intent{
		ID:           o.ID,
		ClientSecret: clientSecret,
		Amount:       o.amount(),
		Status:       o.status(),
		IntentStatus: payment.IntentStatus(statusWord(o.Status)),
		Capturable:   o.sum(o.Capturable),
		Captured:     o.sum(o.Received),
		PaymentID:    o.paymentID(),
		Description:  o.description(),
		NextAction:   o.nextAction(),
		CreatedAt:    at(o.Created),
		Live:         o.Livemode,
	}
	if isObjectID(customerPrefix, string(o.Customer)) {
		got.Customer = string(o.Customer)
	}

	got.Declined = got.Status == payment.Failed

	o.addAttempt(&got)

	if payment.CaptureMethod(o.CaptureMethod) == payment.CaptureManual {
		got.CaptureMethod = payment.CaptureManual
	} else if o.CaptureMethod != "" { // automatic_async is automatic too
		got.CaptureMethod = payment.CaptureAutomatic
	}

	if o.Metadata != nil && !o.foreign() {
		got.Mark, got.Marked = operation.ParseMark(string(o.Metadata.Mark))

		got.Capture, _ = operation.ParseMark(string(o.Metadata.Capture))
		got.Key, got.Metadata = o.Metadata.key(), o.Metadata.others()
	}

	got.Unmarked = o.Metadata != nil && got.PaymentID == uuid.Nil && !got.Marked

	return got
}

// statusWord is Stripe's word for the status, empty if it cannot be one.
func statusWord(text string) string {
	const most = 40
	if len(text) > most {
		return ""
	}

	return code(text)
}

// sum is zero money if the object does not say it.
func (o *intentObject) sum(minor lenientInt) money.Money {
	currency, err := money.ParseCurrency(o.Currency)
	if !minor.said || err != nil {
		return money.Money{}
	}

	return money.Of(minor.value, currency)
}

// amount is zero if the object names none, or one that we could never have asked
// for.
func (o *intentObject) amount() money.Price {
	if !o.hasAmount() {
		return money.Price{}
	}

	currency, err := money.ParseCurrency(o.Currency)
	if err != nil {
		return money.Price{}
	}

	amount, err := money.NewPrice(*o.Amount, currency)
	if err != nil {
		return money.Price{}
	}

	return amount
}

func (o *intentObject) hasAmount() bool { return o.Amount != nil && o.Currency != "" }

// status follows https://docs.stripe.com/payments/paymentintents/lifecycle: a
// declined intent goes back to requires_payment_method and keeps its error.
func (o *intentObject) status() payment.Status {
	switch stripego.PaymentIntentStatus(o.Status) {
	case stripego.PaymentIntentStatusSucceeded:
		return payment.Succeeded
	case stripego.PaymentIntentStatusCanceled:
		return payment.Cancelled
	case stripego.PaymentIntentStatusRequiresPaymentMethod:
		if len(o.LastPaymentError) > 0 && o.LastPaymentError.Kind() != jsontext.KindNull {
			return payment.Failed
		}

		return payment.Pending
	default: // it is not decided yet, or the status is newer than this code
		return payment.Pending
	}
}

// foreign says that the object has an amount that we could never have asked for: in
// a currency that we do not know, or one that Stripe cannot charge. Our zero Amount
// would look like "no amount", which contradicts nothing. So a foreign intent is
// read, but names no payment of ours and changes none.
func (o *intentObject) foreign() bool { return o.hasAmount() && o.amount().IsZero() }

// paymentID is uuid.Nil if the metadata name no payment of ours. We write the
// canonical form (RFC 9562 section 4), so no other form is ours.
func (o *intentObject) paymentID() uuid.UUID {
	const canonical = 36

	if o.Metadata == nil || len(o.Metadata.PaymentID) != canonical || o.foreign() {
		return uuid.Nil
	}

	id, err := uuid.Parse(o.Metadata.PaymentID)
	if err != nil {
		return uuid.Nil
	}

	return id
}

// at converts Stripe's time, in seconds; zero if there is none.
func at(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}

	return time.Unix(seconds, 0).UTC()
}
