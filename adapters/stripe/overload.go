package stripe

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// kind is what Stripe limits apart
// (https://docs.stripe.com/rate-limits: "read and write operations").
type kind uint8

const (
	writes kind = iota
	reads
	kinds = iota // how many there are
)

// gate decides which attempts go out, so that a slow or dead Stripe costs its
// callers milliseconds and not their time-outs.
//
// Who owns what:
//
//   - gobreaker owns the states: closed, open, and half-open with one probe.
//   - gate owns the slots (waiting), the stall detector (watch) and the pause
//     that a 429 asks for. Whatever happens to any of these happens under mu,
//     gobreaker included; mu is never held during a call.
//   - a ticket belongs to the attempt that entered. It leaves exactly once: by
//     leave, or before that because the detector threw everybody out.
//
// The breaker alone would not do. It learns of a dead Stripe by time-outs, one
// attempt's time after the first call went out, and by then every caller hangs.
// The detector sees it sooner: many wait and nobody is answered. A single slow
// call among answered ones is left alone.
type gate struct {
	slots      int
	stallAfter time.Duration
	timeout    time.Duration
	meter      Meter
	log        *zap.Logger

	mu      sync.Mutex
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	waiting map[*ticket]struct{}
	// probe is the one attempt that a half-open breaker let through.
	probe *ticket
	// answered is when the last attempt was answered, whatever the answer.
	answered time.Time
	// watching: a timer runs that looks for a stall.
	watching bool
	// stalled is what trips the breaker from outside.
	stalled bool
	// pauses are those that a 429 asks for: one to a list sheds no creates.
	pauses [kinds]pause
	// news is logged once mu is free.
	news string
}

const (
	// stallCalls that wait at once are enough to tell a stall from one slow call.
	stallCalls = 8
	// failuresToOpen in a row, time-outs, broken connections and 5xx, open the
	// breaker.
	failuresToOpen = 8
	// openFor and probeTimeout together bound how long calls stay shed once
	// Stripe is back: a second.
	openFor      = 250 * time.Millisecond
	probeTimeout = 750 * time.Millisecond
	// The pause after a 429: doubling, and a third more or less by chance, so 25 to
	// 50 ms at first and half a second to a second in the end.
	throttleFirst   = 37500 * time.Microsecond
	throttleLongest = 750 * time.Millisecond
	throttleJitter  = 1.0 / 3
)

// pause is what a 429 asks for.
type pause struct {
	// until is when calls may flow again.
	until time.Time
	// length grows with each 429 after a pause, until something goes well.
	length backoff.ExponentialBackOff
}

func newPause() pause {
	return pause{length: backoff.ExponentialBackOff{
		InitialInterval: throttleFirst, MaxInterval: throttleLongest, Multiplier: 2, RandomizationFactor: throttleJitter,
	}}
}

// ticket is the right to make one attempt.
type ticket struct {
	kind    kind
	ctx     context.Context //nolint:containedctx // it is the attempt's
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc
	report  func(error)
	entered time.Time
}

// Why an attempt's context ended, if the caller's has not.
var (
	errStalled        = errors.New("stripe answers nobody")
	errAttemptTimeout = errors.New("stripe did not answer in time")
)

// What gobreaker is told; nil is a success.
var (
	errNoAnswer = errors.New("no answer, or a broken one")
	errNoMatter = errors.New("says nothing about stripe")
)

// health is what an attempt says about Stripe, not about the payment.
type health uint8

const (
	alive     health = iota // an answer about the business, good or bad
	ailing                  // an answer that no working API gives
	silent                  // no answer in time, or a broken one
	hurried                 // no answer by the caller's deadline
	throttled               // too many requests
	unrelated               // the caller left
)

func healthOf(failed *failure) health {
	if failed == nil || failed.replayed { // an old 500 that a healthy Stripe repeats
		return alive
	}

	switch failed.reason {
	case ReasonTimeout, ReasonConnection, ReasonStalled:
		return silent
	case ReasonDeadline:
		return hurried
	case ReasonStatus5xx, ReasonUndecodable:
		return ailing
	case ReasonRateLimit:
		return throttled
	case ReasonCancelled:
		return unrelated
	default:
		return alive
	}
}

func newGate(config Config, meter Meter, log *zap.Logger) *gate {
	g := &gate{
		slots:      config.MaxInFlight,
		stallAfter: config.StallAfter,
		timeout:    config.AttemptTimeout,
		meter:      meter,
		log:        log,
		waiting:    make(map[*ticket]struct{}, config.MaxInFlight),
		pauses:     [kinds]pause{writes: newPause(), reads: newPause()},
	}
	g.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "stripe",
		MaxRequests: 1,
		Timeout:     openFor,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			return g.stalled || counts.ConsecutiveFailures >= failuresToOpen
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoMatter) },
		OnStateChange: g.changed,
	})

	return g
}

// changed hears of every change of state, under mu.
func (g *gate) changed(_ string, from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		g.news = "stripe is back: calls flow again"
	case from == gobreaker.StateClosed && g.stalled:
		g.news = "stripe answers nobody: calls are shed"
	case from == gobreaker.StateClosed:
		g.news = "stripe fails again and again: calls are shed"
	default: // between open and half-open, while probes fail
		return
	}

	g.meter.BreakerState(to != gobreaker.StateClosed)
}

func (g *gate) unlock() {
	news := g.news
	g.news = ""
	g.mu.Unlock()

	if news != "" {
		g.log.Warn(news)
	}
}

// ready tells whether enter would let an attempt through now.
func (g *gate) ready(k kind) error {
	g.mu.Lock()
	defer g.unlock()

	if err := g.closedTo(k, time.Now()); err != nil {
		return err
	}

	return nil
}

func (g *gate) closedTo(k kind, now time.Time) *notSentError {
	switch {
	case g.probe != nil || g.breaker.State() == gobreaker.StateOpen:
		return shed(ReasonBreakerOpen)
	case now.Before(g.pauses[k].until):
		return shed(ReasonThrottled)
	case len(g.waiting) >= g.slots:
		return shed(ReasonNoSlot)
	default:
		return nil
	}
}

// enter lets an attempt through, with a context that ends it in time, or sheds it.
func (g *gate) enter(ctx context.Context, k kind) (*ticket, *notSentError) {
	if err := ctx.Err(); err != nil {
		return nil, &notSentError{reason: ReasonCancelled, cause: err}
	}

	g.mu.Lock()
	defer g.unlock()

	now := time.Now()
	if err := g.closedTo(k, now); err != nil {
		return nil, err
	}

	probing := g.breaker.State() == gobreaker.StateHalfOpen

	report, err := g.breaker.Allow()
	if err != nil {
		return nil, shed(ReasonBreakerOpen)
	}

	t := &ticket{kind: k, report: report, entered: now}
	timeout := g.timeout

	if probing {
		g.probe = t
		timeout = min(timeout, probeTimeout)
	}

	t.ctx, t.cancel = context.WithCancelCause(ctx)
	t.ctx, t.stop = context.WithTimeoutCause(t.ctx, timeout, errAttemptTimeout)
	g.waiting[t] = struct{}{}
	g.meter.InFlight(1)
	g.watch(now)

	return t, nil
}

// leave gives the slot back, says what the attempt showed and returns how long
// it took.
func (g *gate) leave(t *ticket, h health) time.Duration {
	t.stop()
	t.cancel(nil)

	g.mu.Lock()
	defer g.unlock()

	now := time.Now()
	took := now.Sub(t.entered)

	if _, in := g.waiting[t]; !in {
		return took // the detector was faster
	}

	var result error

	switch h {
	case alive:
		g.answered = now
		g.pauses[t.kind].length.Reset()
	case throttled:
		g.answered = now
		g.pauses[t.kind].begin(now)
	case ailing:
		g.answered, result = now, errNoAnswer
	case silent:
		result = errNoAnswer
	case hurried:
		// Only a caller who waited as long as a stall takes has found Stripe silent.
		if result = errNoMatter; took >= g.stallAfter {
			result = errNoAnswer
		}
	case unrelated:
		result = errNoMatter
	}

	g.dismiss(t, result)

	return took
}

// dismiss frees t's slot and tells the breaker.
func (g *gate) dismiss(t *ticket, result error) {
	delete(g.waiting, t)
	g.meter.InFlight(-1)

	if g.probe == t {
		g.probe = nil
	}

	t.report(result)
}

// begin sheds calls for a moment, and for twice as long where nothing has gone
// well since the last time.
func (p *pause) begin(now time.Time) {
	if now.Before(p.until) {
		return // it was sent before the pause began
	}

	p.until = now.Add(p.length.NextBackOff())
}

// watch starts the stall detector where enough calls wait and it is not running.
func (g *gate) watch(now time.Time) {
	if g.watching || len(g.waiting) < min(stallCalls, g.slots) {
		return
	}

	g.watching = true
	time.AfterFunc(g.stallDue().Sub(now), g.look)
}

// stallDue is when Stripe counts as stalled unless somebody is answered before.
func (g *gate) stallDue() time.Time {
	since := time.Time{}
	for t := range g.waiting {
		if since.IsZero() || t.entered.Before(since) {
			since = t.entered
		}
	}

	if g.answered.After(since) {
		since = g.answered
	}

	return since.Add(g.stallAfter)
}

// look ends the wait of everybody if Stripe has stalled; else it looks again
// when it could have.
func (g *gate) look() {
	g.mu.Lock()
	defer g.unlock()

	g.watching = false
	now := time.Now()

	if len(g.waiting) < min(stallCalls, g.slots) || now.Before(g.stallDue()) {
		g.watch(now)

		return
	}

	g.stalled = true

	for t := range g.waiting {
		t.cancel(errStalled)
		g.dismiss(t, errNoAnswer)
	}

	g.stalled = false
}

// ended is why t's attempt was ended: by the gate, by the caller, or not at all.
func (t *ticket) ended(caller context.Context) error {
	cause := context.Cause(t.ctx)
	if errors.Is(cause, errStalled) || errors.Is(cause, errAttemptTimeout) {
		return cause //nolint:wrapcheck // it is looked at, not returned
	}

	return caller.Err() //nolint:wrapcheck // it is looked at, not returned
}
