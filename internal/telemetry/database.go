package telemetry

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// ObservePool reports on each scrape how the connections of a database pool are
// used. name tells pools apart: "requests", "background"; each only once.
func (m *Metrics) ObservePool(name string, pool interface{ Stat() *pgxpool.Stat }) {
	c := &collector{}
	connections := c.desc("database_connections",
		"Connections to PostgreSQL, by state: acquired, idle, constructing.", "state")
	maximum := c.desc("database_max_connections", "The most connections that the pool may open.")
	acquires := c.desc("database_acquires_total", "Connections that were taken out of the pool.")
	waits := c.desc("database_acquire_waits_total", "Times that somebody had to wait for a connection, because none was idle.")
	waited := c.desc("database_acquire_wait_seconds_total", "Time spent waiting for a connection, in seconds.")
	canceled := c.desc("database_acquires_canceled_total", "Times that somebody stopped waiting for a connection.")
	opened := c.desc("database_connections_opened_total", "Connections that were opened.")

	c.collect = func(out metrics) {
		stat := pool.Stat() // one, so that the numbers fit together
		out.gauge(connections, float64(stat.AcquiredConns()), "acquired")
		out.gauge(connections, float64(stat.IdleConns()), "idle")
		out.gauge(connections, float64(stat.ConstructingConns()), "constructing")
		out.gauge(maximum, float64(stat.MaxConns()))
		out.counter(acquires, float64(stat.AcquireCount()))
		out.counter(waits, float64(stat.EmptyAcquireCount()))
		out.counter(waited, stat.EmptyAcquireWaitTime().Seconds())
		out.counter(canceled, float64(stat.CanceledAcquireCount()))
		out.counter(opened, float64(stat.NewConnsCount()))
	}
	prometheus.WrapRegistererWith(prometheus.Labels{"pool": name}, m.registry).MustRegister(c)
}
