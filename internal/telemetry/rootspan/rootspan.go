// Package rootspan sets the options of root spans in advance. The code that starts some work
// knows them; the work itself starts its root spans later.
package rootspan

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

type optionsKey struct{}

// With returns a context in which root spans start with options. Child spans do not.
func With(ctx context.Context, options ...trace.SpanStartOption) context.Context {
	return context.WithValue(ctx, optionsKey{}, options)
}

// Dropped tells whether ctx has a span of this process that is not recorded. Then no span
// below it is, and to start one would only cost time.
func Dropped(ctx context.Context) bool {
	span := trace.SpanFromContext(ctx)
	parent := span.SpanContext()

	return parent.IsValid() && !parent.IsRemote() && !span.IsRecording()
}

// Options returns the options for a span that starts in ctx.
func Options(ctx context.Context) []trace.SpanStartOption {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}

	options, _ := ctx.Value(optionsKey{}).([]trace.SpanStartOption)

	return options
}
