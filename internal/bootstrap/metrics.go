package bootstrap

import (
	"context"
	"net/http"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

// scraping serves /metrics on an address of its own, if there is one.
type scraping struct{ listener }

// newScraping starts before the public server and stops after it, so that the metrics
// show how it drains.
func newScraping(lc fx.Lifecycle, c config.Config, metrics *telemetry.Metrics, log *zap.Logger) *scraping {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler())

	s := &scraping{newAside(mux)}

	const metricsAddr = "METRICS_ADDR"

	if c.MetricsAddr != "" {
		lc.Append(fx.StartStopHook(
			func(ctx context.Context) error {
				return s.listen(ctx, metricsAddr, c.MetricsAddr, logEnd(log, metricsAddr))
			},
			s.drain))
	}

	return s
}
