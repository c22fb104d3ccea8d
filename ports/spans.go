package ports

import (
	"context"
	"strings"
)

// Spans shows what the core does as spans of a trace. It never fails and never
// blocks.
type Spans interface {
	// Start begins a span and returns a context that carries it. Where op is not nil,
	// the span names its payment and points to the request that asked for it.
	Start(ctx context.Context, name string, op *Operation) context.Context

	// End ends ctx's span, with the error of what was done in it.
	End(ctx context.Context, err error)

	// Link makes ctx's span point to the request that origin tells of.
	Link(ctx context.Context, origin Origin)

	// TraceParent is the W3C traceparent of ctx's span; empty without one.
	TraceParent(ctx context.Context) string
}

// InSpan runs do in a span of its own.
func InSpan[T any](ctx context.Context, spans Spans, name string, do func(context.Context) (T, error)) (T, error) {
	return inSpan(ctx, spans, name, nil, do)
}

// InSpanOf is InSpan for work on an operation that an earlier request has begun.
func InSpanOf[T any](
	ctx context.Context, spans Spans, name string, op Operation, do func(context.Context) (T, error),
) (T, error) {
	return inSpan(ctx, spans, name, &op, do)
}

func inSpan[T any](
	ctx context.Context, spans Spans, name string, op *Operation, do func(context.Context) (T, error),
) (result T, err error) {
	ctx = spans.Start(ctx, name, op)
	defer func() { spans.End(ctx, err) }()

	return do(ctx)
}

// TraceID is the trace of the request; empty where it is not known
// (https://www.w3.org/TR/trace-context/#traceparent-header-field-values).
func (o Origin) TraceID() string {
	const parts, length = 4, 32

	fields := strings.Split(o.TraceParent, "-")
	if len(fields) != parts || len(fields[1]) != length {
		return ""
	}

	return fields[1]
}
