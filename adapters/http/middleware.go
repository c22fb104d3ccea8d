package http

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

const (
	requestIDHeader = "X-Request-Id"
	// unmatched is the route of what has none.
	unmatched = "unmatched"
)

// exchange is what the middleware learns of a request while it is handled. It
// stands in for the response's writer, to see the status and the bytes.
type exchange struct {
	http.ResponseWriter

	requestID string
	route     string
	status    int
	written   int64
	err       error
}

// WriteHeader implements http.ResponseWriter.
func (ex *exchange) WriteHeader(status int) {
	if ex.status == 0 {
		ex.status = status
	}

	ex.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (ex *exchange) Write(body []byte) (int, error) {
	if ex.status == 0 {
		ex.status = http.StatusOK
	}

	n, err := ex.ResponseWriter.Write(body)
	ex.written += int64(n)

	return n, err //nolint:wrapcheck // as the writer behind says
}

// Unwrap is for http.ResponseController.
func (ex *exchange) Unwrap() http.ResponseWriter { return ex.ResponseWriter }

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
		begun := time.Now()
		ex := &exchange{
			ResponseWriter: w, requestID: acceptRequestID(r.Header.Get(requestIDHeader)), route: unmatched,
		}

		ctx, span := s.startSpan(r)
		defer func() { endSpan(span, r, ex) }()

		ctx = logctx.WithRequestID(context.WithValue(ctx, exchangeKey{}, ex), ex.requestID)
		w.Header().Set(requestIDHeader, ex.requestID)

		s.Observer.RequestsInFlight(1)
		defer s.Observer.RequestsInFlight(-1)

		next.ServeHTTP(ex, r.WithContext(ctx))

		took := time.Since(begun)
		s.Observer.ObserveRequest(ctx, ex.route, methodLabel(r.Method), ex.status, took)
		s.logAccess(ctx, r, ex, took)
	})
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

	fields := []zap.Field{
		logctx.Field(ctx),
		zap.String("method", methodLabel(r.Method)), zap.String("route", ex.route), zap.Int("status", ex.status),
		zap.Int64("bytes", ex.written), zap.Duration("took", took),
	}
	if ex.err != nil {
		fields = append(fields, reason(ex.err))
	}

	entry.Write(fields...)
}

// reason is what the line says of an error. What a client got wrong is told to
// the client alone: that text quotes the request.
func reason(err error) zap.Field {
	switch kind := fault.KindOf(err); kind {
	case fault.Invalid, fault.UnsupportedMedia:
		return zap.String("error", string(kind))
	default:
		return zap.Error(err)
	}
}

// acceptRequestID takes a caller's id if it is a sane token, else makes one.
func acceptRequestID(id string) string {
	const most = 128
	if id == "" || len(id) > most {
		return uuid.NewString()
	}

	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return uuid.NewString()
		}
	}

	return id
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
			exchangeOf(r.Context()).route = template
		}

		next.ServeHTTP(w, r)
	})
}

// limited counts a request against its client's rate.
func (s *server) limited(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed, wait := s.Limiter.Allow(r.Context(), clientOf(r))
		if !allowed {
			s.fail(r.Context(), w, fault.New(fault.RateLimited,
				"Too many requests from this address. Slow down.").After(max(wait, time.Millisecond)))

			return
		}

		next(w, r)
	})
}

// clientOf is the peer's address. Forwarded headers are not believed: anybody
// can send them.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}

	return host
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
