package stripe

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// paymentError is an intent's last_payment_error
// (https://docs.stripe.com/api/payment_intents/object#payment_intent_object-last_payment_error).
type paymentError struct {
	Code        lenientText           `json:"code"`
	DeclineCode lenientText           `json:"decline_code"`
	Message     lenientText           `json:"message"`
	Method      lenientObject[method] `json:"payment_method"`
}

// chargeObject is the part of a Charge that we read.
type chargeObject struct {
	ID     lenientText           `json:"id"`
	Status lenientText           `json:"status"`
	Method lenientObject[method] `json:"payment_method_details"`
}

// method is a PaymentMethod, or a charge's payment_method_details: what we read has the same
// names in both.
type method struct {
	Type lenientText         `json:"type"`
	Card lenientObject[card] `json:"card"`
}

type card struct {
	Brand    lenientText `json:"brand"`
	Last4    lenientText `json:"last4"`
	ExpMonth lenientInt  `json:"exp_month"`
	ExpYear  lenientInt  `json:"exp_year"`
	// CaptureBefore is only in a charge.
	CaptureBefore lenientInt `json:"capture_before"`
}

// lenientObject is an object. Any other JSON reads as an empty one.
type lenientObject[T any] struct{ value T }

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (l *lenientObject[T]) UnmarshalJSONFrom(from *jsontext.Decoder) (err error) {
	l.value, err = lenient[T](from)

	return err
}

// addAttempt adds what an intent says about its last attempt to pay. A charge that failed is
// of the attempt that the intent's last error is about, and tells nothing about one that may
// be under way.
func (o *intentObject) addAttempt(got *ports.Intent) {
	switch o.LatestCharge.Kind() {
	case jsontext.KindBeginObject:
		var charge chargeObject
		if decode(o.LatestCharge, &charge) == nil {
			charge.addTo(got)
		}
	case jsontext.KindString:
		var id string
		if decode(o.LatestCharge, &id) == nil {
			got.LatestCharge = chargeID(id)
		}
	default: // there was no attempt
	}

	if o.LastPaymentError.Kind() == jsontext.KindBeginObject {
		var failed paymentError
		if decode(o.LastPaymentError, &failed) == nil {
			got.Decline, got.Method = failed.decline(), failed.Method.value.method()
		}
	}
}

func (c *chargeObject) addTo(got *ports.Intent) {
	got.CaptureBefore, got.LatestCharge = c.Method.value.captureBefore(), chargeID(string(c.ID))

	if c.Status != "failed" {
		got.Method = c.Method.value.method()
	}
}

func chargeID(text string) string {
	if !isID(text) {
		return ""
	}

	return text
}

func (e *paymentError) decline() payment.Decline {
	return payment.Decline{
		Code: code(string(e.Code)), DeclineCode: code(string(e.DeclineCode)), Message: sentence(string(e.Message)),
	}
}

// decline is what the answer itself says, should its intent not say it.
func (f *failure) decline() payment.Decline {
	return payment.Decline{
		Code: code(string(f.rejection.Code)), DeclineCode: code(string(f.rejection.DeclineCode)),
		Message: sentence(f.rejection.Msg),
	}
}

func (m *method) method() payment.Method {
	got := payment.Method{Type: code(string(m.Type))}

	if c := &m.Card.value; got.Type == "card" {
		got.Card = payment.Card{
			Brand: code(string(c.Brand)), Last4: lastFour(string(c.Last4)),
			ExpMonth: c.ExpMonth.within(1, lastMonth), ExpYear: c.ExpYear.within(firstYear, lastYear),
		}
	}

	return got
}

const (
	lastMonth           = 12
	firstYear, lastYear = 1970, 9999
)

// lastFour is empty for anything that is not four digits.
func lastFour(text string) string {
	const digits = 4
	if len(text) != digits || !madeOf(text, "", digits) {
		return ""
	}

	return text
}

// within is 0 for a number outside of the bounds.
func (l *lenientInt) within(least, most int64) int {
	if l.value < least || l.value > most {
		return 0
	}

	return int(l.value)
}

// captureBefore is when the hold lapses: only the charge says it
// (https://docs.stripe.com/payments/place-a-hold-on-a-payment-method).
func (m *method) captureBefore() time.Time {
	if seconds := m.Card.value.CaptureBefore.value; seconds > 0 && seconds <= maxTime {
		return at(seconds)
	}

	return time.Time{}
}

// maxNextAction bounds a next_action, in bytes. Those that Stripe documents have a tenth of it.
const maxNextAction = 16 << 10

// nextAction is what the customer has to do, in one line
// (https://docs.stripe.com/api/payment_intents/object#payment_intent_object-next_action).
func (o *intentObject) nextAction() []byte {
	form := jsontext.Value(o.NextAction)
	if len(form) == 0 || len(form) > maxNextAction || !form.IsValid() || form.Compact() != nil {
		return nil
	}

	return form
}

// description is what can be stored of the client's text, as it was given.
func (o *intentObject) description() string {
	text, err := payment.ParseDescription(string(o.Description))
	if err != nil {
		return ""
	}

	return text
}
