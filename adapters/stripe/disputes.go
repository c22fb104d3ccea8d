package stripe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	stripego "github.com/stripe/stripe-go/v76"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

const (
	disputesPath = "/v1/disputes"
	closeAction  = "/close"
	// evidenceParam begins the names of parameters that are evidence.
	evidenceParam = "evidence"

	// Names of calls in metrics, traces and errors.
	submitsEvidence = "submit_evidence"
	acceptsDispute  = "accept_dispute"
)

// SubmitEvidence implements ports.DisputeCalls. Any update gives all fields to the bank unless
// submit is false (https://docs.stripe.com/api/disputes/update#update_dispute-submit), so it is
// always said.
func (Calls) SubmitEvidence(mark operation.Mark, disputeID string, order operation.Order) (ports.Call, error) {
	values := url.Values{
		metadata(dispute.MetadataEvidence): {mark.String()},
		"submit":                           {cmp.Or(order.Options[dispute.OptionSubmit], "false")},
	}

	for name, text := range order.Options {
		if name != dispute.OptionSubmit && name != dispute.OptionDispute {
			values.Set(evidenceParam+"["+name+"]", text)
		}
	}

	return onDispute(mark, disputeID, "", values)
}

// AcceptDispute implements ports.DisputeCalls
// (https://docs.stripe.com/api/disputes/close). It has no metadata at Stripe.
func (Calls) AcceptDispute(mark operation.Mark, disputeID string, _ operation.Order) (ports.Call, error) {
	return onDispute(mark, disputeID, closeAction, nil)
}

func onDispute(mark operation.Mark, disputeID, action string, values url.Values) (ports.Call, error) {
	if !isDisputeID(disputeID) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id of a dispute", errBadCall, disputeID)
	}

	return newCall(mark, disputesPath+"/"+disputeID+action, values), nil
}

// isDisputeID accepts an id with which a dispute can be read again. Older ones begin with dp_.
func isDisputeID(id string) bool {
	return isObjectID("du_", id) || isObjectID("dp_", id)
}

// askedOfDispute is what a dispute must say to be the one that a call is about.
type askedOfDispute struct {
	// operation is the call's name in metrics, traces and errors.
	operation, id, mark string
}

// readDisputeCall reads what Calls wrote; false: the call is about something else.
func readDisputeCall(c ports.Call) (asked askedOfDispute, ok bool) {
	values, err := url.ParseQuery(c.Params)
	path, below := strings.CutPrefix(c.Path, disputesPath+"/")
	id, accepts := strings.CutSuffix(path, closeAction)

	asked = askedOfDispute{operation: submitsEvidence, id: id, mark: values.Get(metadata(dispute.MetadataEvidence))}
	if accepts {
		asked.operation = acceptsDispute
	}

	known := accepts || asked.mark != ""

	return asked, err == nil && below && known && isDisputeID(id) && c.Key != "" && len(c.Key) <= maxKeyLength
}

// sendOnDispute is Send for a call about a dispute.
func (g *Gateway) sendOnDispute(
	ctx context.Context, sent ports.Call, asked askedOfDispute, resend bool,
) (ports.Object, error) {
	var got disputeRecord

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
			return judgeOnDispute(asked, &got, failed, first && !resend)
		},
	})
	if err != nil {
		return ports.Object{}, err
	}

	object, err := got.dispute()

	return ports.Object{Dispute: object}, err
}

func judgeOnDispute(asked askedOfDispute, got *disputeRecord, failed *failure, first bool) verdict {
	if failed == nil {
		object, err := got.dispute()

		switch {
		case err != nil:
			return verdict{outcome: unknown, reason: ReasonUndecodable, again: true, err: err}
		case object.ProviderID != asked.id,
			asked.operation == submitsEvidence && object.Evidence.String() != asked.mark,
			asked.operation == acceptsDispute && !object.Status.Closed():
			return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
		default:
			return verdict{outcome: done}
		}
	}

	switch outcome, err := failed.rejectsOnDispute(first); outcome {
	case rejected, deploymentRejected:
		return verdict{outcome: outcome, reason: failed.reason, err: err}
	default:
		return failed.verdict()
	}
}

// rejectsOnDispute decides whether a failure proves that a call about a dispute was rejected.
// Evidence that Stripe does not take is the order's fault at any time. Another 400 without a code is
// believed to be about the dispute's state, for which Stripe has none: an earlier attempt may have
// brought it there, so the core reads the dispute. So it does if the key was used for another
// request, which the database has lost. Any other rejection counts only for the first send.
func (f *failure) rejectsOnDispute(first bool) (outcome, error) {
	if f.rejection == nil || f.reason != ReasonBadRequest && f.reason != ReasonUnknownPath && f.reason != ReasonIdempotency {
		return unknown, nil
	}

	err := ports.RejectedError{
		Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg), Kept: f.replayed,
	}
	missing := f.rejection.Code == stripego.ErrorCodeResourceMissing

	switch {
	case f.reason == ReasonBadRequest && strings.HasPrefix(f.rejection.Param, evidenceParam):
		err.Order = true

		return rejected, &err
	case f.reason == ReasonIdempotency, missing,
		f.reason == ReasonBadRequest && f.rejection.Code == "":
		err.State = true

		return rejected, &err
	case first:
		return deploymentRejected, &ports.DeploymentError{Code: err.Code, Message: err.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}

// disputeRecord is the part of a Dispute that we read
// (https://docs.stripe.com/api/disputes/object).
type disputeRecord struct {
	ID            string            `json:"id"`
	Amount        *int64            `json:"amount"`
	Currency      string            `json:"currency"`
	Status        lenientText       `json:"status"`
	Reason        lenientText       `json:"reason"`
	PaymentIntent jsontext.Value    `json:"payment_intent"`
	Transactions  []json.RawMessage `json:"balance_transactions"`
	Created       int64             `json:"created"`
	Livemode      *bool             `json:"livemode"`
	Details       struct {
		DueBy       lenientInt `json:"due_by"`
		Submissions lenientInt `json:"submission_count"`
	} `json:"evidence_details"`
	Method struct {
		Card struct {
			ReasonCode lenientText `json:"network_reason_code"`
		} `json:"card"`
	} `json:"payment_method_details"`
	// NetworkReasonCode is of older versions.
	NetworkReasonCode lenientText `json:"network_reason_code"`
	Metadata          struct {
		Evidence lenientText `json:"marketflow_evidence"` // dispute.MetadataEvidence
	} `json:"metadata"`
}

// transactionRecord is the part of a BalanceTransaction that we read
// (https://docs.stripe.com/api/balance_transactions/object).
type transactionRecord struct {
	ID       string `json:"id"`
	Amount   *int64 `json:"amount"`
	Fee      int64  `json:"fee"`
	Currency string `json:"currency"`
	Created  int64  `json:"created"`
}

// dispute fails if anything is missing that money depends on: an error is seen and repaired,
// a sum that is too small pays twice.
func (r *disputeRecord) dispute() (ports.DisputeObject, error) {
	currency, err := money.ParseCurrency(r.Currency)

	switch {
	case !isDisputeID(r.ID):
		return ports.DisputeObject{}, errUndecodable
	case r.Amount == nil || *r.Amount < 0 || err != nil || r.Created <= 0 || r.Created > maxTime:
		return ports.DisputeObject{}, fmt.Errorf("dispute %s: %w", r.ID, errUndecodable)
	}

	got := ports.DisputeObject{IntentID: intentIDOf(r.PaymentIntent), Live: r.Livemode}
	got.Evidence, _ = operation.ParseMark(string(r.Metadata.Evidence))
	got.Snapshot = dispute.Snapshot{
		ProviderID: r.ID, Amount: money.Of(*r.Amount, currency), Status: dispute.Status(statusWord(string(r.Status))),
		Reason: statusWord(string(r.Reason)), Submissions: int(min(max(r.Details.Submissions.value, 0), maxSubmissions)),
		NetworkReasonCode: networkCode(cmp.Or(r.Method.Card.ReasonCode, r.NetworkReasonCode)), CreatedAt: at(r.Created),
	}

	if due := r.Details.DueBy.value; due > 0 && due <= maxTime {
		got.EvidenceDueBy = at(due)
	}

	got.Balance, err = r.balance()

	return got, err
}

// maxSubmissions is more than any bank takes.
const maxSubmissions = 1000

// networkCode is a card network's code, empty if it cannot be one.
func networkCode(text lenientText) string {
	const most = 40
	if kept := keepable(text); len(kept) <= most {
		return kept
	}

	return ""
}

// intentIDOf is that of an id or of the intent itself; empty if it is none.
func intentIDOf(form jsontext.Value) string {
	var (
		id    lenientText
		whole struct {
			ID lenientText `json:"id"`
		}
	)

	_ = decode(form, &id) // another type is no id

	if form.Kind() == jsontext.KindBeginObject {
		_ = decode(form, &whole)
		id = whole.ID
	}

	if !isIntentID(string(id)) {
		return ""
	}

	return string(id)
}

// maxTransactions is far more than the two that Stripe speaks of.
const maxTransactions = 100

func (r *disputeRecord) balance() ([]dispute.Balance, error) {
	if len(r.Transactions) > maxTransactions {
		return nil, fmt.Errorf("dispute %s has %d balance transactions: %w", r.ID, len(r.Transactions), errUndecodable)
	}

	var balance []dispute.Balance

	for _, form := range r.Transactions {
		var t transactionRecord
		if err := decode(form, &t); err != nil || t.Amount == nil || t.Created <= 0 || t.Created > maxTime {
			return nil, fmt.Errorf("a balance transaction of dispute %s: %w", r.ID, errUndecodable)
		}

		currency, err := money.ParseCurrency(t.Currency)
		if err != nil {
			return nil, fmt.Errorf("a balance transaction of dispute %s: %w", r.ID, err)
		}

		balance = append(balance, dispute.Balance{
			Amount: money.Of(*t.Amount, currency), Fee: money.Of(t.Fee, currency), At: at(t.Created),
		})
	}

	slices.SortStableFunc(balance, func(a, b dispute.Balance) int { return a.At.Compare(b.At) })

	return balance, nil
}

// Disputes implements ports.DisputeReads.
func (g *Gateway) Disputes(ctx context.Context, intentID string) ([]ports.DisputeObject, error) {
	if !isIntentID(intentID) {
		return nil, fault.New(fault.NotFound, "no payment intent can have this id")
	}

	var all []ports.DisputeObject

	for object, err := range g.disputes(ctx, url.Values{"payment_intent": {intentID}}, judgeOptionalPage) {
		switch {
		case errors.Is(err, errNoList):
			g.warnOfNoDisputes(err)

			return nil, nil
		case err != nil:
			return nil, err
		case object.IntentID != intentID: // a stand-in has not looked at what was asked for
			continue
		}

		all = append(all, object)
	}

	return all, nil
}

// DisputesBetween implements ports.DisputeReads.
func (g *Gateway) DisputesBetween(ctx context.Context, from, to time.Time) iter.Seq2[ports.DisputeObject, error] {
	return func(yield func(ports.DisputeObject, error) bool) {
		for object, err := range g.disputes(ctx, createdBetween(from, to), judgeOptionalPage) {
			if errors.Is(err, errNoList) {
				g.warnOfNoDisputes(err)

				return
			}

			if !yield(object, err) {
				return
			}
		}
	}
}

// warnOfNoDisputes says once that disputes are not seen. Nothing waits for them: a payment's other
// facts can be read.
func (g *Gateway) warnOfNoDisputes(err error) {
	g.noDisputes.Do(func() {
		g.log.Warn("this stripe key may not list disputes, so they are not seen here", zap.Error(err))
	})
}

func (g *Gateway) disputes(
	ctx context.Context, query url.Values, judge func(*page, *failure) verdict,
) iter.Seq2[ports.DisputeObject, error] {
	return func(yield func(ports.DisputeObject, error) bool) {
		for form, err := range g.list(ctx, "list_disputes", disputesPath, query, judge) {
			if err != nil {
				yield(ports.DisputeObject{}, err)

				return
			}

			var r disputeRecord

			object, err := ports.DisputeObject{}, decode(form, &r)
			if err == nil {
				object, err = r.dispute()
			}

			if err != nil { // one bad dispute must not hide those after it
				err = fmt.Errorf("decode a listed dispute: %w", err)
			}

			if !yield(object, err) {
				return
			}
		}
	}
}

// Dispute implements ports.DisputeReads.
func (g *Gateway) Dispute(ctx context.Context, id string) (ports.DisputeObject, error) {
	if !isDisputeID(id) { // it could lead to another path, whose 404 proves nothing
		return ports.DisputeObject{}, fault.New(fault.NotFound, "no dispute can have this id")
	}

	judge := func(got *disputeRecord, failed *failure) verdict {
		if failed == nil && got.ID != id {
			return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
		}

		return judgeRead(failed)
	}

	got, err := read(ctx, g, "get_dispute", disputesPath+"/"+id, maxObject, judge)
	if err != nil {
		return ports.DisputeObject{}, err
	}

	return got.dispute()
}

// disputeEvent adds to an event of which payment's intent its dispute is. What else it says is not
// looked at, because the dispute is read. It carries nothing by which it is ours: that its payment
// is here tells.
func disputeEvent(event ports.Event, object []byte) (ports.Event, error) {
	var d struct {
		PaymentIntent jsontext.Value `json:"payment_intent"`
		Livemode      *bool          `json:"livemode"`
	}

	if err := decode(object, &d); err != nil {
		return event, fault.New(fault.Invalid, "the event's data.object is not a dispute")
	}

	event.Intent.Unmarked, event.Intent.Live = true, d.Livemode

	if id := intentIDOf(d.PaymentIntent); id != "" {
		event.ObjectID, event.Intent.ID = id, id
	}

	return event, nil
}
