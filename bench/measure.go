package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// counters are read before and after a slice of load.
type counters struct {
	at                                    time.Time
	service, postgres, sandbox, own, busy time.Duration
	mallocs, allocated, uses              float64
	wal, writes, statements               int64
}

// read takes all counters. s may be a floor's process only, without a database.
func (r *rig) read(ctx context.Context, s *service) (counters, error) {
	c := counters{at: time.Now()}

	var err error
	if c.busy, err = busyTime(); err != nil {
		return c, err
	}

	for pid, into := range map[int]*time.Duration{
		s.pid(): &c.service, r.postmaster: &c.postgres, r.sandbox.pid(): &c.sandbox,
	} {
		if *into, err = treeTime(pid); err != nil {
			return c, err
		}
	}

	c.own = ownTime()

	// Ids are given to transactions that write, and to no others. (The count of
	// commits in pg_stat_database is up to ten seconds late.)
	err = s.db.QueryRow(ctx, `
		SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint,
		       pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
		       COALESCE((SELECT sum(calls)::bigint FROM pg_stat_statements
		                 WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())), 0)`).
		Scan(&c.wal, &c.writes, &c.statements)
	if err != nil {
		return c, fmt.Errorf("reading the database's counters: %w", err)
	}

	return c, nil
}

func ownTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}

	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// scrape reads the service's own metrics.
func (c *counters) scrape(ctx context.Context, s *service) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/metrics", nil)
	if err != nil {
		return fmt.Errorf("asking for metrics: %w", err)
	}

	text, err := fetch(request)
	if err != nil {
		return err
	}

	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")

		into, wanted := map[string]*float64{
			"go_memstats_mallocs_total":                           &c.mallocs,
			"go_memstats_alloc_bytes_total":                       &c.allocated,
			`marketflow_database_acquires_total{pool="requests"}`: &c.uses,
		}[name]
		if !wanted {
			continue
		}

		if *into, err = strconv.ParseFloat(value, 64); err != nil {
			return fmt.Errorf("reading metrics: %w", err)
		}
	}

	return nil
}

// sample is one slice of load. Costs are per operation that succeeded.
type sample struct {
	PerSecond float64 `json:"per_second"`
	// Latencies in milliseconds.
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	// CPU in microseconds.
	ServiceCPU  float64 `json:"service_cpu_us"`
	PostgresCPU float64 `json:"postgres_cpu_us"`
	// ClientCPU is the load generator's, or pgbench's.
	ClientCPU   float64 `json:"client_cpu_us"`
	Allocations float64 `json:"allocations"`
	Allocated   float64 `json:"allocated_bytes"`
	// Exchanges is how often a connection was taken to talk to PostgreSQL: round
	// trips, as the hot paths make one each time. A batch is one for all in it.
	Exchanges  float64 `json:"postgres_exchanges"`
	Statements float64 `json:"postgres_statements"`
	Commits    float64 `json:"postgres_write_commits"`
	WAL        float64 `json:"postgres_wal_bytes"`
	// Resident in MiB, at the end of the slice.
	Resident float64 `json:"resident_mib"`
	// Foreign is how many cores other programs of the machine kept busy.
	Foreign float64 `json:"foreign_cores"`
	Failed  int64   `json:"failed"`
}

// cpu is what an operation takes of the machine, its client included.
func (s sample) cpu() float64 { return s.ServiceCPU + s.PostgresCPU + s.ClientCPU }

// bareSlice runs load against a floor.
func (r *rig) bareSlice(ctx context.Context, floor *process, run func(context.Context) (*outcome, error)) (sample, error) {
	var times [2]counters

	read := func(c *counters) (err error) {
		if c.service, err = treeTime(floor.pid()); err != nil {
			return err
		}

		c.own = ownTime()
		c.postgres, err = treeTime(r.postmaster)

		return err
	}

	if err := read(&times[0]); err != nil {
		return sample{}, err
	}

	o, err := run(ctx)
	if err != nil {
		return sample{}, err
	}

	if err := read(&times[1]); err != nil {
		return sample{}, err
	}

	times[0].at, times[1].at = time.Now(), time.Now().Add(o.elapsed)

	return cost(times[0], times[1], o), nil
}

// slice runs load against the service and tells what it cost.
func (r *rig) slice(ctx context.Context, s *service, run func(context.Context) (*outcome, error)) (sample, error) {
	var before, after counters

	if err := before.scrape(ctx, s); err != nil {
		return sample{}, err
	}

	scraped := before

	before, err := r.read(ctx, s)
	if err != nil {
		return sample{}, err
	}

	before.mallocs, before.allocated, before.uses = scraped.mallocs, scraped.allocated, scraped.uses

	o, err := run(ctx)
	if err != nil {
		return sample{}, err
	}

	if after, err = r.read(ctx, s); err != nil {
		return sample{}, err
	}

	if err := after.scrape(ctx, s); err != nil {
		return sample{}, err
	}

	now, _, err := residentBytes(s.pid())
	if err != nil {
		return sample{}, err
	}

	one := cost(before, after, o)
	one.Resident = float64(now) / (1 << 20)

	return one, nil
}

func cost(before, after counters, o *outcome) sample {
	operations := float64(max(1, o.succeeded()))
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / operations }

	one := sample{
		PerSecond:   o.perSecond(),
		ServiceCPU:  micros(after.service - before.service),
		PostgresCPU: micros(after.postgres - before.postgres),
		Allocations: (after.mallocs - before.mallocs) / operations,
		Allocated:   (after.allocated - before.allocated) / operations,
		Exchanges:   (after.uses - before.uses) / operations,
		Statements:  float64(after.statements-before.statements) / operations,
		Commits:     float64(after.writes-before.writes) / operations,
		WAL:         float64(after.wal-before.wal) / operations,
		ClientCPU:   micros(after.own - before.own),
		Foreign:     foreign(before, after, 0),
		Failed:      o.failures,
	}
	one.P50, one.P99, one.P999 = quantiles(o.latencies)

	return one
}

// foreign is how many cores were kept busy by programs that are not ours; other is
// what a floor's program used.
func foreign(before, after counters, other time.Duration) float64 {
	ours := after.service - before.service + after.postgres - before.postgres + after.sandbox - before.sandbox +
		after.own - before.own + other

	return max(0, (after.busy-before.busy-ours).Seconds()/after.at.Sub(before.at).Seconds())
}

func quantiles(h *hdrhistogram.Histogram) (p50, p99, p999 float64) {
	const micro = 1000

	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / micro }

	return at(50), at(99), at(99.9)
}

// pgbenchSlice runs pgbench as a floor.
func (r *rig) pgbenchSlice(
	ctx context.Context, s *service, p *pgbench, clients int, base uint64, lasts time.Duration,
) (sample, floorRun, error) {
	before, err := r.read(ctx, s)
	if err != nil {
		return sample{}, floorRun{}, err
	}

	run, err := p.run(ctx, clients, base, lasts)
	if err != nil {
		return sample{}, run, err
	}

	after, err := r.read(ctx, s)
	if err != nil {
		return sample{}, run, err
	}

	operations := float64(max(1, run.transactions))

	return sample{
		PerSecond:   run.perSecond,
		P50:         run.average, // all that pgbench tells
		PostgresCPU: float64((after.postgres - before.postgres).Microseconds()) / operations,
		Statements:  float64(after.statements-before.statements) / operations,
		Commits:     float64(after.writes-before.writes) / operations,
		WAL:         float64(after.wal-before.wal) / operations,
		ClientCPU:   float64(run.cpu.Microseconds()) / operations,
		Foreign:     foreign(before, after, run.cpu),
	}, run, nil
}
