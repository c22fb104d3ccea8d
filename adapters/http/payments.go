package http

import (
	"context"
	stdjson "encoding/json"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// CreatePayment is the use case of POST /payments.
type CreatePayment interface {
	Do(ctx context.Context, cmd payments.CreateCommand) (operations.Answer, error)
}

// GetPayment is the use case of GET /payments/{id}.
type GetPayment interface {
	Do(ctx context.Context, id uuid.UUID) (payment.Payment, error)
}

// Payments is the resource /payments.
type Payments struct {
	createPayment CreatePayment
	getPayment    GetPayment
}

// NewPayments returns the resource.
func NewPayments(create CreatePayment, get GetPayment) *Payments { return &Payments{create, get} }

// create is POST /payments.
func (p *Payments) create(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body createBody
	if err := decode(w, r, maxCreateBody, &body, hints{
		fields: "amount, currency, idempotency_key and metadata",
		types:  "metadata maps strings to strings, currency and idempotency_key are strings",
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
		Key: key, Order: order, RequestID: requestID(r.Context()),
	})
	if err != nil {
		return answer{}, err
	}

	if created.Response.Status == http.StatusCreated {
		w.Header().Set("Location", "/payments/"+created.PaymentID.String())
	}

	if created.Replayed {
		w.Header().Set("Idempotent-Replayed", "true")
	}

	return answer{status: created.Response.Status, frozen: created.Response.Body}, nil
}

// get is GET /payments/{id}.
func (p *Payments) get(_ http.ResponseWriter, r *http.Request) (answer, error) {
	text := mux.Vars(r)["id"]

	// uuid.Parse accepts other spellings too, but a payment has one address.
	id, err := uuid.Parse(text)
	if err != nil || len(text) != len(uuid.Nil.String()) {
		return answer{}, fault.New(fault.Invalid, "The payment id in the path is not a UUID.")
	}

	found, err := p.getPayment.Do(r.Context(), id)
	if err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusOK, body: toPaymentBody(found)}, nil
}

// createBody is the body of POST /payments. A pointer tells null or nothing from
// an empty text. The amount stays as it was spelled: it must not pass through a
// float.
type createBody struct {
	Amount   jsontext.Value     `json:"amount"`
	Currency *string            `json:"currency"`
	Key      *string            `json:"idempotency_key"`
	Metadata map[string]*string `json:"metadata"`
}

func (b createBody) order() (payment.Order, error) {
	if b.Currency == nil {
		return payment.Order{}, fault.New(fault.Invalid, "currency is missing; send an ISO 4217 code such as USD")
	}

	currency, err := money.ParseCurrency(*b.Currency)
	if err != nil {
		return payment.Order{}, err
	}

	text, err := amountText(b.Amount)
	if err != nil {
		return payment.Order{}, err
	}

	amount, err := money.ParsePrice(text, currency)
	if err != nil {
		return payment.Order{}, err
	}

	entries, err := metadataOf(b.Metadata)
	if err != nil {
		return payment.Order{}, err
	}

	metadata, err := payment.ParseMetadata(entries)
	if err != nil {
		return payment.Order{}, err
	}

	return payment.Order{Amount: amount, Metadata: metadata}, nil
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

// createdBody answers a create. No other body has the client secret.
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
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(createdBody{
		ID:           p.ID,
		IntentID:     p.IntentID,
		ClientSecret: clientSecret,
		Amount:       stdjson.Number(p.Amount.Decimal()),
		Currency:     p.Amount.Currency().Code(),
		Status:       string(p.Status),
		CreatedAt:    toTime(p.CreatedAt),
	})}
}

// paymentBody is a payment as it is read.
type paymentBody struct {
	ID        uuid.UUID         `json:"id"`
	IntentID  string            `json:"stripe_payment_intent_id"`
	Key       *string           `json:"idempotency_key"`
	Amount    stdjson.Number    `json:"amount"`
	Currency  string            `json:"currency"`
	Status    string            `json:"status"`
	Metadata  map[string]string `json:"metadata"`
	CreatedAt string            `json:"created_at"`
	UpdatedAt string            `json:"updated_at"`
}

func toPaymentBody(p payment.Payment) paymentBody {
	body := paymentBody{
		ID:        p.ID,
		IntentID:  p.IntentID,
		Amount:    stdjson.Number(p.Amount.Decimal()),
		Currency:  p.Amount.Currency().Code(),
		Status:    string(p.Status),
		Metadata:  p.Metadata,
		CreatedAt: toTime(p.CreatedAt),
		UpdatedAt: toTime(p.UpdatedAt),
	}
	if p.Key != "" {
		body.Key = new(string(p.Key))
	}

	return body
}

// EncodePayment is the payment as GET /payments/{id} answers it, for commands.
func EncodePayment(p payment.Payment) []byte { return encode(toPaymentBody(p)) }

// toTime writes RFC 3339 in UTC, to the microsecond that PostgreSQL keeps.
func toTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999999Z07:00") }
