package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// plan says how much is measured.
type plan struct {
	quick    bool
	rounds   int
	warmUp   time.Duration // of pgbench
	lasts    time.Duration
	payments uint64    // loaded for the webhooks to move
	listed   uint64    // loaded to be listed
	rates    []float64 // of creates with provider latency, rising
	starts   int
}

func fullPlan() plan {
	return plan{
		rounds: 5, warmUp: 3 * time.Second, lasts: 3 * time.Second, payments: 700_000, listed: 2_200_000, starts: 5,
		rates: []float64{50, 250, 500, 750, 1000, 1250, 1500, 1750, 2000, 2500},
	}
}

func quickPlan() plan {
	return plan{
		quick: true, rounds: 2, warmUp: 2 * time.Second, lasts: time.Second, payments: 150_000, listed: 220_000, starts: 2,
		rates: []float64{50, 400},
	}
}

// suite runs the workloads and gathers their results.
type suite struct {
	*rig
	plan

	only   *regexp.Regexp
	main   *service
	events *stream // webhooks for the loaded payments, one each
	// eventsOfBase are those for the payments of another build; nil if there is none.
	eventsOfBase *stream
	numbers      uint64 // payments with numbers up to these have been created by pgbench
	report       report
}

// row is a line of the report: a load, and what the service is held against.
type row struct {
	title       string
	connections int
	stream      *stream
	rate        float64 // of an open load; 0 is a closed one
	count       uint64  // requests in a round; 0 is as many as fit in its time
	floor       string
	aim         float64 // the least ratio that meets the target; 0 is no target
}

// side runs one round of one side of a duel.
type side func(round int) sample

// workload is a row, or a function that makes other rows.
type workload struct {
	name    string // what -only is matched against
	quick   bool   // part of the quick run
	row     row
	against func(context.Context, row) side
	run     func(context.Context)
}

func (s *suite) workloads() []workload {
	const pgbench, netHTTP = "pgbench", "net/http"

	creates, reads := newCreates(false), newReads(s.payments)

	return []workload{
		{name: "added", quick: true, run: s.added},
		{
			name: "webhooks-16", against: s.pgbenchEvents,
			row: row{title: "webhooks, 16 connections", connections: 16, stream: s.events, floor: pgbench, aim: 0.65},
		},
		{
			name: "webhooks-64", quick: true, against: s.pgbenchEvents,
			row: row{title: "webhooks, 64 connections", connections: 64, stream: s.events, floor: pgbench, aim: 1.1},
		},
		{
			name: "creates-16", against: s.pgbenchCreates,
			row: row{title: "creates, no provider latency, 16", connections: 16, stream: creates, floor: pgbench},
		},
		{
			name: "creates-64", quick: true, against: s.pgbenchCreates,
			row: row{title: "creates, no provider latency, 64", connections: 64, stream: creates, floor: pgbench},
		},
		{
			name: "replays-one", against: s.bare(floorReplays),
			row: row{title: "replays of 1 keys", connections: 16, stream: newReplays(1), floor: netHTTP, aim: 0.55},
		},
		{
			name: "replays-many", quick: true, against: s.bare(floorReplays),
			row: row{title: "replays of 1000 keys", connections: 16, stream: newReplays(1000), floor: netHTTP, aim: 0.55},
		},
		{
			name: "reads", quick: true, against: s.bare(floorReads),
			row: row{title: "reads", connections: 16, stream: reads, floor: netHTTP + " + pgx", aim: 0.85},
		},
		{
			name: "mixed",
			row: row{
				title: "mixed 60/10/10/10/10", connections: 64, rate: 600,
				stream: newMixed(reads, newPages(""), newCreates(false), newPaid(), s.events),
			},
		},
		{name: "refunds", quick: true, run: s.refunds},
		{name: "lists", quick: true, run: s.lists},
		{name: "metadata", quick: true, run: s.metadata},
		{name: "telemetry", run: s.telemetry},
		{name: "cold", quick: true, run: s.coldStart},
		{name: "growth", run: s.growth},
	}
}

func (s *suite) run(ctx context.Context, base string) {
	s.main = s.serveNew(ctx, "bench", s.payments)
	s.report = report{begin: s.begin, quick: s.quick, machine: s.machine()}
	s.report.idle, _ = s.memory(s.main)

	if base != "" {
		s.compare(ctx, must(filepath.Abs(base)))

		return
	}

	for _, w := range s.workloads() {
		if !s.only.MatchString(w.name) || s.quick && !w.quick {
			continue
		}

		s.sayf("workload %s", w.name)

		switch {
		case w.run != nil:
			w.run(ctx)
		case w.against != nil:
			s.duel(w.row, s.under(ctx, w.row, s.main), w.against(ctx, w.row))
		default:
			s.alone(w.row, s.under(ctx, w.row, s.main))
		}

		_, s.report.top = s.memory(s.main)
		s.report.write()
	}

	fmt.Print(s.report.markdown())
	s.sayf("written to %s", s.report.path())
}

// alone measures what is held against nothing.
func (s *suite) alone(r row, subject side) {
	samples := make([]sample, s.rounds)

	for round := range samples {
		samples[round] = subject(round)
	}

	s.report.results = append(s.report.results, result{row: r, subject: medians(samples)})
}

// duel measures subject and floor in turns (A B, B A, A B, …), so that whatever
// else the machine does slows both down.
func (s *suite) duel(r row, subject, floor side) {
	var (
		subjects, floors []sample
		ratios           []float64
	)

	for round := range s.rounds {
		var a, b sample

		turns := []func(){func() { a = subject(round) }, func() { b = floor(round) }}
		if round%2 == 1 {
			slices.Reverse(turns)
		}

		turns[0]()
		turns[1]()

		for _, events := range []*stream{s.events, s.eventsOfBase} {
			if events != nil && events.next.Load() > s.payments {
				check(fmt.Errorf("%s needs more than the %d payments that were loaded", r.title, s.payments))
			}
		}

		if b[perSecond] == 0 {
			s.sayf("%s: the machine was too busy for %s, round %d does not count", r.title, r.floor, round)

			continue
		}

		subjects, floors, ratios = append(subjects, a), append(floors, b), append(ratios, a[perSecond]/b[perSecond])
		s.sayf("%-32s %6.0f/s   %s %6.0f/s   ratio %.2f   p99 %.1f ms   CPU %.0f : %.0f us   foreign %.2f", r.title,
			a[perSecond], r.floor, b[perSecond], a[perSecond]/b[perSecond], a[p99], a.cpu(), b.cpu(), a[foreign])
	}

	if len(ratios) == 0 {
		check(fmt.Errorf("%s did nothing in any round", r.floor))
	}

	s.report.results = append(s.report.results, result{
		row: r, subject: medians(subjects), other: new(medians(floors)),
		ratio: middle(ratios), least: slices.Min(ratios), most: slices.Max(ratios),
	})
}

// under puts a service under a row's load.
func (s *suite) under(ctx context.Context, r row, of *service) side {
	l := &load{row: r, addr: of.addr, lasts: s.lasts}

	return func(round int) sample {
		if round == 0 {
			l.warmUp(ctx)
		}

		return s.measure(ctx, of, func() (sample, int64) {
			one, done, err := l.run(ctx)
			check(err)

			return one, done
		})
	}
}

// pgbenchEvents is pgbench with the leanest statement that applies an event. Each of
// its events must move its payment, or it would do half of the work.
func (s *suite) pgbenchEvents(ctx context.Context, r row) side {
	bench := s.newPgbench("event", leanEvent())

	return func(int) sample {
		first := s.events.next.Load()

		var done, applied, end int64

		one := s.measure(ctx, &service{db: s.main.db}, func() (one sample, _ int64) {
			one, done = bench.run(ctx, r.connections, first, s.lasts)

			return one, done
		})

		check(s.main.db.QueryRow(ctx, `SELECT count(*), COALESCE(max(substr(id, 10)::bigint) + 1, $1) FROM stripe_events
			WHERE id LIKE 'evt_floor%' AND outcome = 'applied' AND substr(id, 10)::bigint >= $1`, int64(first)).Scan(&applied, &end))
		s.events.next.Store(uint64(end))

		if applied < done {
			check(fmt.Errorf("pgbench applied only %d of %d events", applied, done))
		}

		return one
	}
}

// pgbenchCreates is pgbench with the two statements of a create.
func (s *suite) pgbenchCreates(ctx context.Context, r row) side {
	bench := s.newPgbench("create", leanCreate()...)

	return func(int) sample {
		return s.measure(ctx, &service{db: s.main.db}, func() (sample, int64) {
			return bench.run(ctx, r.connections, s.unused(), s.lasts)
		})
	}
}

// unused returns the first of a range of payment numbers for one run of pgbench.
func (s *suite) unused() uint64 {
	s.numbers += 1 << 28

	return s.numbers
}

// bare is a bare handler under the same load.
func (s *suite) bare(floor string) func(context.Context, row) side {
	return func(ctx context.Context, r row) side {
		env := []string{"DATABASE_URL=" + s.main.url}

		return s.under(ctx, r, &service{
			process: s.launch(ctx, readyPath, env, must(os.Executable()), "-floor", floor), db: s.main.db,
		})
	}
}

// telemetry holds the service as it is shipped, and with every request traced,
// against itself without tracing and metrics. A machine's speed changes more in
// a few seconds than the difference is, so the turns are many and short.
func (s *suite) telemetry(ctx context.Context) {
	defer func(p plan) { s.plan = p }(s.plan)

	s.rounds, s.lasts = 15, time.Second
	bare, all := s.unobserved(ctx), s.serve(ctx, s.main.url, "OTEL_TRACES_SAMPLER=parentbased_always_on")

	for _, r := range []row{
		{title: "telemetry: webhooks", connections: 64, stream: s.events},
		{title: "telemetry: reads", connections: 16, stream: newReads(s.payments)},
		{title: "telemetry: replays", connections: 16, stream: newReplays(1)},
	} {
		r.floor, r.aim = "none", 0.9
		s.duel(r, s.under(ctx, r, s.main), s.under(ctx, r, bare))

		r.title, r.aim = r.title+", every trace", 0
		s.duel(r, s.under(ctx, r, all), s.under(ctx, r, bare))
	}
}

// coldStart is the time from exec to ready, on a migrated database.
func (s *suite) coldStart(ctx context.Context) {
	took := make([]float64, s.starts)

	for i := range took {
		one := s.serve(ctx, s.main.url)
		took[i] = float64(one.started.Microseconds()) / 1000

		check(one.stop())
	}

	s.report.readyMS = middle(took)
	s.sayf("cold start %.0f ms", s.report.readyMS)
}

// growth asks the same of services on databases of different sizes, and holds each against
// the smallest. On the largest it also holds the last pages of a list against the first, and
// indexed metadata against none.
func (s *suite) growth(ctx context.Context) {
	sizes := []uint64{10_000, 1_000_000, 10_000_000}
	services, rows := make([]*service, len(sizes)), make([][]row, len(sizes))

	for i, size := range sizes {
		services[i] = s.serveNew(ctx, fmt.Sprintf("bench_%d", size), size)
		rows[i] = []row{
			{title: "webhooks", stream: newWebhooks("grown")},
			{title: "creates", stream: newCreates(false)},
			{title: "reads", stream: newReads(size)},
		}

		for j := range rows[i] {
			r := &rows[i][j]
			r.title += fmt.Sprintf(" with %d payments", size)
			r.connections, r.floor = 16, fmt.Sprintf("%d payments", sizes[0])
			r.count = 800 // the smallest has payments for the webhooks of twelve rounds and warm-ups
		}
	}

	for j, small := range rows[0] {
		for i := 1; i < len(sizes); i++ {
			s.duel(rows[i][j], s.under(ctx, rows[i][j], services[i]), s.under(ctx, small, services[0]))
		}
	}

	last := len(sizes) - 1
	s.pages(ctx, services[last], sizes[last], 100_000*pageSize, loadedAt(sizes[last]-100_000*pageSize))
	s.withMetadata(ctx, services[last], rows[last][0].stream, fmt.Sprintf(", %d payments", sizes[last]))
}

// compare measures this build against another one, in turns. Each has a database of its
// own, because another release may have other tables.
func (s *suite) compare(ctx context.Context, base string) {
	before := s.serveBuild(ctx, base, "bench_base", s.payments)
	creates := newCreates(false)
	s.eventsOfBase = newWebhooks("base")

	for _, r := range []row{
		{title: "webhooks, 1", connections: 1, stream: s.events},
		{title: "webhooks, 16", connections: 16, stream: s.events},
		{title: "webhooks, 64", connections: 64, stream: s.events},
		{title: "creates, 1", connections: 1, stream: creates},
		{title: "creates, 16", connections: 16, stream: creates},
		{title: "creates, 64", connections: 64, stream: creates},
		{title: "replays, 16", connections: 16, stream: newReplays(1)},
		{title: "reads, 16", connections: 16, stream: newReads(s.payments)},
	} {
		r.floor = "base"
		other := r

		if r.stream == s.events {
			other.stream = s.eventsOfBase
		}

		if s.only.MatchString(r.title) {
			s.duel(r, s.under(ctx, r, s.main), s.under(ctx, other, before))
		}
	}

	fmt.Print(s.report.comparison())
}
