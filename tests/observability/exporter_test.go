package observability

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// newStandIn is a Stripe that answers every call with a 402, once it has shown it.
func newStandIn(t *testing.T, show func(*http.Request)) string {
	t.Helper()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show(r)
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = w.Write([]byte(`{"error":{"type":"card_error","code":"card_declined","message":"no"}}`))
	}))
	t.Cleanup(server.Close)

	return server.URL
}

// A collector that takes connections and never answers costs lost spans, a
// metric and one line: no request waits for it.
func TestExporter_CollectorAway(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))

	t.Cleanup(func() { close(release); silent.Close() })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", silent.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "300")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "300")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")

	w := newWorld(t)
	w.created(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)

	begin := time.Now()
	requests := 0

	w.eventually(func() bool {
		w.created(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)

		requests++

		return !strings.Contains(w.metrics(), "marketflow_trace_export_failures_total 0.0") &&
			!strings.Contains(w.metrics(), "marketflow_trace_export_failures_total 1.0")
	}, "two exports have not failed")

	// Each request makes more spans than fit into the queue. Had each waited for
	// an export, two exports' time would have been enough for two requests.
	require.Greater(t, requests, 4, "in %s", time.Since(begin))
	require.Len(t, w.lines.named(t, "traces cannot be exported and are lost; only the first failure is logged"), 1)
}
