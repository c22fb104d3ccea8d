package refunds

import (
	"cmp"
	"slices"
)

// The most that fits into a world.
const (
	mostKeys    = 3
	mostObjects = 5
	mostRecords = mostKeys + mostObjects
	mostEvents  = 7
)

// captured is what the payment has received. One unit is a dollar.
const captured = 10

// world is everything at one moment. It is small and has no pointers: there are many. Its
// methods with a pointer change it.
//
//nolint:recvcheck // a step copies it, and changes the copy
type world struct {
	stripe stripe
	// now is what the database says. old is the position to which a loss takes it back.
	now, old records
	loss     loss
	// events are on their way.
	events  [mostEvents]event
	workers [2]worker
	readers [2]reader
	left    left
}

// stripe is what Stripe has.
type stripe struct {
	// made are the refunds, the oldest first.
	made [mostObjects]object
	// kept is what Stripe remembers under each of our idempotency keys.
	kept    [mostKeys]kept
	dispute dispute
}

// object is a refund at Stripe, or nothing.
type object struct {
	// key is the number of the key whose mark it carries, counted from 1; 0: somebody at the
	// Dashboard made it.
	key    uint8
	amount uint8
	status status
}

type status uint8

const (
	none status = iota
	pending
	succeeded
	failed
)

func (s status) counts() bool { return s == pending || s == succeeded }

// kept is the answer that Stripe keeps under a key: the number of a refund, counted from 1, or
// a rejection; or nothing.
type kept struct {
	object   uint8
	status   status
	rejected bool
	age      ticks
}

func (k kept) is() bool { return k.object > 0 || k.rejected }

// dispute is what a bank asks back. away is how much of it is gone from our balance.
type dispute struct {
	stage stage
	away  uint8
}

type stage uint8

const (
	undisputed stage = iota
	inquiry
	open
	lost
	won
)

// records are one payment, its refunds and the operations on it.
//
//nolint:recvcheck // as world
type records struct {
	operations [mostKeys]operationRow
	// refunds are sorted; what is not there is zero.
	refunds [mostRecords]record
	// The sums of the payment.
	pending, refunded, disputed, overdrawn uint8
	// dispute is what we know of it, and hints are events that say that there may be news.
	dispute dispute
	hints   [mostEvents]event
	// How far reconciliation has come in the database's second life; see operation.Standing.
	through, complete bool
	behind, since     ticks
}

type operationRow struct {
	state state
	age   ticks
	// tried: the call may have been sent.
	tried bool
}

type state uint8

const (
	absent state = iota
	waiting
	done
	// refused: its answer is, for ever, that nothing was given back.
	refused
	needsAttention
)

// record is our record of a refund. key is as in object; object is the number of Stripe's,
// counted from 1, or 0 if nobody knows whether Stripe has made it.
type record struct {
	key, object uint8
	amount      uint8
	status      status
}

// event tells of a change at Stripe.
type event struct {
	kind eventKind
	// object is the number of the refund, and status what it is told to be. given is what the
	// charge says was given back.
	object uint8
	status status
	given  uint8
}

type eventKind uint8

const (
	_ eventKind = iota // no event
	// chargeRefunded is charge.refunded, and refundUpdated charge.refund.updated.
	chargeRefunded
	refundUpdated
	disputeChanged
)

// worker is a process that has an operation in its hands.
type worker struct {
	doing doing
	// key is the number of the key, counted from 1, and object that of the refund that was
	// answered.
	key, object uint8
	status      status
	// pending and refunded are the sums that were decided, and stale: the payment has another version
	// than the one that they were decided about.
	pending, refunded uint8
	stale             bool
}

type doing uint8

const (
	idle doing = iota
	// decided: it has decided about what it has read, and has not written that yet.
	decided
	// sends: it has the operation, and the call is under way.
	sends
	// Stripe's answer is known and not written down yet: a refund, or a rejection.
	hasObject
	hasRejection
)

// reader reads the payment at Stripe.
type reader struct {
	step readerStep
	// stale: the payment has another version than the one that was loaded, or an event has come.
	stale bool
	// made and dispute are what was read.
	made    [mostObjects]object
	dispute dispute
}

type readerStep uint8

const (
	resting readerStep = iota
	loaded
	hasRead
)

// loss says what the database has lost or may still lose.
type loss uint8

const (
	nothing loss = iota
	mayLose
	willLose
	hasLost
)

// left is how often something may still happen.
type left struct{ asks, elsewhere, failures, disputes, drops uint8 }

// ticks are an age in steps of twelve hours.
type ticks uint8

const (
	tickHours = 12
	// day is how long Stripe keeps a key.
	day ticks = 24 / tickHours
)

// busy: a call is under way or about to be sent. That takes seconds.
func (w world) busy() bool {
	return slices.ContainsFunc(w.workers[:], func(p worker) bool { return p.doing == sends })
}

// free is a worker that does nothing, or -1.
func (w world) free() int {
	return slices.IndexFunc(w.workers[:], func(p worker) bool { return p.doing == idle })
}

// writes notes that the payment gets a new version: whoever has loaded it before does not write.
func (w *world) writes() {
	for i := range w.workers {
		w.workers[i].stale = w.workers[i].doing == decided
	}

	w.hears()
}

// hears notes that an event about the payment is stored: whoever has read Stripe before it does not
// write.
func (w *world) hears() {
	for i := range w.readers {
		w.readers[i].stale = w.readers[i].step != resting
	}
}

// with is the records with one more, or with another in its place: of the same object, else of
// the same key.
func (r *records) with(one record) {
	at := slices.IndexFunc(r.refunds[:], func(o record) bool { return o.object > 0 && o.object == one.object })
	if at < 0 && one.key > 0 {
		at = slices.IndexFunc(r.refunds[:], func(o record) bool { return o.key == one.key && o.object == 0 })
	}

	if at < 0 {
		at = slices.Index(r.refunds[:], record{})
	}

	r.refunds[at] = one
	r.sort()
}

// without is the records without what key reserved and nobody has made.
func (r *records) without(key uint8) {
	for i, o := range r.refunds {
		if o.key == key && o.object == 0 {
			r.refunds[i] = record{}
		}
	}

	r.sort()
}

func (r *records) sort() {
	slices.SortFunc(r.refunds[:], func(a, b record) int { return cmp.Compare(a.order(), b.order()) })
}

// order puts what is not there last.
func (r record) order() uint32 {
	if r == (record{}) {
		return 1 << 31
	}

	return uint32(r.object)<<16 | uint32(r.key)<<8 | uint32(r.status)
}

// normal is w without what makes no difference any more.
func (w world) normal(rules Rules) world {
	w = w.forgets(rules)

	for _, events := range []*[mostEvents]event{&w.events, &w.now.hints, &w.old.hints} {
		slices.SortFunc(events[:], func(a, b event) int { return cmp.Compare(a.order(), b.order()) })
	}

	if w.workers[0].order() > w.workers[1].order() { // they are alike
		w.workers[0], w.workers[1] = w.workers[1], w.workers[0]
	}

	for i := range w.readers {
		if w.readers[i].step != hasRead {
			w.readers[i].made, w.readers[i].dispute = [mostObjects]object{}, dispute{}
		}

		if w.readers[i].step == resting {
			w.readers[i] = reader{}
		}
	}

	if w.readers[0].order() > w.readers[1].order() {
		w.readers[0], w.readers[1] = w.readers[1], w.readers[0]
	}

	if w.loss != willLose {
		w.old = records{}
	}

	return w
}

// forgets what nobody will ask for.
func (w world) forgets(rules Rules) world {
	for i := range w.readers {
		if w.readers[i].stale && !rules.OldVersion {
			w.readers[i] = reader{step: loaded} // it begins again, so it may as well have
		}
	}

	for i, p := range w.workers {
		if p.doing != hasObject && p.doing != hasRejection {
			continue
		}

		if s := w.now.operations[p.key-1].state; s == done || s == refused {
			w.workers[i] = worker{} // somebody was faster
		}
	}

	if w.loss == mayLose || w.loss == willLose {
		return w
	}

	for i, op := range w.now.operations { // what has ended is not sent again
		called := slices.ContainsFunc(w.workers[:], func(p worker) bool { return p.doing != idle && int(p.key) == i+1 })

		if op.state != absent && op.state != waiting && !called && !rules.KeyOfAmount {
			w.now.operations[i], w.stripe.kept[i] = operationRow{state: op.state}, kept{}
		}
	}

	return w
}

func (e event) order() uint32 {
	if e == (event{}) {
		return 1 << 31
	}

	return uint32(e.kind)<<24 | uint32(e.object)<<16 | uint32(e.status)<<8 | uint32(e.given)
}

func (p worker) order() uint64 {
	number := uint64(p.doing)<<24 | uint64(p.key)<<16 | uint64(p.object)<<8 | uint64(p.status)<<1 | bit(p.stale)

	return number<<16 | uint64(p.pending)<<8 | uint64(p.refunded)
}

func bit(set bool) uint64 {
	if set {
		return 1
	}

	return 0
}

func (r reader) order() uint64 {
	number := uint64(r.step)<<1 | bit(r.stale)
	for _, o := range r.made {
		number = number<<6 | uint64(o.status)<<4 | uint64(o.amount)
	}

	return number<<6 | uint64(r.dispute.stage)<<3 | uint64(r.dispute.away)
}
