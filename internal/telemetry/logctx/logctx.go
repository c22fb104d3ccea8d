// Package logctx puts what a context carries into a log line: the ids of its
// trace, span and request.
package logctx

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Request is a request, and what its one line will tell.
type Request struct {
	ID string

	mu   sync.Mutex
	told []zap.Field
	// taken: told is taken, or has been written.
	taken bool
}

// Told returns what the request's line tells besides. Whatever happens later has a line of
// its own.
func (r *Request) Told() []zap.Field {
	r.mu.Lock()
	defer r.mu.Unlock()

	r.taken = true

	return r.told
}

type requestKey struct{}

// WithRequest returns a context whose lines carry the request's id. The caller writes the
// request's own line in the end, with what it was told.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Add has the line of ctx's request tell fields, so that they need no line of their own. It
// says whether that line will: it tells of one thing, and only until it is written.
func Add(ctx context.Context, fields ...zap.Field) bool {
	r, ok := ctx.Value(requestKey{}).(*Request)
	if !ok {
		return false
	}

	r.mu.Lock()
	defer r.mu.Unlock()

	if r.taken {
		return false
	}

	r.told, r.taken = fields, true

	return true
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

	if r, ok := c.ctx.Value(requestKey{}).(*Request); ok {
		enc.AddString("request_id", r.ID)
	}

	return nil
}
