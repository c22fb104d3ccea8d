package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	goredis "github.com/redis/go-redis/v9"
)

func newCacheCounters(factory promauto.Factory) *prometheus.CounterVec {
	return factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "replay_cache_operations_total",
		Help: "Questions to the cache of frozen answers, by cache (memory) and outcome: hit or miss.",
	}, []string{"cache", labelOutcome})
}

// CacheMeter measures a replay cache in this process.
type CacheMeter struct{ hit, miss prometheus.Counter }

// MemoryCache is what adapters/memory measures with.
func (m *Metrics) MemoryCache() *CacheMeter {
	const cache = "memory"

	return &CacheMeter{
		hit:  m.caches.WithLabelValues(cache, "hit"),
		miss: m.caches.WithLabelValues(cache, "miss"),
	}
}

// Hit counts an answer that was there.
func (c *CacheMeter) Hit() { c.hit.Inc() }

// Miss counts one that was not.
func (c *CacheMeter) Miss() { c.miss.Inc() }

// LimiterMeter measures a rate limiter.
type LimiterMeter struct{ allowed, limited, failed prometheus.Counter }

// RateLimit is what the API's rate limiter is measured with.
func (m *Metrics) RateLimit() *LimiterMeter { return m.limiter }

func newLimiterMeter(factory promauto.Factory) *LimiterMeter {
	decisions := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "rate_limit_decisions_total",
		Help: "Requests by what the rate limiter said: allowed, limited, or error, " +
			"where Redis could not tell and the process decided by itself.",
	}, []string{labelOutcome})

	return &LimiterMeter{
		allowed: decisions.WithLabelValues("allowed"),
		limited: decisions.WithLabelValues("limited"),
		failed:  decisions.WithLabelValues("error"),
	}
}

// Allowed counts a request that may go on.
func (l *LimiterMeter) Allowed() { l.allowed.Inc() }

// Limited counts one that may not.
func (l *LimiterMeter) Limited() { l.limited.Inc() }

// Error counts one that Redis could not tell about.
func (l *LimiterMeter) Error() { l.failed.Inc() }

// ObserveMemoryCache tells how full the cache in this process is, whenever
// Prometheus asks.
func (m *Metrics) ObserveMemoryCache(cache interface {
	Size() (entries int, size int64)
},
) {
	factory := promauto.With(m.registry)
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "replay_cache_memory_entries",
		Help: "Frozen answers in this process's memory.",
	}, func() float64 {
		entries, _ := cache.Size()

		return float64(entries)
	})
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "replay_cache_memory_bytes",
		Help: "About what the frozen answers in this process's memory take, in bytes.",
	}, func() float64 {
		_, size := cache.Size()

		return float64(size)
	})
}

// ObserveRedisPool tells how the connections to Redis are used, whenever
// Prometheus asks.
func (m *Metrics) ObserveRedisPool(pool interface{ PoolStats() *goredis.PoolStats }) {
	factory := promauto.With(m.registry)
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystemRedis, Name: "connections",
		Help: "Open connections to Redis.",
	}, func() float64 { return float64(pool.PoolStats().TotalConns) })
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystemRedis, Name: "idle_connections",
		Help: "Open connections to Redis that nobody uses now.",
	}, func() float64 { return float64(pool.PoolStats().IdleConns) })
	factory.NewCounterFunc(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystemRedis, Name: "pool_timeouts_total",
		Help: "Commands that were given up because every connection to Redis was in use.",
	}, func() float64 { return float64(pool.PoolStats().Timeouts) })
}
