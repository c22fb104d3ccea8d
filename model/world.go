package model

import (
	"cmp"
	"slices"
	"time"

	"github.com/marketflow/marketflow/domain/operation"
)

// world is everything at one moment. It is small and has no pointers: there are millions.
type world struct {
	// now is what the database says. old is the position to which a loss takes it back,
	// that of a backup or of a standby.
	now, old records
	loss     loss
	// keys are what Stripe remembers under our idempotency key. There is a second key only
	// if a rule puts a number into it.
	keys [2]kept
	// made is what Stripe has made, or captured, under the key.
	made      made
	processes [2]process
	run       run
	left      left
}

// records are the operation that has the key, its payment, and reconciliation's cursor.
type records struct {
	state state
	// body is whose fingerprint the operation has. age is its age.
	body Body
	age  ticks
	// holder has the lease: process 1 or 2, or 0 for nobody. tried: an earlier holder may
	// have sent the call.
	holder uint8
	tried  bool
	// written: the payment says what Stripe has made.
	written bool
	// number is part of Stripe's key if a rule says so.
	number uint8
	// cursor is the cursor's age.
	cursor ticks
	// through: a reconciliation has ended in the database's second life, and looked is how
	// long ago the first one has. complete: one that looked a day after that has ended, so
	// nothing is missing. In the first life all of that is so.
	through, complete bool
	looked            ticks
}

// leaseOf is the holder if process i has the lease.
func leaseOf(i int) uint8 { return [...]uint8{1, 2}[i] }

// state is where an operation stands.
type state uint8

const (
	absent state = iota
	pending
	finished
	// refused: it is finished, and its answer is that nothing was done.
	refused
	rejected
	needsAttention
)

// loss says what the database has lost or may still lose.
type loss uint8

const (
	// nothing: it loses nothing. mayLose: it may, and it is not decided to which position
	// it goes back. willLose: that is decided. lost: it is in its second life.
	nothing loss = iota
	mayLose
	willLose
	lost
)

// kept is the answer that Stripe keeps under a key, or nothing.
type kept struct {
	body     Body
	rejected bool
	age      ticks
}

// made is an intent or a capture, or nothing.
type made struct {
	// body is whose mark it carries.
	body Body
	age  ticks
}

// process is what a process does.
type process struct {
	doing doing
	// body is what it sends, and number is part of the key.
	body   Body
	number uint8
	// again: the call may have been sent before.
	again bool
	// age is the operation's. written: it has just written the operation. Both count only
	// while it holds the lease.
	age     ticks
	written bool
}

type doing uint8

const (
	idle doing = iota
	// holds: it has the lease, and has not sent the call yet.
	holds
	// sends: its call is under way.
	sends
	// It knows what Stripe has answered, and has not written it down yet: an object; a
	// rejection because of the account; a refusal of the order; that the payment's state
	// does not allow it.
	hasObject
	hasRejection
	hasRefusal
	hasConflict
)

// calls: a call is under way or about to be sent. That takes seconds, and the wall clock
// ends it.
func (p process) calls() bool { return p.doing == holds || p.doing == sends || p.doing == hasConflict }

func (w world) calls() bool { return w.processes[0].calls() || w.processes[1].calls() }

func (w world) does(d doing) bool { return w.processes[0].doing == d || w.processes[1].doing == d }

// free is a process that does nothing, or -1.
func (w world) free() int {
	return slices.IndexFunc(w.processes[:], func(p process) bool { return p.doing == idle })
}

// run is a reconciliation that has looked and has not ended, or nothing.
type run struct {
	on bool
	// at is the time since it looked. moved: the cursor is not where it was then.
	at    ticks
	moved bool
	// second: it looked in the database's second life. late: a day after the first one that
	// has ended in that.
	second, late bool
}

// left is how often something may still happen.
type left struct{ requests, rejections uint8 }

// ticks are an age in steps of four hours.
type ticks uint8

const (
	hours = 4
	// day is how long Stripe keeps a key. Of what is older only the order counts.
	day ticks = 24 / hours
)

func (t ticks) duration() time.Duration { return time.Duration(t) * hours * time.Hour }

// standing is what the rule about sending is told. unnoticed: the database's second life is
// taken for the first one.
func (w world) standing(unnoticed bool) operation.Standing {
	switch {
	case w.loss != lost || unnoticed || w.now.complete:
		return operation.Standing{Reconciled: true}
	default:
		return operation.Standing{Reconciled: w.now.through, Behind: w.now.cursor.duration()}
	}
}

// later is w four hours later.
func (w world) later() world {
	for _, r := range []*records{&w.now, &w.old} {
		if r.state == pending || r.state == rejected {
			r.age = min(r.age+1, day)
		}
	}

	if w.now.through && !w.now.complete {
		w.now.looked = min(w.now.looked+1, day)
	}

	for i := range w.keys {
		if k := &w.keys[i]; k.body != nobody {
			if k.age++; k.age == day {
				*k = kept{} // Stripe has forgotten it
			}
		}
	}

	ages := []*ticks{&w.now.cursor}
	if w.loss == willLose {
		ages = append(ages, &w.old.cursor)
	}

	if w.made.body != nobody {
		ages = append(ages, &w.made.age)
	}

	if w.run.on {
		ages = append(ages, &w.run.at)
	}

	older(ages)

	return w
}

// older adds four hours to each. Of those that are older than a day only the order is kept.
func older(ages []*ticks) {
	slices.SortFunc(ages, func(a, b *ticks) int { return cmp.Compare(*a, *b) })

	var before, after ticks

	for _, age := range ages {
		next := *age + 1

		switch {
		case next <= day:
			after = next
		case next != before:
			after = max(day, after+1)
		}

		before, *age = next, after
	}
}

// normal is w without what makes no difference any more. anyLife: the cursor moves in any
// life of the database.
func (w world) normal(b Bounds, anyLife bool) world {
	if b.Rejections == 0 && b.Refuses == nobody { // then it does not matter whether a call was sent before
		w.now.holder, w.now.tried, w.old.holder, w.old.tried = 0, false, 0, false
		w.processes[0].again, w.processes[1].again = false, false
	}

	ended := w.loss != lost || w.now.complete || w.now.through && !w.run.late

	switch r := w.run; {
	case r.second != (w.loss == lost) && !anyLife, r.at == w.now.cursor && ended:
		w.run = run{} // it cannot change anything
	}

	// Nothing is begun any more.
	if w.now.state == finished && (w.loss == lost || w.loss == nothing) && !w.does(holds) {
		w.now.cursor, w.now.through, w.now.complete, w.now.looked = 0, false, false, 0
		w.run, w.left, w.made.age = run{}, left{}, 0

		if !w.calls() {
			w.keys = [2]kept{}
		}
	}

	if w.processes[0].order() > w.processes[1].order() { // the processes are alike
		w.processes[0], w.processes[1] = w.processes[1], w.processes[0]

		for _, r := range []*records{&w.now, &w.old} {
			if r.holder != 0 {
				r.holder = 3 - r.holder
			}
		}
	}

	return w
}

// order puts processes in an order.
func (p process) order() uint64 {
	number := uint64(p.doing)<<24 | uint64(p.body)<<16 | uint64(p.number)<<12 | uint64(p.age)<<4

	for bit, is := range []bool{p.again, p.written} {
		if is {
			number |= 1 << bit
		}
	}

	return number
}
