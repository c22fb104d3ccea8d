package telemetry

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// ObservePool tells how the connections of a database pool are used, whenever
// Prometheus asks. name tells pools apart: "requests", "jobs"; each only once.
func (m *Metrics) ObservePool(name string, pool interface{ Stat() *pgxpool.Stat }) {
	prometheus.WrapRegistererWith(prometheus.Labels{"pool": name}, m.registry).MustRegister(newPoolCollector(pool))
}

// poolCollector reads all its numbers off one Stat, so that they fit together.
type poolCollector struct {
	pool                                      interface{ Stat() *pgxpool.Stat }
	connections, maximum                      *prometheus.Desc
	acquires, waits, waited, canceled, opened *prometheus.Desc
}

func newPoolCollector(pool interface{ Stat() *pgxpool.Stat }) *poolCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "database", name), help, labels, nil)
	}

	return &poolCollector{
		pool:        pool,
		connections: desc("connections", "Connections to PostgreSQL by state: acquired, idle, constructing.", "state"),
		maximum:     desc("max_connections", "The most connections that the pool may open."),
		acquires:    desc("acquires_total", "Connections that were taken out of the pool."),
		waits:       desc("acquire_waits_total", "Connections that somebody had to wait for, because none was idle."),
		waited:      desc("acquire_wait_seconds_total", "Time spent waiting for a connection, in seconds."),
		canceled:    desc("acquires_canceled_total", "Waits for a connection that were given up."),
		opened:      desc("connections_opened_total", "Connections that were opened."),
	}
}

// Describe implements prometheus.Collector.
func (c *poolCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.connections, c.maximum, c.acquires, c.waits, c.waited, c.canceled, c.opened,
	} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *poolCollector) Collect(out chan<- prometheus.Metric) {
	stat := c.pool.Stat()
	gauge := func(desc *prometheus.Desc, value int32, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	counter := func(desc *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, value)
	}

	gauge(c.connections, stat.AcquiredConns(), "acquired")
	gauge(c.connections, stat.IdleConns(), "idle")
	gauge(c.connections, stat.ConstructingConns(), "constructing")
	gauge(c.maximum, stat.MaxConns())
	counter(c.acquires, float64(stat.AcquireCount()))
	counter(c.waits, float64(stat.EmptyAcquireCount()))
	counter(c.waited, stat.EmptyAcquireWaitTime().Seconds())
	counter(c.canceled, float64(stat.CanceledAcquireCount()))
	counter(c.opened, float64(stat.NewConnsCount()))
}
