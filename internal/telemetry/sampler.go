package telemetry

import (
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// tracesPerSecond is how many traces are recorded if OTEL_TRACES_SAMPLER is not set,
// and how many at once. A busy marketplace has fewer. In a flood of requests the rest
// would cost processor time and be more than a collector can take.
const tracesPerSecond = 1000

// sampler is the provider's option if the environment does not choose one.
func sampler() []sdktrace.TracerProviderOption {
	if chosenSampler() != "" {
		return nil // the SDK reads it
	}

	// The limit also holds for traces that the caller samples: anybody can set that flag
	// (https://www.w3.org/TR/trace-context/#denial-of-service). What a caller does not
	// sample is not recorded.
	limited := rateLimited{rate.NewLimiter(tracesPerSecond, tracesPerSecond)}

	return []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.ParentBased(limited, sdktrace.WithRemoteParentSampled(limited))),
	}
}

func chosenSampler() string {
	return strings.ToLower(trimmed("OTEL_TRACES_SAMPLER"))
}

// rateLimited samples whole traces up to a rate. The queue, which is bounded too,
// would lose single spans of a trace.
type rateLimited struct{ limit *rate.Limiter }

// ShouldSample implements sdktrace.Sampler.
func (s rateLimited) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	decision := sdktrace.Drop
	if s.limit.Allow() {
		decision = sdktrace.RecordAndSample
	}

	return sdktrace.SamplingResult{
		Decision: decision, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState(),
	}
}

// Description implements sdktrace.Sampler.
func (rateLimited) Description() string { return "RateLimited" }
