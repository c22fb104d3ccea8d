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

// kind of a call: Stripe limits reads and writes separately
// (https://docs.stripe.com/rate-limits).
type kind uint8

const (
	writes kind = iota
	reads
	kinds = iota // the number of kinds
)

// gate decides which attempts are sent, so that a dead Stripe costs a caller
// milliseconds instead of a time-out. Four things can stop an attempt:
//
//   - the circuit breaker, gobreaker's: closed, open, or half-open with one probe;
//   - the stall detector, which opens the breaker when many attempts wait and none is
//     answered. The breaker alone learns of that from time-outs, and until the first
//     of them every caller waits. One slow call among answered ones is left alone;
//   - the limit on attempts under way (slots);
//   - the pause after a 429.
//
// All of it, gobreaker included, is guarded by mu, which is never held during a call.
// An attempt that enters gets a ticket. It is removed exactly once: when the attempt
// leaves, or earlier by the stall detector.
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
	// watching: a timer will check for a stall.
	watching bool
	// stalled makes the next failure open the breaker.
	stalled bool
	// pauses are those after a 429: one to a list must not shed creates.
	pauses [kinds]pause
	// logLine is logged when mu is unlocked.
	logLine string
}

const (
	// stallCalls is how many attempts must wait for a stall: fewer may just be slow.
	stallCalls = 8
	// failuresToOpen is how many failures in a row (time-outs, broken connections,
	// 5xx) open the breaker.
	failuresToOpen = 8
	// openFor and probeTimeout together are a second: so long calls may still be
	// shed after Stripe is back.
	openFor      = 250 * time.Millisecond
	probeTimeout = 750 * time.Millisecond
	// The pause after a 429: doubling, and a third more or less by chance, so 25 to
	// 50 ms at first and half a second to a second in the end.
	throttleFirst   = 37500 * time.Microsecond
	throttleLongest = 750 * time.Millisecond
	throttleJitter  = 1.0 / 3
)

// pause sheds calls after a 429.
type pause struct {
	// until is when it ends.
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
	ctx     context.Context //nolint:containedctx // it lives as long as the attempt
	cancel  context.CancelCauseFunc
	stop    context.CancelFunc
	report  func(error)
	entered time.Time
}

// Why the gate ended an attempt's context.
var (
	errStalled        = errors.New("stripe answers no calls")
	errAttemptTimeout = errors.New("stripe did not answer in time")
)

// What gobreaker is told of an attempt; nil is a success.
var (
	errUnhealthy = errors.New("no answer, or one that no working API gives")
	errIgnored   = errors.New("says nothing about stripe")
)

// health is what an attempt says about Stripe, not about the payment.
type health uint8

const (
	healthy    health = iota // a working API's answer, good or bad
	faulty                   // an answer that no working API gives
	silent                   // no answer in time, or it broke off
	outOfTime                // no answer by the caller's deadline
	throttled                // too many requests
	callerLeft               // the caller gave up
)

func healthOf(failed *failure) health {
	if failed == nil || failed.replayed { // a healthy Stripe repeats old errors, too
		return healthy
	}

	switch failed.reason {
	case ReasonTimeout, ReasonConnection, ReasonStalled:
		return silent
	case ReasonDeadline:
		return outOfTime
	case ReasonStatus5xx, ReasonUndecodable:
		return faulty
	case ReasonRateLimit:
		return throttled
	case ReasonCancelled:
		return callerLeft
	default:
		return healthy
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
		IsExcluded:    func(err error) bool { return errors.Is(err, errIgnored) },
		OnStateChange: g.changed,
	})

	return g
}

// changed is called for every change of the breaker's state, under mu.
func (g *gate) changed(_ string, from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		g.logLine = "stripe answers again: calls are sent"
	case from == gobreaker.StateClosed && g.stalled:
		g.logLine = "stripe answers no calls: calls are shed"
	case from == gobreaker.StateClosed:
		g.logLine = "stripe fails repeatedly: calls are shed"
	default: // between open and half-open: a probe is sent, or has failed
		return
	}

	g.meter.BreakerState(to != gobreaker.StateClosed)
}

// unlock logs outside the lock: a log may be slow.
func (g *gate) unlock() {
	line := g.logLine
	g.logLine = ""
	g.mu.Unlock()

	if line != "" {
		g.log.Warn(line)
	}
}

// ready returns an error if enter would shed an attempt now.
func (g *gate) ready(k kind) error {
	g.mu.Lock()
	defer g.unlock()

	if err := g.closedTo(k, time.Now()); err != nil {
		return err
	}

	return nil
}

// closedTo says why an attempt would be shed; nil if it would not.
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

// enter lets an attempt through, with a context that bounds its time, or sheds it.
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
	g.watchForStall(now)

	return t, nil
}

// leave frees the slot, tells the breaker what the attempt says about Stripe, and
// returns how long it took.
func (g *gate) leave(t *ticket, h health) time.Duration {
	t.stop()
	t.cancel(nil)

	g.mu.Lock()
	defer g.unlock()

	now := time.Now()
	took := now.Sub(t.entered)

	if _, in := g.waiting[t]; !in {
		return took // the stall detector has removed it
	}

	var result error

	switch h {
	case healthy:
		g.answered = now
		g.pauses[t.kind].length.Reset()
	case throttled:
		g.answered = now
		g.pauses[t.kind].begin(now)
	case faulty:
		g.answered, result = now, errUnhealthy
	case silent:
		result = errUnhealthy
	case outOfTime:
		// The deadline says something about Stripe only if it was long enough.
		if result = errIgnored; took >= g.stallAfter {
			result = errUnhealthy
		}
	case callerLeft:
		result = errIgnored
	}

	g.remove(t, result)

	return took
}

// remove frees t's slot and tells the breaker its result.
func (g *gate) remove(t *ticket, result error) {
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

// watchForStall starts the stall detector if enough attempts wait and it is not
// running.
func (g *gate) watchForStall(now time.Time) {
	if g.watching || len(g.waiting) < min(stallCalls, g.slots) {
		return
	}

	g.watching = true
	time.AfterFunc(g.stallDue().Sub(now), g.checkStall)
}

// stallDue is when Stripe counts as stalled, unless it answers before that.
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

// checkStall ends all attempts if Stripe has stalled, and otherwise checks again when
// it can have.
func (g *gate) checkStall() {
	g.mu.Lock()
	defer g.unlock()

	g.watching = false
	now := time.Now()

	if len(g.waiting) < min(stallCalls, g.slots) || now.Before(g.stallDue()) {
		g.watchForStall(now)

		return
	}

	g.stalled = true

	for t := range g.waiting {
		t.cancel(errStalled)
		g.remove(t, errUnhealthy)
	}

	g.stalled = false
}

// ended is why t's attempt ended early, by the gate or by the caller; nil if it did
// not.
func (t *ticket) ended(caller context.Context) error {
	cause := context.Cause(t.ctx)
	if errors.Is(cause, errStalled) || errors.Is(cause, errAttemptTimeout) {
		return cause //nolint:wrapcheck // the caller only looks at it
	}

	return caller.Err() //nolint:wrapcheck // the caller only looks at it
}
