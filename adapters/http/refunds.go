package http

import (
	"context"
	stdjson "encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// RefundPayment is the use case of POST /payments/{id}/refunds.
type RefundPayment interface {
	Do(ctx context.Context, cmd payments.RefundCommand) (operations.Answer, error)
}

// CancelRefund is the use case of POST /refunds/{id}/cancel.
type CancelRefund interface {
	Do(ctx context.Context, cmd payments.CancelRefundCommand) (operations.Answer, error)
}

// GetRefund is the use case of GET /refunds/{id} and GET /payments/{id}/refunds.
type GetRefund interface {
	Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (refund.Refund, error)
	Of(ctx context.Context, tenant operation.Tenant, paymentID uuid.UUID) ([]refund.Refund, error)
}

// Refunds are the resources /refunds and /payments/{id}/refunds.
type Refunds struct {
	refundPayment RefundPayment
	cancelRefund  CancelRefund
	getRefund     GetRefund
}

// NewRefunds returns the resources.
func NewRefunds(create RefundPayment, cancel CancelRefund, get GetRefund) *Refunds {
	return &Refunds{create, cancel, get}
}

// create is POST /payments/{id}/refunds.
func (s *Refunds) create(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := paymentID(r)
	if err != nil {
		return answer{}, err
	}

	var body refundRequest
	if err := decode(w, r, maxCreateBody, &body, hints{
		fields: "amount, expected_refundable, reason, metadata and idempotency_key",
		types: "metadata maps strings to strings; amount and expected_refundable are numbers or strings, and all others are " +
			"strings",
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

	if cmd.Key == "" {
		return answer{}, fault.New(fault.KeyRequired, "A refund needs an idempotency key: without one, a repeated request would "+
			"give the money back once more. Send it as Idempotency-Key or as idempotency_key.")
	}

	if cmd.IfMatch, err = ifMatch(r.Header); err != nil {
		return answer{}, err
	}

	made, err := s.refundPayment.Do(r.Context(), cmd)
	if err != nil {
		return answer{}, err
	}

	if made.Response.Status == http.StatusCreated {
		w.Header().Set("Location", "/refunds/"+made.RefundID.String())
	}

	return frozen(w, made), nil
}

// refundRequest is the body of POST /payments/{id}/refunds.
type refundRequest struct {
	Amount   jsontext.Value     `json:"amount"`
	Expected jsontext.Value     `json:"expected_refundable"`
	Reason   *string            `json:"reason"`
	Metadata map[string]*string `json:"metadata"`
	Key      *string            `json:"idempotency_key"`
}

func (b refundRequest) command() (cmd payments.RefundCommand, err error) {
	if len(b.Amount) > 0 {
		if cmd.Amount, err = amountText(b.Amount); err != nil {
			return cmd, err
		}
	}

	if len(b.Expected) > 0 {
		if cmd.Expected, err = amountText(b.Expected); err != nil {
			return cmd, fault.Wrap(fault.Invalid, err, "expected_refundable must be a number or a decimal string, such as 1000.00")
		}
	}

	if b.Reason != nil {
		if cmd.Reason = *b.Reason; !slices.Contains(refund.Reasons(), cmd.Reason) {
			return cmd, fault.Newf(fault.Invalid, "reason must be one of %s, or be left out", strings.Join(refund.Reasons(), ", "))
		}
	}

	entries, err := metadataOf(b.Metadata)
	if err != nil {
		return cmd, err
	}

	cmd.Metadata, err = payment.ParseMetadata(entries)

	return cmd, err
}

// get is GET /refunds/{id}.
func (s *Refunds) get(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := refundID(r)
	if err != nil {
		return answer{}, err
	}

	found, err := s.getRefund.Do(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	w.Header().Set("ETag", `"`+strconv.FormatInt(found.Version, 10)+`"`)

	return answer{status: http.StatusOK, body: toRefundBody(found)}, nil
}

// ofPayment is GET /payments/{id}/refunds: all of them, the newest first.
func (s *Refunds) ofPayment(_ http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := paymentID(r)
	if err != nil {
		return answer{}, err
	}

	found, err := s.getRefund.Of(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	data := make([]refundBody, 0, len(found))
	for _, one := range found {
		data = append(data, toRefundBody(one))
	}

	return answer{status: http.StatusOK, body: struct {
		Data       []refundBody `json:"data"`
		HasMore    bool         `json:"has_more"`
		NextCursor *string      `json:"next_cursor"`
	}{Data: data}}, nil
}

// cancel is POST /refunds/{id}/cancel.
func (s *Refunds) cancel(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := refundID(r)
	if err != nil {
		return answer{}, err
	}

	var body struct {
		Key *string `json:"idempotency_key"`
	}

	if err := decodeOptional(w, r, maxChangeBody, &body, hints{
		fields: "idempotency_key", types: keyIsText,
	}); err != nil {
		return answer{}, err
	}

	key, err := keyOf(body.Key, r.Header)
	if err != nil {
		return answer{}, err
	}

	cancelled, err := s.cancelRefund.Do(r.Context(), payments.CancelRefundCommand{
		Tenant: tenantOf(r), RefundID: id, Key: key, RequestID: requestID(r.Context()),
	})
	if err != nil {
		return answer{}, err
	}

	return frozen(w, cancelled), nil
}

// refundID is the id in the path. A refund has one address.
func refundID(r *http.Request) (uuid.UUID, error) {
	id, err := paymentID(r)
	if err != nil {
		return id, fault.New(fault.Invalid, "The refund id in the path is not a UUID.")
	}

	return id, nil
}

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

func refundAnswer(r refund.Refund) any { return toRefundBody(r) }

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
