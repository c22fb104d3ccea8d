package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"
)

// maxRequestSeries is far above routes × methods × statuses of this service.
const maxRequestSeries = 500

type requestMetrics struct {
	duration *series[prometheus.Observer]
	inFlight prometheus.Gauge
	statuses [600]string
}

func newRequestMetrics(factory promauto.Factory) requestMetrics {
	m := requestMetrics{
		duration: histograms(factory, maxRequestSeries, "http_request_duration_seconds",
			"How long requests took from the first byte to the last, in seconds, by route template, method and status.",
			// From a replay out of memory to the time-out of a create.
			[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			"route", "method", labelStatus),
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "http_requests_in_flight",
			Help: "Requests that are being answered now.",
		}),
	}

	for status := range m.statuses {
		m.statuses[status] = strconv.Itoa(status)
	}

	// What dashboards and alerts ask for is there from the start.
	m.duration.expect([]string{"/payments"}, []string{http.MethodPost}, []string{"201", "500", "502", "503"})
	m.duration.expect([]string{"/payments/{id}"}, []string{http.MethodGet}, []string{"200"})
	m.duration.expect([]string{"/webhooks/stripe"}, []string{http.MethodPost}, []string{"200", "401", "429", "503"})

	return m
}

// ObserveRequest counts an answered request. route is a template, never a
// path. The span in ctx becomes the exemplar if it is sampled, so that a dot
// in a dashboard leads to its trace.
func (m *requestMetrics) ObserveRequest(ctx context.Context, route, method string, status int, took time.Duration) {
	observe(ctx, m.duration.get(route, method, m.status(status)), took)
}

// status is without the allocation of strconv.Itoa.
func (m *requestMetrics) status(code int) string {
	if code >= 0 && code < len(m.statuses) {
		return m.statuses[code]
	}

	return strconv.Itoa(code)
}

// RequestsInFlight counts requests that are being answered now: delta more, or
// fewer where negative.
func (m *requestMetrics) RequestsInFlight(delta int) { m.inFlight.Add(float64(delta)) }

func observe(ctx context.Context, histogram prometheus.Observer, took time.Duration) {
	span := trace.SpanContextFromContext(ctx)

	exemplars, ok := histogram.(prometheus.ExemplarObserver)
	if !ok || !span.IsSampled() {
		histogram.Observe(took.Seconds())

		return
	}

	exemplars.ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": span.TraceID().String()})
}
