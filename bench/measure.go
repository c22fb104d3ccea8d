package main

import (
	"context"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// figure is an index into a sample.
type figure int

const (
	perSecond figure = iota
	p50              // latencies in milliseconds
	p99
	p999
	serviceCPU // from here on the costs of an operation that succeeded; CPU in microseconds
	postgresCPU
	clientCPU // the load generator's, or pgbench's
	allocations
	allocated // bytes
	exchanges // how often a connection was taken to talk to PostgreSQL, which is a round trip on the hot paths
	statements
	commits // that wrote something
	wal     // bytes, and the last of the costs
	resident
	foreign // how many cores other programs of the machine kept busy
	failed
	figures
)

// sample is what a round saw, or the medians of rounds.
type sample [figures]float64

// cpu is what an operation takes of the machine, its client included.
func (s *sample) cpu() float64 { return s[serviceCPU] + s[postgresCPU] + s[clientCPU] }

// counters are totals before or after a round; CPU in microseconds.
type counters struct {
	sample

	at            time.Time
	sandbox, busy float64
}

// measure runs a load against a service, and tells what an operation cost. A
// service without a process stands for pgbench, which knows its own CPU time.
func (r *rig) measure(ctx context.Context, of *service, load func() (one sample, done int64)) sample {
	var before, after counters

	before.ask(ctx, of)
	before.readProcesses(r, of)

	one, done := load()

	after.readProcesses(r, of)
	after.ask(ctx, of)

	for f := serviceCPU; f <= wal; f++ {
		one[f] += after.sample[f] - before.sample[f]
	}

	others := (after.busy - before.busy) - (after.sandbox - before.sandbox) - one.cpu()
	one[foreign] = max(0, others/float64(after.at.Sub(before.at).Microseconds()))
	one[resident] = after.sample[resident]

	for f := serviceCPU; f <= wal; f++ {
		one[f] /= float64(max(1, done))
	}

	return one
}

// readProcesses reads CPU times and memory from /proc.
func (c *counters) readProcesses(r *rig, of *service) {
	const (
		tick = 10_000 // microseconds; USER_HZ is 100 on every Linux that Go runs on (proc(5))
		mib  = 1 << 20
	)

	for _, p := range must(r.proc.AllProcs()) {
		s, err := p.Stat()
		if err != nil {
			continue // it has ended
		}

		used := float64(s.UTime+s.STime) * tick

		switch {
		case s.PID == os.Getpid():
			c.sample[clientCPU] = used
		case s.PID == r.sandbox.pid():
			c.sandbox = used
		case s.PID == r.postmaster:
			c.sample[postgresCPU] += used + float64(s.CUTime+s.CSTime)*tick // its dead children's too
		case s.PPID == r.postmaster:
			c.sample[postgresCPU] += used
		case of.process != nil && s.PID == of.pid():
			c.sample[serviceCPU], c.sample[resident] = used, float64(s.ResidentMemory())/mib
		}
	}

	cpu := must(r.proc.Stat()).CPUTotal
	c.at, c.busy = time.Now(), (cpu.User+cpu.Nice+cpu.System+cpu.IRQ+cpu.SoftIRQ)*1e6
}

// ask asks the database, and the service for its own metrics.
func (c *counters) ask(ctx context.Context, of *service) {
	// Only transactions that write are given ids. The count of commits in
	// pg_stat_database is up to ten seconds late.
	check(of.db.QueryRow(ctx, `
		SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8,
		       pg_snapshot_xmax(pg_current_snapshot())::text::float8,
		       COALESCE((SELECT sum(calls)::float8 FROM pg_stat_statements
		                 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())), 0)`).
		Scan(&c.sample[wal], &c.sample[commits], &c.sample[statements]))

	if !of.metrics {
		return
	}

	wanted := map[string]figure{
		"go_memstats_mallocs_total":                           allocations,
		"go_memstats_alloc_bytes_total":                       allocated,
		`marketflow_database_acquires_total{pool="requests"}`: exchanges,
	}

	for line := range strings.Lines(must(fetch(ctx, http.MethodGet, "http://"+of.addr+"/metrics", ""))) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")

		if f, ok := wanted[name]; ok {
			c.sample[f] = must(strconv.ParseFloat(value, 64))
		}
	}
}

// medians is each figure's own median.
func medians(samples []sample) (all sample) {
	for f := range figures {
		values := make([]float64, len(samples))
		for i, one := range samples {
			values[i] = one[f]
		}

		all[f] = middle(values)
	}

	return all
}

func middle(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}

	slices.Sort(values)
	half := len(values) / 2

	return (values[half] + values[(len(values)-1)/2]) / 2
}
