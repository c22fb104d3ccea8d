package observability

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// newStandIn is a Stripe that answers every call with a 402, once it has shown it.
func newStandIn(t *testing.T, show func(*http.Request)) string {
	t.Helper()

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost { // it does not tell whose the key is
			http.NotFound(w, r)

			return
		}

		show(r)
		w.WriteHeader(http.StatusPaymentRequired)
		_, _ = w.Write([]byte(`{"error":{"type":"card_error","code":"card_declined","message":"no"}}`))
	}))
	t.Cleanup(server.Close)

	return server.URL
}

// A collector that takes connections and never answers costs lost spans, a
// metric and one line.
func TestExporter_CollectorAway(t *testing.T) { //nolint:paralleltest // it sets the environment
	release := silentCollector(t, "300")
	defer release()

	w := newWorld(t)

	w.eventually(func() bool {
		w.created(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)

		return !strings.Contains(w.metrics(), "marketflow_trace_export_failures_total 0.0") &&
			!strings.Contains(w.metrics(), "marketflow_trace_export_failures_total 1.0")
	}, "two exports have not failed")

	require.Len(t, w.lines.named(t, "traces cannot be exported and are lost; only the first failure is logged"), 1)
}

// No request waits for it: many more spans than the queue holds have ended while
// the first export is still under way.
func TestExporter_NobodyWaits(t *testing.T) { //nolint:paralleltest // it sets the environment
	release := silentCollector(t, "60000")
	defer release()

	w := newWorld(t)

	w.eventually(func() bool {
		w.created(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)

		return !strings.Contains(w.metrics(), `marketflow_trace_spans_total{outcome="lost"} 0.0`)
	}, "no spans are lost")

	for range 20 {
		w.created(`{"amount":10,"currency":"USD","idempotency_key":"a"}`)
	}

	require.Contains(t, w.metrics(), "marketflow_trace_export_failures_total 0.0")
}

// silentCollector answers nobody before release; an export is given up after so
// many milliseconds.
func silentCollector(t *testing.T, timeout string) (release func()) {
	t.Helper()

	released := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-released }))

	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", timeout)
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", timeout)
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")

	return func() { close(released) }
}
