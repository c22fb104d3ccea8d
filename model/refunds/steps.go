package refunds

import (
	"fmt"
	"slices"
	"time"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
)

// step is something that may happen, and the world after it.
type step struct {
	text string
	to   world
}

// protocol is what may happen within bounds.
type protocol struct {
	Bounds

	rules Rules
}

// amount is what is asked for under a key.
func (p *protocol) amount(key uint8) uint8 { return p.Amounts[key-1] }

// steps calls each with everything that may happen next.
func (p *protocol) steps(w world, each func(step)) {
	for key := uint8(1); int(key) <= len(p.Amounts); key++ {
		p.asks(w, key, each)
		p.recovers(w, key, each)
	}

	for i := range w.workers {
		p.works(w, i, each)
	}

	for i := range w.readers {
		p.reads(w, i, each)
	}

	p.elsewhere(w, each)
	p.delivers(w, each)
	p.judgesAgain(w, each)
	p.loses(w, each)

	if !w.busy() {
		each(step{tickPasses, w.later()})
	}
}

const tickPasses = "twelve hours pass"

// asks begins a refund: it is decided about what was just read, and written later in one commit.
func (p *protocol) asks(w world, key uint8, each func(step)) {
	free := w.free()
	if w.left.asks == 0 || free < 0 || w.now.operations[key-1].state != absent {
		return
	}

	sums, enough := p.reserved(w, key)
	if !enough {
		return // whoever asks is told so, and nothing is written
	}

	n := w
	n.left.asks--
	n.workers[free] = worker{doing: decided, key: key, pending: units(sums.RefundPending), refunded: units(sums.Refunded)}
	each(step{fmt.Sprintf("A request for %d (key %d) finds that there is enough.", p.amount(key), key), n})
}

// reserved is the payment with what is asked for under a key; false if it does not have that much.
func (p *protocol) reserved(w world, key uint8) (payment.Payment, bool) {
	reserved, err := p.rules.Reserve(w.now.payment(w.now.dispute.stage == open), w.now.domain(),
		record{key: key, amount: p.amount(key), status: pending}.domain(), payment.RefundAsk{Amount: price(p.amount(key))})

	return reserved, err == nil
}

// reserves writes what was decided, if the payment still has the version that was decided about.
// Else it is decided under the payment's lock.
func (p *protocol) reserves(w world, i int, each func(step)) {
	at, n := w.workers[i], w
	n.workers[i] = worker{}

	sums, enough := p.reserved(w, at.key)
	if !at.stale || p.rules.OldDecision {
		sums.RefundPending, sums.Refunded, enough = sum(at.pending), sum(at.refunded), true
	}

	if enough && n.now.operations[at.key-1].state == absent {
		if n, ok := p.begun(n, i, at.key, sums); ok {
			each(step{fmt.Sprintf("The request (key %d) writes down its reservation.", at.key), n})

			return
		}
	}

	each(step{fmt.Sprintf("The request (key %d) is refused after all.", at.key), n})
}

// begun writes an operation and what it reserves. ok: the constraint allows it.
func (p *protocol) begun(n world, free int, key uint8, reserved payment.Payment) (_ world, ok bool) {
	n.now.operations[key-1] = operationRow{state: waiting}
	n.now.with(record{key: key, amount: p.amount(key), status: pending})
	n.now.sums(reserved)
	n.writes()

	return p.taken(n, free, key), n.now.fits() || p.rules.Unconstrained
}

// taken gives an operation to a worker, who sends it if it may be sent.
func (p *protocol) taken(n world, free int, key uint8) world {
	op := &n.now.operations[key-1]

	n.workers[free] = worker{}

	// What is written down as made is not sent: nothing says that Stripe still has its key.
	if number, as := n.now.made(key); number > 0 && !p.rules.SendsMade {
		return p.finish(n, key, number, as)
	}

	if p.rules.MaySend(op.age.duration(), n.standing()) {
		n.workers[free] = worker{doing: sends, key: key}
		op.tried = true
	}

	return n
}

// made is the refund that is written down as made by an operation, or 0.
func (r records) made(key uint8) (number uint8, as status) {
	for _, one := range r.refunds {
		if one.key == key && one.object > 0 {
			return one.object, one.status
		}
	}

	return 0, none
}

// works is what a worker does next.
func (p *protocol) works(w world, i int, each func(step)) {
	at := w.workers[i]
	n := w

	switch at.doing {
	case decided:
		p.reserves(w, i, each)
	case sends:
		p.executes(w, i, each)
	case hasObject:
		each(step{fmt.Sprintf("It is written down that refund %d was made (key %d).", at.object, at.key), p.finishes(n, i)})
	case hasRejection:
		each(step{fmt.Sprintf("The rejection is looked into (key %d).", at.key), p.isRejected(n, i)})
	case idle:
	}
}

// executes is Stripe doing what a call asks for, or repeating its answer; the call or the answer
// may be lost.
func (p *protocol) executes(w world, i int, each func(step)) {
	key := w.workers[i].key

	if w.left.drops > 0 {
		n := w
		n.left.drops--
		each(step{fmt.Sprintf("The call is lost before it reaches Stripe (key %d).", key), p.unknown(n, i)})
	}

	for _, as := range p.FirstStatuses() {
		n, text := p.executed(w, i, as)
		each(step{text, n})

		if w.left.drops > 0 {
			n.left.drops--
			each(step{text + " The answer is lost.", p.unknown(n, i)})
		}
	}
}

// unknown is when a worker does not learn what became of its call.
func (p *protocol) unknown(n world, i int) world {
	key := n.workers[i].key
	n.workers[i] = worker{}

	if p.rules.ReleasesUnknown && n.now.operations[key-1].state == waiting {
		n = p.refused(n, key)
	}

	return n
}

// memory is where Stripe keeps the answer to a call.
func (p *protocol) memory(key uint8) uint8 {
	if !p.rules.KeyOfAmount {
		return key - 1
	}

	return uint8(slices.Index(p.Amounts, p.amount(key))) //nolint:gosec // few
}

func (p *protocol) executed(w world, i int, as status) (n world, text string) {
	n = w
	key, at := w.workers[i].key, p.memory(w.workers[i].key)
	memory := &n.stripe.kept[at]
	number := uint8(slices.Index(n.stripe.made[:], object{}) + 1) //nolint:gosec // few

	switch {
	case memory.object > 0 && !p.rules.FreshKey:
		n.workers[i] = worker{doing: hasObject, key: key, object: memory.object, status: memory.status}

		return n, fmt.Sprintf("Stripe repeats its answer: refund %d (key %d).", memory.object, key)
	case memory.rejected && !p.rules.FreshKey:
		n.workers[i] = worker{doing: hasRejection, key: key}

		return n, fmt.Sprintf("Stripe repeats its rejection (key %d).", key)
	case number == 0:
		panic("mostObjects is too few for these bounds")
	case !p.stripeAllows(n.stripe, p.amount(key)):
		n.workers[i] = worker{doing: hasRejection, key: key}
		*memory = kept{rejected: true}

		return n, fmt.Sprintf("STRIPE REJECTS the call (key %d).", key)
	default:
		n.stripe.made[number-1] = object{key: key, amount: p.amount(key), status: as}
		*memory = kept{object: number, status: as}
		n.workers[i] = worker{doing: hasObject, key: key, object: number, status: as}
		n.tells(event{kind: chargeRefunded, given: n.stripe.given()})

		if p.Announced {
			n.tells(event{kind: refundUpdated, object: number, status: as})
		}

		return n, fmt.Sprintf("STRIPE GIVES BACK %d as refund %d (key %d).", p.amount(key), number, key)
	}
}

// stripeAllows is Stripe's own cap: what is not given back yet, and nothing while a chargeback is
// open (https://docs.stripe.com/refunds, https://docs.stripe.com/disputes/how-disputes-work).
func (p *protocol) stripeAllows(s stripe, amount uint8) bool {
	return p.Uncapped || s.dispute.stage != open && s.given()+amount <= captured
}

// given is what was given back, or will be.
func (s stripe) given() (sum uint8) {
	for _, o := range s.made {
		if o.status.counts() {
			sum += o.amount
		}
	}

	return sum
}

// tells sends an event.
func (w *world) tells(e event) {
	at := slices.Index(w.events[:], event{})
	if at < 0 {
		panic("mostEvents is too few for these bounds")
	}

	w.events[at] = e
}

// finishes writes down what a call has made. The record of what was read since is younger than
// the answer.
func (p *protocol) finishes(n world, i int) world {
	at := n.workers[i]
	n.workers[i] = worker{}

	return p.finish(n, at.key, at.object, at.status)
}

func (p *protocol) finish(n world, key, number uint8, as status) world {
	op := &n.now.operations[key-1]

	if op.state == done || op.state == refused {
		return n
	}

	if made := n.stripe.made[number-1]; made.key != key && !p.rules.Unchecked && !p.rules.MatchesAmount {
		op.state = needsAttention

		return n
	}

	*op = operationRow{state: done}

	if p.rules.Deltas {
		n.now.pending -= min(n.now.pending, p.amount(key))
		n.now.refunded += p.amount(key)
	}

	known := slices.ContainsFunc(n.now.refunds[:], func(r record) bool { return r.object == number })
	if !known || p.rules.Overwrites {
		n.now.with(record{key: key, object: number, amount: p.amount(key), status: as})
	}

	n.writes()

	if !p.rules.Deltas {
		n.now.sums(p.rules.Counting(n.now.payment(false), n.now.domain(), n.now.disputes(p.rules)))
	}

	return n
}

// isRejected looks whether an earlier attempt was done. If not, nothing was, for ever, and what was
// reserved is given back.
func (p *protocol) isRejected(n world, i int) world {
	key := n.workers[i].key
	n.workers[i] = worker{}

	switch number := p.found(n, key); {
	case n.now.operations[key-1].state != waiting:
		return n
	case number > 0 && !p.rules.Unread:
		return p.finish(n, key, number, n.stripe.made[number-1].status)
	case !n.standing().Reconciled:
		return n
	default:
		return p.refused(n, key)
	}
}

func (p *protocol) refused(n world, key uint8) world {
	n.now.operations[key-1] = operationRow{state: refused}
	n.now.without(key)
	n.now.sums(n.now.payment(false).WithRefunds(n.now.domain()).Balanced())
	n.writes()

	return n
}

// found is the refund at Stripe that an operation has made, by its mark, or 0.
func (p *protocol) found(w world, key uint8) uint8 {
	for i, o := range w.stripe.made {
		number := uint8(i) + 1
		others := slices.ContainsFunc(w.now.refunds[:], func(r record) bool { return r.object == number && r.key != 0 && r.key != key })

		if o.key == key || p.rules.MatchesAmount && o.amount == p.amount(key) && o.status != none && !others {
			return number
		}
	}

	return 0
}

// recovers takes up an operation again: it is sent again, or looked for. A lease may be lost at
// any time, so two may have one operation.
func (p *protocol) recovers(w world, key uint8, each func(step)) {
	free, op := w.free(), w.now.operations[key-1]
	if free < 0 || op.state != waiting {
		return
	}

	made, _ := w.now.made(key)
	if (made > 0 || p.rules.MaySend(op.age.duration(), w.standing())) && !w.sent(key) {
		each(step{fmt.Sprintf("Recovery sends the call (key %d).", key), p.taken(w, free, key)})
	}

	if n := p.looked(w, key); n != w {
		each(step{fmt.Sprintf("Recovery looks for the refund (key %d).", key), n})
	}
}

// sent tells whether both workers send one call already.
func (w world) sent(key uint8) bool {
	return !slices.ContainsFunc(w.workers[:], func(p worker) bool { return p.key != key })
}

// looked is what becomes of an operation that was looked for.
func (p *protocol) looked(w world, key uint8) world {
	op := w.now.operations[key-1]

	switch number := p.found(w, key); {
	case number > 0 && op.tried:
		return p.finish(w, key, number, w.stripe.made[number-1].status)
	case number == 0 && op.age >= day && w.standing().Reconciled:
		w.now.operations[key-1].state = needsAttention

		return w
	default:
		return w
	}
}

// elsewhere is what happens at Stripe by itself, or in its Dashboard.
func (p *protocol) elsewhere(w world, each func(step)) {
	number := uint8(slices.Index(w.stripe.made[:], object{}) + 1) //nolint:gosec // few

	if w.left.elsewhere > 0 && number > 0 && p.stripeAllows(w.stripe, p.Elsewhere) {
		n := w
		n.left.elsewhere--
		n.stripe.made[number-1] = object{amount: p.Elsewhere, status: succeeded}
		n.tells(event{kind: chargeRefunded, given: n.stripe.given()})
		each(step{fmt.Sprintf("SOMEBODY AT THE DASHBOARD gives back %d as refund %d.", p.Elsewhere, number), n})
	}

	for i, o := range w.stripe.made {
		for _, to := range []status{succeeded, failed} {
			if !o.status.counts() || o.status == to || to == failed && w.left.failures == 0 {
				continue
			}

			n := w
			n.stripe.made[i].status = to

			if to == failed {
				n.left.failures--
			}

			n.tells(event{kind: refundUpdated, object: uint8(i) + 1, status: to})
			each(step{fmt.Sprintf("Refund %d is %s.", i+1, statuses[to]), n})
		}
	}

	if w.left.disputes == 0 {
		return
	}

	for _, to := range w.stripe.dispute.next() {
		n := w
		n.left.disputes--
		n.stripe.dispute = to
		n.tells(event{kind: disputeChanged})
		each(step{fmt.Sprintf("The dispute is %s; %d is gone.", to.stage, to.away), n})
	}
}

// next is what may become of a dispute (https://docs.stripe.com/disputes/how-disputes-work). What
// is lost may come back in part, or be won late.
func (d dispute) next() []dispute {
	const part = 4

	switch d.stage {
	case undisputed:
		return []dispute{{inquiry, 0}, {open, captured}}
	case inquiry:
		return []dispute{{open, captured}}
	case open:
		return []dispute{{won, 0}, {lost, captured}, {lost, part}}
	case lost:
		return []dispute{{won, 0}}
	default:
		return nil
	}
}

// String is what people call it.
func (s stage) String() string { return [...]string{"none", "an inquiry", "open", "lost", "won"}[s] }

// delivers an event. None changes the payment: it may be a hint. Whoever has read before it does
// not write.
func (p *protocol) delivers(w world, each func(step)) {
	for i, e := range w.events {
		if e == (event{}) || i > 0 && e == w.events[i-1] {
			continue
		}

		n := w
		n.events[i] = event{}

		text, ignored := " tells nothing new.", p.rules.IgnoresKnown

		if !p.explains(w, e) {
			text, ignored = " is a hint.", p.rules.IgnoresHints
			n.now.hints[slices.Index(n.now.hints[:], event{})] = e
		}

		if !ignored {
			n.hears()
		}

		each(step{w.text(e) + text, n})
	}
}

// judgesAgain lets hints go that our records explain by now.
func (p *protocol) judgesAgain(w world, each func(step)) {
	for i, e := range w.now.hints {
		if e != (event{}) && (i == 0 || e != w.now.hints[i-1]) && p.explains(w, e) {
			n := w
			n.now.hints[i] = event{}
			each(step{w.text(e) + " was a hint, and tells nothing new any more.", n})
		}
	}
}

// explains tells whether our records say what an event says.
func (p *protocol) explains(w world, e event) bool {
	told := payment.MoneyTold{Marked: true}

	switch e.kind { //nolint:exhaustive // the dispute's tells nothing more
	case chargeRefunded:
		told.GivenBack = sum(e.given)
	case refundUpdated:
		o := w.stripe.made[e.object-1]
		o.status = e.status
		told.Refund, told.Known = new(o.snapshot(e.object)), w.now.known(e.object, o.key)
	}

	before := w.now.payment(false)
	verdict, _ := p.rules.Decide(told, payment.Known{Payment: &before})

	return verdict != payment.Hints
}

// text says what an event tells.
func (w world) text(e event) string {
	switch e.kind {
	case chargeRefunded:
		return fmt.Sprintf("An event that %d was given back", e.given)
	case refundUpdated:
		return fmt.Sprintf("An event that refund %d is %s", e.object, statuses[e.status])
	default:
		return "An event about the dispute"
	}
}

// known is our record of a refund, if there is one.
func (r records) known(number, key uint8) *refund.Refund {
	for _, one := range r.refunds {
		if one.object == number || key > 0 && one.key == key && one.object == 0 {
			return new(one.domain())
		}
	}

	return nil
}

// reads is a reader's next step: it loads the payment, reads Stripe, and writes what it has read
// if the payment still has the version that was loaded, else it begins again.
func (p *protocol) reads(w world, i int, each func(step)) {
	n := w

	switch at := &n.readers[i]; {
	case at.step == resting && w.now.hints[0] != (event{}) && i < int(p.Readers):
		*at = reader{step: loaded}

		each(step{"A reader loads the payment.", n})
	case at.step == loaded:
		at.step, at.made, at.dispute = hasRead, w.stripe.made, w.stripe.dispute

		each(step{"It reads Stripe.", n})
	case at.step == hasRead && at.stale && !p.rules.OldVersion:
		*at = reader{step: loaded}

		each(step{"The payment has changed meanwhile: it is loaded again.", n})
	case at.step == hasRead:
		made, disputed := at.made, at.dispute
		*at = reader{}

		each(step{"What was read is written.", p.takes(n, made, disputed)})
	}
}

// takes writes what was read. An operation that the database has lost comes home with its refund.
func (p *protocol) takes(n world, made [mostObjects]object, d dispute) world {
	before := n.now

	for i, o := range made {
		if o.key == 0 {
			continue
		}

		number := uint8(i) + 1

		if p.rules.Deltas && !slices.ContainsFunc(before.refunds[:], func(r record) bool { return r.object == number }) {
			before.refunded += o.amount
		}

		here := slices.ContainsFunc(before.refunds[:], func(r record) bool { return r.key == o.key })
		if !here && !p.rules.LeavesRefunds {
			n.now.operations[o.key-1] = operationRow{state: done}
		}
	}

	listed := refund.OfMoney(snapshots(made), 0)
	n.now.write(p.rules, p.rules.Read(n.now.domain(), listed, paymentID, installation), p.rules.Dispute(n.now.dispute, d))

	if p.rules.Deltas {
		n.now.refunded = before.refunded
	}

	n.now.hints = [mostEvents]event{}
	n.writes()

	return n
}

// loses is the loss of the last minutes, and what reconciliation does after it.
func (p *protocol) loses(w world, each func(step)) {
	n := w

	switch w.loss {
	case mayLose:
		n.loss, n.old = willLose, w.now
		n.old.behind = 0
		each(step{"(A backup is made, or a standby comes no further than this.)", n})
	case willLose:
		n.loss, n.now = hasLost, w.old
		n.now.through, n.now.complete, n.now.since = false, false, 0
		n.writes()
		each(step{"THE DATABASE LOSES everything since then.", n})
	case hasLost:
		if w.now.complete {
			return
		}

		each(step{"Reconciliation reads the payment.", p.reconciled(n)})
	case nothing:
	}
}

func (p *protocol) reconciled(n world) world {
	n = p.takes(n, n.stripe.made, n.stripe.dispute)

	n.now.complete = n.now.through && n.now.since >= day
	n.now.through, n.now.behind = true, 0

	return n
}

// standing is what the rule about sending is told.
func (w world) standing() operation.Standing {
	if w.loss != hasLost || w.now.complete {
		return operation.Standing{Reconciled: true}
	}

	return operation.Standing{Reconciled: w.now.through, Behind: w.now.behind.duration()}
}

func (t ticks) duration() time.Duration { return time.Duration(t) * tickHours * time.Hour }

// later is w twelve hours later.
func (w world) later() world {
	for _, r := range []*records{&w.now, &w.old} {
		for i := range r.operations {
			if r.operations[i].state == waiting {
				r.operations[i].age = min(r.operations[i].age+1, day)
			}
		}

		if w.loss == willLose && r == &w.old || w.loss == hasLost && !r.complete && r == &w.now {
			r.behind = min(r.behind+1, day)
		}

		if r.through && !r.complete {
			r.since = min(r.since+1, day)
		}
	}

	for i := range w.stripe.kept {
		if k := &w.stripe.kept[i]; k.is() {
			if k.age++; k.age == day {
				*k = kept{} // Stripe has forgotten it
			}
		}
	}

	return w
}
