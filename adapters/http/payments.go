package http

import (
	"context"
	stdjson "encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// CreatePayment is the use case of POST /payments.
type CreatePayment interface {
	Do(ctx context.Context, cmd payments.CreateCommand) (operations.Answer, error)
}

// GetPayment is the use case of GET /payments/{id}.
type GetPayment interface {
	Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (payment.Payment, error)
}

// CapturePayment is the use case of POST /payments/{id}/capture.
type CapturePayment interface {
	Do(ctx context.Context, cmd payments.CaptureCommand) (operations.Answer, error)
}

// CancelPayment is the use case of POST /payments/{id}/cancel.
type CancelPayment interface {
	Do(ctx context.Context, cmd payments.CancelCommand) (operations.Answer, error)
}

// ConfirmPayment is the use case of POST /payments/{id}/confirm.
type ConfirmPayment interface {
	Do(ctx context.Context, cmd payments.ConfirmCommand) (operations.Answer, error)
}

// UpdatePayment is the use case of PATCH /payments/{id}.
type UpdatePayment interface {
	Do(ctx context.Context, cmd payments.UpdateCommand) (operations.Answer, error)
}

// Payments is the resource /payments.
type Payments struct {
	createPayment  CreatePayment
	getPayment     GetPayment
	capturePayment CapturePayment
	cancelPayment  CancelPayment
	confirmPayment ConfirmPayment
	updatePayment  UpdatePayment
}

// NewPayments returns the resource.
func NewPayments(
	create CreatePayment, get GetPayment, capture CapturePayment, cancel CancelPayment, confirm ConfirmPayment,
	update UpdatePayment,
) *Payments {
	return &Payments{create, get, capture, cancel, confirm, update}
}

// create is POST /payments.
func (p *Payments) create(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body createBody
	if err := decode(w, r, maxCreateBody, &body, hints{
		fields: "amount, currency, idempotency_key, metadata, capture_method, payment_method, confirm, return_url, off_session, " +
			"description, statement_descriptor_suffix, receipt_email, customer_id and save_payment_method",
		types: "metadata maps strings to strings; confirm, off_session and save_payment_method are true or false; " +
			"amount is a number or a string, and all others are strings",
	}); err != nil {
		return answer{}, err
	}

	order, err := body.order()
	if err != nil {
		return answer{}, err
	}

	key, err := keyOf(body.Key, r.Header)
	if err != nil {
		return answer{}, err
	}

	created, err := p.createPayment.Do(r.Context(), payments.CreateCommand{
		Tenant: tenantOf(r), Key: key, Order: order, RequestID: requestID(r.Context()),
	})
	if err != nil {
		return answer{}, err
	}

	if created.Response.Status == http.StatusCreated {
		w.Header().Set("Location", "/payments/"+created.PaymentID.String())
	}

	return frozen(w, created), nil
}

// frozen is an operation's answer.
func frozen(w http.ResponseWriter, a operations.Answer) answer {
	if a.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}

	return answer{status: a.Response.Status, frozen: a.Response.Body}
}

// tagged gives the answer to a change the ETag of the version that it shows, so that a client can
// change the object again without reading it. A repeated answer has the version of then.
func tagged(w http.ResponseWriter, a answer) answer {
	var shown struct {
		Version int64 `json:"version"`
	}

	if err := json.Unmarshal(a.frozen, &shown); err == nil && a.status == http.StatusOK && shown.Version > 0 {
		w.Header().Set("ETag", etag(shown.Version))
	}

	return a
}

// get is GET /payments/{id}.
func (p *Payments) get(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := paymentID(r)
	if err != nil {
		return answer{}, err
	}

	found, err := p.getPayment.Do(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	w.Header().Set("ETag", etag(found.Version))

	return answer{status: http.StatusOK, body: toPaymentBody(found)}, nil
}

// capture is POST /payments/{id}/capture.
func (p *Payments) capture(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Amount jsontext.Value `json:"amount"`
		Key    *string        `json:"idempotency_key"`
	}

	change, err := changeCommand(w, r, &body, &body.Key, hints{
		fields: "amount and idempotency_key", types: keyIsText,
	})
	if err != nil {
		return answer{}, err
	}

	cmd := payments.CaptureCommand{ChangeCommand: change}

	if cmd.IfMatch, err = ifMatch(r.Header); err != nil {
		return answer{}, err
	}

	if len(body.Amount) > 0 {
		if cmd.Amount, err = amountText(body.Amount); err != nil {
			return answer{}, err
		}
	}

	captured, err := p.capturePayment.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	return frozen(w, captured), nil
}

// cancel is POST /payments/{id}/cancel.
func (p *Payments) cancel(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Reason *string `json:"reason"`
		Key    *string `json:"idempotency_key"`
	}

	change, err := changeCommand(w, r, &body, &body.Key, hints{
		fields: "reason and idempotency_key", types: "reason and idempotency_key are strings",
	})
	if err != nil {
		return answer{}, err
	}

	cmd := payments.CancelCommand{ChangeCommand: change}

	if body.Reason != nil {
		if cmd.Reason = *body.Reason; !slices.Contains(payments.CancelReasons(), cmd.Reason) {
			return answer{}, fault.Newf(fault.Invalid, "reason must be one of %s, or be left out",
				strings.Join(payments.CancelReasons(), ", "))
		}
	}

	cancelled, err := p.cancelPayment.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	return frozen(w, cancelled), nil
}

// confirm is POST /payments/{id}/confirm.
func (p *Payments) confirm(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		PaymentMethod *string `json:"payment_method"`
		ReturnURL     *string `json:"return_url"`
		OffSession    *bool   `json:"off_session"`
		Key           *string `json:"idempotency_key"`
	}

	change, err := changeCommand(w, r, &body, &body.Key, hints{
		fields: "payment_method, return_url, off_session and idempotency_key",
		types:  "off_session is true or false; all others are strings",
	})

	switch {
	case err != nil:
		return answer{}, err
	case change.Key == "":
		return answer{}, fault.New(fault.KeyRequired, "An attempt to pay needs an idempotency key: without one, a repeated request "+
			"would be another attempt. Send it as Idempotency-Key or as idempotency_key.")
	}

	var o options

	o.flag(payments.OptionOffSession, body.OffSession)

	if err := o.text(payments.OptionPaymentMethod, body.PaymentMethod, payment.ParseMethodID); err != nil {
		return answer{}, err
	}

	if err := o.text(payments.OptionReturnURL, body.ReturnURL, payment.ParseReturnURL); err != nil {
		return answer{}, err
	}

	confirmed, err := p.confirmPayment.Do(r.Context(), payments.ConfirmCommand{ChangeCommand: change, Options: o})
	if err != nil {
		return answer{}, err
	}

	return frozen(w, confirmed), nil
}

// update is PATCH /payments/{id}.
func (p *Payments) update(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := paymentID(r)
	if err != nil {
		return answer{}, err
	}

	var body updateBody
	if err := decode(w, r, maxCreateBody, &body, hints{
		fields: "metadata, description and idempotency_key",
		types:  "metadata maps strings to strings or null; description is a string or null; idempotency_key is a string",
	}); err != nil {
		return answer{}, err
	}

	cmd, err := body.command()
	if err != nil {
		return answer{}, err
	}

	cmd.Tenant, cmd.PaymentID, cmd.RequestID = tenantOf(r), id, requestID(r.Context())

	if cmd.Key, err = keyOf(body.Key, r.Header); err != nil {
		return answer{}, err
	}

	if cmd.IfMatch, err = ifMatch(r.Header); err != nil {
		return answer{}, err
	}

	updated, err := p.updatePayment.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	return tagged(w, frozen(w, updated)), nil
}

// updateBody is the body of PATCH /payments/{id}: a merge patch (RFC 7396), in which null
// removes.
type updateBody struct {
	Metadata    map[string]*string `json:"metadata"`
	Description jsontext.Value     `json:"description"`
	Key         *string            `json:"idempotency_key"`
}

func (b updateBody) command() (cmd payments.UpdateCommand, err error) {
	if len(b.Metadata) == 0 && len(b.Description) == 0 {
		return cmd, fault.New(fault.Invalid, "there is nothing to change; send metadata or description")
	}

	entries := make(map[string]string, len(b.Metadata))

	for name, value := range b.Metadata {
		if entries[name] = ""; value != nil {
			entries[name] = *value
		}
	}

	if cmd.Metadata, err = payment.ParseMetadataChange(entries); err != nil || len(b.Description) == 0 {
		return cmd, err
	}

	var description *string
	if err := json.Unmarshal(b.Description, &description); err != nil {
		return cmd, fault.Wrap(fault.Invalid, err, "description must be a string or null")
	}

	cmd.Description = new("")
	if description != nil {
		*cmd.Description, err = payment.ParseDescription(*description)
	}

	return cmd, err
}

// keyIsText is the hint of bodies in which only the key has a type of its own.
const keyIsText = "idempotency_key is a string"

// changeCommand reads what operations on a payment have in common: the id in the path, and
// a body that may be empty. key is where the body's key is decoded to.
func changeCommand(
	w http.ResponseWriter, r *http.Request, body any, key **string, h hints,
) (payments.ChangeCommand, error) {
	id, err := paymentID(r)
	if err != nil {
		return payments.ChangeCommand{}, err
	}

	if err := decodeOptional(w, r, maxChangeBody, body, h); err != nil {
		return payments.ChangeCommand{}, err
	}

	parsed, err := keyOf(*key, r.Header)

	return payments.ChangeCommand{Tenant: tenantOf(r), PaymentID: id, Key: parsed, RequestID: requestID(r.Context())}, err
}

// paymentID is the id in the path. uuid.Parse accepts other spellings too, but a payment
// has one address.
func paymentID(r *http.Request) (uuid.UUID, error) {
	text := mux.Vars(r)["id"]

	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return uuid.Nil, fault.New(fault.Invalid, "The payment id in the path is not a UUID.")
	}

	return id, nil
}

// createBody is the body of POST /payments. A pointer tells null or nothing from
// an empty text. The amount stays as it was spelled: it must not pass through a
// float.
type createBody struct {
	createOptions

	Amount   jsontext.Value     `json:"amount"`
	Currency *string            `json:"currency"`
	Key      *string            `json:"idempotency_key"`
	Metadata map[string]*string `json:"metadata"`
	Customer *string            `json:"customer_id"`
	Save     *bool              `json:"save_payment_method"`
}

func (b createBody) order() (operation.Order, error) {
	if b.Currency == nil {
		return operation.Order{}, fault.New(fault.Invalid, "currency is missing; send an ISO 4217 code such as USD")
	}

	currency, err := money.ParseCurrency(*b.Currency)
	if err != nil {
		return operation.Order{}, err
	}

	text, err := amountText(b.Amount)
	if err != nil {
		return operation.Order{}, err
	}

	amount, err := money.ParsePrice(text, currency)
	if err != nil {
		return operation.Order{}, err
	}

	entries, err := metadataOf(b.Metadata)
	if err != nil {
		return operation.Order{}, err
	}

	metadata, err := payment.ParseMetadata(entries)
	if err != nil {
		return operation.Order{}, err
	}

	options, err := b.options()
	if err == nil {
		options, err = b.customerOptions(options)
	}

	return operation.Order{Amount: amount, Metadata: metadata, Options: options}, err
}

// customerOptions adds who pays to the options, and whether the payment method is saved.
func (b createBody) customerOptions(options map[string]string) (map[string]string, error) {
	save := b.Save != nil && *b.Save

	switch {
	case b.Customer == nil && save:
		return nil, fault.New(fault.Invalid, "save_payment_method needs a customer_id")
	case b.Customer == nil:
		return options, nil
	}

	if id, err := uuid.Parse(*b.Customer); err != nil || id.String() != *b.Customer {
		return nil, fault.New(fault.Invalid, "customer_id is not a UUID in lower case")
	}

	options = with(options, payments.OptionCustomer, *b.Customer)
	if save {
		options = with(options, payments.OptionSave, "true")
	}

	return options, nil
}

// amountText is the number or decimal string as the client spelled it.
func amountText(value jsontext.Value) (string, error) {
	switch {
	case len(value) == 0:
		return "", fault.New(fault.Invalid, "amount is missing; send it in major units, such as 1000.00")
	case value.Kind() == jsontext.KindNumber:
		return string(value), nil
	case value.Kind() == jsontext.KindString:
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			return "", fault.Wrap(fault.Invalid, err, "amount is not valid text")
		}

		return text, nil
	default:
		return "", fault.New(fault.Invalid, "amount must be a number or a decimal string, such as 1000.00")
	}
}

// metadataOf rejects null, which would otherwise become an empty text.
func metadataOf(body map[string]*string) (map[string]string, error) {
	if body == nil {
		return nil, nil
	}

	entries := make(map[string]string, len(body))

	for key, value := range body {
		if value == nil {
			return nil, fault.New(fault.Invalid, "a metadata value is null; send a string or leave the entry out")
		}

		entries[key] = *value
	}

	return entries, nil
}

// createdBody answers a create. Only this and the answer to a confirm have the client secret.
type createdBody struct {
	ID           uuid.UUID      `json:"id"`
	IntentID     string         `json:"stripe_payment_intent_id"`
	ClientSecret string         `json:"client_secret"`
	Amount       stdjson.Number `json:"amount"`
	Currency     string         `json:"currency"`
	Status       string         `json:"status"`
	CreatedAt    string         `json:"created_at"`
}

// Created implements ports.Renderer.
func (Renderer) Created(p payment.Payment, clientSecret string) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(toCreatedBody(p, clientSecret))}
}

func toCreatedBody(p payment.Payment, clientSecret string) createdBody {
	return createdBody{
		ID:           p.ID,
		IntentID:     p.IntentID,
		ClientSecret: clientSecret,
		Amount:       stdjson.Number(p.Amount.Decimal()),
		Currency:     p.Amount.Currency().Code(),
		Status:       string(p.Status),
		CreatedAt:    toTime(p.CreatedAt),
	}
}

// CreatedAndConfirmed implements ports.Renderer.
func (Renderer) CreatedAndConfirmed(p payment.Payment, intent ports.Intent) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(struct {
		createdBody

		IntentStatus *string            `json:"intent_status"`
		NextAction   stdjson.RawMessage `json:"next_action"`
	}{toCreatedBody(p, intent.ClientSecret), orNull(string(p.IntentStatus)), intent.NextAction})}
}

// Confirmed implements ports.Renderer. What the customer has to do is shown only while the
// payment waits for that.
func (Renderer) Confirmed(p payment.Payment, intent ports.Intent) ports.FrozenResponse {
	next := intent.NextAction
	if p.IntentStatus != intent.IntentStatus {
		next = nil
	}

	return ports.FrozenResponse{Status: http.StatusOK, Body: encode(struct {
		paymentBody

		ClientSecret *string            `json:"client_secret"`
		NextAction   stdjson.RawMessage `json:"next_action"`
	}{toPaymentBody(p), orNull(intent.ClientSecret), next})}
}

// paymentBody is a payment as it is read. Keys are only ever added at the end.
type paymentBody struct {
	ID            uuid.UUID         `json:"id"`
	IntentID      string            `json:"stripe_payment_intent_id"`
	Key           *string           `json:"idempotency_key"`
	Amount        stdjson.Number    `json:"amount"`
	Currency      string            `json:"currency"`
	Status        string            `json:"status"`
	Metadata      map[string]string `json:"metadata"`
	CreatedAt     string            `json:"created_at"`
	UpdatedAt     string            `json:"updated_at"`
	Description   *string           `json:"description"`
	CustomerID    *uuid.UUID        `json:"customer_id"`
	CaptureMethod string            `json:"capture_method"`
	IntentStatus  *string           `json:"intent_status"`
	Capturable    stdjson.Number    `json:"amount_capturable"`
	Captured      stdjson.Number    `json:"amount_captured"`
	Refunded      stdjson.Number    `json:"amount_refunded"`
	RefundPending stdjson.Number    `json:"amount_refund_pending"`
	Refundable    stdjson.Number    `json:"amount_refundable"`
	Disputed      stdjson.Number    `json:"amount_disputed"`
	CaptureBefore *string           `json:"capture_before"`
	Method        *methodBody       `json:"payment_method"`
	Decline       *declineBody      `json:"decline"`
	DisputeStatus *string           `json:"dispute_status"`
	Version       int64             `json:"version"`
}

// methodBody is how the last attempt to pay was made.
type methodBody struct {
	Type string    `json:"type"`
	Card *cardBody `json:"card"`
}

type cardBody struct {
	Brand    *string `json:"brand"`
	Last4    *string `json:"last4"`
	ExpMonth *int    `json:"exp_month"`
	ExpYear  *int    `json:"exp_year"`
}

// declineBody is why the last attempt was declined.
type declineBody struct {
	Code        *string `json:"code"`
	DeclineCode *string `json:"decline_code"`
	Message     *string `json:"message"`
	Retryable   bool    `json:"retryable"`
}

func toPaymentBody(p payment.Payment) paymentBody {
	sum := func(m money.Money) stdjson.Number {
		return stdjson.Number(money.Of(m.Minor(), p.Amount.Currency()).Decimal())
	}

	body := paymentBody{
		ID:            p.ID,
		IntentID:      p.IntentID,
		Amount:        stdjson.Number(p.Amount.Decimal()),
		Currency:      p.Amount.Currency().Code(),
		Status:        string(p.Status),
		Metadata:      p.Metadata,
		CreatedAt:     toTime(p.CreatedAt),
		UpdatedAt:     toTime(p.UpdatedAt),
		CaptureMethod: string(p.CaptureMethod),
		Capturable:    stdjson.Number(p.Capturable.Decimal()),
		Captured:      stdjson.Number(p.Captured.Decimal()),
		Refunded:      sum(p.Refunded),
		RefundPending: sum(p.RefundPending),
		Refundable:    stdjson.Number(p.Refundable().Decimal()),
		Disputed:      sum(p.Disputed),
		DisputeStatus: orNull(p.DisputeStatus),
		Version:       p.Version,
	}

	if p.Key != "" {
		body.Key = new(string(p.Key))
	}

	if p.CustomerID != uuid.Nil {
		body.CustomerID = &p.CustomerID
	}

	if p.IntentStatus != "" {
		body.IntentStatus = new(string(p.IntentStatus))
	}

	if !p.CaptureBefore.IsZero() {
		body.CaptureBefore = new(toTime(p.CaptureBefore))
	}

	body.Description = orNull(p.Description)
	body.Method, body.Decline = toMethodBody(p.Method), toDeclineBody(p)

	return body
}

func paymentAnswer(p payment.Payment) any { return toPaymentBody(p) }

func toMethodBody(m payment.Method) *methodBody {
	if m.Type == "" {
		return nil
	}

	body := &methodBody{Type: m.Type}
	if c := m.Card; c != (payment.Card{}) {
		body.Card = &cardBody{
			Brand: orNull(c.Brand), Last4: orNull(c.Last4), ExpMonth: orNull(c.ExpMonth), ExpYear: orNull(c.ExpYear),
		}
	}

	return body
}

func toDeclineBody(p payment.Payment) *declineBody {
	d := p.Decline
	if d.IsZero() {
		return nil
	}

	return &declineBody{
		Code: orNull(d.Code), DeclineCode: orNull(d.DeclineCode), Message: orNull(d.Message), Retryable: p.Retryable(),
	}
}

// orNull is null where there is nothing.
func orNull[T comparable](v T) *T {
	if v == *new(T) {
		return nil
	}

	return &v
}

// Payment implements ports.Renderer.
func (Renderer) Payment(p payment.Payment) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusOK, Body: encode(toPaymentBody(p))}
}

// EncodePayment is the payment as GET /payments/{id} answers it, for commands.
func EncodePayment(p payment.Payment) []byte { return encode(toPaymentBody(p)) }

// toTime writes RFC 3339 in UTC, to the microsecond that PostgreSQL keeps.
func toTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }
