package telemetry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// ServiceName is what the service is called in traces; OTEL_SERVICE_NAME
// overrides it.
const ServiceName = "marketflow"

// Tracing makes spans and exports them.
type Tracing struct {
	// Provider is what every part makes its spans with.
	Provider trace.TracerProvider
	// Propagator carries a trace in and out of the process: W3C Trace Context.
	// No baggage: what a client puts there would go on to Stripe.
	Propagator propagation.TextMapPropagator

	shutdown func(context.Context) error
	logger   *zap.Logger
}

// NewTracing reads OpenTelemetry's standard variables
// (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/):
// OTEL_EXPORTER_OTLP_ENDPOINT and the other OTEL_EXPORTER_OTLP_… and their
// …_TRACES_… forms, OTEL_TRACES_SAMPLER and _ARG, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_BSP_…, OTEL_TRACES_EXPORTER (otlp or none)
// and OTEL_SDK_DISABLED.
//
// Without an endpoint nothing is sent, and a span has only its ids, for the logs and
// for other services. Two defaults differ from the standard's:
//   - The protocol is grpc if the endpoint has port 4317, which is gRPC's, else
//     http/protobuf. OTEL_EXPORTER_OTLP_PROTOCOL overrides it.
//   - Without OTEL_TRACES_SAMPLER, traces that the caller does not sample are not
//     recorded, and of all others up to a thousand a second are.
//
// Spans are sent in the background, from a bounded queue. While the collector is
// away, spans are lost and counted, and no request waits.
// A variable that cannot be read is an error that names it.
func NewTracing(ctx context.Context, version string, meter *ExportMeter, logger *zap.Logger) (*Tracing, error) {
	if err := CheckEnvironment(); err != nil {
		return nil, err
	}

	tracing := &Tracing{
		Provider:   sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		Propagator: propagation.TraceContext{},
		shutdown:   func(context.Context) error { return nil },
		logger:     logger,
	}

	if !exporting() {
		return tracing, nil
	}

	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, err
	}

	provider := sdktrace.NewTracerProvider(append(sampler(),
		sdktrace.WithSpanProcessor(newQueue(&countingExporter{next: exporter, meter: meter, logger: logger})),
		sdktrace.WithResource(describe(ctx, version, logger)),
		sdktrace.WithRawSpanLimits(limits()),
	)...)
	tracing.Provider, tracing.shutdown = provider, provider.Shutdown

	return tracing, nil
}

// Shutdown sends the spans that are left, within ctx and five seconds at most: a
// collector that is away must not delay a stop.
func (t *Tracing) Shutdown(ctx context.Context) error {
	const longest = 5 * time.Second

	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()

	if err := t.shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last spans: %w", err)
	}

	return nil
}

// Install makes this the process's tracing, for libraries that use the global one.
// It is called once, at start.
func (t *Tracing) Install() {
	otel.SetTracerProvider(t.Provider)
	otel.SetTextMapPropagator(t.Propagator)
}

// LogComplaints logs the complaints of OpenTelemetry itself, for the whole process.
// It is called before NewTracing: until then OpenTelemetry prints them to stderr.
func LogComplaints(logger *zap.Logger) {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		logger.Warn("OpenTelemetry", zap.Error(err))
	}))
	otel.SetLogger(logr.New(complaints{logger}))
}

// complaints logs OpenTelemetry's messages without their values and errors, which
// may hold the variables' values, tokens among them.
type complaints struct{ logger *zap.Logger }

var _ logr.LogSink = complaints{}

// Init implements logr.LogSink.
func (complaints) Init(logr.RuntimeInfo) {}

// Enabled implements logr.LogSink. Level 1 is OpenTelemetry's warnings.
func (complaints) Enabled(level int) bool { return level <= 1 }

// Info implements logr.LogSink.
func (c complaints) Info(_ int, msg string, _ ...any) {
	c.logger.Warn("OpenTelemetry", zap.String("detail", msg))
}

// Error implements logr.LogSink.
func (c complaints) Error(_ error, msg string, _ ...any) {
	c.logger.Warn("OpenTelemetry", zap.String("detail", msg))
}

// WithValues implements logr.LogSink.
func (c complaints) WithValues(...any) logr.LogSink { return c } //nolint:ireturn // as logr wants it

// WithName implements logr.LogSink.
func (c complaints) WithName(string) logr.LogSink { return c } //nolint:ireturn // as logr wants it

// describe tells which process makes the spans, without the command's arguments: a
// secret may be among them.
func describe(ctx context.Context, version string, logger *zap.Logger) *resource.Resource {
	described, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithHost(),
		resource.WithProcessPID(),
		resource.WithProcessExecutableName(),
		resource.WithProcessRuntimeName(),
		resource.WithProcessRuntimeVersion(),
		resource.WithService(), // an id for each start; the name is replaced below
		resource.WithAttributes(semconv.ServiceName(ServiceName), semconv.ServiceVersion(version)),
		resource.WithFromEnv(), // last: it wins
	)
	if err != nil {
		logger.Warn("some attributes of this process are missing from its traces", zap.Error(err))
	}

	return described
}

// longestAttribute is in characters. Clients choose some values.
const longestAttribute = 256

// limits are OpenTelemetry's, with longestAttribute unless the environment says otherwise.
func limits() sdktrace.SpanLimits {
	limits := sdktrace.NewSpanLimits()
	if trimmed("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" && trimmed("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT") == "" {
		limits.AttributeValueLengthLimit = longestAttribute
	}

	return limits
}

// variable is the traces' own form of an OTLP variable, else the general one.
func variable(name string) string {
	if value := trimmed(otlpTraces + name); value != "" {
		return value
	}

	return trimmed(otlp + name)
}

func endpoint() string { return variable("ENDPOINT") }

func exporting() bool { return endpoint() != "" && !disabled() }

func disabled() bool {
	return strings.EqualFold(trimmed("OTEL_SDK_DISABLED"), "true") || trimmed("OTEL_TRACES_EXPORTER") == "none"
}
