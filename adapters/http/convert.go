package http

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// timeFormat is RFC 3339 in UTC, to the microsecond that PostgreSQL keeps.
const timeFormat = "2006-01-02T15:04:05.999999Z07:00"

// createdBody is the answer to a create. It alone has the client secret.
type createdBody struct {
	ID           uuid.UUID   `json:"id"`
	IntentID     string      `json:"stripe_payment_intent_id"`
	ClientSecret string      `json:"client_secret"`
	Amount       json.Number `json:"amount"`
	Currency     string      `json:"currency"`
	Status       string      `json:"status"`
	CreatedAt    string      `json:"created_at"`
}

// paymentBody is a payment as it is read.
type paymentBody struct {
	ID        uuid.UUID         `json:"id"`
	IntentID  string            `json:"stripe_payment_intent_id"`
	Key       *string           `json:"idempotency_key"`
	Amount    json.Number       `json:"amount"`
	Currency  string            `json:"currency"`
	Status    string            `json:"status"`
	Metadata  map[string]string `json:"metadata"`
	CreatedAt string            `json:"created_at"`
	UpdatedAt string            `json:"updated_at"`
}

func toCreatedBody(p payment.Payment, clientSecret string) createdBody {
	return createdBody{
		ID:           p.ID,
		IntentID:     p.IntentID,
		ClientSecret: clientSecret,
		Amount:       json.Number(p.Amount.Decimal()),
		Currency:     p.Amount.Currency().Code(),
		Status:       string(p.Status),
		CreatedAt:    toTime(p.CreatedAt),
	}
}

func toPaymentBody(p payment.Payment) paymentBody {
	body := paymentBody{
		ID:        p.ID,
		IntentID:  p.IntentID,
		Amount:    json.Number(p.Amount.Decimal()),
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

func toTime(t time.Time) string { return t.UTC().Format(timeFormat) }
