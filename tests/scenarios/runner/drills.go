package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// DrillOptions say how long and how hard.
type DrillOptions struct {
	Seed uint64
	// For is how long an outage or a kill loop lasts.
	For time.Duration
	// RPS is an outage's load, in requests per second.
	RPS int
	// AnswerWithin bounds each answer during an outage (1 s where it is 0), and
	// FinishWithin how long operations stay pending after it (10 s). A machine that
	// is busy with other tests needs more.
	AnswerWithin, FinishWithin time.Duration
	// Race and Overlay are for the build; Binary is a service that is built already.
	Race            bool
	Overlay, Binary string
}

// DrillResult is what a drill measured.
type DrillResult struct {
	Name string
	// Figures are lines for people.
	Figures []string
	// Violations are the broken promises; the drill passes where there are none.
	Violations []string
	// Report is a failure's timeline.
	Report string
}

// drill is one fault, at full length.
type drill struct {
	name    string
	perform func(ctx context.Context, w *world, o DrillOptions, found *violations) (figures []string, err error)
	// settings are further environment variables of the services.
	settings []string
}

func drills() []drill {
	return []drill{
		{name: "onekey", perform: drillOneKey},
		{name: "storm", perform: drillStorm},
		{name: "outage", perform: drillOutage, settings: []string{"STRIPE_TIMEOUT=8s"}},
		{name: "kills", perform: drillKills},
		{name: "refunds", perform: drillRefunds},
	}
}

// Drills are the names that Drill knows.
func Drills() (names []string) {
	for _, d := range drills() {
		names = append(names, d.name)
	}

	return names
}

// Drill runs one fault at full length and holds the records against each other.
func Drill(ctx context.Context, name string, o DrillOptions) (result DrillResult, err error) {
	result.Name = name

	known := slices.Index(Drills(), name)
	if known < 0 {
		return result, fmt.Errorf("no drill is called %q; there are %s", name, strings.Join(Drills(), ", "))
	}

	d := drills()[known]

	dir, err := workDir()
	if err != nil {
		return result, err
	}

	defer func() {
		if err == nil && len(result.Violations) == 0 {
			err = os.RemoveAll(dir)
		}
	}()

	if o.Binary == "" {
		if o.Binary, err = Build(ctx, dir, o.Overlay, o.Race); err != nil {
			return result, err
		}
	}

	l, err := newLane(ctx, 0, dir)
	if err != nil {
		return result, err
	}

	defer func() { err = errors.Join(err, l.close()) }()

	w, err := newWorld(ctx, l, o.Binary, name, d.settings...)
	if err != nil {
		return result, err
	}

	defer w.close()

	w.work = newWorkload(w, o.Seed)

	var found violations

	if result.Figures, err = d.perform(ctx, w, o, &found); err != nil {
		return result, err
	}

	if _, err := w.conclude(ctx, &found); err != nil {
		return result, err
	}

	if len(found) > 0 {
		result.Violations = found.lines()
		result.Report = w.report(Outcome{Faults: []string{name}}, Options{Seed: o.Seed}, found)
	}

	return result, nil
}

// drillOutage lets Stripe answer nobody under load: the service must go on
// answering within a second, and finish every operation within ten seconds of
// Stripe's return.
func drillOutage(ctx context.Context, w *world, o DrillOptions, found *violations) ([]string, error) {
	const warmUp, coolDown = 2 * time.Second, 3 * time.Second

	within := cmp.Or(o.AnswerWithin, time.Second)
	finishWithin := cmp.Or(o.FinishWithin, 10*time.Second)

	c := &client{l: w.work, w: w, number: 1, r: w.work.rand(1)}

	// As many as are captured or cancelled meanwhile.
	held, err := c.hold(max(1, o.RPS*4/10*int((warmUp+o.For+coolDown)/time.Second)/2))
	if err != nil {
		return nil, err
	}

	loading, stop := context.WithCancel(ctx)
	defer stop()

	var load sync.WaitGroup

	load.Go(func() { w.load(loading, o.RPS, held) })
	wait(ctx, warmUp)

	w.line.addf("stripe", "answers nobody")
	w.stripe.Hang(true)

	from := w.line.now()

	wait(ctx, o.For)

	to := w.line.now()
	_, caught := w.stripe.Hung()
	w.stripe.Hang(false)
	w.line.addf("stripe", "answers again; %d calls were caught", caught)

	left, err := w.pending(ctx)
	if err != nil {
		return nil, err
	}

	finished, err := w.finishedWithin(ctx, to, finishWithin)
	if err != nil {
		return nil, err
	}

	wait(ctx, coolDown)
	stop()
	load.Wait()

	during, statuses := w.answers(from, to)
	worst := during[len(during)-1]

	if worst > within {
		found.addf("outage", "answers", "took up to %s while Stripe was away", worst)
	}

	if finished > finishWithin {
		found.addf("outage", "operations", "%d were pending when Stripe came back, some after %s", left, finished)
	}

	return []string{
		fmt.Sprintf("Stripe answered nobody for %s under %d requests a second; %d calls reached it", o.For, o.RPS, caught),
		fmt.Sprintf("%d answers meanwhile: half within %s, 99 %% within %s, the slowest %s", len(during),
			quantile(during, 0.5), quantile(during, 0.99), worst),
		fmt.Sprintf("%d operations were pending when Stripe came back, the last was finished %.1f s later", left, finished.Seconds()),
		fmt.Sprintf("statuses meanwhile: %v", statuses),
	}, nil
}

// load sends requests at a steady rate, whatever becomes of them: of ten six create
// payments, and four capture or cancel some that are authorised.
func (w *world) load(ctx context.Context, rps int, held []known) {
	ticker := time.NewTicker(time.Second / time.Duration(rps))
	defer ticker.Stop()

	var sent sync.WaitGroup
	defer sent.Wait()

	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}

		sent.Go(func() {
			c := &client{l: w.work, w: w, number: 1, r: rand.New(rand.NewPCG(w.work.seed, uint64(n)))}
			key := fmt.Sprintf("%s-load-%d", w.name, n)

			if n%10 < 6 {
				c.send(key, w.work.addOrder(c.r, key), answerWithin)
			} else {
				c.send(key, w.work.addAsk(key, c.drawChange(held[n%len(held)])), answerWithin)
			}
		})
	}
}

// hold creates payments and has their customers authorise them.
func (c *client) hold(n int) ([]known, error) {
	held := make([]known, 0, n)

	for len(held) < n {
		key := c.newKey("held")
		a := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
		a.payload.manual = true

		answer := c.send(key, c.l.addAsk(key, a), answerWithin)

		p, told := toldOf(a, answer)

		switch {
		case told:
			pays(c, p.intent)
			held = append(held, p)
		case !a.payload.tiny:
			return nil, fmt.Errorf("holding money: %s", answer)
		}
	}

	return held, nil
}

// pending counts the operations that are pending.
func (w *world) pending(ctx context.Context) (int, error) {
	var n int
	if err := w.db.QueryRow(ctx, `SELECT count(*) FROM operations WHERE state = 'pending'`).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting pending operations: %w", err)
	}

	return n, nil
}

// finishedWithin is how long after a moment the last operation from before it was
// finished; more than most where it was not finished by then.
func (w *world) finishedWithin(ctx context.Context, moment, most time.Duration) (time.Duration, error) {
	var boundary time.Time
	if err := w.db.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&boundary); err != nil {
		return 0, fmt.Errorf("asking for the time: %w", err)
	}

	ctx, cancel := context.WithTimeout(ctx, 3*most)
	defer cancel()

	err := until(ctx, "operations", func() bool {
		records, err := readService(ctx, w.db)
		if err != nil {
			return false
		}

		return !slices.ContainsFunc(records.operations, func(op operationRow) bool {
			return op.unfinished() && op.AgeSeconds > time.Since(boundary).Seconds()
		})
	})

	took := w.line.now() - moment
	if err != nil && ctx.Err() == nil {
		return took, err
	}

	return took, nil
}

// answers are how long the operations took that were asked for between two moments, the
// shortest first, and how many of each kind were answered with each status.
func (w *world) answers(from, to time.Duration) (took []time.Duration, statuses map[string]int) {
	statuses = map[string]int{}

	for _, r := range w.history.operations() {
		if r.call >= from && r.call <= to {
			took = append(took, r.ret-r.call)
			statuses[fmt.Sprintf("%s %d", r.kind, r.result.status)]++
		}
	}

	slices.Sort(took)

	if took == nil {
		took = []time.Duration{0}
	}

	return took, statuses
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[int(q*float64(len(sorted)-1))].Round(100 * time.Microsecond)
}

// drillKills kills processes in a loop under load: nothing that was answered
// 201 or 200 may be lost.
func drillKills(ctx context.Context, w *world, o DrillOptions, _ *violations) ([]string, error) {
	killing, stop := context.WithTimeout(ctx, o.For)
	defer stop()

	var (
		wg    sync.WaitGroup
		kills int
	)

	wg.Go(func() { w.work.run(killing) })
	wg.Go(func() {
		r := rand.New(rand.NewPCG(o.Seed, 0))

		for killing.Err() == nil {
			wait(killing, between(r, 200*time.Millisecond, 900*time.Millisecond))

			if w.processes[r.IntN(processes)].kill("again and again") {
				kills++
			}
		}
	})
	wg.Wait()

	done := map[string]int{}

	for _, r := range w.history.operations() {
		if r.result.status == http.StatusCreated || r.result.status == http.StatusOK {
			done[r.kind]++
		}
	}

	return []string{
		fmt.Sprintf("%d times kill -9 in %s under load; %d requests, done: %v, %d webhooks accepted",
			kills, o.For, len(w.history.all()), done, w.balancer.accepted.Load()),
	}, nil
}

// drillStorm sends each event twenty times over, shuffled, on two processes.
func drillStorm(ctx context.Context, w *world, _ DrillOptions, found *violations) ([]string, error) {
	const payments, copies = 40, 20

	c := &client{l: w.work, w: w, number: 1, r: w.work.rand(1)}

	// Each event comes twenty times within some milliseconds, and later twenty times
	// among all others.
	if _, err := w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.WebhookDuplicate, Event: "payment_intent.*", Copies: copies - 1, Delay: time.Millisecond, Count: -1,
	}); err != nil {
		return nil, fmt.Errorf("setting the storm up: %w", err)
	}

	for i := range payments {
		key := fmt.Sprintf("%s-%d", w.name, i)
		a := w.work.addOrder(c.r, key)

		if p, told := toldOf(a, c.send(key, a, answerWithin)); told {
			c.customer(ctx, p)
			c.shop(ctx, p)
		}
	}

	for range payments {
		c.atStripe()
	}

	events := eventIDs(w.stripe)

	for range copies {
		c.r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

		for _, id := range events {
			if err := w.stripe.Resend(id); err != nil {
				return nil, fmt.Errorf("sending %s again: %w", id, err)
			}
		}
	}

	attempts := w.calm(ctx)

	if least := copies * len(events); attempts < least {
		found.addf("storm", "deliveries", "%d, fewer than %d: no storm", attempts, least)
	}

	return []string{fmt.Sprintf("%d events, %d deliveries on two processes, %d of them accepted",
		len(events), attempts, w.balancer.accepted.Load())}, nil
}

// calm waits until no webhook is sent any more and returns how many were.
func (w *world) calm(ctx context.Context) int {
	const still = time.Second

	ctx, cancel := context.WithTimeout(ctx, w.patience)
	defer cancel()

	last, since := -1, time.Now()

	_ = until(ctx, "calm", func() bool {
		now := 0
		for delivery := range deliveries(w.stripe) {
			now += delivery.Attempts
		}

		if now != last {
			last, since = now, time.Now()
		}

		return time.Since(since) > still
	})

	return last
}

// drillOneKey lets 64 clients ask for one payment at once, then for one capture and one
// cancel, and at last for captures and cancels of one payment under as many keys.
func drillOneKey(ctx context.Context, w *world, _ DrillOptions, found *violations) ([]string, error) {
	const clients = 64

	key := w.name + "-the-one"
	order := w.work.addOrder(w.work.rand(1), key)
	figures := []string{w.crowd(ctx, clients, found, func(int) (string, ask) { return key, order })}

	made := 0
	for range intents(w.stripe) {
		made++
	}

	if made != 1 {
		found.addf("I1", "key "+key, "%d intents at Stripe", made)
	}

	held, err := (&client{l: w.work, w: w, number: 1, r: w.work.rand(1)}).hold(3)
	if err != nil {
		return nil, err
	}

	for i, kind := range []string{kindCapture, kindCancel} {
		key := w.name + "-the-one-" + kind
		a := w.work.addAsk(key, ask{kind: kind, on: held[i]})
		figures = append(figures, w.crowd(ctx, clients, found, func(int) (string, ask) { return key, a }))
	}

	last := w.crowd(ctx, clients, nil, func(i int) (string, ask) {
		key := fmt.Sprintf("%s-one-of-many-%d", w.name, i)

		return key, w.work.addAsk(key, ask{kind: []string{kindCapture, kindCancel}[i%2], on: held[2]})
	})

	return append(figures, "under keys of their own: "+last), nil
}

// crowd lets many clients ask at once until each is answered. Where found is not nil, all
// must be told the same.
func (w *world) crowd(ctx context.Context, clients int, found *violations, asks func(i int) (key string, a ask)) string {
	answers, before := make([]string, clients), len(w.history.all())
	start := make(chan struct{})

	var wg sync.WaitGroup

	for i := range clients {
		key, a := asks(i)

		wg.Go(func() {
			c := &client{l: w.work, w: w, number: i, r: w.work.rand(i + 1)}

			<-start

			for {
				answer := c.send(key, a, answerWithin)
				if answer.decided() || ctx.Err() != nil {
					answers[i] = fmt.Sprint(answer.status, " ", string(answer.body))

					return
				}

				wait(ctx, 50*time.Millisecond) // Retry-After, shortened
			}
		})
	}

	close(start)
	wg.Wait()

	statuses := map[string]int{}
	for _, answer := range answers {
		statuses[answer[:len("200")]]++
	}

	slices.Sort(answers)
	different := slices.Compact(answers)
	_, a := asks(0)

	if found != nil && len(different) != 1 {
		found.addf("I5", a.String(), "clients end with different answers: %s", strings.Join(different, "\n"))
	}

	return fmt.Sprintf("%s: %d clients, %d requests, %d different answers, of status %v",
		a, clients, len(w.history.all())-before, len(different), statuses)
}
