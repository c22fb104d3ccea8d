package payment_test

import (
	"fmt"

	"github.com/marketflow/marketflow/domain/payment"
)

// bounds limit a search.
type bounds struct {
	// changes of the intent at Stripe, its creation included: at most len(moment.changes).
	changes uint8
	// times that one event is taken at most.
	times uint8
}

// moment is everything at one time. It has no padding, so that it is hashed at once.
type moment struct {
	// row is our payment, as an index.
	row uint16
	// readers are two processes that bring the payment up to date.
	readers [2]reader
	// changes are the first n stages of the intent, and taken is how often the event of
	// each was taken.
	n       uint8
	changes [6]stage
	taken   [6]uint8
	// unread: a hint says that the payment has to be read.
	unread bool
}

// reader loads the payment, reads the intent, and writes.
type reader struct {
	// row is the payment as it was loaded, and saw is what Stripe said.
	row  uint16
	step step
	saw  stage
}

// step is what a reader has done.
type step uint8

const (
	rests step = iota
	hasLoaded
	hasRead
	// isLate: the payment has got another version since it was loaded.
	isLate
)

// search goes through all moments that can be reached, breadth first.
type search struct {
	rule   rule
	stages [stages]stageOf
	bounds bounds

	payments []payment.Payment
	indexes  map[string]uint16
	// decided and read keep what the rule has answered.
	decided, read map[question]answer

	moments []moment
	from    []int
	seen    map[moment]struct{}
	late    int
}

type question struct {
	row uint16
	of  stage
}

type answer struct {
	verdict payment.Verdict
	row     uint16
}

// move is one thing that happens.
type move struct {
	what    happening
	i       int
	verdict payment.Verdict
	// wrong says what may never happen, but did.
	wrong string
}

type happening uint8

const (
	stripeChanges happening = iota
	eventIsTaken
	answerIsWritten
	readerLoads
	readerReads
	readerWrites
	readerIsLate
)

// explore returns the shortest story that ends wrong; none if all end well.
func explore(world [stages]stageOf, r rule, b bounds) (story []string, found *search) {
	s := &search{
		rule: r, stages: world, bounds: b, indexes: map[string]uint16{},
		decided: map[question]answer{}, read: map[question]answer{}, seen: map[moment]struct{}{},
	}
	s.reach(moment{n: 1, row: s.index(pending())}, -1)

	for i := 0; i < len(s.moments) && story == nil; i++ {
		m := s.moments[i]
		if wrong := s.ending(m); wrong != "" {
			story = append(s.story(i), wrong)
		}

		s.moves(m, func(mv move, next moment) {
			if mv.wrong != "" && story == nil {
				story = append(s.story(i), s.sentence(mv, next), mv.wrong)
			}

			s.reach(next, i)
		})
	}

	return story, s
}

func (s *search) reach(m moment, from int) {
	m = sorted(m)
	if _, ok := s.seen[m]; !ok {
		s.seen[m] = struct{}{}
		s.moments, s.from = append(s.moments, m), append(s.from, from)
	}
}

// sorted is m with its readers, which do the same, in one order.
func sorted(m moment) moment {
	number := func(r reader) int { return int(r.row)<<16 | int(r.step)<<8 | int(r.saw) }
	if number(m.readers[0]) > number(m.readers[1]) {
		m.readers[0], m.readers[1] = m.readers[1], m.readers[0]
	}

	return m
}

// ending tells what is wrong if nothing is left to be done.
func (s *search) ending(m moment) string {
	for i := range m.n {
		if m.taken[i] == 0 && s.stages[m.changes[i]].event != "" {
			return ""
		}
	}

	p, is := s.payments[m.row], s.stages[m.changes[m.n-1]]
	want := is.says
	exact := p.IntentStatus == want.IntentStatus && p.Capturable == want.Capturable && p.Captured == want.Captured &&
		p.CaptureBefore.Equal(want.CaptureBefore)

	if m.unread || m.readers != [2]reader{} || p.Status == is.status && (exact || is.event == "") {
		return ""
	}

	return fmt.Sprintf("Nothing is left to be done. The payment is %s, but its intent %s.", describe(p), is.name)
}

// moves calls each with everything that can happen next.
func (s *search) moves(m moment, each func(move, moment)) {
	last := s.stages[m.changes[m.n-1]]

	if m.n < s.bounds.changes {
		for _, to := range last.next {
			next := m
			next.changes[m.n], next.n = to, m.n+1
			each(move{what: stripeChanges, i: int(to)}, next)
		}
	}

	for i := range m.n {
		if m.taken[i] < s.bounds.times && s.stages[m.changes[i]].event != "" {
			s.take(m, int(i), each)
		}
	}

	// A capture or cancel of ours was answered, which is decided as an event is. It may be
	// written at any time.
	if last.status.Final() {
		s.write(m, move{what: answerIsWritten}, s.askDecide(m.row, m.changes[m.n-1]), each)
	}

	for i := range m.readers {
		s.goOn(m, i, each)
	}
}

// take applies an event, in one commit under the payment's lock.
func (s *search) take(m moment, i int, each func(move, moment)) {
	a := s.askDecide(m.row, m.changes[i])
	m.taken[i]++
	m.unread = m.unread || a.verdict == payment.Hints
	s.write(m, move{what: eventIsTaken, i: i}, a, each)
}

// goOn is the next step of a reader.
func (s *search) goOn(m moment, i int, each func(move, moment)) {
	r := m.readers[i]

	switch r.step {
	case rests: // it needs no hint: reconciliation also reads
		m.readers[i] = reader{step: hasLoaded, row: m.row}
		each(move{what: readerLoads}, m)
	case hasLoaded:
		m.readers[i].step, m.readers[i].saw = hasRead, m.changes[m.n-1]
		each(move{what: readerReads, i: int(m.changes[m.n-1])}, m)
	case hasRead:
		m.readers[i], m.unread = reader{}, false
		s.write(m, move{what: readerWrites}, s.askRead(r.row, r.saw), each)
	case isLate:
		s.late++
		m.readers[i], m.unread = reader{}, m.unread && !s.rule.givesUp
		each(move{what: readerIsLate}, m)
	}
}

// write makes the payment what a verdict says, with a new version.
func (s *search) write(m moment, mv move, a answer, each func(move, moment)) {
	mv.verdict = a.verdict
	before, after := s.payments[m.row], s.payments[a.row]

	switch {
	case a.verdict == payment.Contradicts:
		mv.wrong = "But nothing contradicts anything."
	case a.verdict != payment.Applies && a.verdict != payment.Hints:
	case before.Status.Final() && before.Status != after.Status:
		mv.wrong = "But " + string(before.Status) + " was final."
	default:
		m.row = a.row

		for i, r := range m.readers {
			if r.step != rests && !s.rule.blind && (a.verdict == payment.Applies || !s.rule.keepsVersion) {
				m.readers[i] = reader{step: isLate}
			}
		}
	}

	each(mv, m)
}

func (s *search) askDecide(row uint16, of stage) answer {
	return s.ask(s.decided, row, of, func(p payment.Payment) (payment.Verdict, payment.Payment) {
		return s.rule.decide(p, s.stages[of].told)
	})
}

func (s *search) askRead(row uint16, of stage) answer {
	return s.ask(s.read, row, of, func(p payment.Payment) (payment.Verdict, payment.Payment) {
		return s.rule.read(p, s.stages[of].says)
	})
}

func (s *search) ask(
	kept map[question]answer, row uint16, of stage, ask func(payment.Payment) (payment.Verdict, payment.Payment),
) answer {
	q := question{row, of}

	a, ok := kept[q]
	if !ok {
		verdict, after := ask(s.payments[row])
		a = answer{verdict, s.index(after)}
		kept[q] = a
	}

	return a
}

// index numbers the payments that there are, which are few.
func (s *search) index(p payment.Payment) uint16 {
	key := fmt.Sprint(p)

	i, ok := s.indexes[key]
	if !ok {
		i = uint16(len(s.payments))
		s.indexes[key], s.payments = i, append(s.payments, p)
	}

	return i
}

// story tells how a moment was reached.
func (s *search) story(to int) []string {
	if s.from[to] < 0 {
		return []string{"Stripe: the intent is created."}
	}

	var sentence string

	s.moves(s.moments[s.from[to]], func(mv move, next moment) {
		if sorted(next) == s.moments[to] && sentence == "" {
			sentence = s.sentence(mv, next)
		}
	})

	return append(s.story(s.from[to]), sentence)
}

func (s *search) sentence(mv move, after moment) string {
	have := describe(s.payments[after.row])

	switch mv.what {
	case stripeChanges:
		return "Stripe: the intent " + s.stages[mv.i].name + "."
	case eventIsTaken:
		return fmt.Sprintf("We take the event %s of change %d (%s): %s.",
			s.stages[after.changes[mv.i]].event, mv.i, mv.verdict, have)
	case answerIsWritten:
		return fmt.Sprintf("We write the answer to our own request (%s): %s.", mv.verdict, have)
	case readerLoads:
		return "A reader loads the payment: " + have + "."
	case readerReads:
		return "The reader reads at Stripe that the intent " + s.stages[mv.i].name + "."
	case readerWrites:
		return fmt.Sprintf("The reader writes what it read (%s): %s.", mv.verdict, have)
	case readerIsLate:
		return "The reader finds another version and writes nothing."
	default:
		panic(mv.what)
	}
}

func describe(p payment.Payment) string {
	text := fmt.Sprintf("%s (%s)", p.Status, p.IntentStatus)
	if p.Capturable.Minor() != 0 || p.Captured.Minor() != 0 {
		text += fmt.Sprintf(", %s held, %s captured", p.Capturable.Decimal(), p.Captured.Decimal())
	}

	if p.Declined {
		text += ", declined once"
	}

	return text
}
