package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The models of load; see load.go.
const (
	modelOpen   = "open"
	modelClosed = "closed"
)

// plan is how much is measured.
type plan struct {
	rounds int
	// warmUp of pgbench.
	warmUp time.Duration
	lasts  time.Duration
	// payments that are loaded for the webhooks to move.
	payments uint64
	// rates of creates with provider latency, rising.
	rates []float64
	// sizes of the tables whose costs are compared; the first is the floor.
	sizes []uint64
	// grown is how many operations a round of growth has.
	grown  uint64
	starts int
	// without are workloads that are left out.
	without []string
}

func fullPlan() plan {
	return plan{
		rounds: 5, warmUp: 3 * time.Second, lasts: 3 * time.Second, payments: 700_000,
		rates: []float64{50, 250, 500, 750, 1000, 1250, 1500, 1750, 2000, 2500}, sizes: []uint64{10_000, 1_000_000, 10_000_000},
		grown: 900, starts: 5,
	}
}

func quickPlan() plan {
	return plan{
		rounds: 2, warmUp: 2 * time.Second, lasts: time.Second, payments: 60_000,
		rates: []float64{50, 400}, grown: 900, starts: 2,
		without: []string{"creates-16", "webhooks-16", "replays-one", "mixed", "telemetry"},
	}
}

// suite runs the workloads and gathers their results.
type suite struct {
	*rig
	plan

	only  *regexp.Regexp
	out   string
	begin time.Time
	// path is where the results were written last.
	path string
	main *service
	// next is the first bulk-loaded payment that no event has moved.
	next atomic.Uint64
	rep  report
}

// run measures everything that only matches.
func (s *suite) run(ctx context.Context) error {
	url, err := s.newDatabase(ctx, "bench")
	if err != nil {
		return err
	}

	if s.main, err = s.serve(ctx, url); err != nil {
		return err
	}

	if err := s.idle(); err != nil {
		return err
	}

	s.say("loading %d payments", s.payments)

	if err := loadPayments(ctx, s.main.db, s.payments); err != nil {
		return err
	}

	for _, w := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"added", s.added},
		{"webhooks-16", func(ctx context.Context) error { return s.webhooks(ctx, 16) }},
		{"webhooks-64", func(ctx context.Context) error { return s.webhooks(ctx, 64) }},
		{"creates-16", func(ctx context.Context) error { return s.creates(ctx, 16) }},
		{"creates-64", func(ctx context.Context) error { return s.creates(ctx, 64) }},
		{"replays-one", func(ctx context.Context) error { return s.replays(ctx, 1) }},
		{"replays-many", func(ctx context.Context) error { return s.replays(ctx, 1000) }},
		{"reads", s.reads},
		{"mixed", s.mixed},
		{"telemetry", s.telemetry},
		{"cold", s.coldStart},
		{"growth", s.growth},
	} {
		if !s.only.MatchString(w.name) || slices.Contains(s.without, w.name) {
			continue
		}

		if err := w.run(ctx); err != nil {
			return fmt.Errorf("workload %s: %w", w.name, err)
		}

		if err := s.keep(); err != nil {
			return err
		}
	}

	return nil
}

// keep writes what is known so far.
func (s *suite) keep() error {
	_, most, err := residentBytes(s.main.pid())
	if err != nil {
		return err
	}

	s.rep.TopMiB = float64(most) / (1 << 20)
	s.rep.TookSecs = time.Since(s.begin).Seconds()
	s.rep.judge(s.sizes)

	s.path, err = s.rep.write(s.out)

	return err
}

// idle is the memory of a service that nobody has asked anything yet.
func (s *suite) idle() error {
	now, _, err := residentBytes(s.main.pid())
	s.rep.IdleMiB = float64(now) / (1 << 20)

	return err
}

// duel measures subject and floor in turns: A B, B A, A B, …, so that what the
// machine's neighbours do falls on both.
func (s *suite) duel(r result, subject, floor func(round int) (sample, error)) error {
	var subjects, floors []sample

	ratios := make([]float64, 0, s.rounds)

	for round := range s.rounds {
		var (
			a, b       sample
			errA, errB error
		)

		if round%2 == 0 {
			a, errA = subject(round)
			b, errB = floor(round)
		} else {
			b, errB = floor(round)
			a, errA = subject(round)
		}

		if errA != nil || errB != nil {
			return fmt.Errorf("round %d: %w", round, firstError(errA, errB))
		}

		if b.PerSecond == 0 {
			s.say("%s: the machine was too busy for %s, round %d does not count", r.Workload, r.FloorName, round)

			continue
		}

		subjects, floors = append(subjects, a), append(floors, b)
		ratios = append(ratios, a.PerSecond/b.PerSecond)
		s.say("%-32s %6.0f/s   %s %6.0f/s   ratio %.2f   p99 %.1f ms   CPU %.0f : %.0f us   foreign %.2f", r.Workload,
			a.PerSecond, r.FloorName, b.PerSecond, a.PerSecond/b.PerSecond, a.P99, a.cpu(), b.cpu(), a.Foreign)
	}

	if len(ratios) == 0 {
		return fmt.Errorf("%w: %s did nothing in any round", errPgbench, r.FloorName)
	}

	r.Rounds, r.Subject, r.Floor = len(ratios), medians(subjects), new(medians(floors))
	r.Ratio = middle(ratios)
	r.RatioLeast, r.RatioMost = minMax(ratios)
	r.CPURatio = r.Floor.cpu() / r.Subject.cpu()
	s.rep.Results = append(s.rep.Results, r)

	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}

	return nil
}

func minMax(values []float64) (least, most float64) {
	least, most = values[0], values[0]
	for _, v := range values {
		least, most = min(least, v), max(most, v)
	}

	return least, most
}

// take reserves n payments that no event has moved.
func (s *suite) take(n uint64) (uint64, error) {
	first := s.next.Add(n) - n
	if first+n > s.payments {
		return 0, fmt.Errorf("only %d payments were loaded: load more", s.payments)
	}

	return first, nil
}

// webhooks: distinct signed events, each for a payment of its own, against
// pgbench with the statement that applies an event.
func (s *suite) webhooks(ctx context.Context, connections int) error {
	apply, err := readStatement("ApplyEvent")
	if err != nil {
		return err
	}

	script, err := eventScript(apply)
	if err != nil {
		return err
	}

	bench, err := s.newPgbench("event", []statement{apply}, script)
	if err != nil {
		return err
	}

	load := &load{addr: s.main.addr, connections: connections, requests: webhooks("bench"), accept: isOK}
	if err := s.ready(ctx, &s.next, load); err != nil {
		return err
	}

	subject := func(round int) (sample, error) {
		defer s.capture(ctx, fmt.Sprintf("webhooks-%d", connections), round)()

		one, err := s.slice(ctx, s.main, func(ctx context.Context) (*outcome, error) {
			return load.closedModel(ctx, &s.next, s.lasts, 0)
		})
		if err == nil && s.next.Load() > s.payments {
			_, err = s.take(0)
		}

		return one, err
	}
	floor := func(int) (sample, error) { return s.pgbenchEvents(ctx, bench, connections) }

	return s.duel(result{
		Workload: fmt.Sprintf("webhooks, %d connections", connections), Model: modelClosed,
		Connections: connections, FloorName: "pgbench",
	}, subject, floor)
}

// pgbenchEvents checks that each of pgbench's events moved its payment, or it
// would have been spared half of the work.
func (s *suite) pgbenchEvents(ctx context.Context, bench *pgbench, clients int) (sample, error) {
	base := s.next.Load()

	one, run, err := s.pgbenchSlice(ctx, s.main, bench, clients, base, s.lasts)
	if err != nil {
		return one, err
	}

	var applied, end int64

	err = s.main.db.QueryRow(ctx, `SELECT count(*), COALESCE(max(substr(id, 10)::bigint) + 1, $1) FROM stripe_events
		WHERE id LIKE 'evt_floor%' AND outcome = 'applied' AND substr(id, 10)::bigint >= $1`, int64(base)).
		Scan(&applied, &end)
	if err != nil {
		return one, fmt.Errorf("counting pgbench's events: %w", err)
	}

	s.next.Store(uint64(end))

	if applied < run.transactions {
		return one, fmt.Errorf("%w: pgbench applied %d events of %d", errPgbench, applied, run.transactions)
	}

	_, err = s.take(0)

	return one, err
}

// creates without provider latency, against pgbench with the two statements
// of a create.
func (s *suite) creates(ctx context.Context, connections int) error {
	bench, err := s.createBench()
	if err != nil {
		return err
	}

	load := &load{addr: s.main.addr, connections: connections, requests: creates(newRun()), accept: isOK}

	var next atomic.Uint64

	if err := s.ready(ctx, &next, load); err != nil {
		return err
	}

	return s.duel(result{
		Workload: fmt.Sprintf("creates, no provider latency, %d", connections), Model: modelClosed,
		Connections: connections, FloorName: "pgbench",
	}, func(round int) (sample, error) {
		defer s.capture(ctx, fmt.Sprintf("creates-%d", connections), round)()

		return s.slice(ctx, s.main, func(ctx context.Context) (*outcome, error) {
			return load.closedModel(ctx, &next, s.lasts, 0)
		})
	}, func(round int) (sample, error) {
		// Far apart, so that no two rounds operation one payment.
		base := uint64(connections)<<36 + uint64(round)<<28

		one, _, err := s.pgbenchSlice(ctx, s.main, bench, connections, base, s.lasts)

		return one, err
	})
}

// createBench is pgbench with the two statements of a create.
func (s *suite) createBench() (*pgbench, error) {
	op, err := readStatement("BeginOperation")
	if err != nil {
		return nil, err
	}

	complete, err := readStatement("FinishOperation")
	if err != nil {
		return nil, err
	}

	script, err := createScript(op, complete)
	if err != nil {
		return nil, err
	}

	return s.newPgbench("create", []statement{op, complete}, script)
}

// newRun keeps the keys of one workload apart from another's.
func newRun() uint64 { return rand.Uint64() | 1 }

// replays of keys that were all answered before, against a handler that
// answers the same bytes.
func (s *suite) replays(ctx context.Context, keys uint64) error {
	const connections = 16

	run := newRun()

	var made atomic.Uint64

	first := &load{addr: s.main.addr, connections: connections, requests: creates(run), accept: isOK}
	if _, err := first.closedModel(ctx, &made, time.Minute, keys); err != nil {
		return err
	}

	floor, err := s.floor(floorReplays, s.main.url)
	if err != nil {
		return err
	}

	return s.http(ctx, fmt.Sprintf("replays of %d keys", keys), replays(run, keys), floor, "net/http", connections)
}

// reads of random payments, against a handler with the same statement.
func (s *suite) reads(ctx context.Context) error {
	floor, err := s.floor(floorReads, s.main.url)
	if err != nil {
		return err
	}

	return s.http(ctx, "reads", reads(s.payments), floor, "net/http + pgx", 16)
}

// ready has connections opened and statements planned before anything counts.
func (*suite) ready(ctx context.Context, next *atomic.Uint64, loads ...*load) error {
	for _, one := range loads {
		if _, err := one.closedModel(ctx, next, 500*time.Millisecond, 0); err != nil {
			return err
		}
	}

	return nil
}

// http is a duel of two HTTP servers under the same load.
func (s *suite) http(ctx context.Context, name string, form requests, floor *process, floorName string, connections int) error {
	ours := &load{addr: s.main.addr, connections: connections, requests: form, accept: isOK}
	bare := &load{addr: floor.addr, connections: connections, requests: form, accept: isOK}

	var next atomic.Uint64

	if err := s.ready(ctx, &next, ours, bare); err != nil {
		return err
	}

	return s.duel(result{Workload: name, Model: modelClosed, Connections: connections, FloorName: floorName},
		func(round int) (sample, error) {
			defer s.capture(ctx, strings.Fields(name)[0], round)()

			return s.slice(ctx, s.main, func(ctx context.Context) (*outcome, error) {
				return ours.closedModel(ctx, &next, s.lasts, 0)
			})
		}, func(int) (sample, error) {
			return s.bareSlice(ctx, floor, func(ctx context.Context) (*outcome, error) {
				return bare.closedModel(ctx, &next, s.lasts, 0)
			})
		})
}

// mixed is 70 reads, 20 creates and 10 webhooks of a hundred, at a constant
// rate.
func (s *suite) mixed(ctx context.Context) error {
	const (
		connections = 64
		rate        = 600
	)

	first, err := s.take(uint64(float64(s.rounds) * s.lasts.Seconds() * rate * 2))
	if err != nil {
		return err
	}

	event := webhooks("mixed")
	load := &load{
		addr: s.main.addr, connections: connections, accept: isOK,
		requests: mixed(reads(s.payments), creates(newRun()), func(buf []byte, n uint64) []byte { return event(buf, first+n) }),
	}

	var (
		next    atomic.Uint64
		samples []sample
	)

	for range s.rounds {
		one, err := s.slice(ctx, s.main, func(ctx context.Context) (*outcome, error) {
			return load.openModel(ctx, &next, rate, s.lasts)
		})
		if err != nil {
			return err
		}

		samples = append(samples, one)
	}

	s.rep.Results = append(s.rep.Results, result{
		Workload: "mixed 70/20/10", Model: modelOpen, Connections: connections, Rate: rate, Rounds: s.rounds, Subject: medians(samples),
	})

	return nil
}

// added: creates against a provider as slow as Stripe, at rising rates, until
// what the service adds passes 50 ms at p99.
func (s *suite) added(ctx context.Context) error {
	const tooMuch = 50 // milliseconds

	if err := s.providerLatency(ctx, true); err != nil {
		return err
	}

	// What is in flight at the top: rate × p99, and some.
	const connections = 1000

	// Connections to the provider and statements are made ready.
	if _, err := s.addedAt(ctx, s.rates[0]*4, connections/8, s.lasts); err != nil {
		return err
	}

	for _, rate := range s.rates {
		r, err := s.addedAt(ctx, rate, min(connections, max(32, int(rate))), max(2*time.Second, s.lasts))
		if err != nil {
			s.say("at %.0f/s: %v", rate, err)

			break
		}

		s.rep.Results = append(s.rep.Results, r)
		s.say("%-28s %8.0f/s of %.0f   added p50 %.2f p99 %.2f ms (%d traced)   foreign %.2f", "creates, PSP 120/380 ms",
			r.Subject.PerSecond, rate, r.AddedP50, r.AddedP99, r.AddedTraced, r.Subject.Foreign)

		if r.AddedP99 > tooMuch {
			break
		}
	}

	if err := s.providerLatency(ctx, false); err != nil {
		return err
	}

	return s.databaseAlone(ctx, s.rates[0])
}

// databaseAlone is how long a create's two statements take at a low rate, when
// nobody waits for anybody.
func (s *suite) databaseAlone(ctx context.Context, rate float64) error {
	bench, err := s.createBench()
	if err != nil {
		return err
	}

	run, err := bench.run(ctx, 1, 1<<44, max(2*time.Second, s.lasts), fmt.Sprintf("--rate=%.0f", rate))
	s.rep.StatementsMS = run.average
	s.say("the two statements alone, at %.0f/s: %.2f ms", rate, run.average)

	return err
}

// addedAt takes what the provider took in each trace off its request's time.
func (s *suite) addedAt(ctx context.Context, rate float64, connections int, lasts time.Duration) (result, error) {
	var (
		mu   sync.Mutex
		took = map[string]time.Duration{}
		next atomic.Uint64
	)

	run := newRun()
	load := &load{
		addr: s.main.addr, connections: connections, requests: tracedCreates(run), accept: isOK,
		answered: func(n uint64, _ answer, t time.Duration) {
			mu.Lock()
			defer mu.Unlock()

			took[traceOf(run, n)] = t
		},
	}
	provider := s.sink.providerTimes()

	one, err := s.slice(ctx, s.main, func(ctx context.Context) (*outcome, error) {
		defer s.capture(ctx, fmt.Sprintf("added-%.0f", rate), 0)()

		return load.openModel(ctx, &next, rate, lasts)
	})

	s.awaitSpans(ctx)

	theirs, readErr := provider()
	if err := firstError(err, readErr); err != nil {
		return result{}, err
	}

	added := newHistogram()

	for trace, t := range took {
		if theirs, ok := theirs[trace]; ok {
			if err := added.RecordValue(max(1, (t - theirs).Microseconds())); err != nil {
				return result{}, fmt.Errorf("recording a latency: %w", err)
			}
		}
	}

	r := result{
		Workload: fmt.Sprintf("creates, provider 120/380 ms, %.0f/s", rate), Model: modelOpen, Connections: connections, Rate: rate,
		Rounds: 1, Subject: one, AddedTraced: added.TotalCount(),
	}
	r.AddedP50, r.AddedP99, _ = quantiles(added)

	return r, nil
}

// awaitSpans gives the service's exporter the quarter of a second after which it
// sends what it has.
func (*suite) awaitSpans(ctx context.Context) {
	select {
	case <-time.After(600 * time.Millisecond):
	case <-ctx.Done():
	}
}

// coldStart is from exec to ready, on a migrated database.
func (s *suite) coldStart(ctx context.Context) error {
	var took []float64

	for range s.starts {
		one, err := s.serve(ctx, s.main.url)
		if err != nil {
			return err
		}

		took = append(took, float64(one.started.Microseconds())/1000)

		if err := one.stop(); err != nil {
			return err
		}
	}

	s.rep.ReadyMS = middle(took)
	s.say("cold start %.0f ms", s.rep.ReadyMS)

	return nil
}

// grown is a service on a database of some size.
type grown struct {
	*service

	payments uint64
	next     atomic.Uint64
	creates  atomic.Uint64
}

// growth asks the same of services on databases of different sizes, in turns.
func (s *suite) growth(ctx context.Context) error {
	if len(s.sizes) == 0 {
		return nil
	}

	all := make([]*grown, 0, len(s.sizes))

	for _, size := range s.sizes {
		g, err := s.grow(ctx, size)
		if err != nil {
			return err
		}

		all = append(all, g)
	}

	for _, w := range []struct {
		name     string
		requests func(*grown) (requests, *atomic.Uint64)
	}{
		{"webhooks", func(g *grown) (requests, *atomic.Uint64) { return webhooks("grown"), &g.next }},
		{"creates", func(g *grown) (requests, *atomic.Uint64) { return creates(g.payments), &g.creates }},
		{"reads", func(g *grown) (requests, *atomic.Uint64) { return reads(g.payments), new(atomic.Uint64) }},
	} {
		if err := s.compareSizes(ctx, w.name, all, w.requests); err != nil {
			return err
		}
	}

	return nil
}

func (s *suite) grow(ctx context.Context, size uint64) (*grown, error) {
	s.say("loading %d payments", size)

	url, err := s.newDatabase(ctx, fmt.Sprintf("bench_%d", size))
	if err != nil {
		return nil, err
	}

	db, err := s.open(ctx, url)
	if err != nil {
		return nil, err
	}
	defer db.Close()

	if err := loadPayments(ctx, db, size); err != nil {
		return nil, err
	}

	served, err := s.serve(ctx, url)

	return &grown{service: served, payments: size}, err
}

// compareSizes holds every size against the first.
func (s *suite) compareSizes(
	ctx context.Context, name string, all []*grown, form func(*grown) (requests, *atomic.Uint64),
) error {
	const connections = 16

	measure := func(g *grown) (sample, error) {
		form, next := form(g)
		load := &load{addr: g.addr, connections: connections, requests: form, accept: isOK}

		return s.slice(ctx, g.service, func(ctx context.Context) (*outcome, error) {
			return load.closedModel(ctx, next, time.Minute, s.grown)
		})
	}

	// Connections, plans and the parts of the indexes that are always used.
	for _, g := range all {
		if _, err := measure(g); err != nil {
			return err
		}
	}

	for _, g := range all[1:] {
		err := s.duel(result{
			Workload: fmt.Sprintf("%s with %d payments", name, g.payments), Model: modelClosed, Connections: connections,
			FloorName: fmt.Sprintf("%d payments", all[0].payments),
		}, func(int) (sample, error) { return measure(g) }, func(int) (sample, error) { return measure(all[0]) })
		if err != nil {
			return err
		}
	}

	return nil
}
