package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// maxStripeSeries is far above operations × outcomes × reasons.
const maxStripeSeries = 300

type stripeLabels struct{ operation, outcome, reason string }

// StripeMeter measures calls to Stripe.
type StripeMeter struct {
	calls    *series[stripeLabels, prometheus.Counter]
	duration *series[stripeLabels, prometheus.Observer]
	inFlight prometheus.Gauge
	open     prometheus.Gauge
}

// Stripe is what adapters/stripe measures with.
func (m *Metrics) Stripe() *StripeMeter { return m.stripe }

func newStripeMeter(factory promauto.Factory) *StripeMeter {
	calls := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystemStripe, Name: "calls_total",
		Help: "Attempts to call Stripe, those that were shed before they were sent included, " +
			"by operation, outcome and why it is that outcome.",
	}, []string{"operation", labelOutcome, "reason"})
	duration := factory.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystemStripe, Name: "request_duration_seconds",
		Help:    "How long attempts that were sent to Stripe took, in seconds, by operation and outcome.",
		Buckets: []float64{.01, .025, .05, .1, .2, .3, .5, .75, 1, 1.5, 2.5, 5, 10, 30},
	}, []string{"operation", labelOutcome})
	unknown := stripeLabels{operation: other, outcome: other, reason: other}

	counters := newSeries(maxStripeSeries, unknown, func(l stripeLabels) prometheus.Counter {
		return calls.WithLabelValues(l.operation, l.outcome, l.reason)
	})

	durations := newSeries(maxStripeSeries, unknown, func(l stripeLabels) prometheus.Observer {
		return duration.WithLabelValues(l.operation, l.outcome)
	})

	// Those that dashboards and alerts are about are there from the start.
	durations.get(stripeLabels{operation: "create_intent", outcome: "done"})

	for _, reason := range []string{"connection", "timeout", "status_401", "status_403", "status_5xx"} {
		counters.get(stripeLabels{"create_intent", "unknown", reason})
	}

	return &StripeMeter{
		calls:    counters,
		duration: durations,
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystemStripe, Name: "requests_in_flight",
			Help: "Attempts that wait for Stripe's answer now.",
		}),
		open: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Subsystem: subsystemStripe, Name: "breaker_open",
			Help: "1 while calls to Stripe are shed because Stripe counts as dead, else 0.",
		}),
	}
}

// Call counts an attempt that has ended or was shed; took is zero where nothing
// was sent.
func (m *StripeMeter) Call(operation, outcome, reason string, took time.Duration) {
	m.calls.get(stripeLabels{operation, outcome, reason}).Inc()

	if took > 0 {
		m.duration.get(stripeLabels{operation: operation, outcome: outcome}).Observe(took.Seconds())
	}
}

// InFlight counts attempts that wait now: delta more, or fewer where negative.
func (m *StripeMeter) InFlight(delta int) { m.inFlight.Add(float64(delta)) }

// BreakerState tells whether calls flow (false) or are shed but for probes (true).
func (m *StripeMeter) BreakerState(open bool) {
	if open {
		m.open.Set(1)
	} else {
		m.open.Set(0)
	}
}
