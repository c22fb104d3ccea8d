package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// collector reports values that are read when Prometheus scrapes.
type collector struct {
	descs   []*prometheus.Desc
	collect func(metrics)
}

func (c *collector) desc(name, help string, labels ...string) *prometheus.Desc {
	desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	c.descs = append(c.descs, desc)

	return desc
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) { c.collect(out) }

// metrics take the values of one scrape.
type metrics chan<- prometheus.Metric

func (m metrics) gauge(desc *prometheus.Desc, value float64, labels ...string) {
	m <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func (m metrics) counter(desc *prometheus.Desc, value float64) {
	m <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value)
}

const (
	// answerTimeout is how long a scrape waits for the database.
	answerTimeout = time.Second
	// answerFor is how long an answer counts: scraping in a loop must not become load
	// on the database.
	answerFor = time.Second
)

// answer is what the database said last. It is asked once a second at most, and a
// scrape that comes while it is asked gets the same answer.
type answer[T any] struct {
	ask func(context.Context) (T, error)

	mu    sync.Mutex
	value T
	err   error
	at    time.Time
}

func (a *answer[T]) get() (T, error) {
	a.mu.Lock()
	defer a.mu.Unlock()

	if !a.at.IsZero() && time.Since(a.at) < answerFor {
		return a.value, a.err
	}

	ctx, cancel := context.WithTimeout(untraced(context.Background()), answerTimeout)
	defer cancel()

	a.value, a.err = a.ask(ctx)
	a.at = time.Now()

	return a.value, a.err
}

// untraced begins a trace that is not sampled, so that a scrape every few seconds
// does not fill the trace store with its query.
func untraced(ctx context.Context) context.Context {
	id := uuid.New()

	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(id),
		SpanID:  trace.SpanID(id[8:]),
	}))
}
