package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// JobMeter measures the background work of this process.
type JobMeter struct {
	jobs *series[prometheus.Counter]
	ran  *series[prometheus.Observer]
	wait prometheus.Histogram
}

// Jobs is what adapters/river measures with.
func (m *Metrics) Jobs() *JobMeter { return m.jobs }

func newJobMeter(factory promauto.Factory) *JobMeter {
	return &JobMeter{
		jobs: counters(factory, maxFewSeries, "jobs_total",
			"Background jobs that this process has run, by kind and result: completed, failed, interrupted.",
			labelKind, "result",
		).expect([]string{"recover", "reconcile"}, []string{"completed", "failed", "interrupted"}),
		ran: histograms(factory, maxFewSeries, "job_duration_seconds",
			"How long background jobs ran, in seconds, by kind.",
			[]float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 900}, labelKind),
		wait: factory.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "job_wait_seconds",
			Help:    "How long background jobs waited before they ran, in seconds.",
			Buckets: []float64{.01, .1, .5, 1, 5, 15, 60, 300},
		}),
	}
}

// Job counts a job that has been run.
func (j *JobMeter) Job(kind, result string, waited, ran time.Duration) {
	j.jobs.get(kind, result).Inc()
	j.ran.get(kind).Observe(ran.Seconds())
	j.wait.Observe(max(0, waited.Seconds())) // clocks differ
}

// JobQueue is asked for the jobs that are due and do not run yet.
type JobQueue interface {
	// Waiting returns how many there are, and for how long the oldest has waited.
	Waiting(ctx context.Context) (jobs int64, oldest time.Duration, err error)
}

// Reconciled is asked for the time up to which our records were compared with the
// provider's; zero if never.
type Reconciled interface {
	// ReconciledThrough returns it, and the database's clock.
	ReconciledThrough(ctx context.Context) (through, now time.Time, err error)
}

// ObserveBackground reports on each scrape how far behind the background work is,
// whichever process does it. These series are absent where the database does not
// answer.
func (m *Metrics) ObserveBackground(queue JobQueue, records Reconciled) {
	type waiting struct {
		jobs   int64
		oldest time.Duration
	}

	queued := &answer[waiting]{ask: func(ctx context.Context) (w waiting, err error) {
		w.jobs, w.oldest, err = queue.Waiting(ctx)

		return w, err
	}}
	reconciled := &answer[time.Time]{ask: func(ctx context.Context) (time.Time, error) {
		through, _, err := records.ReconciledThrough(ctx)

		return through, err
	}}

	c := &collector{}
	jobs := c.desc("jobs_waiting", "Background jobs that are due and do not run yet.")
	oldest := c.desc("oldest_waiting_job_age_seconds",
		"How long the oldest of these jobs has waited, in seconds; 0 if there is none.")
	through := c.desc("reconciled_through_timestamp_seconds",
		"Time up to which Stripe's events and intents have been compared with our records, in seconds since 1970; "+
			"0 if that was never done.")

	c.collect = func(out metrics) {
		if queue, err := queued.get(); err == nil {
			out.gauge(jobs, float64(queue.jobs))
			out.gauge(oldest, queue.oldest.Seconds())
		}

		if until, err := reconciled.get(); err == nil {
			out.gauge(through, float64(max(0, until.Unix()))) // the zero time is long before 1970
		}
	}
	m.registry.MustRegister(c)
}
