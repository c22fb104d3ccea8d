package http

import (
	stdjson "encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// refundBody is a refund as it is read. Keys are only ever added at the end.
type refundBody struct {
	ID            uuid.UUID         `json:"id"`
	PaymentID     uuid.UUID         `json:"payment_id"`
	ProviderID    *string           `json:"stripe_refund_id"`
	Key           *string           `json:"idempotency_key"`
	Amount        stdjson.Number    `json:"amount"`
	Currency      string            `json:"currency"`
	Status        string            `json:"status"`
	Reason        *string           `json:"reason"`
	FailureReason *string           `json:"failure_reason"`
	Origin        string            `json:"origin"`
	Reference     *referenceBody    `json:"reference"`
	Metadata      map[string]string `json:"metadata"`
	CreatedAt     string            `json:"created_at"`
	UpdatedAt     string            `json:"updated_at"`
	Version       int64             `json:"version"`
}

// referenceBody is the number by which the customer's bank finds a refund.
type referenceBody struct {
	Type  *string `json:"type"`
	Value string  `json:"value"`
}

func toRefundBody(r refund.Refund) refundBody {
	body := refundBody{
		ID: r.ID, PaymentID: r.PaymentID, ProviderID: orNull(r.ProviderID), Key: orNull(string(r.Key)),
		Amount: stdjson.Number(r.Amount.Decimal()), Currency: r.Amount.Currency().Code(), Status: string(r.Status),
		Reason: orNull(r.Reason), FailureReason: orNull(r.FailureReason), Origin: string(r.Origin), Metadata: r.Metadata,
		CreatedAt: toTime(r.CreatedAt), UpdatedAt: toTime(r.UpdatedAt), Version: r.Version,
	}
	if r.Reference.Value != "" {
		body.Reference = &referenceBody{Type: orNull(r.Reference.Type), Value: r.Reference.Value}
	}

	return body
}

// RefundMade implements ports.RefundRenderer.
func (Renderer) RefundMade(r refund.Refund) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusCreated, Body: encode(toRefundBody(r))}
}

// Refund implements ports.RefundRenderer.
func (Renderer) Refund(r refund.Refund) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusOK, Body: encode(toRefundBody(r))}
}

// EncodeRefund is the refund as GET /refunds/{id} answers it, for commands.
func EncodeRefund(r refund.Refund) []byte { return encode(toRefundBody(r)) }
