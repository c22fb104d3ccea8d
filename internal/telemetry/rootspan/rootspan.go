// Package rootspan lets whoever starts work say what its traces are, where the work
// begins its traces itself.
package rootspan

import (
	"context"

	"go.opentelemetry.io/otel/trace"
)

type optionsKey struct{}

// With returns a context whose root spans start with options. Their children do not.
func With(ctx context.Context, options ...trace.SpanStartOption) context.Context {
	return context.WithValue(ctx, optionsKey{}, options)
}

// Options are those of a span that starts in ctx.
func Options(ctx context.Context) []trace.SpanStartOption {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return nil
	}

	options, _ := ctx.Value(optionsKey{}).([]trace.SpanStartOption)

	return options
}
