package http

import (
	"context"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// KeyUseCases are what the resource /api_keys calls.
type KeyUseCases interface {
	Create(ctx context.Context, by tenants.By, order tenants.Order) (tenants.Made, error)
	Roll(ctx context.Context, by tenants.By, old uuid.UUID, overlap time.Duration) (tenants.Made, error)
	Revoke(ctx context.Context, by tenants.By, id uuid.UUID) (tenant.Key, error)
	List(ctx context.Context, owner operation.Tenant, before ports.KeyPosition, limit int) (tenants.Page, error)
}

// APIKeys is the resource /api_keys.
type APIKeys struct{ do KeyUseCases }

// NewAPIKeys returns the resource.
func NewAPIKeys(do KeyUseCases) *APIKeys { return &APIKeys{do} }

// byKey is who changes keys. Where no key is asked for, anybody could leave themselves a key
// for the time after that: only commands make keys then.
func byKey(r *http.Request, reason *string) (tenants.By, error) {
	key := callerOf(r.Context())
	if key.ID == uuid.Nil {
		f := fault.New(fault.InsufficientScope, "This service does not ask for keys (AUTH=off), so it makes none: use marketflow keys.")
		f.RequiredScope = string(tenant.KeysWrite)

		return tenants.By{}, f
	}

	by := tenants.By{
		Tenant: key.Tenant, Actor: ports.ActorOf(r.Context()), May: key.Scopes, RequestID: requestID(r.Context()),
	}
	if reason != nil {
		by.Reason = *reason
	}

	return by, nil
}

// create is POST /api_keys.
func (k *APIKeys) create(w http.ResponseWriter, r *http.Request) (answer, error) {
	var body struct {
		Name      string   `json:"name"`
		Scopes    []string `json:"scopes"`
		ExpiresAt *string  `json:"expires_at"`
		Reason    *string  `json:"reason"`
	}

	err := decode(w, r, maxChangeBody, &body, hints{
		fields: "name, scopes, expires_at and reason",
		types:  "scopes is a list of strings; name, expires_at and reason are strings",
	})
	if err != nil {
		return answer{}, err
	}

	order := tenants.Order{Name: body.Name, Scopes: body.Scopes}

	if body.ExpiresAt != nil {
		if order.ExpiresAt, err = time.Parse(time.RFC3339Nano, *body.ExpiresAt); err != nil || order.ExpiresAt.Year() > 9999 {
			return answer{}, fault.New(fault.Invalid, "expires_at must be a time such as 2027-01-31T12:00:00Z (RFC 3339)")
		}
	}

	by, err := byKey(r, body.Reason)
	if err != nil {
		return answer{}, err
	}

	made, err := k.do.Create(r.Context(), by, order)

	return madeAnswer(made, err)
}

func madeAnswer(made tenants.Made, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusCreated, body: madeKeyBody{toKeyBody(made.Key), made.Secret.Reveal()}}, nil
}

// list is GET /api_keys.
func (k *APIKeys) list(_ http.ResponseWriter, r *http.Request) (answer, error) {
	query, err := customerQueryOf(r, "limit", "cursor")
	if err != nil {
		return answer{}, err
	}

	limit, err := query.limit()
	if err != nil {
		return answer{}, err
	}

	var before ports.CustomerPosition
	if query.Get("cursor") != "" {
		if before, err = query.position(); err != nil {
			return answer{}, err
		}
	}

	by, err := byKey(r, nil)
	if err != nil {
		return answer{}, err
	}

	page, err := k.do.List(r.Context(), by.Tenant, ports.KeyPosition(before), limit)
	if err != nil {
		return answer{}, err
	}

	body := pageBody{Data: make([]any, 0, len(page.Keys)), HasMore: page.More}
	for _, one := range page.Keys {
		body.Data = append(body.Data, toKeyBody(one))
	}

	if n := len(page.Keys); page.More && n > 0 {
		body.NextCursor = new(query.cursor(page.Keys[n-1].CreatedAt, page.Keys[n-1].ID))
	}

	return answer{status: http.StatusOK, body: body}, nil
}

// roll is POST /api_keys/{id}/roll.
func (k *APIKeys) roll(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := keyID(r)
	if err != nil {
		return answer{}, err
	}

	var body struct {
		Overlap *int64  `json:"overlap_seconds"`
		Reason  *string `json:"reason"`
	}

	err = decodeOptional(w, r, maxChangeBody, &body, hints{
		fields: "overlap_seconds and reason", types: "overlap_seconds is a whole number; reason is a string",
	})
	if err != nil {
		return answer{}, err
	}

	overlap := tenants.UsualOverlap

	if body.Overlap != nil {
		// Compared before it is multiplied, which could overflow.
		if most := int64(tenants.MaxOverlap / time.Second); *body.Overlap < 0 || *body.Overlap > most {
			return answer{}, fault.Newf(fault.Invalid, "overlap_seconds must be from 0 to %d", most)
		}

		overlap = time.Duration(*body.Overlap) * time.Second
	}

	by, err := byKey(r, body.Reason)
	if err != nil {
		return answer{}, err
	}

	made, err := k.do.Roll(r.Context(), by, id, overlap)

	return madeAnswer(made, err)
}

// revoke is DELETE /api_keys/{id}.
func (k *APIKeys) revoke(w http.ResponseWriter, r *http.Request) (answer, error) {
	id, err := keyID(r)
	if err != nil {
		return answer{}, err
	}

	var body struct {
		Reason *string `json:"reason"`
	}

	if err := decodeOptional(w, r, maxChangeBody, &body, hints{fields: "reason", types: "reason is a string"}); err != nil {
		return answer{}, err
	}

	by, err := byKey(r, body.Reason)
	if err != nil {
		return answer{}, err
	}

	if _, err := k.do.Revoke(r.Context(), by, id); err != nil {
		return answer{}, err
	}

	return answer{status: http.StatusNoContent}, nil
}

// keyID is the id in the path, which has one spelling.
func keyID(r *http.Request) (uuid.UUID, error) {
	text := mux.Vars(r)["id"]

	id, err := uuid.Parse(text)
	if err != nil || id.String() != text {
		return uuid.Nil, fault.New(fault.Invalid, "The id in the path is not a UUID in lower case.")
	}

	return id, nil
}

// apiKeyBody is an API key without its secret. Keys of JSON are only ever added at the end.
type apiKeyBody struct {
	ID         uuid.UUID        `json:"id"`
	Name       string           `json:"name"`
	Prefix     string           `json:"prefix"`
	Mode       string           `json:"mode"`
	Scopes     tenant.Scopes    `json:"scopes"`
	Tenant     operation.Tenant `json:"tenant"`
	ExpiresAt  *string          `json:"expires_at"`
	LastUsedAt *string          `json:"last_used_at"`
	RevokedAt  *string          `json:"revoked_at"`
	CreatedAt  string           `json:"created_at"`
}

// madeKeyBody is the one answer that has the secret.
type madeKeyBody struct {
	apiKeyBody

	Secret string `json:"secret"`
}

func toKeyBody(k tenant.Key) apiKeyBody {
	return apiKeyBody{
		ID: k.ID, Name: k.Name, Prefix: k.Prefix, Mode: string(k.Mode), Scopes: k.Scopes, Tenant: k.Tenant,
		ExpiresAt: timeOrNull(k.ExpiresAt), LastUsedAt: timeOrNull(k.LastUsedAt), RevokedAt: timeOrNull(k.RevokedAt),
		CreatedAt: toTime(k.CreatedAt),
	}
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}

	return new(toTime(t))
}

// EncodeAPIKey is a key as GET /api_keys lists it, for commands.
func EncodeAPIKey(k tenant.Key) []byte { return encode(toKeyBody(k)) }

// EncodeMadeAPIKey is a new key with its secret, for commands.
func EncodeMadeAPIKey(made tenants.Made) []byte {
	return encode(madeKeyBody{toKeyBody(made.Key), made.Secret.Reveal()})
}
