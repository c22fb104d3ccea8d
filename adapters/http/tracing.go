package http

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// startSpan begins the request's span, below the caller's where it names one
// (https://www.w3.org/TR/trace-context/). A probe gets one that is not sampled,
// so that what it asks of Redis is no trace of its own.
//
// It stands in for otelhttp, which works all attributes out for spans that
// nobody records, and once more for metrics that Observer takes: a third of a
// replay's time.
func (s *server) startSpan(r *http.Request) (context.Context, trace.Span) {
	if !worthTracing(r) {
		id := uuid.New()
		ctx := trace.ContextWithSpanContext(r.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(id), SpanID: trace.SpanID(id[8:]),
		}))

		return ctx, trace.SpanFromContext(ctx)
	}

	ctx := s.Propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))

	return s.tracer.Start(ctx, methodLabel(r.Method), trace.WithSpanKind(trace.SpanKindServer)) //nolint:spancheck // endSpan ends it
}

// endSpan says in the span what was asked and answered, as OpenTelemetry's
// conventions do (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span).
// No query and no header but the user agent: they may hold secrets.
func endSpan(span trace.Span, r *http.Request, ex *exchange) {
	defer span.End()

	if !span.IsRecording() {
		return
	}

	attributes := append(make([]attribute.KeyValue, 0, 16), //nolint:mnd // as many as there are
		semconv.HTTPRequestMethodKey.String(methodLabel(r.Method)),
		semconv.HTTPResponseStatusCode(ex.status),
		semconv.HTTPResponseBodySize(int(ex.written)),
		semconv.NetworkProtocolVersion(strings.TrimPrefix(r.Proto, "HTTP/")),
		semconv.URLPath(r.URL.Path),
		semconv.URLScheme("http"), // TLS ends before us
		attribute.String("marketflow.request.id", ex.requestID))
	attributes = address(attributes, r.Host, semconv.ServerAddress, semconv.ServerPort)
	attributes = address(attributes, r.RemoteAddr, semconv.ClientAddress, semconv.ClientPort)

	if r.ContentLength > 0 {
		attributes = append(attributes, semconv.HTTPRequestBodySize(int(r.ContentLength)))
	}

	if agent := r.UserAgent(); agent != "" {
		attributes = append(attributes, semconv.UserAgentOriginal(agent))
	}

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

func address(
	attributes []attribute.KeyValue, hostport string,
	host func(string) attribute.KeyValue, port func(int) attribute.KeyValue,
) []attribute.KeyValue {
	name, digits, err := net.SplitHostPort(hostport)
	if err != nil {
		return append(attributes, host(hostport))
	}

	attributes = append(attributes, host(name))
	if number, err := strconv.Atoi(digits); err == nil {
		attributes = append(attributes, port(number))
	}

	return attributes
}
