package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// grpcPort is OTLP/gRPC's; OTLP/HTTP's is 4318
// (https://opentelemetry.io/docs/specs/otlp/).
const (
	grpcPort     = "4317"
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// newExporter does not connect yet. The exporters read headers, certificates,
// compression and time-outs from the environment themselves.
func newExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	target, err := url.Parse(endpoint())
	if err != nil {
		return nil, errors.New("the endpoint for traces must be a URL") // CheckEnvironment has said so
	}

	var exporter sdktrace.SpanExporter

	if protocol(target) == protocolGRPC {
		exporter, err = otlptracegrpc.New(ctx)
	} else {
		exporter, err = otlptracehttp.New(ctx)
	}

	if err != nil {
		return nil, fmt.Errorf("setting up the export of traces: %w", err)
	}

	return exporter, nil
}

func protocol(target *url.URL) string {
	if chosen := variable("PROTOCOL"); chosen != "" {
		return chosen
	}

	if target.Port() == grpcPort {
		return protocolGRPC
	}

	return protocolHTTP
}

// ExportMeter measures the export of traces.
type ExportMeter struct{ failures, exported, lost prometheus.Counter }

// Exports is what NewTracing measures with.
func (m *Metrics) Exports() *ExportMeter { return m.exports }

func newExportMeter(factory promauto.Factory) *ExportMeter {
	spans := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "trace_spans_total",
		Help: "Spans by outcome: exported, or lost because the collector did not accept them or was too slow.",
	}, []string{labelOutcome})

	return &ExportMeter{
		failures: factory.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "trace_export_failures_total",
			Help: "Batches of spans that the collector did not accept.",
		}),
		exported: spans.WithLabelValues("exported"),
		lost:     spans.WithLabelValues("lost"),
	}
}

// countingExporter counts the failures of next and logs the first of a series. The
// batch processor is not told of them: it would log each.
type countingExporter struct {
	next    sdktrace.SpanExporter
	meter   *ExportMeter
	logger  *zap.Logger
	failing atomic.Bool
	// waiting spans have ended and are neither exported nor lost yet.
	waiting atomic.Int64
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	defer e.waiting.Add(-int64(len(spans)))

	if err := e.next.ExportSpans(ctx, spans); err != nil {
		e.failed(err, len(spans))

		return nil
	}

	e.meter.exported.Add(float64(len(spans)))

	if e.failing.CompareAndSwap(true, false) {
		e.logger.Info("traces are exported again")
	}

	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e *countingExporter) Shutdown(ctx context.Context) error {
	if err := e.next.Shutdown(ctx); err != nil {
		return fmt.Errorf("closing the exporter: %w", err)
	}

	return nil
}

func (e *countingExporter) failed(err error, spans int) {
	e.meter.failures.Inc()
	e.meter.lost.Add(float64(spans))

	if e.failing.CompareAndSwap(false, true) {
		e.logger.Warn("traces cannot be exported and are lost; only the first failure is logged", zap.Error(err))
	}
}

// queue stands before the SDK's batch processor, for two things that it does not do.
// It counts the spans for which there is no room, which the SDK drops without a word.
// And it passes spans on in groups: the processor's goroutine wakes for each span,
// which on an idle machine costs more than the span itself.
type queue struct {
	sdktrace.SpanProcessor

	exporter *countingExporter
	most     int64

	mu    sync.Mutex
	ended []sdktrace.ReadOnlySpan
}

// gatherFor is how long an ended span waits for others.
const gatherFor = 100 * time.Millisecond

func newQueue(exporter *countingExporter) *queue {
	most, err := strconv.Atoi(trimmed("OTEL_BSP_MAX_QUEUE_SIZE"))
	if err != nil || most <= 0 {
		most = sdktrace.DefaultMaxQueueSize
	}

	return &queue{
		SpanProcessor: sdktrace.NewBatchSpanProcessor(exporter, sdktrace.WithMaxQueueSize(most)),
		exporter:      exporter,
		most:          int64(most),
	}
}

// OnEnd implements sdktrace.SpanProcessor.
func (q *queue) OnEnd(span sdktrace.ReadOnlySpan) {
	if !span.SpanContext().IsSampled() {
		return
	}

	if q.exporter.waiting.Add(1) > q.most {
		q.exporter.waiting.Add(-1)
		q.exporter.meter.lost.Inc()

		return
	}

	q.mu.Lock()
	q.ended = append(q.ended, span)
	first := len(q.ended) == 1
	q.mu.Unlock()

	if first {
		time.AfterFunc(gatherFor, q.pass)
	}
}

func (q *queue) pass() {
	q.mu.Lock()
	ended := q.ended
	q.ended = make([]sdktrace.ReadOnlySpan, 0, len(ended))
	q.mu.Unlock()

	for _, span := range ended {
		q.SpanProcessor.OnEnd(span)
	}
}

// ForceFlush implements sdktrace.SpanProcessor.
func (q *queue) ForceFlush(ctx context.Context) error {
	q.pass()

	return q.SpanProcessor.ForceFlush(ctx) //nolint:wrapcheck // the processor's own
}

// Shutdown implements sdktrace.SpanProcessor.
func (q *queue) Shutdown(ctx context.Context) error {
	q.pass()

	return q.SpanProcessor.Shutdown(ctx) //nolint:wrapcheck // the processor's own
}
