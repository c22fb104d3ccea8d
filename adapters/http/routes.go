// Package http is the service's public edge. Each resource has one file with its
// wire types and handlers; this file has the table of routes. The edge decides
// nothing about payments.
package http

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
)

// Observer measures requests. It never blocks.
type Observer interface {
	// ObserveRequest counts an answered request. route is a template such as
	// /payments/{id}, or "unmatched", so that it has few values.
	ObserveRequest(ctx context.Context, route, method string, status int, took time.Duration)
	// RequestsInFlight adds delta to the number of requests being answered now.
	RequestsInFlight(delta int)
}

// Telemetry is how requests are logged, measured and traced.
type Telemetry struct {
	Log        *zap.Logger
	Observer   Observer
	Tracing    trace.TracerProvider
	Propagator propagation.TextMapPropagator
	// Metrics serves GET /metrics. It is nil where another listener does.
	Metrics http.Handler
}

// edge is what stands around the resources.
type edge struct {
	Telemetry

	tracer    trace.Tracer
	access    Access
	bodies    *bodies
	strangers *strangersLines
}

// NewHandler returns the whole edge.
func NewHandler(
	telemetry Telemetry, access Access, payments *Payments, refunds *Refunds, lists *Lists, disputes *Disputes,
	customers *Customers, keys *APIKeys, audit *Audit, webhooks *Webhooks, health *Health,
) http.Handler {
	e := &edge{
		Telemetry: telemetry,
		tracer:    telemetry.Tracing.Tracer("github.com/marketflow/marketflow/adapters/http"),
		access:    access,
		bodies:    newBodies(maxBodies),
		strangers: &strangersLines{limit: rate.NewLimiter(linesPerSecond, 2*linesPerSecond)},
	}

	router := mux.NewRouter().SkipClean(true)
	router.NotFoundHandler = handler(notFound)

	// The table of routes. mux tries them in this order. What a key needs for each is also in
	// api/openapi.yaml, and a test compares the two.
	route(router, "/payments", methods{
		http.MethodGet:  e.needs(tenant.PaymentsRead, lists.payments),
		http.MethodPost: e.needs(tenant.PaymentsWrite, payments.create),
	})
	route(router, "/webhooks/stripe", methods{http.MethodPost: e.open(handler(webhooks.receive))})
	route(router, "/webhooks/stripe/", methods{http.MethodPost: e.open(handler(webhooks.receive))})
	route(router, "/payments/{id}", methods{
		http.MethodGet:   e.needs(tenant.PaymentsRead, payments.get),
		http.MethodPatch: e.needs(tenant.PaymentsWrite, payments.update),
	})
	route(router, "/payments/{id}/timeline", methods{http.MethodGet: e.needs(tenant.PaymentsRead, lists.timeline)})
	route(router, "/payments/{id}/confirm", methods{http.MethodPost: e.needs(tenant.PaymentsWrite, payments.confirm)})
	route(router, "/payments/{id}/capture", methods{http.MethodPost: e.needs(tenant.PaymentsCapture, payments.capture)})
	route(router, "/payments/{id}/cancel", methods{http.MethodPost: e.needs(tenant.PaymentsWrite, payments.cancel)})
	route(router, "/payments/{id}/refunds", methods{
		http.MethodGet:  e.needs(tenant.RefundsRead, refunds.ofPayment),
		http.MethodPost: e.needs(tenant.RefundsWrite, refunds.create),
	})
	route(router, "/refunds", methods{http.MethodGet: e.needs(tenant.RefundsRead, lists.refunds)})
	route(router, "/refunds/{id}", methods{http.MethodGet: e.needs(tenant.RefundsRead, refunds.get)})
	route(router, "/refunds/{id}/cancel", methods{http.MethodPost: e.needs(tenant.RefundsWrite, refunds.cancel)})
	route(router, "/disputes", methods{http.MethodGet: e.needs(tenant.DisputesRead, lists.disputes)})
	route(router, "/disputes/{id}", methods{http.MethodGet: e.needs(tenant.DisputesRead, disputes.get)})
	route(router, "/disputes/{id}/evidence", methods{http.MethodPost: e.needs(tenant.DisputesWrite, disputes.evidence)})
	route(router, "/disputes/{id}/accept", methods{http.MethodPost: e.needs(tenant.DisputesWrite, disputes.accept)})
	route(router, "/customers", methods{
		http.MethodPost: e.needs(tenant.CustomersWrite, customers.create),
		http.MethodGet:  e.needs(tenant.CustomersRead, customers.list),
	})
	route(router, "/customers/{id}", methods{
		http.MethodGet:    e.needs(tenant.CustomersRead, customers.get),
		http.MethodPatch:  e.needs(tenant.CustomersWrite, customers.update),
		http.MethodDelete: e.needs(tenant.CustomersWrite, customers.remove),
	})
	route(router, "/customers/{id}/setup_sessions", methods{http.MethodPost: e.needs(tenant.CustomersWrite, customers.setup)})
	route(router, "/customers/{id}/payment_methods", methods{http.MethodGet: e.needs(tenant.CustomersRead, customers.methods)})
	route(router, "/payment_methods/{id}", methods{http.MethodDelete: e.needs(tenant.CustomersWrite, customers.detach)})
	route(router, "/api_keys", methods{
		http.MethodPost: e.needs(tenant.KeysWrite, keys.create), http.MethodGet: e.needs(tenant.KeysWrite, keys.list),
	})
	route(router, "/api_keys/{id}", methods{http.MethodDelete: e.needs(tenant.KeysWrite, keys.revoke)})
	route(router, "/api_keys/{id}/roll", methods{http.MethodPost: e.needs(tenant.KeysWrite, keys.roll)})
	route(router, "/audit", methods{http.MethodGet: e.needs(tenant.AuditRead, audit.list)})
	route(router, "/health", methods{http.MethodGet: e.open(handler(health.health))})
	route(router, "/livez", methods{http.MethodGet: e.open(handler(health.livez))})
	route(router, "/readyz", methods{http.MethodGet: e.open(handler(health.readyz))})
	route(router, "/openapi.yaml", methods{http.MethodGet: e.open(http.HandlerFunc(openAPI))})

	if telemetry.Metrics != nil {
		route(router, "/metrics", methods{http.MethodGet: e.open(telemetry.Metrics)})
	}

	// From the outside in: the request's span, id and log line; panics; the path's
	// spelling; then the route with its name, and the web page that asks; then the
	// handler above, which reads the body last.
	return e.observe(e.recover(plainPath(router)))
}

// methods are what serves a path.
type methods map[string]endpoint

// route serves the methods of a path and answers the others 405 with Allow (RFC 9110
// section 15.5.6). mux alone would send no Allow. GET includes HEAD.
func route(router *mux.Router, path string, served methods) {
	var allowed []string

	for _, method := range slices.Sorted(maps.Keys(served)) {
		accepted := []string{method}
		if method == http.MethodGet {
			accepted = append(accepted, http.MethodHead)
		}

		allowed = append(allowed, accepted...)

		// Wrapped here and not by mux, which would wrap anew for each request.
		router.Path(path).Methods(accepted...).Handler(named(path, sameOrigin(served[method])))
	}

	allow := strings.Join(allowed, ", ")
	refuse := handler(func(w http.ResponseWriter, _ *http.Request) (answer, error) {
		w.Header().Set("Allow", allow)

		return answer{}, fault.Newf(methodNotAllowed, "This resource takes %s.", allow)
	})

	router.Path(path).Handler(named(path, sameOrigin(refuse)))
}

func notFound(http.ResponseWriter, *http.Request) (answer, error) {
	return answer{}, fault.New(fault.NotFound, "There is no such resource; GET /openapi.yaml lists them.")
}

func openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(api.OpenAPI)
}

// fromOutside tells whether a path belongs on the internet; only the webhooks'
// do. Whoever asks there is a stranger until the signature is verified.
func fromOutside(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/webhooks/") }

// byProbe tells whether machines ask for this every few seconds.
func byProbe(r *http.Request) bool {
	switch r.URL.Path {
	case "/health", "/livez", "/readyz", "/metrics":
		return true
	default:
		return false
	}
}
