package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	goredis "github.com/redis/go-redis/v9"
)

// CacheMeter measures the replay cache in this process.
type CacheMeter struct{ hit, miss prometheus.Counter }

// MemoryCache is what adapters/memory measures with.
func (m *Metrics) MemoryCache() *CacheMeter { return m.cache }

func newCacheMeter(factory promauto.Factory) *CacheMeter {
	const cache = "memory"

	lookups := factory.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "replay_cache_operations_total",
		Help: "Lookups in the cache of frozen answers, by cache (memory) and outcome: hit or miss.",
	}, []string{"cache", labelOutcome})

	return &CacheMeter{hit: lookups.WithLabelValues(cache, "hit"), miss: lookups.WithLabelValues(cache, "miss")}
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
		Help: "Requests by the rate limiter's decision: allowed, limited, or error " +
			"if Redis did not answer and the process decided by itself.",
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

// Error counts one for which Redis did not answer.
func (l *LimiterMeter) Error() { l.failed.Inc() }

// ObserveMemoryCache reports on each scrape how full the cache in this process is.
func (m *Metrics) ObserveMemoryCache(cache interface {
	Size() (entries int, size int64)
},
) {
	c := &collector{}
	entries := c.desc("replay_cache_memory_entries", "Frozen answers in this process's memory.")
	size := c.desc("replay_cache_memory_bytes", "About how much memory the frozen answers in this process take, in bytes.")

	c.collect = func(out metrics) {
		count, bytes := cache.Size()
		out.gauge(entries, float64(count))
		out.gauge(size, float64(bytes))
	}
	m.registry.MustRegister(c)
}

// ObserveRedisPool reports on each scrape how the connections to Redis are used.
func (m *Metrics) ObserveRedisPool(pool interface{ PoolStats() *goredis.PoolStats }) {
	c := &collector{}
	open := c.desc("redis_connections", "Open connections to Redis.")
	idle := c.desc("redis_idle_connections", "Open connections to Redis that nobody uses now.")
	timeouts := c.desc("redis_pool_timeouts_total",
		"Commands that were given up because every connection to Redis was in use.")

	c.collect = func(out metrics) {
		stats := pool.PoolStats()
		out.gauge(open, float64(stats.TotalConns))
		out.gauge(idle, float64(stats.IdleConns))
		out.counter(timeouts, float64(stats.Timeouts))
	}
	m.registry.MustRegister(c)
}
