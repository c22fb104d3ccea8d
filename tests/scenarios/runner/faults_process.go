package runner

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// The statements at which the service's state changes.
const (
	stmtOperation = "BeginOperation"
	stmtFinish    = "FinishOperation" // of a create
	stmtChange    = "UpdatePayment"   // of a capture or a cancel, or of what was read
	stmtRefund    = "UpdateRefund"
	stmtReject    = "FinishRejectedOperation"
	stmtPerson    = "InsertCustomer"
	stmtOnPerson  = "UpdateCustomer"
	stmtApply     = "InsertEvent"
	stmtTake      = "TakeOperation"
	stmtCommit    = "commit"
)

// moment is a point on the wire.
type moment struct {
	name      string
	statement string
	// holds is a text in the statement's parameters; empty for any.
	holds string
	when  side
}

// moments are the points around each commit.
func moments() []moment {
	all := []moment{ //nolint:prealloc // a short list
		{"before a webhook commits", stmtApply, "", before},
		{"after a webhook has committed", stmtApply, "", after},
		{"before what was read commits", stmtChange, "hint", before},
		{"after what was read has committed", stmtChange, "hint", after},
		{"before a rejection commits", stmtReject, "", before},
		{"after a rejection has committed", stmtReject, "", after},
		{"when recovery has taken operations", stmtTake, "", after},
	}

	for _, kind := range operationKinds() {
		all = append(all, begins(kind, before), begins(kind, after), ends(kind, before), ends(kind, after))
	}

	return all
}

// begins is when an operation is written down.
func begins(kind operationKind, when side) moment {
	name := map[side]string{before: "before the operation commits", after: "after the operation has committed"}[when]

	return moment{ofKind(name, kind), stmtOperation, wireText(kind.name), when}
}

// wireText is a whole value of the type text in a statement's binary parameters: its length in
// four bytes, and its bytes (PostgreSQL, array_send and textsend).
func wireText(value string) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
}

// ends is when the result of an operation is written.
func ends(kind operationKind, when side) moment {
	name := map[side]string{before: "before the result commits", after: "after the result has committed"}[when]
	m := moment{ofKind(name, kind), stmtChange, "", when}

	switch kind.name { // the answer shows the payment
	case kindCreate:
		m.statement, m.holds = stmtFinish, `"client_secret":"pi_`
	case kindCreatePerson:
		m.statement = stmtPerson
	case kindUpdatePerson:
		m.statement, m.holds = stmtOnPerson, `"order":"`
	case kindSetup:
		m.statement, m.holds = stmtFinish, `"client_secret":"seti_`
	case kindDeletePerson, kindDetach: // either of them
		m.statement, m.holds = stmtFinish, "\x00\x00\x00\x02\x00\xcc" // 204, as an int2
	case kindCapture:
		m.holds = `"status":"succeeded"`
	case kindConfirm:
		m.holds = `"client_secret":"`
	case kindUpdate:
		m.holds = `"tag":"`
	case kindRefund: // or what was read of one
		m.statement = stmtRefund
	case kindCancelRefund:
		m.statement, m.holds = stmtRefund, `"status":"cancelled"`
	case kindEvidence, kindAccept: // either of them
		m.statement, m.holds = stmtFinish, `"stripe_dispute_id":"`
	default:
		m.holds = `"status":"cancelled"`
	}

	return m
}

// processFaults: processes die, stop and come back.
func processFaults() []fault {
	faults := []fault{
		again("process: SIGKILL any time", killAnyTime),
		again("process: SIGTERM any time", termAnyTime),
		{name: "process: both SIGKILLed", play: killBoth},
		again("process: SIGSTOP any time", stopAnyTime),
	}

	for _, kind := range operationKinds() {
		whileExecuting := ofKind("process: SIGKILL while Stripe executes", kind)
		afterExecuting := ofKind("process: SIGKILL after Stripe executed", kind)
		stoppedAtStripe := ofKind("process: SIGSTOP after Stripe executed", kind)
		anothersKey := ofKind("process: both start with another account's key", kind)

		faults = append(faults,
			again(whileExecuting, killAtStripe(kind, sandbox.HoldBefore, whileExecuting)),
			again(afterExecuting, killAtStripe(kind, sandbox.Hold, afterExecuting)),
			again(stoppedAtStripe, stopAtStripe(kind, stoppedAtStripe)),
			again(anothersKey, startWithAnothersKey(kind, anothersKey)))
		stops := []moment{begins(kind, after), ends(kind, before)}
		faults = append(faults, trapFaults("process: SIGSTOP ", stops, (*world).stopHere)...)
	}

	return append(faults, trapFaults("process: SIGKILL ", moments(), (*world).killHere)...)
}

// again plays a fault until it has fired. The first time its process may be down
// because of another fault, or there is nothing yet to spoil.
func again(name string, once func(context.Context, *world, *rand.Rand)) fault {
	return fault{name: name, play: func(ctx context.Context, w *world, r *rand.Rand) {
		for ctx.Err() == nil && w.times(name) == 0 {
			once(ctx, w, r)
		}
	}}
}

// trapFaults do something to a process at each of the moments.
func trapFaults(prefix string, at []moment, act func(*world, *process, string) verdict) []fault {
	faults := make([]fault, 0, len(at))
	for _, m := range at {
		faults = append(faults, fault{name: prefix + m.name, play: trapProcess(prefix+m.name, m, act)})
	}

	return faults
}

func killAnyTime(ctx context.Context, w *world, r *rand.Rand) {
	for range r.IntN(3) + 1 {
		wait(ctx, between(r, 100*time.Millisecond, 700*time.Millisecond))

		if ctx.Err() == nil && w.processes[r.IntN(processes)].kill("any time") {
			w.count("process: SIGKILL any time", 1)
		}
	}
}

func termAnyTime(ctx context.Context, w *world, r *rand.Rand) {
	wait(ctx, between(r, 200*time.Millisecond, 900*time.Millisecond))

	p := w.processes[r.IntN(processes)]
	if ctx.Err() == nil && p.terminate() {
		w.count("process: SIGTERM any time", 1)
	}
}

func killBoth(ctx context.Context, w *world, r *rand.Rand) {
	wait(ctx, between(r, 200*time.Millisecond, 900*time.Millisecond))

	if ctx.Err() != nil {
		return
	}

	w.machine.Lock()
	defer w.machine.Unlock()

	for _, p := range w.processes {
		defer p.keepDown("both at once")()
	}

	w.count("process: both SIGKILLed", 1)
	wait(ctx, between(r, 0, 300*time.Millisecond))
}

func stopAnyTime(ctx context.Context, w *world, r *rand.Rand) {
	soon(ctx, r)

	if w.processes[r.IntN(processes)].pause(ctx, between(r, 300*time.Millisecond, 5*time.Second), "any time") {
		w.count("process: SIGSTOP any time", 1)
	}
}

// killAtStripe kills the process that waits for Stripe, before or after Stripe has
// executed the call. Stripe completes the call all the same.
func killAtStripe(kind operationKind, action sandbox.Action, name string) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		held, release := holdOne(ctx, w, r, kind, action)
		if !held {
			return
		}

		if w.caller().kill(name) {
			w.count(name, 1)
		}

		wait(ctx, between(r, 0, 100*time.Millisecond))
		release()
	}
}

// stopAtStripe stops the process that waits for Stripe for longer than its lease,
// so that the other one takes the operation, and wakes it up again.
func stopAtStripe(kind operationKind, name string) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		held, release := holdOne(ctx, w, r, kind, sandbox.Hold)
		if !held {
			return
		}

		p := w.caller()

		// The process may be stopped until after the workload; then heal waits for it.
		w.machine.Lock()
		defer w.machine.Unlock()

		go func() {
			wait(context.WithoutCancel(ctx), 50*time.Millisecond)
			release()
		}()

		if p.pause(context.WithoutCancel(ctx), between(r, 3500*time.Millisecond, 5500*time.Millisecond), "Stripe has executed") {
			w.count(name, 1)
		}
	}
}

// startWithAnothersKey rolls the service out with the key of another account while
// an outcome is unknown. Each process must refuse to start. One that does not is
// given enough time for its recovery to send again.
func startWithAnothersKey(kind operationKind, name string) func(context.Context, *world, *rand.Rand) {
	const serving = 6 * time.Second // longer than a lease

	return func(ctx context.Context, w *world, r *rand.Rand) {
		held, release := holdOne(ctx, w, r, kind, sandbox.HoldBefore)
		defer release()

		if !held {
			return
		}

		w.machine.Lock()
		defer w.machine.Unlock()

		for _, p := range w.processes {
			defer p.keepDown("a roll-out")()
		}

		release() // Stripe executes the call that nobody waits for any more

		unknown, err := w.pending(ctx)
		if err != nil || unknown == 0 {
			return
		}

		trying, cancel := context.WithTimeout(ctx, serving)
		defer cancel()

		var tries sync.WaitGroup

		for _, p := range w.processes {
			tries.Go(func() {
				if w.tryAnothersKey(trying, p) {
					w.count(name, 1)
				}
			})
		}

		tries.Wait()
	}
}

// tryAnothersKey tells whether Stripe was asked with the other key. A process that
// asked and ended must say why in its last line.
func (w *world) tryAnothersKey(ctx context.Context, p *process) bool {
	w.line.addf(p.name(), "starts with another account's key")

	before := w.doors[p.index].another.Load()
	code, said := p.tryKey(ctx, anotherKey)
	asked := w.doors[p.index].another.Load() > before

	if ctx.Err() != nil {
		w.line.addf(p.name(), "still ran when its time was up")

		return asked
	}

	w.line.addf(p.name(), "ended with %d: %s", code, said)

	if asked && (code != 1 || !strings.Contains(said, sandbox.DefaultAccount) || !strings.Contains(said, anotherAccount)) {
		p.notef("with another account's key it ended with %d: %s", code, said)
	}

	return asked
}

// holdOne holds one call of a kind at Stripe.
func holdOne(
	ctx context.Context, w *world, r *rand.Rand, kind operationKind, action sandbox.Action,
) (held bool, release func()) {
	soon(ctx, r)

	id, held := w.inForce(ctx, sandbox.Fault{Action: action, Method: kind.method, Path: kind.path, Nth: r.IntN(3) + 1})

	return held, func() { _ = w.stripe.RemoveFault(id) }
}

// caller is the process that has waited for Stripe the longest.
func (w *world) caller() *process {
	longest, since := 0, time.Time{}

	for i, door := range w.doors {
		if at, waiting := door.oldest(); waiting && (since.IsZero() || at.Before(since)) {
			longest, since = i, at
		}
	}

	return w.processes[longest]
}

// trapProcess does something to a process when its statement passes the wire.
func trapProcess(
	name string, m moment, act func(*world, *process, string) verdict,
) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		soon(ctx, r)

		for i, wire := range w.lane.wires {
			disarm := wire.arm(&trap{statement: m.statement, holds: m.holds, when: m.when, left: 1, spring: func() verdict {
				w.count(name, 1)

				return act(w, w.processes[i], m.name)
			}})
			defer disarm()
		}

		<-ctx.Done()
	}
}

func (w *world) killHere(p *process, why string) verdict {
	p.kill(why)

	return verdict{cut: true}
}

// stopHere stops the process for longer than a lease. The statement passes when the
// process wakes up.
func (w *world) stopHere(p *process, why string) verdict {
	p.pause(context.Background(), 3500*time.Millisecond, why)

	return verdict{}
}
