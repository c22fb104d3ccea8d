package model

import (
	"fmt"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

// protocol is what may happen, within bounds and by rules.
type protocol struct {
	Bounds

	rules  Rules
	prints [C + 1]operation.Fingerprint
	// telling: somebody wants to read the steps' texts.
	telling bool
}

// step is one thing that happens.
type step struct {
	to   world
	text string
	// bad: something goes wrong here.
	bad bool
	// twice: one key has now made two.
	twice bool
}

type visit func(step)

// say is a step's text. A search without a reader has no time for it.
func (m *protocol) say(format string, args ...any) string {
	if !m.telling {
		return ""
	}

	return fmt.Sprintf(format, args...)
}

const fourHoursPass = "Four hours pass."

// steps visits everything that may happen next.
func (m *protocol) steps(w world, visit visit) {
	m.requests(w, visit)

	for i := range w.processes {
		m.goesOn(w, i, visit)
	}

	m.resends(w, visit)
	m.finds(w, visit)
	m.hears(w, visit)
	m.looks(w, visit)
	m.ends(w, visit)
	m.loses(w, visit)

	if !w.calls() {
		visit(step{to: w.later(), text: fourHoursPass})
	}
}

// row is what the product's rules see of the operation.
func (m *protocol) row(r records) operation.Row {
	states := [...]operation.State{
		pending: operation.Pending, finished: operation.Finished, refused: operation.Finished,
		rejected: operation.Rejected, needsAttention: operation.NeedsAttention,
	}

	return operation.Row{State: states[r.state], Refused: r.state == refused, Fingerprint: m.prints[r.body]}
}

// repeated is what becomes of a request with that body if the key has an operation. Any
// lease may have run out.
func (m *protocol) repeated(w world, b Body) operation.Repeat {
	return m.rules.Repeated(m.row(w.now), m.prints[b], w.now.age.duration(), w.standing(m.rules.Unnoticed), false)
}

// requests: a client asks.
func (m *protocol) requests(w world, visit visit) {
	i := w.free()
	if i < 0 || w.left.requests == 0 {
		return
	}

	w.left.requests--

	for _, b := range m.Bodies {
		if w.now.state == absent {
			first := w
			first.now.state, first.now.body = pending, b
			m.takes(first, i, process{body: b, written: true}, m.say("A request (body %s) writes down its operation", b), visit)

			continue
		}

		switch repeat := m.repeated(w, b); repeat {
		case operation.Reopened, operation.TakenOver:
			again := w
			again.now.state = pending
			m.takes(again, i, process{body: b}, m.say("A request (body %s) %s", b, repeat), visit)
		default: // it is answered, and nothing changes
		}
	}
}

// takes gives process i the lease of a pending operation. It sends the call at once, if it
// may: nothing can come in between that makes a difference, unless it asks late.
func (m *protocol) takes(w world, i int, p process, text string, visit visit) {
	p.doing, p.number, p.age, p.again = holds, w.now.number, w.now.age, w.now.tried || w.now.holder != 0
	w.now.holder, w.now.tried = leaseOf(i), p.again
	w.processes[i] = p

	switch {
	case w.now.written && m.Kind == operation.Create && !m.rules.SendsWritten:
		visit(step{to: w.released(i, false), text: text + ". Its payment is written, so it is not sent again."})
	case m.rules.Late:
		visit(step{to: w, text: text + "."})
	default:
		m.sends(w, i, text, visit)
	}
}

// sends: the call leaves, if it may.
func (m *protocol) sends(w world, i int, text string, visit visit) {
	p := &w.processes[i]
	if !m.rules.MaySend(p.age.duration(), w.standing(m.rules.Unnoticed), p.written) {
		visit(step{to: w.released(i, false), text: text + ". It may not be sent now, and is left to recovery."})

		return
	}

	p.doing, p.age, p.written = sends, 0, false

	visit(step{to: w, text: text + m.say(", and sends the call (process %d).", i+1)})
}

// released is w when process i does nothing any more and has given its lease back. sent: it
// may have sent the call, and has not learnt what Stripe has answered, or has died.
func (w world) released(i int, sent bool) world {
	w.processes[i] = process{}

	if w.now.holder == leaseOf(i) {
		w.now.holder, w.now.tried = 0, w.now.tried || sent
	}

	return w
}

// goesOn: a process does the next thing.
func (m *protocol) goesOn(w world, i int, visit visit) {
	p := w.processes[i]

	switch p.doing {
	case idle:
		return
	case holds:
		m.sends(w, i, m.say("Process %d goes on", i+1), visit)
	case sends:
		m.arrives(w, i, visit)
	case hasObject:
		visit(m.writesObject(w, i))
	case hasRejection:
		visit(m.writesRejection(w, i))
	case hasRefusal:
		visit(m.writesRefusal(w, i))
	case hasConflict:
		if m.rules.Unread {
			w.processes[i].doing = hasRefusal
			visit(step{to: w, text: m.say("Process %d takes that for a refusal.", i+1)})

			break
		}

		w.now.written, w.processes[i].doing = true, hasObject
		visit(step{to: w, text: m.say("Process %d reads the payment: its mark names this operation.", i+1)})
	}

	lost := m.say("The call of process %d, or its answer, is lost; or the process dies.", i+1)
	visit(step{to: w.released(i, true), bad: true, text: lost})
}

// arrives: a call arrives at Stripe.
func (m *protocol) arrives(w world, i int, visit visit) {
	p := w.processes[i]

	answers := func(w world, is doing, text string) {
		w.processes[i] = process{doing: is, body: p.body}
		visit(step{to: w, text: text})
	}
	// A no to a copy says nothing about the original (ports.Provider).
	no := func(w world, is doing, bad bool, text string) {
		if p.again {
			visit(step{to: w.released(i, true), bad: bad, text: text + " The call may have been sent before, so that proves nothing."})
		} else {
			answers(w, is, text)
		}
	}

	key := &w.keys[p.number]

	switch {
	case key.body != nobody && key.body != p.body:
		text := m.say("Stripe knows the key of process %d with body %s: an idempotency error.", i+1, key.body)
		visit(step{to: w.released(i, true), text: text})
	case key.rejected:
		no(w, hasRejection, false, m.say("Stripe repeats the rejection to process %d.", i+1))
	case key.body != nobody:
		answers(w, hasObject, m.say("Stripe repeats its answer to process %d (body %s).", i+1, key.body))
	case p.body == m.Refuses:
		no(w, hasRefusal, false, m.say("Stripe refuses the order of process %d (body %s).", i+1, p.body))
	case m.Kind == operation.Capture && w.made.body != nobody && m.sameSubject(w.made.body, p.body):
		answers(w, hasConflict, m.say("Stripe tells process %d that the payment is captured.", i+1))
	default:
		m.executes(w, i, answers, visit)

		if w.left.rejections > 0 {
			w.left.rejections--
			no(w, hasRejection, true, m.say("Stripe rejects the call of process %d because of the account.", i+1))

			*key = kept{body: p.body, rejected: true}

			no(w, hasRejection, true, m.say("Stripe rejects the call of process %d because of the account, and keeps that.", i+1))
		}
	}
}

// executes: Stripe does what is asked.
func (m *protocol) executes(w world, i int, answers func(world, doing, string), visit visit) {
	p := w.processes[i]
	text := m.say("STRIPE EXECUTES the call of process %d (body %s).", i+1, p.body)

	if w.made.body != nobody {
		visit(step{to: w.released(i, true), twice: true, text: text})

		return
	}

	w.keys[p.number], w.made = kept{body: p.body}, made{body: p.body}
	answers(w, hasObject, text)
}

// sameSubject: both are about one payment. The product's rule about events says so.
func (m *protocol) sameSubject(b, c Body) bool {
	told := payment.Told{Snapshot: payment.Snapshot{PaymentID: b.subject(m.Kind)}}
	verdict, _ := payment.Decide(told, payment.Known{Payment: &payment.Payment{ID: c.subject(m.Kind)}})

	return verdict != payment.Contradicts
}

// writesObject: process i writes down what Stripe has made.
func (m *protocol) writesObject(w world, i int) step {
	if w.now.state == absent { // the database has lost it since
		w.now.state, w.now.body = pending, w.processes[i].body
	}

	w.processes[i] = process{}
	m.finish(&w.now, w.made)

	return step{to: w, text: m.say("Process %d writes down what was made for body %s.", i+1, w.made.body)}
}

// finish ends an operation with what Stripe has made. Then its payment is written, too.
func (m *protocol) finish(r *records, made made) {
	ending := m.rules.Ends(m.row(*r), m.prints[made.body])
	if !m.sameSubject(made.body, r.body) {
		ending = operation.Contradicts
	}

	switch {
	case ending == operation.Finishes:
		m.takesOver(r, made)
		r.becomes(finished)
	case ending == operation.Contradicts && (r.state == pending || r.state == rejected):
		r.becomes(needsAttention)
	}
}

// takesOver writes the payment. The operation gets the fingerprint that the object carries.
func (m *protocol) takesOver(r *records, made made) {
	if r.written = true; !m.rules.Keeps {
		r.body = made.body
	}
}

// becomes gives the operation another state. Nobody has its lease then.
func (r *records) becomes(s state) {
	if r.state, r.holder, r.tried = s, 0, false; s != rejected {
		r.age = 0
	}
}

// writesRejection: process i writes down that Stripe has rejected the call because of the
// account. The client may ask again.
func (m *protocol) writesRejection(w world, i int) step {
	w.processes[i] = process{}

	if r := &w.now; r.state == pending && r.holder == leaseOf(i) {
		if r.becomes(rejected); r.written && m.Kind == operation.Create {
			r.becomes(needsAttention) // there is a payment all the same
		}

		if m.rules.Numbered {
			r.number = 1
		}
	}

	return step{to: w, text: m.say("Process %d writes down the rejection, if it still has the lease.", i+1)}
}

// writesRefusal: process i writes down for ever that Stripe has refused the order.
func (m *protocol) writesRefusal(w world, i int) step {
	body := w.processes[i].body
	w.processes[i] = process{}

	if r := &w.now; r.state != absent && m.rules.MayRefuse(m.row(*r), m.prints[body]) {
		if r.becomes(refused); r.written && m.Kind == operation.Create {
			r.becomes(needsAttention) // there is a payment all the same
		}
	}

	return step{to: w, text: m.say("Process %d writes down for ever that body %s was refused.", i+1, body)}
}

// resends: recovery takes the operation, to send it again.
func (m *protocol) resends(w world, visit visit) {
	if i := w.free(); i >= 0 && w.now.state == pending {
		m.takes(w, i, process{body: w.now.body}, m.say("Recovery takes the operation (%d h old)", w.now.age*hours), visit)
	}
}

// finds: recovery looks at Stripe for what became of the operation.
func (m *protocol) finds(w world, visit visit) {
	i := w.free()
	if i < 0 || w.now.state != pending {
		return
	}

	switch {
	case w.made.body != nobody && m.sameSubject(w.made.body, w.now.body):
		w.processes[i] = process{doing: hasObject, body: w.now.body}
		visit(step{to: w, text: m.say("Recovery (process %d) finds at Stripe what was made for body %s.", i+1, w.made.body)})
	case w.now.age.duration() > operation.SendFor:
		w.now.becomes(needsAttention)
		visit(step{to: w, text: "Recovery finds nothing at Stripe, and leaves the operation to a person."})
	}
}

// hears: Stripe's event arrives, sooner or later or never. It does not have all that a
// client is told, so an operation that is there stays unfinished.
func (m *protocol) hears(w world, visit visit) {
	if !m.Events || w.made.body == nobody || w.now.written {
		return
	}

	switch {
	case m.Kind == operation.Capture:
		w.now.written = true
	case w.now.state == absent:
		m.adopts(&w.now, w.made, true)
	case w.now.state == pending || w.now.state == needsAttention:
		m.takesOver(&w.now, w.made)
	default:
		return // it is parked
	}

	visit(step{to: w, text: m.say("Stripe's event about body %s arrives.", w.made.body)})
}

// adopts writes an operation that the database has lost, because of what was made.
func (m *protocol) adopts(r *records, made made, fits bool) {
	r.body, r.age = made.body, 0

	switch m.rules.Adopted(fits) {
	case operation.Finished:
		r.state, r.written = finished, true
	case operation.NeedsAttention:
		r.state = needsAttention
	default:
		r.state = pending
	}
}

// looks: a reconciliation looks at everything since the cursor.
func (m *protocol) looks(w world, visit visit) {
	w.run = run{on: true, second: w.loss == lost, late: w.now.through && w.now.looked == day}

	if w.made.body == nobody || w.made.age > w.now.cursor || m.atHome(w.now) {
		visit(step{to: w, text: "Reconciliation looks, and nothing is missing."})

		return
	}

	home := w
	m.bringsHome(&home.now, w.made)
	visit(step{to: home, text: m.say("Reconciliation looks, and brings home what was made for body %s.", w.made.body)})

	if m.rules.MayPass(operation.Failed) {
		visit(step{to: w, bad: true, text: m.say("Reconciliation looks, and cannot write what was made for body %s.", w.made.body)})
	}

	if m.Odd && m.rules.MayPass(operation.Recorded) {
		switch w.now.state {
		case absent:
			m.adopts(&w.now, w.made, false)
		case pending:
			w.now.becomes(needsAttention)
		default:
		}

		text := m.say("Reconciliation looks: what was made for body %s does not fit. It is left to a person.", w.made.body)
		visit(step{to: w, bad: true, text: text})
	}
}

// atHome: the records have what was made.
func (m *protocol) atHome(r records) bool {
	return r.written && (m.Kind == operation.Create || m.rules.LeavesCaptures || r.state == finished || r.state == needsAttention)
}

func (m *protocol) bringsHome(r *records, made made) {
	switch {
	case m.Kind == operation.Capture && m.rules.LeavesCaptures:
		r.written = true
	case r.state == absent:
		m.adopts(r, made, true)
	default:
		m.finish(r, made)

		r.written = r.written || m.Kind == operation.Capture
	}
}

// ends: a reconciliation moves the cursor to where it has looked. It may, if the cursor is
// still where it was, in the same life of the database.
func (m *protocol) ends(w world, visit visit) {
	r := w.run
	if !r.on {
		return
	}

	w.run = run{}

	if r.moved || r.second != (w.loss == lost) && !m.rules.AnyLife {
		visit(step{to: w, text: "Reconciliation ends. It may not move its cursor."})

		return
	}

	w.now.cursor = r.at

	switch n := &w.now; {
	case w.loss != lost:
	case r.late || m.rules.Hasty:
		n.through, n.complete, n.looked = true, true, 0
	case !n.through:
		n.through, n.looked = true, 0
	}

	visit(step{to: w, text: "Reconciliation ends, and moves its cursor to where it has looked."})
}

// loses: the database goes back to an earlier position.
func (m *protocol) loses(w world, visit visit) {
	switch w.loss {
	case mayLose:
		w.loss, w.old = willLose, w.now
		visit(step{to: w, text: "(A backup is made, or a standby comes no further than this.)"})
	case willLose:
		w.run.moved = w.run.on && w.old.cursor != w.now.cursor
		w.loss, w.now, w.old = lost, w.old, records{}

		visit(step{to: w, text: "THE DATABASE LOSES everything since then, and begins its second life."})
	case nothing, lost:
	}
}
