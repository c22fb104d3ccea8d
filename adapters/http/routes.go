// Package http is the service's public edge: routes, decoding, problem
// documents and middleware. It decides nothing about payments.
package http

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/ports"
)

// Pinger is a dependency whose health is shown.
type Pinger interface {
	// Ping is nil where the dependency can be used. ports.ErrReadOnly: it answers
	// and takes no writes.
	Ping(ctx context.Context) error
}

// Observer measures requests. It never blocks.
type Observer interface {
	// ObserveRequest counts an answered request. route is a template or
	// "unmatched", so that its values are few.
	ObserveRequest(ctx context.Context, route, method string, status int, took time.Duration)
	// RequestsInFlight: that many more requests (fewer, where negative) are
	// being answered now.
	RequestsInFlight(delta int)
}

// Deps is what the edge needs.
type Deps struct {
	CreatePayment *payments.Create
	GetPayment    *payments.Get
	HandleEvent   *events.Receive
	Database      Pinger
	// Redis is nil where there is none.
	Redis Pinger
	// Draining tells that the service is about to stop; it may be nil.
	Draining func() bool
	// Limiter shares the API among its clients.
	Limiter ports.RateLimiter
	// Unsigned counts webhooks without a valid signature, by address.
	Unsigned ports.RateLimiter
	// Metrics is nil where they are served elsewhere.
	Metrics    http.Handler
	Observer   Observer
	Log        *zap.Logger
	Tracing    trace.TracerProvider
	Propagator propagation.TextMapPropagator
}

type server struct {
	responder
	Deps

	bodies    *bodies
	strangers *strangersLines
}

// NewHandler returns the whole edge.
func NewHandler(deps Deps) http.Handler {
	s := &server{
		Deps:      deps,
		responder: responder{tracer: deps.Tracing.Tracer("github.com/marketflow/marketflow/adapters/http")},
		bodies:    newBodies(maxBodies),
		strangers: newStrangersLines(),
	}

	router := mux.NewRouter().SkipClean(true)
	router.NotFoundHandler = http.HandlerFunc(s.notFound)

	// mux tries them in this order.
	s.route(router, http.MethodPost, "/payments", s.limited(s.createPayment))
	s.route(router, http.MethodPost, "/webhooks/stripe", s.signed(s.stripeWebhook))
	s.route(router, http.MethodPost, "/webhooks/stripe/", s.signed(s.stripeWebhook))
	s.route(router, http.MethodGet, "/payments/{id}", s.limited(s.getPayment))
	s.route(router, http.MethodGet, "/health", http.HandlerFunc(s.health))
	s.route(router, http.MethodGet, "/livez", http.HandlerFunc(s.livez))
	s.route(router, http.MethodGet, "/readyz", http.HandlerFunc(s.readyz))
	s.route(router, http.MethodGet, "/openapi.yaml", http.HandlerFunc(openAPI))

	if deps.Metrics != nil {
		s.route(router, http.MethodGet, "/metrics", deps.Metrics)
	}

	// From the outside in: the span, the request's id and log line; panics; the
	// path as it was spelled; then, where there is such a route, its name and other
	// people's web pages. What stands around a handler above comes next, and the
	// body is read last, within the bounds of body.go.
	router.Use(nameRoute, s.sameOrigin)

	return s.observe(s.recover(s.plainPath(router)))
}

// route serves a path's method and answers 405 with Allow for the others
// (RFC 9110 section 15.5.6). HEAD goes with GET.
func (s *server) route(router *mux.Router, method, path string, handler http.Handler) {
	allowed := []string{method}
	if method == http.MethodGet {
		allowed = append(allowed, http.MethodHead)
	}

	allow := strings.Join(allowed, ", ")

	router.Path(path).Methods(allowed...).Handler(handler)
	router.Path(path).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		s.fail(r.Context(), w, fault.Newf(methodNotAllowed, "This resource takes %s.", allow))
	})
}

func (s *server) notFound(w http.ResponseWriter, r *http.Request) {
	s.fail(r.Context(), w, fault.New(fault.NotFound, "There is no such resource; GET /openapi.yaml lists them."))
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(api.OpenAPI)
}

// worthTracing leaves out what is asked every few seconds by machines.
func worthTracing(r *http.Request) bool {
	switch r.URL.Path {
	case "/health", "/livez", "/readyz", "/metrics":
		return false
	default:
		return true
	}
}
