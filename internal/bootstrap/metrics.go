package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

// scraping serves /metrics on an address of its own, if there is one.
type scraping struct{ aside }

// newScraping starts before the public server and stops after it, so that how it
// drains can be seen.
func newScraping(lc fx.Lifecycle, c config.Config, metrics *telemetry.Metrics, log *zap.Logger) *scraping {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.Handler())

	s := &scraping{newAside(mux)}

	if c.MetricsAddr != "" {
		lc.Append(fx.StartStopHook(
			func(ctx context.Context) error { return s.listen(ctx, "METRICS_ADDR", c.MetricsAddr, log) },
			s.drain))
	}

	return s
}

// drain lets scrapes in flight end.
func (s *scraping) drain(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("draining scrapes: %w", err), s.http.Close())
	}

	return nil
}
