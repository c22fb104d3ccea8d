package stripe

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	stripego "github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

const (
	refundsPath  = "/v1/refunds"
	refundPrefix = "re_"
	// Of other methods than cards (https://docs.stripe.com/api/refunds/object).
	bankRefundPrefix = "pyr_"

	createsRefund = "create_refund"
	cancelsRefund = "cancel_refund"
)

// Refund implements ports.RefundCalls. Empty metadata values are left out: to Stripe they mean
// "unset" (https://docs.stripe.com/metadata).
func (Calls) Refund(
	mark operation.Mark, key operation.Key, paymentID uuid.UUID, intentID string, order operation.Order,
) (ports.Call, error) {
	if !isIntentID(intentID) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id of a payment intent", errBadCall, intentID)
	}

	const own = 6

	values := make(url.Values, own+len(order.Metadata))

	for name, value := range order.Metadata {
		if value != "" {
			values.Set(metadata(name), value)
		}
	}

	values.Set("payment_intent", intentID)
	values.Set("amount", strconv.FormatInt(order.Amount.Minor(), decimal))
	values.Set(metadata(payment.MetadataPaymentID), paymentID.String())
	values.Set(metadata(payment.MetadataMark), mark.String())

	if key != "" {
		values.Set(metadata(payment.MetadataKey), string(key))
	}

	if reason := order.Options["reason"]; reason != "" {
		values.Set("reason", reason)
	}

	return newCall(mark, refundsPath, values), nil
}

// CancelRefund implements ports.RefundCalls.
func (Calls) CancelRefund(mark operation.Mark, refundID string) (ports.Call, error) {
	if !isRefundID(refundID) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id of a refund", errBadCall, refundID)
	}

	return newCall(mark, refundsPath+"/"+refundID+"/"+cancelAction, nil), nil
}

func isRefundID(id string) bool {
	return isObjectID(refundPrefix, id) || isObjectID(bankRefundPrefix, id)
}

// askedOfRefund is what a refund must say to be the one that a call is about.
type askedOfRefund struct {
	// operation is the call's name in metrics, traces and errors.
	operation string
	// id is the refund's that is cancelled; else amount, intent and mark are what was asked for.
	id           string
	amount       int64
	intent, mark string
}

// readRefundCall reads what Calls wrote; false: the call is about something else.
func readRefundCall(c ports.Call) (asked askedOfRefund, ok bool) {
	values, err := url.ParseQuery(c.Params)
	if err != nil || c.Key == "" || len(c.Key) > maxKeyLength {
		return asked, false
	}

	if c.Path == refundsPath {
		amount, err := strconv.ParseInt(values.Get("amount"), decimal, 64)
		asked = askedOfRefund{
			operation: createsRefund, amount: amount, intent: values.Get("payment_intent"),
			mark: values.Get(metadata(payment.MetadataMark)),
		}

		return asked, err == nil && asked.intent != "" && asked.mark != ""
	}

	id := lastOf(strings.TrimSuffix(c.Path, "/"+cancelAction), refundsPath)

	return askedOfRefund{operation: cancelsRefund, id: id}, isRefundID(id)
}

// sendOnRefund is Send for a call about refunds.
func (g *Gateway) sendOnRefund(
	ctx context.Context, sent ports.Call, asked askedOfRefund, resend bool,
) (ports.Object, error) {
	var got refundObject

	err := g.call(ctx, &call{
		operation: asked.operation,
		kind:      writes,
		maxAnswer: maxObject,
		method:    http.MethodPost,
		path:      sent.Path,
		key:       sent.Key,
		body:      sent.Params,
		answer:    emptied(&got),
		judge: func(failed *failure, first bool) verdict {
			return g.judgeOnRefund(asked, &got, failed, first && !resend)
		},
	})
	if err != nil {
		return ports.Object{}, err
	}

	snapshot, _ := got.snapshot() // judgeOnRefund has seen that it is one

	return ports.Object{Refund: snapshot}, nil
}

func (g *Gateway) judgeOnRefund(asked askedOfRefund, got *refundObject, failed *failure, first bool) verdict {
	if failed == nil {
		switch _, ok := got.snapshot(); {
		case !ok:
			return verdict{outcome: unknown, reason: ReasonUndecodable, again: true, err: errUndecodable}
		case !got.matches(asked):
			return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
		default:
			g.hasRefunds.Store(true)

			return verdict{outcome: done}
		}
	}

	switch outcome, err := failed.rejectsOnRefund(asked, first); outcome {
	case rejected, deploymentRejected:
		return verdict{outcome: outcome, reason: failed.reason, err: err}
	default:
		return failed.verdict()
	}
}

// aboutTheMoney holds the error codes that what was already done with a charge causes
// (https://docs.stripe.com/error-codes). A refund of ours may be what was done.
//
//nolint:gochecknoglobals // a constant table
var aboutTheMoney = map[stripego.ErrorCode]bool{
	stripego.ErrorCodeChargeAlreadyRefunded: true,
	stripego.ErrorCodeChargeDisputed:        true,
	stripego.ErrorCodeRefundDisputedPayment: true,
	stripego.ErrorCodeChargeNotRefundable:   true,
}

// rejectsOnRefund decides whether a failure proves that a call about refunds was rejected. What
// speaks of money already moved, or of the refund's state, is rejected also if it is a copy: the
// core reads what became of the original. So it does if the key was used for another request,
// which the database has lost. Over the amount that is left Stripe names the parameter and has
// no code, nor has it one for a refund that cannot be cancelled. Any other rejection counts only for
// the first send.
func (f *failure) rejectsOnRefund(asked askedOfRefund, first bool) (outcome, error) {
	if f.rejection == nil || f.reason != ReasonBadRequest && f.reason != ReasonUnknownPath && f.reason != ReasonIdempotency {
		return unknown, nil
	}

	err := ports.RejectedError{
		Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg), Kept: f.replayed,
	}
	bad := f.reason == ReasonBadRequest

	switch {
	case bad && asked.id == "" && f.rejection.Param == "amount":
		err.State, err.Amount = true, true

		return rejected, &err
	case aboutTheMoney[f.rejection.Code], f.reason == ReasonIdempotency, bad && asked.id != "" && f.rejection.Code == "":
		err.State = true

		return rejected, &err
	case first:
		return deploymentRejected, &ports.DeploymentError{Code: err.Code, Message: err.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}

// refundObject is the part of a Refund that we read (https://docs.stripe.com/api/refunds/object).
type refundObject struct {
	ID            string          `json:"id"`
	Amount        lenientInt      `json:"amount"`
	Currency      lenientText     `json:"currency"`
	Status        lenientText     `json:"status"`
	Intent        lenientText     `json:"payment_intent"`
	Reason        lenientText     `json:"reason"`
	FailureReason lenientText     `json:"failure_reason"`
	Transaction   jsontext.Value  `json:"balance_transaction"`
	Destination   rawObject       `json:"destination_details"`
	Created       int64           `json:"created"`
	Livemode      *bool           `json:"livemode"`
	Metadata      *refundMetadata `json:"metadata"`
}

// refundMetadata are the entries that we write, and the client's.
type refundMetadata struct {
	PaymentID lenientText `json:"payment_id"`     // payment.MetadataPaymentID
	Mark      lenientText `json:"marketflow"`     // payment.MetadataMark
	Key       lenientText `json:"marketflow_key"` // payment.MetadataKey
	// Others are the client's; Stripe's values are texts.
	Others map[string]jsontext.Value `json:",embed"`
}

func (o *refundObject) matches(asked askedOfRefund) bool {
	if asked.id != "" {
		return o.ID == asked.id
	}

	return o.Amount.value == asked.amount && string(o.Intent) == asked.intent && o.Metadata != nil &&
		string(o.Metadata.Mark) == asked.mark
}

// snapshot is false for what cannot be a refund of a payment of ours.
func (o *refundObject) snapshot() (refund.Snapshot, bool) {
	currency, err := money.ParseCurrency(string(o.Currency))
	if err != nil || !isRefundID(o.ID) {
		return refund.Snapshot{}, false
	}

	amount, err := money.NewPrice(o.Amount.value, currency)
	if err != nil {
		return refund.Snapshot{}, false
	}

	s := refund.Snapshot{
		ID: o.ID, Amount: amount, Status: o.status(), Reason: statusWord(string(o.Reason)),
		FailureReason: statusWord(string(o.FailureReason)), Reference: o.reference(),
		MovedMoney: len(o.Transaction) > 0 && o.Transaction.Kind() != jsontext.KindNull,
		Live:       o.Livemode,
	}
	if isIntentID(string(o.Intent)) {
		s.IntentID = string(o.Intent)
	}

	if o.Created > 0 && o.Created <= maxTime {
		s.CreatedAt = at(o.Created)
	}

	if m := o.Metadata; m != nil {
		s.PaymentID = m.paymentID()
		s.Mark, s.Marked = operation.ParseMark(string(m.Mark))
		s.Key = (&intentMetadata{Key: m.Key}).key()
		s.Metadata = (&intentMetadata{Others: m.Others}).others()
	}

	return s, true
}

// status is pending for a word that is newer than this code: it is not decided yet.
func (o *refundObject) status() refund.Status {
	switch stripego.RefundStatus(o.Status) {
	case stripego.RefundStatusSucceeded:
		return refund.Succeeded
	case stripego.RefundStatusFailed:
		return refund.Failed
	case stripego.RefundStatusCanceled:
		return refund.Cancelled
	case stripego.RefundStatusRequiresAction:
		return refund.RequiresAction
	default:
		return refund.Pending
	}
}

// reference is in destination_details, below the name of the method that was paid with.
func (o *refundObject) reference() refund.Reference {
	var details map[string]jsontext.Value
	if o.Destination == nil || decode(o.Destination, &details) != nil {
		return refund.Reference{}
	}

	var kind string
	if decode(details["type"], &kind) != nil {
		return refund.Reference{}
	}

	var of struct {
		Reference lenientText `json:"reference"`
		Type      lenientText `json:"reference_type"`
	}
	if form, here := details[kind]; !here || decode(form, &of) != nil || len(of.Reference) > maxID {
		return refund.Reference{}
	}

	return refund.Reference{Type: statusWord(string(of.Type)), Value: keepable(of.Reference)}
}

// RefundsOf implements ports.RefundReads.
func (g *Gateway) RefundsOf(ctx context.Context, intentID string) ([]refund.Snapshot, error) {
	if !isIntentID(intentID) {
		return nil, fault.New(fault.NotFound, "no payment intent can have this id")
	}

	var refunds []refund.Snapshot

	for s, err := range g.refunds(ctx, url.Values{"payment_intent": {intentID}}) {
		switch {
		case err != nil:
			return nil, err
		case s.ID == "": // to leave it out would let the payment be refunded twice
			return nil, fmt.Errorf("a refund of intent %s cannot be read: %w", intentID, ports.ErrContradiction)
		case s.IntentID != "" && s.IntentID != intentID: // a stand-in has not looked at what was asked for
			continue
		}

		refunds = append(refunds, s)
	}

	slices.Reverse(refunds) // Stripe lists the newest first

	return refunds, nil
}

// Refunds implements ports.RefundReads. What cannot be read is of a currency or an amount that no
// payment of ours has.
func (g *Gateway) Refunds(ctx context.Context, from, to time.Time) iter.Seq2[refund.Snapshot, error] {
	return func(yield func(refund.Snapshot, error) bool) {
		for s, err := range g.refunds(ctx, createdBetween(from, to)) {
			if (err != nil || s.ID != "") && !yield(s, err) {
				return
			}
		}
	}
}

// judgeRefundPage is judgePage for a list that a stand-in for Stripe may lack. Where a refund might
// have been made, a list that cannot be read is an error: without it a refund that the database has
// lost would not come home.
func (g *Gateway) judgeRefundPage(_ *page, failed *failure) verdict {
	switch {
	case failed == nil:
		g.hasRefunds.Store(true)
	case g.config.APIBase != stripego.APIURL && failed.reason == ReasonUnknownPath &&
		failed.rejection != nil && failed.rejection.Code == "" && !g.hasRefunds.Load():
		return verdict{outcome: rejected, reason: failed.reason, err: errNoList}
	}

	return judgeRead(failed)
}

// refunds yields a zero snapshot for a refund that cannot be read.
func (g *Gateway) refunds(ctx context.Context, query url.Values) iter.Seq2[refund.Snapshot, error] {
	return func(yield func(refund.Snapshot, error) bool) {
		for form, err := range g.list(ctx, "list_refunds", refundsPath, query, g.judgeRefundPage) {
			switch {
			case errors.Is(err, errNoList):
				g.noRefunds.Do(func() { g.log.Warn("what stands in for stripe has no refunds, so none are looked for") })

				return
			case err != nil:
				yield(refund.Snapshot{}, err)

				return
			}

			var o refundObject
			if err := decode(form, &o); err != nil {
				yield(refund.Snapshot{}, fmt.Errorf("decode a listed refund: %w", err))

				return
			}

			if s, _ := o.snapshot(); !yield(s, nil) {
				return
			}
		}
	}
}

// refundedCharge is the part of a Charge that we read of an event about its refunds
// (https://docs.stripe.com/api/charges/object). Its metadata are those of its intent.
type refundedCharge struct {
	Intent         lenientText     `json:"payment_intent"`
	AmountRefunded lenientInt      `json:"amount_refunded"`
	Currency       lenientText     `json:"currency"`
	Livemode       *bool           `json:"livemode"`
	Metadata       *refundMetadata `json:"metadata"`
}

// moneyEvent adds to an event what it says about a payment's refunds. It is about the payment's
// intent: what is not of one is not ours.
func moneyEvent(event ports.Event, object []byte) (ports.Event, error) {
	read := refundEvent
	if event.Type == eventRefunded {
		read = chargeEvent
	}

	intent, marks, err := read(&event, object)
	if err != nil {
		return event, err
	}

	if isIntentID(intent) {
		event.ObjectID, event.Intent.ID = intent, intent
	}

	if marks != nil {
		event.Intent.Mark, event.Intent.Marked = operation.ParseMark(string(marks.Mark))
		event.Intent.PaymentID = marks.paymentID()
	}

	event.Intent.Unmarked = !event.Intent.Marked
	event.Money.Marked = event.Intent.Marked && event.ObjectID != ""

	return event, nil
}

// chargeEvent reads a charge of which something was refunded: the id of its intent and the marks.
func chargeEvent(event *ports.Event, object []byte) (intent string, marks *refundMetadata, err error) {
	var c refundedCharge
	if err := decode(object, &c); err != nil {
		return "", nil, fault.New(fault.Invalid, "the event's data.object is not a charge")
	}

	event.Intent.Live = c.Livemode

	if currency, err := money.ParseCurrency(string(c.Currency)); err == nil && c.AmountRefunded.said {
		event.Money.GivenBack = money.Of(c.AmountRefunded.value, currency)
	}

	return string(c.Intent), c.Metadata, nil
}

// refundEvent reads a refund: the id of its intent and the marks.
func refundEvent(event *ports.Event, object []byte) (intent string, marks *refundMetadata, err error) {
	var o refundObject
	if err := decode(object, &o); err != nil {
		return "", nil, fault.New(fault.Invalid, "the event's data.object is not a refund")
	}

	event.Intent.Live = o.Livemode

	if s, ok := o.snapshot(); ok {
		event.Money.Refund = &s
	}

	return string(o.Intent), o.Metadata, nil
}

func (m *refundMetadata) paymentID() uuid.UUID {
	return (&intentObject{Metadata: &intentMetadata{PaymentID: string(m.PaymentID)}}).paymentID()
}
