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

// startSpan starts the request's span, below the caller's where it names one
// (https://www.w3.org/TR/trace-context/). A probe gets a span that is not sampled,
// so that what it asks of Redis makes no trace. So does a request without a known key,
// and a webhook until startSigned.
//
// It replaces otelhttp, which works out all attributes even for spans that nobody
// records, and again for metrics that Observer already takes: a third of a replay's
// time.
func (e *edge) startSpan(r *http.Request, c caller) (context.Context, trace.Span) {
	if byProbe(r) || fromOutside(r) || c.err != nil {
		id := uuid.New()
		ctx := trace.ContextWithSpanContext(r.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(id), SpanID: trace.SpanID(id[8:]),
		}))

		return ctx, trace.SpanFromContext(ctx)
	}

	ctx := e.Propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))

	return e.tracer.Start(ctx, methodLabel(r.Method), trace.WithSpanKind(trace.SpanKindServer)) //nolint:spancheck // endSpan ends it
}

// startSigned starts the span of a webhook whose signature was verified. It is a
// trace of its own, whatever trace the sender names. Strangers get no span, so they
// cannot use up what the sampler allows.
func startSigned(ctx context.Context) context.Context {
	ex := exchangeOf(ctx)
	ex.signed = true
	ctx, ex.span = ex.tracer.Start(ctx, http.MethodPost, //nolint:spancheck // observe ends it
		trace.WithSpanKind(trace.SpanKindServer), trace.WithNewRoot(), trace.WithTimestamp(ex.begun))

	return ctx
}

// endSpan writes into the span what was asked and answered, by OpenTelemetry's
// conventions (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span).
// It leaves out the query and the headers, which may hold secrets, and what is the
// same for all requests of a backend (address, agent, protocol): past eight
// attributes a span costs half as much again.
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
		attribute.String("marketflow.request.id", ex.request.ID))
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
