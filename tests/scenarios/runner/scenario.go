package runner

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// Clients and faults go on until each fault has fired, within these bounds.
const (
	stormLeast = 1500 * time.Millisecond
	stormMost  = 45 * time.Second
)

// Outcome is what became of one scenario.
type Outcome struct {
	Number int
	Seed   uint64
	Faults []string
	// Fired counts how often each fault really happened.
	Fired map[string]int
	// Requests is how many the clients made.
	Requests int
	// Quiet is how long the service took to finish everything once the faults
	// had stopped; Took is the whole scenario.
	Quiet, Took time.Duration
	// Violations are the broken promises; the scenario passes where there are none.
	Violations []string
	// Report is a failure's timeline and logs.
	Report string
}

// play runs one scenario.
func play(ctx context.Context, l *lane, binary string, number int, o Options) (outcome Outcome, err error) {
	begun := time.Now()
	outcome = Outcome{Number: number, Seed: o.Seed, Faults: deal(o.faultNames(), o.Seed, number, o.Hand)}

	w, err := newWorld(ctx, l, binary, fmt.Sprintf("s%d-%d", o.Seed, number))
	if err != nil {
		return outcome, fmt.Errorf("setting up scenario %d: %w", number, err)
	}

	defer w.close()

	// Each is a transaction of its own: the service runs already, and one that locks
	// two tables may meet it in a deadlock.
	for _, statement := range o.Sabotage {
		if _, err := w.db.Exec(ctx, statement); err != nil {
			return outcome, fmt.Errorf("sabotaging the database: %w", err)
		}
	}

	var found violations

	if err := w.perform(ctx, number, o, &outcome, &found); err != nil {
		found.addf("I8", "the service", "does not come back: %v", err)
	}

	outcome.Took, outcome.Fired, outcome.Requests = time.Since(begun), w.fired, len(w.history.all())

	if len(found) == 0 {
		w.close()

		return outcome, w.forget(ctx)
	}

	outcome.Violations = found.lines()
	outcome.Report = w.report(outcome, o, found)

	return outcome, nil
}

// perform is the scenario's three acts: storm, quiet, verdict.
func (w *world) perform(ctx context.Context, number int, o Options, outcome *Outcome, found *violations) (err error) {
	w.patience = o.Patience
	seed := o.Seed<<20 + uint64(number)
	w.work = newWorkload(w, seed)
	w.work.favour(outcome.Faults)
	w.setClocksApart(outcome.Faults, seed)
	w.storm(ctx, outcome.Faults, seed)

	outcome.Quiet, err = w.conclude(ctx, found)

	return err
}

// conclude stops the faults, waits for quiet, lets the clients ask until they are
// answered, and judges. It returns how long the service took to become quiet.
func (w *world) conclude(ctx context.Context, found *violations) (quiet time.Duration, err error) {
	if err := w.heal(ctx); err != nil {
		return 0, err
	}

	quiet = w.quiet(ctx)

	finishing, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()

	if err := w.work.finish(finishing, w.hopeless(ctx)); err != nil {
		found.addf("I8", "a client", "%v", err)
	}

	w.quiet(ctx)
	w.reconcile(ctx, found)
	w.quiet(ctx) // an event that was found may be a hint
	w.judge(ctx, found)

	return quiet, nil
}

// setClocksApart gives Stripe a clock that is up to ten minutes off. Where events
// are never delivered Stripe's clock is behind: reconciliation has to find those
// events, and it leaves alone what is younger than a minute.
func (w *world) setClocksApart(names []string, seed uint64) {
	const least, most = 2 * time.Minute, 10 * time.Minute

	r := rand.New(rand.NewPCG(seed, 999))
	apart := between(r, least, most)

	if slices.Contains(names, faultNeverDelivered) || r.IntN(2) == 0 {
		apart = -apart
	}

	w.stripe.Advance(apart)
	w.line.addf("time", "Stripe's clock is %s off", apart.Round(time.Second))
}

// storm lets clients and faults run against each other for a while.
func (w *world) storm(ctx context.Context, names []string, seed uint64) {
	storming, cancel := context.WithTimeout(ctx, stormMost)
	defer cancel()

	context.AfterFunc(storming, func() { w.line.addf("runner", "the storm ends") })

	var (
		wg   sync.WaitGroup
		last []func()
	)

	faults := catalogue()

	for i, name := range names {
		f := faults[name]
		r := rand.New(rand.NewPCG(seed, uint64(1000+i)))

		if f.last {
			last = append(last, func() { f.play(ctx, w, r) })

			continue
		}

		wg.Go(func() { f.play(storming, w, r) })
	}

	wg.Go(func() { w.work.run(storming) })
	wg.Go(func() { w.watch(storming) })
	wait(storming, stormLeast)

	if until(storming, "faults", func() bool { return w.allFired(names) }) == nil {
		cancel()
	}

	wg.Wait()

	for _, playLast := range last {
		playLast()
	}
}

// allFired: every fault has fired, but for the one that comes after the traffic.
func (w *world) allFired(names []string) bool {
	for _, name := range names {
		if w.times(name) == 0 && name != faultDayLater {
			return false
		}
	}

	return true
}

func (w *world) judge(ctx context.Context, found *violations) {
	e := evidence{
		requests: w.history.all(), alerts: w.alerts(ctx), shown: w.show(), drawn: w.drawnEvents(), saved: w.work.allMethods(),
	}

	var err error

	if e.stripe, err = readStripe(w.stripe, w.work.isForeign()); err != nil {
		found.addf("records", "Stripe", "%v", err)

		return
	}

	if e.service, err = readService(ctx, w.db); err != nil {
		found.addf("records", "the service", "%v", err)

		return
	}

	for i, door := range w.doors {
		e.sent = append(e.sent, door.sent()...)
		e.logs = append(e.logs, w.log(i))
	}

	check(e, found)
	w.saw(found)
	w.lists(e.service, found)
	w.savedMethods(e, found)

	for _, p := range w.processes {
		for _, odd := range p.oddExits() {
			found.addf("I8", "process", "%s", odd)
		}
	}
}

// report is everything that a person needs to understand a failure.
func (w *world) report(outcome Outcome, o Options, found violations) string {
	const logLines = 40

	var text strings.Builder

	fmt.Fprintf(&text, "SCENARIO %d of seed %d FAILED: %s\n", outcome.Number, o.Seed, found.summary())
	fmt.Fprintf(&text, "faults: %s\n", strings.Join(outcome.Faults, ", "))
	fmt.Fprintf(&text, "again:  %s\n\n", o.again(outcome.Number))

	for _, v := range found {
		fmt.Fprintf(&text, "  %s\n", v)
	}

	text.WriteString("\ntimeline:\n")
	w.history.tell(w.line)
	w.line.print(&text)

	for i := range processes {
		fmt.Fprintf(&text, "\nthe end of process-%d's log (all of it: %s):\n%s\n", i, w.dir, w.logTail(i, logLines))
	}

	return text.String()
}

// Print writes an outcome as a line or, where it failed, with its report.
func (o Outcome) Print(out io.Writer) {
	verdict := "ok  "
	if len(o.Violations) > 0 {
		verdict = "FAIL"
	}

	fmt.Fprintf(out, "%s scenario %3d  %5.1f s, quiet after %4.1f s, %3d requests  %s\n",
		verdict, o.Number, o.Took.Seconds(), o.Quiet.Seconds(), o.Requests, strings.Join(o.Faults, "; "))

	if o.Report != "" {
		fmt.Fprintf(out, "\n%s\n", o.Report)
	}
}
