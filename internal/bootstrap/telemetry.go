package bootstrap

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

func newLogger(c config.Config, out logOutput) *zap.Logger {
	return telemetry.NewLogger(c.LogLevel, out)
}

// newTracing sends spans to where the OTEL_* variables say, and the last spans when the
// service stops.
func newTracing(
	lc fx.Lifecycle, version Version, metrics *telemetry.Metrics, log *zap.Logger,
) (trace.TracerProvider, propagation.TextMapPropagator, error) {
	telemetry.LogComplaints(log)

	tracing, err := telemetry.NewTracing(context.Background(), string(version), metrics.Exports(), log)
	if err != nil {
		return nil, nil, err
	}

	tracing.Install()
	lc.Append(fx.StopHook(func(ctx context.Context) {
		// A clean stop must not fail because the collector is away.
		if err := tracing.Shutdown(ctx); err != nil {
			log.Warn("the last spans are lost", zap.Error(err))
		}
	}))

	return tracing.Provider, tracing.Propagator, nil
}
