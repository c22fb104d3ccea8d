package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type jobLabels struct{ kind, result string }

// JobMeter measures the background work of this process.
type JobMeter struct {
	jobs *series[jobLabels, prometheus.Counter]
	ran  *series[string, prometheus.Observer]
	wait prometheus.Histogram
}

// Jobs is what adapters/river measures with.
func (m *Metrics) Jobs() *JobMeter { return m.jobs }

func newJobMeter(factory promauto.Factory) *JobMeter {
	jobs := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "jobs_total",
		Help: "Background jobs that this process has run, by kind and result: completed, failed, interrupted.",
	}, []string{labelKind, "result"})
	ran := factory.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "job_duration_seconds",
		Help:    "How long background jobs ran, in seconds, by kind.",
		Buckets: []float64{.005, .025, .1, .5, 1, 5, 15, 60, 300, 900},
	}, []string{labelKind})
	meter := &JobMeter{
		jobs: newSeries(maxFewSeries, jobLabels{kind: other, result: other},
			func(l jobLabels) prometheus.Counter { return jobs.WithLabelValues(l.kind, l.result) }),
		ran: newSeries(maxFewSeries, other,
			func(kind string) prometheus.Observer { return ran.WithLabelValues(kind) }),
		wait: factory.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "job_wait_seconds",
			Help:    "How long background jobs waited until they were run, in seconds.",
			Buckets: []float64{.01, .1, .5, 1, 5, 15, 60, 300},
		}),
	}

	for _, kind := range []string{"recover", "reconcile"} {
		for _, result := range []string{"completed", "failed", "interrupted"} {
			meter.jobs.get(jobLabels{kind, result})
		}
	}

	return meter
}

// Job counts a job that has been run.
func (j *JobMeter) Job(kind, result string, waited, ran time.Duration) {
	j.jobs.get(jobLabels{kind, result}).Inc()
	j.ran.get(kind).Observe(ran.Seconds())
	j.wait.Observe(max(0, waited.Seconds())) // clocks differ
}

// JobQueue is asked for the jobs that should be running and are not.
type JobQueue interface {
	// Waiting returns how many there are, and for how long the oldest has waited.
	Waiting(ctx context.Context) (jobs int64, oldest time.Duration, err error)
}

// Reconciled is asked for the time up to which our records were held against the
// provider's; zero if never.
type Reconciled interface {
	// ReconciledThrough returns it, and the database's clock.
	ReconciledThrough(ctx context.Context) (through, now time.Time, err error)
}

// ObserveBackground tells, whenever Prometheus asks, how far behind the
// background work is, whichever process does it. Where the database does not
// answer, that is absent.
func (m *Metrics) ObserveBackground(queue JobQueue, records Reconciled) {
	m.registry.MustRegister(&backgroundCollector{
		queue: &answer[waiting]{ask: ask(queue)},
		reconciled: &answer[time.Time]{ask: func(ctx context.Context) (time.Time, error) {
			through, _, err := records.ReconciledThrough(ctx)

			return through, err
		}},
		jobs: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "jobs_waiting"),
			"Background jobs that should be running and are not.", nil, nil),
		oldest: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "oldest_waiting_job_age_seconds"),
			"For how long the oldest such job has waited, in seconds; 0 where there is none.", nil, nil),
		through: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "reconciled_through_timestamp_seconds"),
			"Time up to which Stripe's events and intents have been held against our records, in seconds since 1970; "+
				"0 if there was no reconciliation.", nil, nil),
	})
}

type waiting struct {
	jobs   int64
	oldest time.Duration
}

func ask(queue JobQueue) func(context.Context) (waiting, error) {
	return func(ctx context.Context) (waiting, error) {
		jobs, oldest, err := queue.Waiting(ctx)

		return waiting{jobs: jobs, oldest: oldest}, err
	}
}

type backgroundCollector struct {
	queue                 *answer[waiting]
	reconciled            *answer[time.Time]
	jobs, oldest, through *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *backgroundCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.jobs, c.oldest, c.through} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *backgroundCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
	}

	if queue, err := c.queue.get(); err == nil {
		gauge(c.jobs, float64(queue.jobs))
		gauge(c.oldest, queue.oldest.Seconds())
	}

	through, err := c.reconciled.get()

	switch {
	case err != nil:
	case through.IsZero():
		gauge(c.through, 0)
	default:
		gauge(c.through, float64(through.Unix()))
	}
}
