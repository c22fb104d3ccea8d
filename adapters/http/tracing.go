package http

import (
	"context"
	"net"
	"net/http"
	"strconv"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the request's span, below the caller's where it names one
// (https://www.w3.org/TR/trace-context/). A probe gets one that is not sampled,
// so that what it asks of Redis is no trace of its own; and so does a webhook,
// until startSigned.
//
// It stands in for otelhttp, which works all attributes out for spans that
// nobody records, and once more for metrics that Observer takes: a third of a
// replay's time.
func (s *server) startSpan(r *http.Request) (context.Context, trace.Span) {
	if !worthTracing(r) || fromOutside(r) {
		id := uuid.New()
		ctx := trace.ContextWithSpanContext(r.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(id), SpanID: trace.SpanID(id[8:]),
		}))

		return ctx, trace.SpanFromContext(ctx)
	}

	ctx := s.Propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))

	return s.tracer.Start(ctx, methodLabel(r.Method), trace.WithSpanKind(trace.SpanKindServer)) //nolint:spancheck // endSpan ends it
}

// startSigned begins the span of a webhook whose signature was verified. It is a trace
// of its own, whatever trace the sender names, and strangers, who get no span, cannot
// use up what the sampler allows.
func (s *server) startSigned(ctx context.Context) context.Context {
	ex := exchangeOf(ctx)
	ex.signed = true
	ctx, ex.span = s.tracer.Start(ctx, http.MethodPost, //nolint:spancheck // observe ends it
		trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(), trace.WithTimestamp(ex.begun))

	return ctx
}

// endSpan says in the span what was asked and answered, as OpenTelemetry's
// conventions do (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span).
// No query and no header: they may hold secrets. And nothing that is the same
// for all requests of a backend (address, agent, protocol): past eight attributes
// a span costs half as much again.
func endSpan(span trace.Span, r *http.Request, ex *exchange) {
	defer span.End()

	if !span.IsRecording() {
		return
	}

	attributes := append(make([]attribute.KeyValue, 0, 9),
		semconv.HTTPRequestMethodKey.String(methodLabel(r.Method)),
		semconv.HTTPResponseStatusCode(ex.status),
		semconv.URLPath(r.URL.Path),
		semconv.URLScheme("http"), // TLS ends before us
		attribute.String("marketflow.request.id", ex.requestID))
	attributes = appendServer(attributes, r.Host)

	if ex.route != unmatched {
		span.SetName(methodLabel(r.Method) + " " + ex.route)

		attributes = append(attributes, semconv.HTTPRoute(ex.route))
	}

	if ex.status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")

		attributes = append(attributes, semconv.ErrorTypeKey.String(strconv.Itoa(ex.status)))
	}

	span.SetAttributes(attributes...)
}

func appendServer(attributes []attribute.KeyValue, hostport string) []attribute.KeyValue {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return append(attributes, semconv.ServerAddress(hostport))
	}

	attributes = append(attributes, semconv.ServerAddress(host))
	if number, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, semconv.ServerPort(number))
	}

	return attributes
}
