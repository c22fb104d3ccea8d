package stripe

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// The events that we handle: those that change a payment, and the steps on the way
// (https://docs.stripe.com/payments/paymentintents/lifecycle).
const (
	eventPrefix     = "payment_intent."
	eventCreated    = eventPrefix + "created"
	eventProcessing = eventPrefix + "processing"
	eventAction     = eventPrefix + "requires_action"
	eventCapturable = eventPrefix + "amount_capturable_updated"
	eventSucceeded  = eventPrefix + "succeeded"
	eventFailed     = eventPrefix + "payment_failed"
	eventCanceled   = eventPrefix + "canceled"

	// A refund of a charge announces itself by the first two. The others are of later versions
	// (https://docs.stripe.com/changelog/acacia/2024-10-28/refund-webhook-update).
	eventRefunded      = "charge.refunded"
	eventRefundChanged = "charge.refund.updated"
	eventRefundCreated = "refund.created"
	eventRefundUpdated = "refund.updated"
	eventRefundFailed  = "refund.failed"

	disputePrefix          = "charge.dispute."
	eventDisputeCreated    = disputePrefix + "created"
	eventDisputeUpdated    = disputePrefix + "updated"
	eventDisputeClosed     = disputePrefix + "closed"
	eventDisputeWithdrawn  = disputePrefix + "funds_withdrawn"
	eventDisputeReinstated = disputePrefix + "funds_reinstated"

	eventCustomerCreated = "customer.created"
	eventCustomerUpdated = "customer.updated"
	eventCustomerDeleted = "customer.deleted"
)

// handled lists the types of events that we handle.
func handled() []string {
	return []string{
		eventCreated, eventProcessing, eventAction, eventCapturable, eventSucceeded, eventFailed, eventCanceled,
		eventRefunded, eventRefundChanged, eventRefundCreated, eventRefundUpdated, eventRefundFailed,
		eventDisputeCreated, eventDisputeUpdated, eventDisputeClosed, eventDisputeWithdrawn, eventDisputeReinstated,
		eventCustomerCreated, eventCustomerUpdated, eventCustomerDeleted,
	}
}

// isAboutMoney tells whether events of a type are about refunds or disputes of a payment.
func isAboutMoney(eventType string) bool {
	switch eventType {
	case eventRefunded, eventRefundChanged, eventRefundCreated, eventRefundUpdated, eventRefundFailed,
		eventDisputeCreated, eventDisputeUpdated, eventDisputeClosed, eventDisputeWithdrawn, eventDisputeReinstated:
		return true
	default:
		return false
	}
}

const (
	// tolerance is how many seconds a signature's time may differ from ours, in the
	// past and in the future (https://docs.stripe.com/webhooks#replay-attacks).
	tolerance = 300
	// maxTime is the last second of the year 9999: RFC 3339 cannot write a later one.
	maxTime = 253402300799
)

// Webhooks is ports.Webhooks for Stripe. It is safe for concurrent use.
type Webhooks struct {
	secrets [][]byte
	stored  StoredSecrets
	now     func() time.Time
}

// StoredSecrets are secrets that come and go while the service runs.
type StoredSecrets interface {
	// Try calls signed with each secret that may be used now, until it says yes, and tells
	// whether it did. If it is not known which secrets there are: fault.Unavailable.
	Try(signed func(secret []byte) bool) (bool, error)
}

var _ ports.Webhooks = (*Webhooks)(nil)

var errNoSecret = errors.New("a webhook secret is empty: anybody could sign events with it")

// NewWebhooks returns a Webhooks that accepts events signed with any of secrets, or else with a
// stored one: while one replaces another there are two. stored may be nil. It is an error if
// there is no secret and none can be stored, or an empty one. Signatures are compared with the
// clock now.
func NewWebhooks(secrets []string, stored StoredSecrets, now func() time.Time) (*Webhooks, error) {
	if len(secrets) == 0 && stored == nil || slices.Contains(secrets, "") {
		return nil, errNoSecret
	}

	w := &Webhooks{now: now, stored: stored, secrets: make([][]byte, 0, len(secrets))}
	for _, s := range secrets {
		w.secrets = append(w.secrets, []byte(s))
	}

	return w, nil
}

// Check implements ports.Webhooks.
func (w *Webhooks) Check(signature string) error {
	_, err := w.header(signature)

	return err
}

// Verify implements ports.Webhooks. The scheme is described at
// https://docs.stripe.com/webhooks#verify-manually. stripe-go's own check takes only
// one secret, and timestamps however far in the future.
func (w *Webhooks) Verify(payload []byte, signature string) error {
	header, err := w.header(signature)
	if err != nil {
		return err
	}

	for _, s := range w.secrets {
		if header.signedWith(s, payload) {
			return nil
		}
	}

	if w.stored != nil {
		signed, err := w.stored.Try(func(secret []byte) bool { return header.signedWith(secret, payload) })
		if signed || err != nil {
			return err
		}
	}

	return unauthenticated("no signature matches the body and any secret of this endpoint")
}

// header parses a Stripe-Signature and checks its time.
func (w *Webhooks) header(text string) (signatureHeader, error) {
	header, err := parseHeader(text)
	if err != nil {
		return header, err
	}

	now := w.now().Unix()

	switch {
	case header.time < now-tolerance:
		return header, unauthenticated("the signature is more than 300 seconds old")
	case header.time > now+tolerance:
		return header, unauthenticated("the signature is from the future: its timestamp is more than 300 seconds ahead")
	default:
		return header, nil
	}
}

// signatureHeader is a Stripe-Signature: t=…,v1=…[,v1=…].
type signatureHeader struct {
	// timestamp is the text that was signed; time is its value.
	timestamp  string
	time       int64
	signatures [][]byte
}

// parseHeader ignores every scheme but v1, as Stripe's documentation asks.
func parseHeader(text string) (signatureHeader, error) {
	var header signatureHeader

	if text == "" {
		return header, unauthenticated("the Stripe-Signature header is missing")
	}

	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")

		switch strings.TrimSpace(name) {
		case "t":
			if header.timestamp != "" {
				return header, unauthenticated("the Stripe-Signature header has two timestamps")
			}

			seconds, err := strconv.ParseInt(value, decimal, 64)
			if err != nil {
				return header, unauthenticated("the timestamp of the Stripe-Signature header is not a number of seconds")
			}

			header.timestamp, header.time = value, seconds
		case "v1":
			if mac, err := hex.DecodeString(value); err == nil && len(mac) == sha256.Size {
				header.signatures = append(header.signatures, mac)
			}
		}
	}

	switch {
	case header.timestamp == "":
		return header, unauthenticated("the Stripe-Signature header has no timestamp")
	case len(header.signatures) == 0:
		return header, unauthenticated("the Stripe-Signature header has no v1 signature")
	default:
		return header, nil
	}
}

func (h signatureHeader) signedWith(secret, payload []byte) bool {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(h.timestamp)) // a hash never returns an error
	mac.Write([]byte{'.'})
	mac.Write(payload)
	want := mac.Sum(nil)

	return slices.ContainsFunc(h.signatures, func(got []byte) bool { return hmac.Equal(got, want) })
}

func unauthenticated(detail string) error { return fault.New(fault.Unauthenticated, detail) }

// Parse implements ports.Webhooks. It reads events of every API version: the fields
// that it needs have the same names and types in all of them.
func (w *Webhooks) Parse(payload []byte) (ports.Event, error) { return parseEvent(payload) }

// envelope is an event about an object (https://docs.stripe.com/api/events/object).
type envelope[object any] struct {
	eventHeader

	Data struct {
		Object object `json:"object"`
	} `json:"data"`
}

type eventHeader struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Created  int64  `json:"created"`
	Livemode *bool  `json:"livemode"`
	// Account is set only in events of connected accounts
	// (https://docs.stripe.com/connect/webhooks).
	Account string `json:"account"`
}

func parseEvent(payload []byte) (ports.Event, error) {
	if !utf8.Valid(payload) { // RFC 8259 section 8.1; decode would accept it
		return ports.Event{}, fault.New(fault.Invalid, "the event is not UTF-8")
	}

	// Nearly all events are about intents, and are read in one pass. Whatever else it
	// may be is read again.
	var e envelope[lastIntent]
	if decode(payload, &e) == nil && e.check() == nil && e.isIntent() && e.Data.Object.isReadable() {
		return intentEvent(e.event(payload), &e.Data.Object.intentObject), nil
	}

	return parseAnyEvent(payload)
}

// lastIntent is the last of the objects that have its name. Without it each would add
// to the one before, and an event would mean something else than to parseAnyEvent.
type lastIntent struct{ intentObject }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *lastIntent) UnmarshalJSONFrom(from *jsontext.Decoder) error {
	*l = lastIntent{}

	return json.UnmarshalDecode(from, &l.intentObject) //nolint:wrapcheck // decode's caller says what it decoded
}

// parseAnyEvent decodes the event first, and then its object by its type.
func parseAnyEvent(payload []byte) (ports.Event, error) {
	e, err := readEnvelope(payload)

	switch {
	case err != nil && isThin(payload):
		return ports.Event{}, fault.New(fault.Invalid, "this is a thin event of Stripe's API v2, which does not hold the "+
			"object that it is about; set the event destination's payload style to snapshot, or send it elsewhere")
	case err != nil:
		return ports.Event{}, err
	}

	return readObject(e.event(payload), e.Data.Object)
}

func readEnvelope(payload []byte) (envelope[jsontext.Value], error) {
	var e envelope[jsontext.Value]
	if err := decode(payload, &e); err != nil {
		return e, fault.Wrap(fault.Invalid, err, "the body is not a JSON object in the form of an event")
	}

	if err := e.check(); err != nil {
		return e, err
	}

	if e.Data.Object.Kind() != '{' {
		return e, fault.New(fault.Invalid, "the event has no data.object")
	}

	return e, nil
}

func (e *eventHeader) isIntent() bool { return strings.HasPrefix(e.Type, eventPrefix) }

// event is the event without what its object says.
func (e *eventHeader) event(payload []byte) ports.Event {
	event := ports.Event{
		ID:         e.ID,
		Type:       e.Type,
		CreatedAt:  at(e.Created),
		Live:       e.Livemode,
		Account:    e.Account,
		Handled:    slices.Contains(handled(), e.Type),
		IsIntent:   e.isIntent(),
		AboutMoney: isAboutMoney(e.Type),
		Raw:        payload,
		IsCustomer: e.Type == eventCustomerCreated || e.Type == eventCustomerUpdated || e.Type == eventCustomerDeleted,
	}

	if event.ID == "" {
		event.ID = digest(payload)
	}

	return event
}

// isThin recognizes an event of API v2 (https://docs.stripe.com/event-destinations#thin-events):
// its object is "v2.core.event" or the like. Its created is a string, so it does not
// decode as an envelope.
func isThin(payload []byte) bool {
	var envelope struct {
		Object  any            `json:"object"`
		Data    jsontext.Value `json:"data"`
		Related jsontext.Value `json:"related_object"`
	}

	if decode(payload, &envelope) != nil {
		return false
	}

	object, _ := envelope.Object.(string)

	return strings.HasPrefix(object, "v2.") || len(envelope.Related) > 0 && len(envelope.Data) == 0
}

func (e *eventHeader) check() error {
	switch {
	case e.Type == "":
		return fault.New(fault.Invalid, "the event has no type")
	case !isType(e.Type):
		return fault.New(fault.Invalid, "the event's type is not made of 1 to 255 lower-case letters, digits, dots and underscores")
	case e.ID != "" && !isID(e.ID):
		return fault.New(fault.Invalid, "the event's id is not like evt_1, of at most 255 letters, digits, underscores and hyphens")
	case e.Created < 0 || e.Created > maxTime:
		return fault.New(fault.Invalid, "the event's created is not a time in seconds")
	default:
		return nil
	}
}

// digest replaces a missing id, so that a body that comes twice is one event.
func digest(payload []byte) string {
	sum := sha256.Sum256(payload)

	return "sha256:" + hex.EncodeToString(sum[:])
}

// readObject reads the object that the event is about. Only an intent must have an
// id: a Balance, for one, has none.
func readObject(event ports.Event, object []byte) (ports.Event, error) {
	if event.IsCustomer {
		return customerEvent(event, object)
	}

	if event.AboutMoney && strings.HasPrefix(event.Type, disputePrefix) {
		return disputeEvent(event, object)
	}

	if event.AboutMoney {
		return moneyEvent(event, object)
	}

	if !event.IsIntent {
		var other struct {
			ID any `json:"id"`
		}

		if err := decode(object, &other); err != nil {
			return ports.Event{}, fault.Wrap(fault.Invalid, err, "the event's data.object does not decode")
		}

		if id, ok := other.ID.(string); ok && isID(id) {
			event.ObjectID = id
		}

		return event, nil
	}

	var o intentObject
	if err := decode(object, &o); err != nil {
		return ports.Event{}, fault.Wrap(fault.Invalid, err, "the event's data.object is not a payment intent")
	}

	if !o.isReadable() {
		return ports.Event{}, fault.New(fault.Invalid,
			"the event's data.object has no id like pi_1, of at most 255 letters, digits, underscores and hyphens, "+
				"or its created is not a time in seconds")
	}

	return intentEvent(event, &o), nil
}

// customerEvent adds to an event what its customer says, and drops the body. Others may have
// chosen the ids of their customers themselves: such a one is not ours.
func customerEvent(event ports.Event, object []byte) (ports.Event, error) {
	var r record
	if err := decode(object, &r); err != nil {
		return ports.Event{}, fault.New(fault.Invalid, "the event's data.object is not a customer")
	}

	event.Raw = []byte{}

	if !isObjectID(customerPrefix, r.ID) {
		return event, nil
	}

	event.ObjectID, event.Customer = r.ID, r.customer()
	event.Customer.Deleted = event.Customer.Deleted || event.Type == eventCustomerDeleted

	if event.Live == nil {
		event.Live = event.Customer.Live
	}

	return event, nil
}

// isReadable says that the intent has an id and, if any, a time in seconds.
func (o *intentObject) isReadable() bool {
	return isIntentID(o.ID) && o.Created >= 0 && o.Created <= maxTime
}

// intentEvent adds to an event what its intent says.
func intentEvent(event ports.Event, o *intentObject) ports.Event {
	event.ObjectID = o.ID
	event.Intent = o.intent()
	event.Change = change(event.Type, o)

	if o.Status == "" && event.Change != "" {
		event.Intent.Status = event.Change
	}

	return event
}

// change is the status that an event asks for; empty if it tells of a step on the way.
func change(eventType string, o *intentObject) payment.Status {
	if o.foreign() {
		return ""
	}

	switch eventType {
	case eventSucceeded:
		return payment.Succeeded
	case eventFailed:
		return payment.Failed
	case eventCanceled:
		return payment.Cancelled
	default:
		return ""
	}
}
