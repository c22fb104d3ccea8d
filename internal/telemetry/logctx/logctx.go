// Package logctx puts what a context carries into a log line: the ids of its
// trace, span and request.
package logctx

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

type requestIDKey struct{}

// WithRequestID returns a context whose lines carry the request's id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// Field adds trace_id, span_id and request_id, as far as ctx has them. Nothing is read before the line is written.
func Field(ctx context.Context) zap.Field { return zap.Inline(carried{ctx}) }

type carried struct{ ctx context.Context } //nolint:containedctx // read once, when the line is written

// MarshalLogObject implements zapcore.ObjectMarshaler.
func (c carried) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if span := trace.SpanContextFromContext(c.ctx); span.IsValid() {
		enc.AddString("trace_id", span.TraceID().String())
		enc.AddString("span_id", span.SpanID().String())
	}

	if id, ok := c.ctx.Value(requestIDKey{}).(string); ok {
		enc.AddString("request_id", id)
	}

	return nil
}
