// Package river runs the background work as River jobs in PostgreSQL: it calls use
// cases on a schedule and decides nothing itself.
package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/reconcile"
)

const (
	// jobTimeout bounds one run.
	jobTimeout = time.Minute
	// reconcileTimeout bounds one run of reconciliation; the next goes on where it
	// stopped.
	reconcileTimeout = 15 * time.Minute
	// stopPatience is how long running jobs may go on when the service stops: long
	// enough for most calls to the provider, not for every reconciliation.
	stopPatience = 5 * time.Second
	// keepFinished is how long the row of a finished job is kept.
	keepFinished = 5 * time.Minute
)

// Config says how often the work is done.
type Config struct {
	// RecoveryInterval is how often unfinished operations, parked events and hints are
	// looked for.
	RecoveryInterval time.Duration
	// ReconcileInterval is how often our records are compared with the provider's;
	// 0 is never.
	ReconcileInterval time.Duration
}

// Deps is what the jobs need.
type Deps struct {
	// Pool is not the requests', so that jobs never take a connection of theirs. River
	// takes one out of it for good, to listen on.
	Pool        *pgxpool.Pool
	Recover     *operations.Recover
	ApplyParked *events.ApplyParked
	ReadHints   *events.ReadHints
	Reconcile   *reconcile.Reconcile
	Meter       Meter
	Log         *zap.Logger
}

// Jobs is the background work of one process.
type Jobs struct {
	client *river.Client[pgx.Tx]
	pool   *pgxpool.Pool
	meter  Meter
	config Config
	// reconcile says when its next run is due.
	reconcile *reconcile.Reconcile
	// now asks for a run at once.
	now  chan struct{}
	log  *zap.Logger
	stop context.CancelFunc
	// ticking are the goroutines that insert jobs; counting is the one that measures
	// them.
	ticking, counting sync.WaitGroup
}

// New returns the jobs; nothing runs before Start.
func New(config Config, deps Deps) (*Jobs, error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[recoverArgs]) error {
		ctx = withSpanOptions(ctx, job.JobRow)
		_, recovering := deps.Recover.Do(ctx)
		_, applying := deps.ApplyParked.Do(ctx)
		_, reading := deps.ReadHints.Do(ctx)

		return errors.Join(recovering, applying, reading)
	}))

	river.AddWorker(workers, &reconciler{reconcile: deps.Reconcile, log: deps.Log})

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

	return &Jobs{
		client: client, pool: deps.Pool, meter: deps.Meter, config: config, reconcile: deps.Reconcile, log: deps.Log,
		now: make(chan struct{}, 1),
	}, nil
}

// quiet is River's log without what is below a warning: every start and its
// statistics.
func quiet(log *zap.Logger) *slog.Logger {
	warnings := log.WithOptions(zap.IncreaseLevel(zap.WarnLevel))

	return slog.New(zapslog.NewHandler(warnings.Core(), zapslog.WithName("river")))
}

// recoverArgs is the job that finishes operations and events that were left behind.
type recoverArgs struct{}

// Kind implements river.JobArgs.
func (recoverArgs) Kind() string { return "recover" }

// reconcileArgs is the job that compares our records with the provider's.
type reconcileArgs struct{}

// Kind implements river.JobArgs.
func (reconcileArgs) Kind() string { return "reconcile" }

// reconciler is a worker of its own because it may take longer than other jobs.
type reconciler struct {
	river.WorkerDefaults[reconcileArgs]

	reconcile *reconcile.Reconcile
	log       *zap.Logger
	// running is held during a run.
	running sync.Mutex
}

// Timeout implements river.Worker.
func (r *reconciler) Timeout(*river.Job[reconcileArgs]) time.Duration { return reconcileTimeout }

// Work implements river.Worker. While a run goes on others do nothing: waiting for
// it, they would take the workers that recovery needs.
func (r *reconciler) Work(ctx context.Context, job *river.Job[reconcileArgs]) error {
	if !r.running.TryLock() {
		return nil
	}
	defer r.running.Unlock()

	report, err := r.reconcile.Scheduled(withSpanOptions(ctx, job.JobRow))
	if errors.Is(err, reconcile.ErrReconciling) {
		return nil // another process does it, or somebody by hand
	}

	if err == nil {
		r.log.Info("reconciled", zap.Time("since", report.Since), zap.Time("until", report.Until),
			zap.Int("events", report.Events), zap.Int("intents", report.Intents),
			zap.Int("payments", report.Payments), zap.Int("discrepancies_left", report.Left()))
	}

	return err
}

// Start starts the jobs.
func (j *Jobs) Start(ctx context.Context) error {
	runs, unsubscribe := j.client.Subscribe(finished...)

	if err := j.client.Start(context.WithoutCancel(ctx)); err != nil {
		unsubscribe()

		return fmt.Errorf("starting the jobs: %w", err)
	}

	// Stopping the client closes runs.
	j.counting.Go(func() { j.count(runs) })

	ctx, j.stop = context.WithCancel(context.WithoutCancel(ctx))

	j.ticking.Go(func() {
		every := j.config.RecoveryInterval
		j.tick(ctx, recoverArgs{}, every, every, unfinished)
	})

	if every := j.config.ReconcileInterval; every > 0 {
		j.ticking.Go(func() { j.tick(ctx, reconcileArgs{}, j.reconcile.UntilDue(ctx, every), every, nil) })
	}

	j.ticking.Go(func() { j.reconcileAnew(ctx) })

	if j.reconcile.Anew(ctx) || j.reconcile.Unsure(ctx) {
		j.ReconcileNow()
	}

	return nil
}

// ReconcileNow asks for a reconciliation at once: the database has begun a new life. It
// does not wait.
func (j *Jobs) ReconcileNow() {
	select {
	case j.now <- struct{}{}:
	default: // one is asked for already
	}
}

// reconcileAnew inserts a reconciliation whenever one is asked for, and again until one has
// ended in the database's present life. As long as something may be missing, it does so now
// and then, whatever the interval is.
func (j *Jobs) reconcileAnew(ctx context.Context) {
	const again, unsure = 2 * time.Second, 10 * time.Minute

	for {
		select {
		case <-ctx.Done():
			return
		case <-j.now:
		case <-time.After(unsure):
			if !j.reconcile.Unsure(ctx) {
				continue
			}
		}

		// Of the processes that notice it one inserts the job. A job of an earlier period keeps
		// nobody waiting: one that a dead process or the life before has left running stays so
		// for an hour.
		once := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: again, ByState: unfinished}}
		if _, err := j.client.Insert(ctx, reconcileArgs{}, once); err != nil && ctx.Err() == nil {
			j.log.Warn("job not inserted", zap.String("job", reconcileArgs{}.Kind()), zap.Error(err))
		}

		select {
		case <-ctx.Done():
			return
		case <-time.After(again):
		}

		if j.reconcile.Anew(ctx) {
			j.ReconcileNow()
		}
	}
}

// Stop lets running jobs finish for stopPatience, then cancels them. A job can be
// interrupted anywhere.
func (j *Jobs) Stop(ctx context.Context) error {
	j.stop()
	j.ticking.Wait()

	defer j.counting.Wait()

	patient, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()

	if j.client.Stop(patient) == nil {
		return nil
	}

	if err := j.client.StopAndCancel(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("stopping the jobs: %w", err)
	}

	return nil
}

// unfinished are the states in which a period's recovery job keeps another one from
// being inserted. A finished job does not count: a process whose clock is ahead may
// have finished the job of a period that begins later for the others.
//
//nolint:gochecknoglobals // a constant list
var unfinished = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

// tick inserts a job after first, and then once every interval, unless this period has
// one in one of states (nil: in any state but cancelled and discarded). Every process
// does: River's own periodic jobs need an elected leader, and a killed leader stays
// elected for longer than an operation may wait.
func (j *Jobs) tick(ctx context.Context, args river.JobArgs, first, every time.Duration, states []rivertype.JobState) {
	timer := time.NewTimer(first)
	defer timer.Stop()

	// River's shortest period is a second.
	once := &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: max(every, time.Second), ByState: states}}

	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(every)

			if _, err := j.client.Insert(ctx, args, once); err != nil && ctx.Err() == nil {
				j.log.Warn("job not inserted", zap.String("job", args.Kind()), zap.Error(err))
			}
		}
	}
}
