package ports

import (
	"context"
	"strings"
)

// Spans records what the core does as spans of a trace. It never fails and never blocks.
type Spans interface {
	// Start begins a span and returns a context that carries it. If op is not nil, the
	// span names op's payment and links to the request that asked for it.
	Start(ctx context.Context, name string, op *Operation) context.Context

	// End ends ctx's span. err is the error of the work in it, or nil.
	End(ctx context.Context, err error)

	// Link links ctx's span to the request that origin describes.
	Link(ctx context.Context, origin Origin)

	// TraceParent is the W3C traceparent of ctx's span. It is empty if there is no span.
	TraceParent(ctx context.Context) string
}

// InSpan runs do in a new span.
func InSpan[T any](ctx context.Context, spans Spans, name string, do func(context.Context) (T, error)) (T, error) {
	return inSpan(ctx, spans, name, nil, do)
}

// InSpanOf is InSpan for work on an operation that an earlier request began.
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

// TraceID is the trace id of the request. It is empty if it is not known
// (https://www.w3.org/TR/trace-context/#traceparent-header-field-values).
func (o Origin) TraceID() string {
	const parts, length = 4, 32

	fields := strings.Split(o.TraceParent, "-")
	if len(fields) != parts || len(fields[1]) != length {
		return ""
	}

	return fields[1]
}
