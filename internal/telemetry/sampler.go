package telemetry

import (
	"os"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// tracesPerSecond are recorded where OTEL_TRACES_SAMPLER says nothing, and as many
// at once. A busy marketplace has fewer; a flood must not spend its cores on spans
// that no collector keeps up with.
const tracesPerSecond = 1000

// sampler is the provider's option where the environment does not choose one.
func sampler() []sdktrace.TracerProviderOption {
	if chosenSampler() != "" {
		return nil // the SDK reads it
	}

	// A caller's sampled flag does not lift the limit: anybody can set it
	// (https://www.w3.org/TR/trace-context/#denial-of-service). Its absence is followed.
	limited := rateLimited{rate.NewLimiter(tracesPerSecond, tracesPerSecond)}

	return []sdktrace.TracerProviderOption{
		sdktrace.WithSampler(sdktrace.ParentBased(limited, sdktrace.WithRemoteParentSampled(limited))),
	}
}

func chosenSampler() string {
	return strings.ToLower(strings.TrimSpace(os.Getenv("OTEL_TRACES_SAMPLER")))
}

// rateLimited samples whole traces up to a rate. The queue, which is bounded
// too, would lose single spans instead.
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
