package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// maxStripeSeries is far above operations × outcomes × reasons.
const maxStripeSeries = 600

// StripeMeter measures calls to Stripe.
type StripeMeter struct {
	calls          *series[prometheus.Counter]
	duration       *series[prometheus.Observer]
	inFlight, open prometheus.Gauge
}

// Stripe is what adapters/stripe measures with.
func (m *Metrics) Stripe() *StripeMeter { return m.stripe }

func newStripeMeter(factory promauto.Factory) *StripeMeter {
	const operation, create = "operation", "create_intent"

	return &StripeMeter{
		calls: counters(factory, maxStripeSeries, "stripe_calls_total",
			"Attempts to call Stripe, by operation, outcome and the reason for it. "+
				"Attempts that were shed before they were sent count too.",
			operation, labelOutcome, "reason",
		).expect([]string{create}, []string{"unknown"},
			[]string{"connection", "timeout", "status_401", "status_403", "status_5xx"}),
		duration: histograms(factory, maxStripeSeries, "stripe_request_duration_seconds",
			"How long attempts that were sent to Stripe took, in seconds, by operation and outcome.",
			[]float64{.01, .025, .05, .1, .2, .3, .5, .75, 1, 1.5, 2.5, 5, 10, 30},
			operation, labelOutcome,
		).expect([]string{create}, []string{"done"}),
		inFlight: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "stripe_requests_in_flight",
			Help: "Attempts that wait for Stripe's answer now.",
		}),
		open: factory.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "stripe_breaker_open",
			Help: "1 while calls to Stripe are shed because Stripe does not answer, else 0.",
		}),
	}
}

// Call counts an attempt that has ended or was shed; took is zero where
// nothing was sent.
func (m *StripeMeter) Call(operation, outcome, reason string, took time.Duration) {
	m.calls.get(operation, outcome, reason).Inc()

	if took > 0 {
		m.duration.get(operation, outcome).Observe(took.Seconds())
	}
}

// InFlight counts attempts that wait now: delta more, or fewer where negative.
func (m *StripeMeter) InFlight(delta int) { m.inFlight.Add(float64(delta)) }

// BreakerState tells whether calls are sent (false), or shed but for probes (true).
func (m *StripeMeter) BreakerState(open bool) {
	if open {
		m.open.Set(1)
	} else {
		m.open.Set(0)
	}
}
