package model

import (
	"fmt"

	"github.com/marketflow/marketflow/domain/operation"
)

// endsWrongly tells what is wrong in the end if, from this world on, no client asks and
// nothing goes wrong. Only worlds in which nobody works are asked, because all come there.
func (s *search) endsWrongly(w world) breach {
	if w.processes != [2]process{} || w.run.on {
		return breach{}
	}

	var way []world

	for w = s.quiet(w); !s.endWell.Has(w); w = s.quiet(s.fourHours(w, nil)) {
		if last := len(way) - 1; last >= 0 && way[last] == w { // nothing changes any more
			if broken := s.isWrong(w); broken.property != "" {
				return broken
			}

			break
		}

		if way = append(way, w); len(way) > 10*int(day) {
			return breach{I2, "It never comes to rest."}
		}
	}

	for _, w := range way {
		s.endWell.Add(w)
	}

	return breach{}
}

// quiet is w if nothing is lost and nobody asks any more.
func (s *search) quiet(w world) world {
	if w.left, w.old = (left{}), (records{}); w.loss != lost {
		w.loss = nothing
	}

	return s.normal(w)
}

// fourHours is w after four hours in which nothing goes wrong. told is called with what
// happens, if it is not nil.
func (m *protocol) fourHours(w world, told func(string)) world {
	does := func(what func(world, visit)) (done bool) {
		what(w, func(n step) {
			if !done && !n.bad {
				w, done = n.to, true

				if told != nil {
					told(n.text)
				}
			}
		})

		return done
	}
	goOn := func() {
		for i := range w.processes {
			for does(func(w world, visit visit) { m.goesOn(w, i, visit) }) {
			}
		}
	}

	goOn()
	does(m.resends)
	goOn()
	does(m.finds)
	goOn()
	does(m.looks)
	does(m.ends)

	return w.later()
}

// isWrong tells what is wrong with a world in which nothing changes any more.
func (s *search) isWrong(w world) breach {
	switch {
	case w.now.state == pending:
		return breach{I2, "The operation is never finished, and no person is told."}
	case w.made.body == nobody, w.now.state == needsAttention:
		return breach{}
	case !w.now.written:
		return breach{I2, "Stripe has what our records do not have, and no person is told."}
	}

	for _, b := range s.Bodies {
		switch repeat := s.asks(w, b); {
		case b == w.made.body && repeat != operation.Replayed:
			return breach{I9, fmt.Sprintf("Whoever asks with body %s does not reach what was made for it, but %s.", b, repeat)}
		case b != w.made.body && repeat != operation.Reused:
			return breach{I9, fmt.Sprintf("Whoever asks with body %s is not told that %s, but %s.", b, operation.Reused, repeat)}
		}
	}

	return breach{}
}

// asks is what becomes of a request once it has done what it does.
func (s *search) asks(w world, b Body) operation.Repeat {
	if w.now.state == absent || s.repeated(w, b) == operation.Reopened {
		asked := *s.protocol
		asked.Bodies = []Body{b}
		w.left.requests = 1
		asked.requests(w, func(n step) { w = n.to })
		w = asked.fourHours(w, nil)
	}

	if w.now.state == absent {
		return ""
	}

	return s.repeated(w, b)
}
