// Package refunds searches every order of events within bounds, breadth first, for one in which
// more money goes back to a customer than came, a key gives it back twice, or our records end
// with other sums than Stripe's. It calls the product's own decisions. ../README.md says what it
// covers and what not.
package refunds

import (
	"fmt"
	"slices"

	"github.com/marketflow/marketflow/model/internal/worlds"
)

// Bounds limit what may happen to one payment of 10.
type Bounds struct {
	// Amounts are what is asked for, one under each key.
	Amounts []uint8
	// Asks is how many requests begin something. Those that are only answered are free.
	Asks uint8
	// Elsewhere is the amount of refunds that are made in the Dashboard, and Others how many.
	Elsewhere, Others uint8
	// Pending: a refund may be pending at first. Failures is how many refunds fail later.
	Pending  bool
	Failures uint8
	// Announced: a refund of ours that is made is told of by an event of its own as well.
	Announced bool
	// Disputes is how often a dispute changes.
	Disputes uint8
	// Drops is how many calls or answers are lost.
	Drops uint8
	// Readers is how many read Stripe at once: 1 or 2.
	Readers uint8
	// Loss: the database may go back to any earlier position.
	Loss bool
	// Uncapped: the provider gives back whatever it is asked for.
	Uncapped bool
}

// FirstStatuses are those that a refund may have when it is made.
func (b Bounds) FirstStatuses() []status {
	if b.Pending {
		return []status{succeeded, pending}
	}

	return []status{succeeded}
}

// With is b with so many calls or answers lost.
func (b Bounds) With(drops uint8) Bounds {
	b.Drops = drops

	return b
}

// Property is a promise.
type Property string

// The properties.
const (
	// Cap: no more goes back than was captured.
	Cap Property = "R1"
	// Once: a key gives back at most once.
	Once Property = "R2"
	// Equal: in the end our records and sums are Stripe's.
	Equal Property = "R3"
	// Told: in the end every operation is finished or waits for a person, one that is done has
	// made a refund, and one that was refused has not.
	Told Property = "R4"
)

// Found is what a search has found.
type Found struct {
	// Broken is the property that does not hold; empty if all do.
	Broken Property
	// Story is the shortest way there.
	Story []string
	// Worlds is how many different ones were looked at.
	Worlds int
}

type search struct {
	protocol

	properties []Property
	all        worlds.Set[world]
	from       []int32
	endWell    worlds.Set[world]
}

// Search looks at everything that may happen within the bounds, for what breaks one of the
// properties; for all, if none is named.
func Search(bounds Bounds, rules Rules, properties ...Property) Found {
	if len(properties) == 0 {
		properties = []Property{Cap, Once, Equal, Told}
	}

	s := &search{protocol: protocol{bounds, rules}, properties: properties}

	first := world{left: left{
		asks: bounds.Asks, elsewhere: bounds.Others, failures: bounds.Failures, disputes: bounds.Disputes, drops: bounds.Drops,
	}}
	if bounds.Loss {
		first.loss = mayLose
	}

	s.reach(first, 0)

	for i := 0; i < s.all.Len(); i++ { //nolint:intrange // there will be more
		if broken := s.judge(s.all.At(i)); broken.property != "" {
			return Found{Broken: broken.property, Story: s.story(i, broken), Worlds: s.all.Len()}
		}

		s.steps(s.all.At(i), func(n step) { s.reach(n.to, i) })
	}

	return Found{Worlds: s.all.Len()}
}

func (s *search) reach(w world, from int) {
	if s.all.Add(w.normal(s.rules)) {
		s.from = append(s.from, int32(from)) //nolint:gosec // memory ends before
	}
}

// breach is a property that is broken, and how. The zero value is none.
type breach struct {
	property Property
	text     string
}

func (s *search) judge(w world) breach {
	for _, look := range []func(world) breach{s.tooMuch, s.twice, s.endsWrongly} {
		if b := look(w); b.property != "" && slices.Contains(s.properties, b.property) {
			return b
		}
	}

	return breach{}
}

func (s *search) tooMuch(w world) breach {
	if given := w.stripe.given(); given > captured {
		return breach{Cap, fmt.Sprintf("%d go back, of %d.", given, captured)}
	}

	return breach{}
}

func (s *search) twice(w world) breach {
	seen := map[uint8]bool{}

	for _, o := range w.stripe.made {
		if o.key > 0 && seen[o.key] {
			return breach{Once, fmt.Sprintf("Key %d has given back twice.", o.key)}
		}

		seen[o.key] = true
	}

	return breach{}
}

// endsWrongly tells what is wrong if from now on nobody asks, and nothing goes wrong. While
// somebody works, what comes next is looked at for itself.
func (s *search) endsWrongly(w world) breach {
	if w.works() || !slices.Contains(s.properties, Equal) && !slices.Contains(s.properties, Told) {
		return breach{}
	}

	if w = s.quiet(w, func(string) {}).normal(s.rules); !s.endWell.Add(w) {
		return breach{}
	}

	if b := s.untold(w); b.property != "" && slices.Contains(s.properties, Told) {
		return b
	}

	return s.unequal(w)
}

func (s *search) unequal(w world) breach {
	var pendings, given uint8

	for i, o := range w.stripe.made {
		if o == (object{}) {
			continue
		}

		number := uint8(i) + 1

		at := slices.IndexFunc(w.now.refunds[:], func(r record) bool { return r.object == number })
		if at < 0 || w.now.refunds[at].status != o.status || w.now.refunds[at].amount != o.amount {
			return breach{Equal, fmt.Sprintf("Refund %d of %d is %s at Stripe, and %v here.",
				number, o.amount, statuses[o.status], w.now.refunds)}
		}

		switch o.status { //nolint:exhaustive // the others count nothing
		case pending:
			pendings += o.amount
		case succeeded:
			given += o.amount
		}
	}

	for _, r := range w.now.refunds {
		if r.object == 0 && r.key > 0 && w.now.operations[r.key-1].state == needsAttention {
			pendings += r.amount // it stays reserved
		} else if r != (record{}) && r.object == 0 {
			return breach{Equal, fmt.Sprintf("%d are reserved for nothing.", r.amount)}
		}
	}

	over := max(pendings+given+w.stripe.dispute.away, captured) - captured
	if w.now.pending != pendings || w.now.refunded != given || w.now.disputed != w.stripe.dispute.away || w.now.overdrawn != over {
		return breach{Equal, fmt.Sprintf("We say %d pending, %d given back, %d disputed, %d too much; it is %d, %d, %d and %d.",
			w.now.pending, w.now.refunded, w.now.disputed, w.now.overdrawn, pendings, given, w.stripe.dispute.away, over)}
	}

	return breach{}
}

func (s *search) untold(w world) breach {
	for i, op := range w.now.operations {
		made := slices.ContainsFunc(w.stripe.made[:], func(o object) bool { return int(o.key) == i+1 })

		switch {
		case op.state == waiting:
			return breach{Told, fmt.Sprintf("Key %d is never answered.", i+1)}
		case op.state == done && !made:
			return breach{Told, fmt.Sprintf("Key %d is told as given back, and nothing was.", i+1)}
		case op.state == refused && made, op.state == needsAttention && made:
			return breach{Told, fmt.Sprintf("Key %d has given back, and is not told so.", i+1)}
		}
	}

	return breach{}
}

// quiet is how it ends: what is under way ends, every event comes, recovery, readers and
// reconciliation do their work.
func (s *search) quiet(w world, tell func(string)) world {
	const enough = 60

	for range enough {
		n, text := s.next(w)
		if text == "" {
			return w
		}

		tell(text)

		w = n.normal(s.rules)
	}

	panic("it is never quiet")
}

// next is the next thing that happens by itself; empty if nothing does.
func (s *search) next(w world) (n world, text string) {
	take := func(found step) {
		if text == "" {
			n, text = found.to, found.text
		}
	}

	w.left = left{}

	for i := range w.workers {
		s.works(w, i, take)
	}

	if text == "" && w.loss == hasLost && !w.now.through {
		s.loses(w, take)
	}

	for key := uint8(1); int(key) <= len(s.Amounts) && text == ""; key++ {
		s.recovers(w, key, take)
	}

	if text == "" {
		s.delivers(w, take)
	}

	s.judgesAgain(w, take)

	for i := range w.readers {
		s.reads(w, i, take)
	}

	if text == "" && w.waits() {
		return w.later(), tickPasses
	}

	return n, text
}

// works tells whether a worker or a reader has something in hand.
func (w world) works() bool {
	return slices.ContainsFunc(w.workers[:], func(p worker) bool { return p.doing != idle }) ||
		slices.ContainsFunc(w.readers[:], func(r reader) bool { return r.step != resting })
}

// waits tells whether an operation is not finished.
func (w world) waits() bool {
	return slices.ContainsFunc(w.now.operations[:], func(o operationRow) bool { return o.state == waiting })
}

// story tells how world i was reached, what came then, and what is wrong with it.
func (s *search) story(i int, broken breach) (lines []string) {
	hour := 0
	tell := func(text string) {
		if text == tickPasses {
			hour += tickHours
		} else {
			lines = append(lines, fmt.Sprintf("%3d h  %s", hour, text))
		}
	}

	var way []int
	for at := i; at != 0; at = int(s.from[at]) {
		way = append(way, at)
	}

	w := s.all.At(0)

	for _, at := range slices.Backward(way) {
		told := false

		s.steps(w, func(n step) {
			if to := n.to.normal(s.rules); !told && to == s.all.At(at) {
				tell(n.text)

				w, told = to, true
			}
		})
	}

	if broken.property == Equal || broken.property == Told {
		tell("From here on nobody asks, and nothing goes wrong.")
		s.quiet(w, tell)
	}

	tell(string(broken.property) + " is broken. " + broken.text)

	return lines
}
