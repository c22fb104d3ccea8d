package stripe

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	intentsPath = "/v1/payment_intents"
	// The calls on an intent that exists, below its path.
	captureAction = "capture"
	cancelAction  = "cancel"
	confirmAction = "confirm"
	// isTrue is how Stripe writes it, in parameters and in headers.
	isTrue = "true"
	// offSession is the name of a parameter, and a word for a later use.
	offSession = "off_session"
	// keyPrefix begins every idempotency key of ours; the kind and the operation's id
	// follow. Older operations have another one.
	keyPrefix = "mf_"
)

// Calls builds the calls of Stripe's API. It implements ports.Calls.
type Calls struct{}

var _ ports.Calls = Calls{}

// CreatePayment implements ports.Calls. Empty metadata values are left out: to Stripe they
// mean "unset" (https://docs.stripe.com/metadata).
func (Calls) CreatePayment(mark operation.Mark, key operation.Key, order operation.Order) (ports.Call, error) {
	const own = 9

	values := make(url.Values, own+len(order.Metadata)+len(order.Options))

	for name, value := range order.Metadata {
		if value != "" {
			values.Set(metadata(name), value)
		}
	}

	values.Set("amount", strconv.FormatInt(order.Amount.Minor(), decimal))
	values.Set("currency", strings.ToLower(order.Amount.Currency().Code()))
	values.Set("automatic_payment_methods[enabled]", isTrue)
	values.Set(metadata(payment.MetadataPaymentID), mark.Operation.String())
	values.Set(metadata(payment.MetadataMark), mark.String())

	if key != "" {
		values.Set(metadata(payment.MetadataKey), string(key))
	}

	passOn(values, order.Options)

	if values.Has(confirmAction) {
		values.Set("expand[]", "latest_charge") // it alone tells how was paid

		// Without a page to come back to, no method may be tried that leaves ours
		// (https://docs.stripe.com/api/payment_intents/create#create_payment_intent-automatic_payment_methods-allow_redirects).
		if !values.Has("return_url") {
			values.Set("automatic_payment_methods[allow_redirects]", "never")
		}
	}

	if order.Customer != "" {
		values.Set("customer", order.Customer)
	}

	if order.Options["save_payment_method"] != "" {
		values.Set("setup_future_usage", offSession)
	}

	return newCall(mark, intentsPath, values), nil
}

// passedOn are the options of an order whose names and values are Stripe's too.
//
//nolint:gochecknoglobals // a constant list
var passedOn = []string{
	"capture_method", "payment_method", confirmAction, "return_url", offSession, "description",
	"statement_descriptor_suffix", "receipt_email",
}

func passOn(values url.Values, options map[string]string) {
	for _, name := range passedOn {
		if value, given := options[name]; given {
			values.Set(name, value)
		}
	}
}

// CapturePayment implements ports.Calls.
func (Calls) CapturePayment(mark operation.Mark, intentID string, order operation.Order) (ports.Call, error) {
	values := url.Values{metadata(payment.MetadataCapture): {mark.String()}}
	if amount := order.Amount; !amount.IsZero() {
		values.Set("amount_to_capture", strconv.FormatInt(amount.Minor(), decimal))
	}

	return onIntent(mark, intentID, "/"+captureAction, values)
}

// CancelPayment implements ports.Calls.
func (Calls) CancelPayment(mark operation.Mark, intentID string, order operation.Order) (ports.Call, error) {
	values := make(url.Values)
	if reason := order.Options["reason"]; reason != "" {
		values.Set("cancellation_reason", reason)
	}

	return onIntent(mark, intentID, "/"+cancelAction, values)
}

// ConfirmPayment implements ports.Calls. A confirmation has no metadata at Stripe, so it
// carries no mark. The charge is asked for because it alone tells how was paid.
func (Calls) ConfirmPayment(mark operation.Mark, intentID string, order operation.Order) (ports.Call, error) {
	values := url.Values{"expand[]": {"latest_charge"}}
	passOn(values, order.Options)

	return onIntent(mark, intentID, "/"+confirmAction, values)
}

// UpdatePayment implements ports.Calls. An empty value unsets an entry; an empty metadata would
// unset them all, ours too (https://docs.stripe.com/api/metadata).
func (Calls) UpdatePayment(mark operation.Mark, intentID string, order operation.Order) (ports.Call, error) {
	values := make(url.Values, len(order.Metadata)+1)
	passOn(values, order.Options)

	for name, value := range order.Metadata {
		values.Set(metadata(name), value)
	}

	return onIntent(mark, intentID, "", values)
}

func metadata(name string) string { return "metadata[" + name + "]" }

func onIntent(mark operation.Mark, intentID, action string, values url.Values) (ports.Call, error) {
	if !isIntentID(intentID) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id of a payment intent", errBadCall, intentID)
	}

	return newCall(mark, intentsPath+"/"+intentID+action, values), nil
}

func newCall(mark operation.Mark, path string, values url.Values) ports.Call {
	return ports.Call{
		Key: keyPrefix + string(mark.Kind) + "_" + mark.Operation.String(), Path: path, Params: values.Encode(),
	}
}

// asked is what an intent must say to be the one that a call is about.
type asked struct {
	// operation is the call's name in metrics, traces and errors.
	operation string
	// id is the intent's; empty for a create.
	id string
	// amount, currency, paymentID and customer are what a create asked for.
	amount    int64
	currency  string
	paymentID string
	customer  string
	// confirms: an attempt to pay is a part of it.
	confirms bool
}

var errBadCall = errors.New("the stored call cannot be sent")

// readCall reads what Calls wrote, perhaps in an earlier version of ours.
func readCall(c ports.Call) (asked, error) {
	if c.Key == "" || len(c.Key) > maxKeyLength {
		return asked{}, fmt.Errorf("%w: its idempotency key has %d characters", errBadCall, len(c.Key))
	}

	values, err := url.ParseQuery(c.Params)
	if err != nil {
		return asked{}, fmt.Errorf("%w: its parameters are not form-encoded: %w", errBadCall, err)
	}

	if c.Path == intentsPath {
		return readCreate(values)
	}

	path, below := strings.CutPrefix(c.Path, intentsPath+"/")
	id, action, acts := strings.Cut(path, "/")

	if !acts {
		action = "update"
	}

	known := !acts || action == captureAction || action == cancelAction || action == confirmAction
	if !below || !isIntentID(id) || !known {
		return asked{}, fmt.Errorf("%w: its path is %q", errBadCall, c.Path)
	}

	return asked{operation: action + "_intent", id: id, confirms: action == confirmAction}, nil
}

func readCreate(values url.Values) (asked, error) {
	amount, err := strconv.ParseInt(values.Get("amount"), decimal, 64)
	if err != nil {
		return asked{}, fmt.Errorf("%w: its amount is not an integer: %w", errBadCall, err)
	}

	want := asked{
		operation: "create_intent", amount: amount, currency: values.Get("currency"),
		paymentID: values.Get(metadata(payment.MetadataPaymentID)), confirms: values.Get(confirmAction) == isTrue,
		customer: values.Get("customer"),
	}
	if want.currency == "" || want.paymentID == "" {
		return asked{}, fmt.Errorf("%w: it has no currency or no payment id", errBadCall)
	}

	return want, nil
}
