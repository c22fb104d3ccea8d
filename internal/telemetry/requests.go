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
const maxRequestSeries = 300

type requestLabels struct {
	route, method string
	status        int
}

type requestMetrics struct {
	duration *series[requestLabels, prometheus.Observer]
	inFlight prometheus.Gauge
}

func newRequestMetrics(factory promauto.Factory) requestMetrics {
	duration := factory.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "http_request_duration_seconds",
		Help: "How long requests took from the first byte to the last, in seconds, by route template, method and status.",
		// From a replay out of memory to the time-out of a create.
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"route", "method", labelStatus})

	requests := newSeries(maxRequestSeries, requestLabels{route: other, method: other},
		func(l requestLabels) prometheus.Observer {
			return duration.WithLabelValues(l.route, l.method, strconv.Itoa(l.status))
		})

	// Those that dashboards and alerts are about are there from the start: a rate over a series
	// that appears with its first request misses that request.
	for expected, statuses := range map[requestLabels][]int{
		{route: "/payments", method: http.MethodPost}: {
			http.StatusCreated, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable,
		},
		{route: "/payments/{id}", method: http.MethodGet}: {http.StatusOK},
		{route: "/webhooks/stripe", method: http.MethodPost}: {
			http.StatusOK, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable,
		},
	} {
		for _, status := range statuses {
			requests.get(requestLabels{expected.route, expected.method, status})
		}
	}

	return requestMetrics{
		duration: requests,
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "http_requests_in_flight",
			Help: "Requests that are being answered now.",
		}),
	}
}

// ObserveRequest counts an answered request. route is a template, never a
// path. The span in ctx becomes the exemplar if it is sampled, so that a dot
// in a dashboard leads to its trace.
func (m *requestMetrics) ObserveRequest(ctx context.Context, route, method string, status int, took time.Duration) {
	observe(ctx, m.duration.get(requestLabels{route: route, method: method, status: status}), took)
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
