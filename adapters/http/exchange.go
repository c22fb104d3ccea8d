package http

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

const (
	requestIDHeader = "X-Request-Id"
	// unmatched is the route of a request that matches none.
	unmatched = "unmatched"
)

// exchange is one request and its answer. It stands in for the response's writer,
// to see the status and the bytes, and every handler finds it in the context.
type exchange struct {
	http.ResponseWriter

	request logctx.Request
	route   string
	begun   time.Time
	status  int
	written int64
	err     error

	// caller is who asks.
	caller caller

	tracer trace.Tracer
	// span is the request's own. A webhook's starts when its signature was
	// verified, which signed tells.
	span   trace.Span
	signed bool

	// proxies are believed when they say whose request it is.
	proxies []netip.Prefix

	bodies *bodies
	// body is what was read of the request, unread what may still come.
	body   *arrival
	unread io.Reader
}

func (e *edge) newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	ex := &exchange{
		ResponseWriter: w, request: logctx.Request{ID: requestIDOf(r)}, route: unmatched, begun: time.Now(),
		tracer: e.tracer, bodies: e.bodies, proxies: e.access.Proxies,
	}
	if r.ContentLength != 0 {
		ex.unread = r.Body
	}

	return ex
}

type exchangeKey struct{}

// exchangeOf is the exchange that observe put into every request's context.
func exchangeOf(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange) //nolint:forcetypeassert // nothing else is put there
}

func requestID(ctx context.Context) string { return exchangeOf(ctx).request.ID }

// WriteHeader implements http.ResponseWriter. net/http would read an unread body to
// its end first; here the answer goes out at once and ends the connection.
func (ex *exchange) WriteHeader(status int) {
	if ex.status == 0 {
		ex.status = status
	}

	if ex.unread != nil {
		ex.Header().Set("Connection", "close")
	}

	ex.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (ex *exchange) Write(body []byte) (int, error) {
	if ex.status == 0 {
		ex.WriteHeader(http.StatusOK)
	}

	n, err := ex.ResponseWriter.Write(body)
	ex.written += int64(n)

	return n, err //nolint:wrapcheck // as the writer behind says
}

// Unwrap is for http.ResponseController.
func (ex *exchange) Unwrap() http.ResponseWriter { return ex.ResponseWriter }

// hangUp sends an answer that did not wait for the body, and for a moment discards
// what still arrives: a reset of the connection could otherwise overtake the answer
// (RFC 9112 section 9.6).
func (ex *exchange) hangUp() {
	if ex.unread == nil {
		return
	}

	control := http.NewResponseController(ex.ResponseWriter)
	_ = control.SetReadDeadline(time.Now().Add(lingerTime))
	_ = control.Flush()
	_, _ = io.CopyN(io.Discard, ex.unread, maxEventBody)
}

// requestIDOf takes the caller's id if it is a sane token, else makes one. It takes
// none from a stranger.
func requestIDOf(r *http.Request) string {
	if ids := r.Header.Values(requestIDHeader); len(ids) == 1 && isRequestID(ids[0]) && !fromOutside(r) {
		return ids[0]
	}

	return uuid.NewString()
}

// isRequestID: 1 to 128 letters, digits, dots, hyphens and underscores.
func isRequestID(id string) bool {
	const most = 128

	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_'
	}

	return id != "" && len(id) <= most && !strings.ContainsFunc(id, other)
}

// methodLabel keeps the values of a label few, whatever a client sends.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "_OTHER"
	}
}
