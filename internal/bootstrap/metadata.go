package bootstrap

import (
	"context"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/ports"
)

// Between two steps of indexing older payments there is a pause, so that it never takes more
// than a part of the database: at most five thousand payments a second are looked at.
const indexPause = 100 * time.Millisecond

// indexMetadata says before the first request which names this process has, and goes on
// doing so while it looks at older payments. Every process must say it, so it is no job that
// one of them takes.
func indexMetadata(lc fx.Lifecycle, index *payments.IndexMetadata, log *zap.Logger) {
	ctx, stop := context.WithCancel(context.Background())

	var running sync.WaitGroup

	lc.Append(fx.StartStopHook(
		func(start context.Context) error {
			if err := index.Report(start); err != nil {
				return err
			}

			running.Go(func() { keepIndexing(ctx, index, log) })

			return nil
		},
		func() {
			stop()
			running.Wait()
		}))
}

func keepIndexing(ctx context.Context, index *payments.IndexMetadata, log *zap.Logger) {
	reported := time.Now()

	for wait := indexPause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}

		step, err := index.Do(ctx)
		if err == nil && time.Since(reported) >= ports.MetadataReportInterval {
			reported = time.Now()
			err = index.Report(ctx)

			if step.Name != "" {
				log.Info("older payments are being indexed by their metadata", zap.String("name", step.Name),
					zap.Time("through", step.Through.CreatedAt))
			}
		}

		if wait = indexPause; err != nil || step.Name == "" {
			wait = ports.MetadataReportInterval
		}

		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.Warn("older payments are not indexed by their metadata; trying again", zap.Error(err))
		case step.Complete:
			log.Info("all payments are indexed by their metadata", zap.String("name", step.Name))
		}
	}
}
