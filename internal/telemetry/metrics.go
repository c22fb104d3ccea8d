package telemetry

import (
	"net/http"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Parts of names that several metrics share.
const (
	namespace    = "marketflow"
	labelOutcome = "outcome"
	labelKind    = "kind"
	labelStatus  = "status"
)

const (
	// maxScrapes at once: Prometheus and a person or two.
	maxScrapes    = 4
	scrapeTimeout = 10 * time.Second
)

// Metrics is everything that the service measures, in a registry of its own. Its
// methods never block and never fail. Observer uses it for what the use cases report,
// and adapters/http for requests; the other adapters use Stripe, MemoryCache, RateLimit
// and Jobs.
type Metrics struct {
	requestMetrics
	paymentMetrics

	registry *prometheus.Registry
	stripe   *StripeMeter
	cache    *CacheMeter
	limiter  *LimiterMeter
	exports  *ExportMeter
	jobs     *JobMeter
}

// NewMetrics returns metrics that have counted nothing. The Observe… methods add what
// is read only when Prometheus scrapes.
func NewMetrics() *Metrics {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	factory := promauto.With(registry)

	return &Metrics{
		registry:       registry,
		requestMetrics: newRequestMetrics(factory),
		paymentMetrics: newPaymentMetrics(factory),
		stripe:         newStripeMeter(factory),
		cache:          newCacheMeter(factory),
		limiter:        newLimiterMeter(factory),
		exports:        newExportMeter(factory),
		jobs:           newJobMeter(factory),
	}
}

// Handler serves the metrics in Prometheus's text format, or in OpenMetrics, which has
// exemplars. It answers a few scrapes at once; more get 503.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		Registry:            m.registry,
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
		// One metric that cannot be collected must not hide the others.
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// Registry is for metrics that are not defined here.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// ObserveBuild reports what is running: version, the commit that it was built from, if
// Go knows it, and Go's version.
func (m *Metrics) ObserveBuild(version string) {
	info := promauto.With(m.registry).NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help: "What is running; the value is always 1.",
	}, []string{"version", "revision", "go_version"})
	info.WithLabelValues(version, revision(), runtime.Version()).Set(1)
}

// ObserveSecrets reports on each scrape how many stored secrets cannot be opened.
func (m *Metrics) ObserveSecrets(unreadable func() int) {
	promauto.With(m.registry).NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "unreadable_secrets",
		Help: "Stored secrets that this process cannot open with SECRETS_KEY.",
	}, func() float64 { return float64(unreadable()) })
}

func revision() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}

	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}

	return ""
}
