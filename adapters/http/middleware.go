package http

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

// observe gives a request its id and span, its one log line and its measurement.
func (e *edge) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := e.newExchange(w, r)
		defer func() { ex.body.release() }()

		ex.caller = e.identify(r)

		ctx, span := e.startSpan(r, ex.caller)
		ex.span = span

		defer func() { endSpan(ex.span, r, ex) }()

		ctx = logctx.WithRequest(context.WithValue(ctx, exchangeKey{}, ex), &ex.request)
		w.Header().Set(requestIDHeader, ex.request.ID)

		e.Observer.RequestsInFlight(1)
		defer e.Observer.RequestsInFlight(-1)

		defer func() { // also if the answer was cut off
			ctx = trace.ContextWithSpan(ctx, ex.span)
			took := time.Since(ex.begun)
			e.Observer.ObserveRequest(ctx, ex.route, methodLabel(r.Method), ex.status, took)
			e.logAccess(ctx, r, ex, took)
			ex.hangUp()
		}()

		next.ServeHTTP(ex, r.WithContext(ctx))
	})
}

// recover turns a panic into a 500 and a log line; the process goes on.
func (e *edge) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			thrown := recover()
			if thrown == nil {
				return
			}

			if err, ok := thrown.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(thrown)
			}

			e.Log.Error("panic", logctx.Field(r.Context()), zap.Any("panic", thrown), zap.ByteString("stack", debug.Stack()))
			fail(w, r, fmt.Errorf("panic: %v", thrown)) //nolint:err113 // whatever was thrown
		}()

		next.ServeHTTP(w, r)
	})
}

// plainPath lets through only paths that are spelled as the routes are. No route
// needs an escape, and a proxy that keeps a route from the internet compares the
// path as it was sent, while others may decode it (RFC 3986 section 6.2.2).
func plainPath(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _, _ := strings.Cut(r.RequestURI, "?")

		clean := path.Clean(r.URL.Path)
		if strings.Contains(sent, "%") || r.URL.Path != clean && r.URL.Path != clean+"/" {
			handler(notFound).ServeHTTP(w, r)

			return
		}

		next.ServeHTTP(w, r)
	})
}

// named gives the request's span, line and measurement the route's template, and never
// the path, which holds ids. The webhooks' path has two spellings but one name.
func named(template string, next http.Handler) http.Handler {
	name := strings.TrimSuffix(template, "/")

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		exchangeOf(r.Context()).route = name

		next.ServeHTTP(w, r)
	})
}

// sameOrigin rejects what a browser sends on behalf of a web page of another
// origin. Backends send neither Sec-Fetch-Site nor Origin, so they pass.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := protection.Check(r); err != nil {
			fail(w, r, fault.Wrap(crossOrigin, err,
				"A web page of another origin may not use this API; send requests from a backend."))

			return
		}

		next.ServeHTTP(w, r)
	})
}
