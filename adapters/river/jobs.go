// Package river runs the background work as River jobs in PostgreSQL: it calls
// use cases on a schedule and decides nothing itself.
package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/marketflow/marketflow/app"
)

const (
	// jobTimeout bounds one run.
	jobTimeout = time.Minute
	// keepFinished is how long a finished job's row stays.
	keepFinished = 5 * time.Minute
	// MaxConns is what a Jobs needs of its own pool: River listens on one.
	MaxConns = 5
)

// Config says when to do what.
type Config struct {
	// RecoveryInterval is how often unfinished claims and parked events are
	// looked for.
	RecoveryInterval time.Duration
}

// Deps is what the jobs do their work with.
type Deps struct {
	// Pool is the jobs' own, so that they never starve requests.
	Pool          *pgxpool.Pool
	RecoverClaims *app.RecoverClaims
	ApplyParked   *app.ApplyParked
	Log           *zap.Logger
}

// Jobs is the background work of one process.
type Jobs struct {
	client *river.Client[pgx.Tx]
	config Config
	log    *zap.Logger
	stop   context.CancelFunc
	done   chan struct{}
}

// New returns the jobs; nothing runs before Start.
func New(config Config, deps Deps) (*Jobs, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, _ *river.Job[recoverArgs]) error {
		_, recovering := deps.RecoverClaims.Do(ctx)
		_, applying := deps.ApplyParked.Do(ctx)

		return errors.Join(recovering, applying)
	}))

	client, err := river.NewClient(riverpgxv5.New(deps.Pool), &river.Config{
		Queues:                      map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 4}},
		Workers:                     workers,
		JobTimeout:                  jobTimeout,
		MaxAttempts:                 1, // the next tick is the retry
		CompletedJobRetentionPeriod: keepFinished,
		DiscardedJobRetentionPeriod: keepFinished,
		ErrorHandler:                &errorHandler{log: deps.Log},
		Logger:                      quiet(deps.Log),
	})
	if err != nil {
		return nil, fmt.Errorf("making the jobs' client: %w", err)
	}

	return &Jobs{client: client, config: config, log: deps.Log}, nil
}

// quiet lets River's warnings and errors through: it tells of every start and
// of its own statistics.
func quiet(log *zap.Logger) *slog.Logger {
	warnings := log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))

	return slog.New(zapslog.NewHandler(warnings.Core(), zapslog.WithName("river")))
}

// recoverArgs is the job that finishes what was left behind.
type recoverArgs struct{}

// Kind implements river.JobArgs.
func (recoverArgs) Kind() string { return "recover" }

// Start begins to work.
func (j *Jobs) Start(ctx context.Context) error {
	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("starting the jobs: %w", err)
	}

	ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))
	j.done = make(chan struct{})

	go j.tick(ctx)

	return nil
}

// Stop lets running jobs end within ctx, then cancels them.
func (j *Jobs) Stop(ctx context.Context) error {
	j.stop()
	<-j.done

	if err := j.client.Stop(ctx); err != nil {
		return errors.Join(fmt.Errorf("stopping the jobs: %w", err), j.client.StopAndCancel(context.WithoutCancel(ctx)))
	}

	return nil
}

// tick asks for a recovery job once an interval. Every process asks, and one
// is inserted for all of them: River's own periodic jobs depend on an elected
// leader, and a killed leader stays elected for longer than a claim may wait.
func (j *Jobs) tick(ctx context.Context) {
	defer close(j.done)

	ticker := time.NewTicker(j.config.RecoveryInterval)
	defer ticker.Stop()

	once := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: j.config.RecoveryInterval}}

	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := j.client.Insert(ctx, recoverArgs{}, once); err != nil && ctx.Err() == nil {
				j.log.Warn("recovery job not inserted", zap.Error(err))
			}
		}
	}
}
