package http

import (
	"context"
	stdjson "encoding/json"
	"net/http"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/disputes"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// maxEvidenceBody bounds a body with evidence: 150,000 characters of up to twelve bytes each, as
// JSON may escape them.
const maxEvidenceBody = 2 << 20

// DisputeUseCases are what the resource /disputes calls.
type DisputeUseCases struct {
	Get interface {
		Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (dispute.Dispute, error)
	}
	Evidence interface {
		Do(ctx context.Context, cmd disputes.EvidenceCommand) (operations.Answer, error)
	}
	Accept interface {
		Do(ctx context.Context, cmd disputes.Command) (operations.Answer, error)
	}
}

// Disputes is the resource /disputes.
type Disputes struct{ do DisputeUseCases }

// NewDisputes returns the resource.
func NewDisputes(do DisputeUseCases) *Disputes { return &Disputes{do} }

// get is GET /disputes/{id}.
func (d *Disputes) get(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := disputeID(r)
	if err != nil {
		return answer{}, err
	}

	found, err := d.do.Get.Do(r.Context(), tenantOf(r), id)
	if err != nil {
		return answer{}, err
	}

	w.Header().Set("ETag", etag(found.Version))

	return answer{status: http.StatusOK, body: toDisputeBody(found)}, nil
}

// evidence is POST /disputes/{id}/evidence.
func (d *Disputes) evidence(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Evidence map[string]*string `json:"evidence"`
		Submit   *bool              `json:"submit"`
		Key      *string            `json:"idempotency_key"`
	}

	cmd, err := disputeCommand(w, r, maxEvidenceBody, &body, &body.Key, hints{
		fields: "evidence, submit and idempotency_key",
		types:  "evidence maps names to strings or null; submit is true or false; idempotency_key is a string",
	})
	if err != nil {
		return answer{}, err
	}

	given := disputes.EvidenceCommand{Command: cmd, Submit: body.Submit != nil && *body.Submit}

	for name, text := range body.Evidence {
		if given.Evidence = with(given.Evidence, name, ""); text != nil { // null takes away what was staged
			given.Evidence[name] = *text
		}
	}

	done, err := d.do.Evidence.Do(r.Context(), given)

	return changed(w, done, err)
}

// accept is POST /disputes/{id}/accept.
func (d *Disputes) accept(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Confirm *bool   `json:"confirm"`
		Key     *string `json:"idempotency_key"`
	}

	cmd, err := disputeCommand(w, r, maxChangeBody, &body, &body.Key, hints{
		fields: "confirm and idempotency_key", types: "confirm is true; idempotency_key is a string",
	})

	switch {
	case err != nil:
		return answer{}, err
	case body.Confirm == nil || !*body.Confirm:
		return answer{}, fault.New(fault.Invalid, "To accept a dispute is to lose it, and nobody can take that back. "+
			`If you mean it, send {"confirm":true}.`)
	}

	done, err := d.do.Accept.Do(r.Context(), cmd)

	return changed(w, done, err)
}

// disputeCommand reads what operations on a dispute have in common: the id in the path,
// If-Match, and a body that may be empty. key is where the body's key is decoded to.
func disputeCommand(
	w http.ResponseWriter, r *http.Request, most int, body any, key **string, h hints,
) (disputes.Command, error) {
	id, err := disputeID(r)
	if err != nil {
		return disputes.Command{}, err
	}

	versions, err := ifMatch(r.Header)
	if err != nil {
		return disputes.Command{}, err
	}

	if err := decodeOptional(w, r, most, body, h); err != nil {
		return disputes.Command{}, err
	}

	parsed, err := keyOf(*key, r.Header)

	return disputes.Command{
		Tenant: tenantOf(r), DisputeID: id, Key: parsed, IfMatch: versions, RequestID: requestID(r.Context()),
	}, err
}

// disputeID is the id in the path, which has one spelling.
func disputeID(r *http.Request) (uuid.UUID, error) {
	text := mux.Vars(r)["id"]

	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.Nil, fault.New(fault.Invalid, "The dispute id in the path is not a UUID in lower case.")
	}

	return id, nil
}

// disputeBody is a dispute as it is read. Keys are only ever added at the end.
type disputeBody struct {
	ID                uuid.UUID      `json:"id"`
	PaymentID         uuid.UUID      `json:"payment_id"`
	ProviderID        string         `json:"stripe_dispute_id"`
	Amount            stdjson.Number `json:"amount"`
	Currency          string         `json:"currency"`
	Kind              string         `json:"kind"`
	Status            string         `json:"status"`
	Reason            *string        `json:"reason"`
	NetworkReasonCode *string        `json:"network_reason_code"`
	EvidenceDueBy     *string        `json:"evidence_due_by"`
	EvidenceSubmitted bool           `json:"evidence_submitted"`
	Counted           stdjson.Number `json:"amount_counted"`
	Balance           []balanceBody  `json:"balance"`
	CreatedAt         string         `json:"created_at"`
	UpdatedAt         string         `json:"updated_at"`
	Version           int64          `json:"version"`
}

// balanceBody is what a dispute has moved on the balance at the provider.
type balanceBody struct {
	Amount   stdjson.Number `json:"amount"`
	Fee      stdjson.Number `json:"fee"`
	Currency string         `json:"currency"`
	At       string         `json:"at"`
}

func toDisputeBody(d dispute.Dispute) disputeBody {
	body := disputeBody{
		ID: d.ID, PaymentID: d.PaymentID, ProviderID: d.ProviderID, Amount: stdjson.Number(d.Amount.Decimal()),
		Currency: d.Amount.Currency().Code(), Kind: string(d.Kind()), Status: string(d.Status), Reason: orNull(d.Reason),
		NetworkReasonCode: orNull(d.NetworkReasonCode), EvidenceSubmitted: d.Submissions > 0,
		Counted: stdjson.Number(d.Counted.Decimal()), Balance: make([]balanceBody, 0, len(d.Balance)),
		CreatedAt: toTime(d.CreatedAt), UpdatedAt: toTime(d.UpdatedAt), Version: d.Version,
	}

	if !d.EvidenceDueBy.IsZero() {
		body.EvidenceDueBy = new(toTime(d.EvidenceDueBy))
	}

	for _, b := range d.Balance {
		body.Balance = append(body.Balance, balanceBody{
			stdjson.Number(b.Amount.Decimal()), stdjson.Number(b.Fee.Decimal()), b.Amount.Currency().Code(), toTime(b.At),
		})
	}

	return body
}

func disputeAnswer(d dispute.Dispute) any { return toDisputeBody(d) }

// Dispute implements ports.DisputeRenderer.
func (Renderer) Dispute(d dispute.Dispute) ports.FrozenResponse {
	return ports.FrozenResponse{Status: http.StatusOK, Body: EncodeDispute(d)}
}

// EncodeDispute is the dispute as GET /disputes/{id} answers it, for commands.
func EncodeDispute(d dispute.Dispute) []byte { return encode(toDisputeBody(d)) }
