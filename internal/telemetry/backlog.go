package telemetry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

const (
	// backlogTimeout is how long a scrape waits for the database.
	backlogTimeout = time.Second
	// backlogFor is how long an answer counts: scraping in a loop must not
	// become load on the database.
	backlogFor = time.Second
)

// ObserveBacklog tells what is not finished yet, whenever Prometheus asks.
// Where the database does not answer within a second, the success gauge is 0
// and the rest is absent rather than out of date.
func (m *Metrics) ObserveBacklog(backlog ports.Backlog) {
	m.registry.MustRegister(newBacklogCollector(backlog))
}

type backlogCollector struct {
	stats *answer[ports.BacklogStats]

	ops, oldestOperation, parked, oldestParked, success *prometheus.Desc
}

func newBacklogCollector(backlog ports.Backlog) *backlogCollector {
	mostCounted := fmt.Sprintf("%d stands for that many or more.", ports.BacklogMost)
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}

	return &backlogCollector{
		stats: &answer[ports.BacklogStats]{ask: backlog.Backlog},
		ops: desc("operations",
			"Operations without a frozen answer: pending, or needs_attention where a person has to look. "+mostCounted, "state"),
		oldestOperation: desc("oldest_pending_operation_age_seconds",
			"Age of the oldest pending operation, in seconds; 0 where there is none."),
		parked: desc("parked_events", "Events that wait for their payment or for a person. "+mostCounted),
		oldestParked: desc("oldest_parked_event_age_seconds",
			"Time since the oldest parked event arrived, in seconds; 0 where there is none."),
		success: desc("backlog_collection_success",
			"1 where the database told about operations and parked events, 0 where it did not and they are absent."),
	}
}

// Describe implements prometheus.Collector.
func (c *backlogCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.ops, c.oldestOperation, c.parked, c.oldestParked, c.success} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *backlogCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}

	stats, err := c.stats.get()
	if err != nil {
		gauge(c.success, 0)

		return
	}

	gauge(c.success, 1)

	for _, state := range []operation.State{operation.Pending, operation.NeedsAttention} {
		gauge(c.ops, float64(stats.Operations[state]), string(state))
	}

	gauge(c.oldestOperation, stats.OldestUnfinished.Seconds())
	gauge(c.parked, float64(stats.Parked))
	gauge(c.oldestParked, stats.OldestParked.Seconds())
}

// answer is what the database said last. A scrape asks once a second at most,
// and one that comes while the database is asked gets the same answer.
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

	if !a.at.IsZero() && time.Since(a.at) < backlogFor {
		return a.value, a.err
	}

	ctx, cancel := context.WithTimeout(untraced(context.Background()), backlogTimeout)
	defer cancel()

	a.value, a.err = a.ask(ctx)
	a.at = time.Now()

	return a.value, a.err
}

// untraced begins a trace that is not sampled, so that a scrape every few
// seconds does not fill the trace store with its query.
func untraced(ctx context.Context) context.Context {
	id := uuid.New()

	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID(id),
		SpanID:  trace.SpanID(id[8:]),
	}))
}
