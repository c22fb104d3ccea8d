package http

import (
	stdjson "encoding/json"
	"net/http"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
)

// The kinds of fault that only HTTP has. Like the core's they end the type of a
// problem document and never change.
const (
	// methodNotAllowed: the route exists, but not with this method.
	methodNotAllowed fault.Kind = "method-not-allowed"
	// crossOrigin: a browser sent this on behalf of a web page of another origin.
	crossOrigin fault.Kind = "cross-origin"
	// bodyTooSlow: the body did not arrive in time.
	bodyTooSlow fault.Kind = "request-timeout"
	// bodyTooLarge: the body is over the limit.
	bodyTooLarge fault.Kind = "body-too-large"
	// unsupportedMedia: the body is not declared as JSON.
	unsupportedMedia fault.Kind = "unsupported-media-type"
	// rateLimited: this client sends more than it may.
	rateLimited fault.Kind = "rate-limited"
)

const rejectedTitle = "Rejected by the payment provider"

// statuses is the one table from a kind to a status and a title.
//
//nolint:gochecknoglobals // a constant table
var statuses = map[fault.Kind]struct {
	status int
	title  string
}{
	fault.Invalid:            {http.StatusBadRequest, "Invalid request"},
	fault.Unauthenticated:    {http.StatusUnauthorized, "Invalid signature"},
	fault.InvalidAPIKey:      {http.StatusUnauthorized, "Invalid API key"},
	fault.InsufficientScope:  {http.StatusForbidden, "Insufficient scope"},
	fault.NotFound:           {http.StatusNotFound, "Not found"},
	fault.InFlight:           {http.StatusConflict, "Idempotency key in use"},
	fault.InProgress:         {http.StatusConflict, "Operation in progress"},
	fault.InvalidState:       {http.StatusConflict, "Invalid state"},
	fault.AmountExceeded:     {http.StatusUnprocessableEntity, "Amount exceeded"},
	fault.Disputed:           {http.StatusConflict, "Disputed"},
	fault.KeyReused:          {http.StatusUnprocessableEntity, "Idempotency key reused"},
	fault.Internal:           {http.StatusInternalServerError, "Internal error"},
	fault.Rejected:           {http.StatusBadGateway, rejectedTitle},
	fault.AmountRejected:     {http.StatusUnprocessableEntity, rejectedTitle},
	fault.OrderRejected:      {http.StatusUnprocessableEntity, rejectedTitle},
	fault.Declined:           {http.StatusPaymentRequired, "Payment declined"},
	fault.KeyRequired:        {http.StatusBadRequest, "Idempotency key required"},
	fault.PreconditionFailed: {http.StatusPreconditionFailed, "Precondition failed"},
	fault.ReferenceTaken:     {http.StatusConflict, "Reference taken"},
	fault.Unknown:            {http.StatusServiceUnavailable, "Outcome unknown"},
	fault.Unavailable:        {http.StatusServiceUnavailable, "Service unavailable"},

	methodNotAllowed: {http.StatusMethodNotAllowed, "Method not allowed"},
	crossOrigin:      {http.StatusForbidden, "Cross-origin request"},
	bodyTooSlow:      {http.StatusRequestTimeout, "Request timeout"},
	bodyTooLarge:     {http.StatusRequestEntityTooLarge, "Body too large"},
	unsupportedMedia: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	rateLimited:      {http.StatusTooManyRequests, "Too many requests"},
}

// problemBase starts the type of every problem document (RFC 9457 section
// 3.1.1); its page explains each.
const problemBase = "https://github.com/marketflow/marketflow/blob/main/docs/problems.md#"

// problem is an RFC 9457 problem document.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`

	// Where they apply.
	PaymentID    string         `json:"payment_id,omitzero"`
	DeclineCode  string         `json:"decline_code,omitzero"`
	Retryable    *bool          `json:"retryable,omitzero"`
	IntentStatus string         `json:"intent_status,omitzero"`
	Allowed      []string       `json:"allowed,omitzero"`
	Available    stdjson.Number `json:"available,omitzero"`
	Version      int64          `json:"version,omitzero"`
	CustomerID   string         `json:"customer_id,omitzero"`
	Scope        string         `json:"required_scope,omitzero"`
	DisputeID    string         `json:"dispute_id,omitzero"`
}

func problemOf(f *fault.Error, requestID string) problem {
	entry, named := statuses[f.Kind], f.Kind
	if named == fault.AmountRejected || named == fault.OrderRejected {
		named = fault.Rejected // one type, several statuses
	}

	doc := problem{
		Type:         problemBase + string(named),
		Title:        entry.title,
		Status:       entry.status,
		Detail:       f.Detail,
		RequestID:    requestID,
		DeclineCode:  f.DeclineCode,
		Retryable:    f.Retryable,
		IntentStatus: f.IntentStatus,
		Allowed:      f.Allowed,
		Available:    stdjson.Number(f.Available),
		Version:      f.Version,
		Scope:        f.RequiredScope,
	}
	if f.CustomerID != uuid.Nil {
		doc.CustomerID = f.CustomerID.String()
	}

	if f.DisputeID != uuid.Nil {
		doc.DisputeID = f.DisputeID.String()
	}

	if f.PaymentID != uuid.Nil {
		doc.PaymentID = f.PaymentID.String()
	}

	return doc
}
