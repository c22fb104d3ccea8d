package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

const (
	requestIDHeader = "X-Request-Id"
	// unmatched is the route of what has none.
	unmatched = "unmatched"
	// longestError is what a line keeps of an error, in bytes.
	longestError = 1 << 10
)

// exchange is what the middleware learns of a request while it is handled. It
// stands in for the response's writer, to see the status and the bytes.
type exchange struct {
	http.ResponseWriter

	requestID string
	route     string
	begun     time.Time
	status    int
	written   int64
	err       error
	// span is the request's own; a webhook's begins once it is signed, which is
	// to say that its signature was verified.
	span   trace.Span
	signed bool
	// body is what was read of the request, unread what may still be to come.
	body   *arrival
	unread io.Reader
}

func newExchange(w http.ResponseWriter, r *http.Request, begun time.Time) *exchange {
	ex := &exchange{ResponseWriter: w, requestID: requestIDOf(r), route: unmatched, begun: begun}
	if r.ContentLength != 0 {
		ex.unread = r.Body
	}

	return ex
}

// WriteHeader implements http.ResponseWriter. An answer does not wait for a body
// that nobody reads, as net/http would: the connection ends with it.
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

// hangUp sends an answer that did not wait for the body, and for a moment throws
// away what still comes, so that the reset of the connection does not overtake the
// answer (RFC 9112 section 9.6).
func (ex *exchange) hangUp() {
	if ex.unread == nil {
		return
	}

	control := http.NewResponseController(ex.ResponseWriter)
	_ = control.SetReadDeadline(time.Now().Add(lingerTime))
	_ = control.Flush()
	_, _ = io.CopyN(io.Discard, ex.unread, maxEventBody)
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if ex, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return ex
	}

	return &exchange{}
}

func requestID(ctx context.Context) string { return exchangeOf(ctx).requestID }

// noteFailure keeps the whole error for the access line.
func noteFailure(ctx context.Context, err error) { exchangeOf(ctx).err = err }

// observe gives a request its id and its span, and writes its one line and its
// measurement.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := newExchange(w, r, time.Now())
		defer func() { ex.body.release() }()

		ctx, span := s.startSpan(r)
		ex.span = span

		defer func() { endSpan(ex.span, r, ex) }()

		ctx = logctx.WithRequestID(context.WithValue(ctx, exchangeKey{}, ex), ex.requestID)
		w.Header().Set(requestIDHeader, ex.requestID)

		s.Observer.RequestsInFlight(1)
		defer s.Observer.RequestsInFlight(-1)

		next.ServeHTTP(ex, r.WithContext(ctx))

		ctx = trace.ContextWithSpan(ctx, ex.span)
		took := time.Since(ex.begun)
		s.Observer.ObserveRequest(ctx, ex.route, methodLabel(r.Method), ex.status, took)
		s.logAccess(ctx, r, ex, took)
		ex.hangUp()
	})
}

// strangersLines bounds the log lines that anybody can cause. The metrics count
// every request.
type strangersLines struct {
	limit   *rate.Limiter
	leftOut atomic.Int64
}

// linesPerSecond are written of what strangers send, and as many more at once.
const linesPerSecond = 10

func newStrangersLines() *strangersLines {
	return &strangersLines{limit: rate.NewLimiter(linesPerSecond, 2*linesPerSecond)}
}

// next tells whether to write a line, and how many were left out before it.
func (l *strangersLines) next() (leftOut int64, write bool) {
	if !l.limit.Allow() {
		l.leftOut.Add(1)

		return 0, false
	}

	return l.leftOut.Swap(0), true
}

// byStranger: answered before anything was known of who asks, or had been read.
func byStranger(r *http.Request, ex *exchange) bool {
	if fromOutside(r) {
		return !ex.signed
	}

	switch ex.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return true
	default:
		return ex.unread != nil || ex.route == unmatched
	}
}

func (s *server) logAccess(ctx context.Context, r *http.Request, ex *exchange, took time.Duration) {
	level := zap.InfoLevel

	switch {
	case ex.status >= http.StatusInternalServerError:
		level = zap.ErrorLevel
	case !worthTracing(r):
		level = zap.DebugLevel
	}

	entry := s.Log.Check(level, "request")
	if entry == nil {
		return
	}

	var leftOut int64

	if byStranger(r, ex) {
		var write bool
		if leftOut, write = s.strangers.next(); !write {
			return
		}
	}

	fields := []zap.Field{
		logctx.Field(ctx),
		zap.String("method", methodLabel(r.Method)), zap.String("route", ex.route), zap.Int("status", ex.status),
		zap.Int64("bytes", ex.written), zap.Duration("took", took),
	}
	if ex.err != nil {
		fields = append(fields, reason(ex.err))
	}

	if leftOut > 0 {
		fields = append(fields, zap.Int64("left_out", leftOut))
	}

	entry.Write(fields...)
}

// reason is what the line says of an error. What a client got wrong is told to
// the client alone: that text quotes the request.
func reason(err error) zap.Field {
	switch kind := fault.KindOf(err); kind {
	case fault.Invalid, unsupportedMedia:
		return zap.String("error", string(kind))
	default:
		return zap.String("error", fault.Shorten(err.Error(), longestError))
	}
}

// requestIDOf takes a caller's id if it is a sane token, else makes one. A stranger
// has no say in it.
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

// recover turns a panic into a 500 and a log line; the process goes on.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			thrown := recover()
			if thrown == nil {
				return
			}

			if err, ok := thrown.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(thrown)
			}

			s.Log.Error("panic", logctx.Field(r.Context()), zap.Any("panic", thrown), zap.ByteString("stack", debug.Stack()))
			s.fail(r.Context(), w, fmt.Errorf("panic: %v", thrown)) //nolint:err113 // whatever was thrown
		}()

		next.ServeHTTP(w, r)
	})
}

// nameRoute gives the request's span, line and measurement the route's
// template: never the path, which holds ids.
func nameRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		template, err := mux.CurrentRoute(r).GetPathTemplate()
		if err == nil {
			// The webhooks' path has a second spelling, and one name.
			exchangeOf(r.Context()).route = strings.TrimSuffix(template, "/")
		}

		next.ServeHTTP(w, r)
	})
}

// methodLabel keeps the label's values few, whatever a client sends.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions:
		return method
	default:
		return "_OTHER"
	}
}
