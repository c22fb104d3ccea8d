package http

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/marketflow/marketflow/domain/fault"
)

// problemBase starts the type of every problem document (RFC 9457 section
// 3.1.1); its page explains each.
const problemBase = "https://github.com/marketflow/marketflow/blob/main/docs/problems.md#"

// statuses is the one table from a fault to a status and a title.
//
//nolint:gochecknoglobals // a constant table
var statuses = map[fault.Kind]struct {
	status int
	title  string
}{
	fault.Invalid:          {http.StatusBadRequest, "Invalid request"},
	fault.Unauthenticated:  {http.StatusUnauthorized, "Invalid signature"},
	fault.NotFound:         {http.StatusNotFound, "Not found"},
	fault.MethodNotAllowed: {http.StatusMethodNotAllowed, "Method not allowed"},
	fault.CrossOrigin:      {http.StatusForbidden, "Cross-origin request"},
	fault.TooSlow:          {http.StatusRequestTimeout, "Request timeout"},
	fault.InFlight:         {http.StatusConflict, "Idempotency key in use"},
	fault.TooLarge:         {http.StatusRequestEntityTooLarge, "Body too large"},
	fault.UnsupportedMedia: {http.StatusUnsupportedMediaType, "Unsupported media type"},
	fault.KeyReused:        {http.StatusUnprocessableEntity, "Idempotency key reused"},
	fault.RateLimited:      {http.StatusTooManyRequests, "Too many requests"},
	fault.Internal:         {http.StatusInternalServerError, "Internal error"},
	fault.Rejected:         {http.StatusBadGateway, "Rejected by the payment provider"},
	fault.AmountRejected:   {http.StatusUnprocessableEntity, "Rejected by the payment provider"},
	fault.Unknown:          {http.StatusServiceUnavailable, "Outcome unknown"},
	fault.Unavailable:      {http.StatusServiceUnavailable, "Service unavailable"},
}

// problem is an RFC 9457 problem document.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

func problemOf(f *fault.Error, requestID string) problem {
	entry, named := statuses[f.Kind], f.Kind
	if named == fault.AmountRejected {
		named = fault.Rejected
	}

	return problem{
		Type:      problemBase + string(named),
		Title:     entry.title,
		Status:    entry.status,
		Detail:    f.Detail,
		RequestID: requestID,
	}
}

func (p problem) body() []byte {
	form, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number have a JSON form
	}

	return form
}

// retryAfter is the header's value: whole seconds, rounded up
// (RFC 9110 section 10.2.3).
func retryAfter(f *fault.Error) string {
	return strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds())))
}
