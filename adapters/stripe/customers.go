package stripe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	stripego "github.com/stripe/stripe-go/v76"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	customersPath = "/v1/customers"
	setupsPath    = "/v1/setup_intents"
	methodsPath   = "/v1/payment_methods"
	detachAction  = "/detach"
	// deletes stands before the path of a call that is a DELETE. Repeating it does no harm
	// (https://docs.stripe.com/api/idempotent_requests).
	deletes = http.MethodDelete + " "

	// Names of calls in metrics, traces and errors that decide something.
	deletesCustomer = "delete_customer"
	detachesMethod  = "detach_method"

	customerPrefix = "cus_"
	setupPrefix    = "seti_"
	methodPrefix   = "pm_"
)

// CreateCustomer implements ports.CustomerCalls.
func (Calls) CreateCustomer(mark operation.Mark, key operation.Key, order operation.Order) (ports.Call, error) {
	values := customerValues(order)
	values.Set(metadata(payment.MetadataMark), mark.String())

	if key != "" {
		values.Set(metadata(payment.MetadataKey), string(key))
	}

	for name, set := range values {
		if set[0] == "" { // there is nothing to take away
			delete(values, name)
		}
	}

	return newCall(mark, customersPath, values), nil
}

// UpdateCustomer implements ports.CustomerCalls.
func (Calls) UpdateCustomer(mark operation.Mark, customerID string, order operation.Order) (ports.Call, error) {
	return onObject(mark, customersPath, customerPrefix, customerID, "", customerValues(order))
}

// customerValues are an order's values in Stripe's names; an empty one unsets
// (https://docs.stripe.com/metadata).
func customerValues(order operation.Order) url.Values {
	values := make(url.Values, len(order.Options)+len(order.Metadata))

	for name, value := range order.Metadata {
		values.Set(metadata(name), value)
	}

	for name, as := range map[string]string{
		customer.Email: "email", customer.Name: "name", customer.Reference: metadata(customer.MetadataReference),
	} {
		if value, given := order.Options[name]; given {
			values.Set(as, value)
		}
	}

	return values
}

// DeleteCustomer implements ports.CustomerCalls.
func (Calls) DeleteCustomer(mark operation.Mark, customerID string, _ operation.Order) (ports.Call, error) {
	call, err := onObject(mark, customersPath, customerPrefix, customerID, "", nil)
	call.Path = deletes + call.Path

	return call, err
}

// CreateSetup implements ports.CustomerCalls.
func (Calls) CreateSetup(mark operation.Mark, customerID string, _ operation.Order) (ports.Call, error) {
	if !isObjectID(customerPrefix, customerID) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id of a customer", errBadCall, customerID)
	}

	return newCall(mark, setupsPath, url.Values{
		"customer": {customerID}, "usage": {offSession}, "automatic_payment_methods[enabled]": {isTrue},
		metadata(payment.MetadataMark): {mark.String()},
	}), nil
}

// DetachMethod implements ports.CustomerCalls.
func (Calls) DetachMethod(mark operation.Mark, methodID string, _ operation.Order) (ports.Call, error) {
	return onObject(mark, methodsPath, methodPrefix, methodID, detachAction, nil)
}

func onObject(mark operation.Mark, path, prefix, id, action string, values url.Values) (ports.Call, error) {
	if !isObjectID(prefix, id) {
		return ports.Call{}, fmt.Errorf("%w: %q is no id that begins with %s", errBadCall, id, prefix)
	}

	return newCall(mark, path+"/"+id+action, values), nil
}

// isObjectID accepts an id with which the object can be read again.
func isObjectID(prefix, id string) bool { return strings.HasPrefix(id, prefix) && isID(id) }

// askedOfCustomer is what an object must say to be the one that a call about customers is about.
type askedOfCustomer struct {
	// operation is the call's name in metrics, traces and errors.
	operation    string
	method, path string
	// id is the object's, or only prefix is known, and it carries the mark.
	id, prefix, mark string
}

// readCustomerCall reads what Calls wrote; false: the call is about an intent.
func readCustomerCall(c ports.Call) (asked askedOfCustomer, ok bool) {
	values, err := url.ParseQuery(c.Params)
	if err != nil || c.Key == "" || len(c.Key) > maxKeyLength {
		return asked, false
	}

	path, isDelete := strings.CutPrefix(c.Path, deletes)
	asked = askedOfCustomer{method: http.MethodPost, path: path, mark: values.Get(metadata(payment.MetadataMark))}

	switch {
	case isDelete:
		asked.operation, asked.method, asked.id = deletesCustomer, http.MethodDelete, lastOf(path, customersPath)
	case path == customersPath:
		asked.operation, asked.prefix = "create_customer", customerPrefix
	case path == setupsPath:
		asked.operation, asked.prefix = "create_setup", setupPrefix
	case strings.HasPrefix(path, customersPath):
		asked.operation, asked.id = "update_customer", lastOf(path, customersPath)
	case strings.HasSuffix(path, detachAction):
		asked.operation, asked.id = detachesMethod, lastOf(strings.TrimSuffix(path, detachAction), methodsPath)
	}

	return asked, isID(asked.id) || asked.prefix != "" && asked.mark != ""
}

// lastOf is the id below a path; empty if there is none.
func lastOf(path, below string) string {
	id, ok := strings.CutPrefix(path, below+"/")
	if !ok || !isID(id) {
		return ""
	}

	return id
}

// sendOnCustomer is Send for a call about customers.
func (g *Gateway) sendOnCustomer(
	ctx context.Context, sent ports.Call, asked askedOfCustomer, resend bool,
) (ports.Object, error) {
	var got record

	err := g.call(ctx, &call{
		operation: asked.operation,
		kind:      writes,
		maxAnswer: maxObject,
		method:    asked.method,
		path:      asked.path,
		key:       sent.Key,
		body:      sent.Params,
		answer:    emptied(&got),
		judge: func(failed *failure, first bool) verdict {
			return judgeOnCustomer(asked, &got, failed, first && !resend)
		},
	})
	if err != nil {
		return ports.Object{}, err
	}

	return got.object(), nil
}

func judgeOnCustomer(asked askedOfCustomer, got *record, failed *failure, first bool) verdict {
	switch {
	case failed == nil && !isID(got.ID):
		return verdict{outcome: unknown, reason: ReasonUndecodable, again: true, err: errUndecodable}
	case failed == nil && !got.matches(asked):
		return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
	case failed == nil:
		return verdict{outcome: done}
	}

	switch outcome, err := failed.rejectsOnCustomer(asked, first); outcome {
	case rejected, deploymentRejected:
		return verdict{outcome: outcome, reason: failed.reason, err: err}
	default:
		return failed.verdict()
	}
}

// rejectsOnCustomer decides whether a failure proves that a call about customers was rejected.
// What is missing, or detached already, may be so because of an earlier attempt: the core
// reads the object. So it does if the key was used for another request, which the database
// has lost. An address that Stripe does not take is the order's fault at any time. Any other
// rejection counts only for the first send.
func (f *failure) rejectsOnCustomer(asked askedOfCustomer, first bool) (outcome, error) {
	if f.rejection == nil || f.reason != ReasonBadRequest && f.reason != ReasonUnknownPath && f.reason != ReasonIdempotency {
		return unknown, nil
	}

	err := ports.RejectedError{
		Code: code(string(f.rejection.Code)), Message: sentence(f.rejection.Msg), Kept: f.replayed,
	}
	// "… is not attached to a customer so detachment is impossible" has no code.
	detached := asked.operation == detachesMethod && f.reason == ReasonBadRequest && f.rejection.Code == ""

	switch {
	case f.rejection.Code == stripego.ErrorCodeEmailInvalid:
		err.Order = true

		return rejected, &err
	case f.rejection.Code == stripego.ErrorCodeResourceMissing, f.reason == ReasonIdempotency, detached:
		err.State = true

		return rejected, &err
	case first:
		return deploymentRejected, &ports.DeploymentError{Code: err.Code, Message: err.Message, Kept: f.replayed}
	default:
		return unknown, nil
	}
}

// record is the part of a Customer, a SetupIntent or a PaymentMethod that we read
// (https://docs.stripe.com/api/customers/object, …/setup_intents/object,
// …/payment_methods/object).
type record struct {
	ID           string          `json:"id"`
	Deleted      bool            `json:"deleted"`
	Email        lenientText     `json:"email"`
	Name         lenientText     `json:"name"`
	Customer     lenientText     `json:"customer"`
	ClientSecret lenientText     `json:"client_secret"`
	Status       lenientText     `json:"status"`
	Type         lenientText     `json:"type"`
	Card         *cardRecord     `json:"card"`
	Created      int64           `json:"created"`
	Livemode     *bool           `json:"livemode"`
	Metadata     *recordMetadata `json:"metadata"`
}

type cardRecord struct {
	Brand       lenientText `json:"brand"`
	Last4       lenientText `json:"last4"`
	ExpMonth    lenientInt  `json:"exp_month"`
	ExpYear     lenientInt  `json:"exp_year"`
	Fingerprint lenientText `json:"fingerprint"`
}

// recordMetadata are the entries that we write, and the client's.
type recordMetadata struct {
	Mark      lenientText `json:"marketflow"`           // payment.MetadataMark
	Key       lenientText `json:"marketflow_key"`       // payment.MetadataKey
	Reference lenientText `json:"marketflow_reference"` // customer.MetadataReference
	// Others are the client's; Stripe's values are texts.
	Others map[string]jsontext.Value `json:",embed"`
}

func (r *record) matches(asked askedOfCustomer) bool {
	if asked.id == "" {
		return isObjectID(asked.prefix, r.ID) && r.Metadata != nil && string(r.Metadata.Mark) == asked.mark &&
			(asked.prefix != setupPrefix || isSecret(string(r.ClientSecret)))
	}

	switch asked.operation {
	case deletesCustomer:
		return r.ID == asked.id && r.Deleted
	case detachesMethod:
		return r.ID == asked.id && r.Customer == ""
	default:
		return r.ID == asked.id
	}
}

func (r *record) object() (o ports.Object) {
	switch {
	case strings.HasPrefix(r.ID, customerPrefix):
		o.Customer = r.customer()
	case strings.HasPrefix(r.ID, setupPrefix):
		o.Setup = ports.Setup{
			ID: r.ID, ClientSecret: string(r.ClientSecret), Status: statusWord(string(r.Status)), CreatedAt: r.createdAt(),
		}
	case strings.HasPrefix(r.ID, methodPrefix):
		o.Method = r.paymentMethod()
	}

	return o
}

func (r *record) createdAt() time.Time {
	if r.Created < 0 || r.Created > maxTime {
		return time.Time{}
	}

	return at(r.Created)
}

// customer leaves out what cannot be kept: the Dashboard takes values that we refuse.
func (r *record) customer() ports.CustomerObject {
	got := ports.CustomerObject{ID: r.ID, Live: r.Livemode, CreatedAt: r.createdAt()}
	got.Email, got.Name, got.Deleted = keepable(r.Email), keepable(r.Name), r.Deleted

	if r.Metadata == nil {
		return got
	}

	got.Mark, got.Marked = operation.ParseMark(string(r.Metadata.Mark))
	got.Marked = got.Marked && got.Mark.Kind == operation.CreateCustomer
	got.Key = (&intentMetadata{Key: r.Metadata.Key}).key()
	got.Metadata = (&intentMetadata{Others: r.Metadata.Others}).others()

	if reference := string(r.Metadata.Reference); customer.CheckValue(customer.Reference, reference) == nil {
		got.Reference = reference
	}

	return got
}

// keepable is a text that PostgreSQL can keep: UTF-8 without U+0000.
func keepable(text lenientText) string {
	return strings.ToValidUTF8(strings.ReplaceAll(string(text), "\x00", ""), "\uFFFD")
}

func (r *record) paymentMethod() ports.Method {
	m := ports.Method{ID: r.ID, CustomerID: string(r.Customer), Type: statusWord(string(r.Type)), CreatedAt: r.createdAt()}

	if c := r.Card; c != nil {
		m.Card = &ports.Card{
			Brand: keepable(c.Brand), Last4: keepable(c.Last4), Fingerprint: keepable(c.Fingerprint),
			ExpMonth: int(c.ExpMonth.value), ExpYear: int(c.ExpYear.value),
		}
	}

	return m
}

// Customer implements ports.CustomerReads.
func (g *Gateway) Customer(ctx context.Context, id string) (ports.CustomerObject, error) {
	got, err := g.record(ctx, "get_customer", customersPath, customerPrefix, id)

	return got.customer(), err
}

// Method implements ports.CustomerReads.
func (g *Gateway) Method(ctx context.Context, id string) (ports.Method, error) {
	got, err := g.record(ctx, "get_method", methodsPath, methodPrefix, id)

	return got.paymentMethod(), err
}

func (g *Gateway) record(ctx context.Context, operation, path, prefix, id string) (record, error) {
	if !isObjectID(prefix, id) { // it could lead to another path, whose 404 proves nothing
		return record{}, fault.New(fault.NotFound, "the payment provider has no such object")
	}

	judge := func(got *record, failed *failure) verdict {
		if failed == nil && got.ID != id {
			return verdict{outcome: unknown, reason: ReasonMismatch, err: errMismatch}
		}

		return judgeRead(failed)
	}

	return read(ctx, g, operation, path+"/"+id, maxObject, judge)
}

// Methods implements ports.CustomerReads
// (https://docs.stripe.com/api/payment_methods/customer_list).
func (g *Gateway) Methods(ctx context.Context, customerID, after string, limit int) ([]ports.Method, bool, error) {
	if !isObjectID(customerPrefix, customerID) || after != "" && !isObjectID(methodPrefix, after) {
		return nil, false, fault.New(fault.NotFound, "the payment provider has no such object")
	}

	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		query.Set("starting_after", after)
	}

	got, err := read(ctx, g, "list_methods", customersPath+"/"+customerID+"/payment_methods?"+query.Encode(), maxList, judgePage)
	if err != nil {
		return nil, false, err
	}

	methods := make([]ports.Method, 0, len(got.Data))

	for _, form := range got.Data {
		var r record
		if err := decode(form, &r); err != nil || !isObjectID(methodPrefix, r.ID) {
			return nil, false, fmt.Errorf("decode a listed payment method: %w", cmp.Or(err, errUndecodable))
		}

		methods = append(methods, r.paymentMethod())
	}

	return methods, got.HasMore, nil
}

// Customers implements ports.CustomerReads.
func (g *Gateway) Customers(ctx context.Context, from, to time.Time) iter.Seq2[ports.CustomerObject, error] {
	query := createdBetween(from, to)

	return func(yield func(ports.CustomerObject, error) bool) {
		for form, err := range g.list(ctx, "list_customers", customersPath, query, judgeOptionalPage) {
			if errors.Is(err, errNoList) {
				g.noCustomers.Do(func() {
					g.log.Warn("this stripe key may not list customers, so none that the database loses can come home", zap.Error(err))
				})

				return
			}

			if err != nil {
				yield(ports.CustomerObject{}, err)

				return
			}

			var r record

			switch err := decode(form, &r); {
			case err != nil:
				yield(ports.CustomerObject{}, fmt.Errorf("decode a listed customer: %w", err))

				return
			case !isObjectID(customerPrefix, r.ID): // others may have chosen their ids themselves
			case !yield(r.customer(), nil):
				return
			}
		}
	}
}
