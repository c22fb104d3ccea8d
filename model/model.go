// Package model searches every order of events within bounds, breadth first, for one in
// which the protocol of app/operations and app/reconcile does not keep its promises. It
// calls the product's own decisions. README.md says what it covers and what not.
package model

import (
	"fmt"
	"slices"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/model/internal/worlds"
)

// Bounds limit what may happen. There are always two processes, one key, and at most one
// loss.
type Bounds struct {
	// Kind is what the key is used for, and Bodies is what is asked for.
	Kind   operation.Kind
	Bodies []Body
	// Requests is how many requests do something. Those that are only answered are free.
	Requests uint8
	// Loss: the database may go back to any earlier position.
	Loss bool
	// Rejections is how often Stripe rejects a call because of the account.
	Rejections uint8
	// Refuses is a body that Stripe always refuses to create.
	Refuses Body
	// Events: Stripe's events may arrive.
	Events bool
	// Odd: what was made may not fit when it is adopted.
	Odd bool
}

// Property is a promise of docs/guarantees.md.
type Property string

// The properties.
const (
	// I1: one key makes at most one intent, or one capture.
	I1 Property = "I1"
	// I2: in the end our records have what Stripe has, and every operation is finished or
	// waits for a person.
	I2 Property = "I2"
	// I5: a body is never answered with what was made, or refused, for another.
	I5 Property = "I5"
	// I9: in the end whoever asks again reaches the original, and another body does not.
	I9 Property = "I9"
	// NewKey: whoever is told that nothing was made, and that a new key is safe, is told
	// the truth.
	NewKey Property = "a new key is safe"
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

// Search looks at everything that may happen within the bounds, for what breaks one of the
// properties; for all, if none is named.
func Search(bounds Bounds, rules Rules, properties ...Property) Found {
	if len(properties) == 0 {
		properties = []Property{I1, I2, I5, I9, NewKey}
	}

	s := &search{
		protocol:   &protocol{Bounds: bounds, rules: rules, prints: rules.fingerprints(bounds.Kind)},
		properties: properties,
	}

	first := world{left: left{requests: bounds.Requests, rejections: bounds.Rejections}}
	if bounds.Loss {
		first.loss = mayLose
	}

	s.reach(first, 0)

	for next := 0; next < s.all.Len(); next++ { //nolint:intrange // there will be more
		if found, ok := s.look(next); ok {
			return found
		}
	}

	return Found{Worlds: s.all.Len()}
}

type search struct {
	*protocol

	properties []Property
	// all are the worlds that were reached, and from is which one each follows.
	all  worlds.Set[world]
	from []int32
	// endWell are quiet worlds after which nothing is wrong.
	endWell worlds.Set[world]
}

// look judges a world, and goes on to those that follow.
func (s *search) look(i int) (Found, bool) {
	w := s.all.At(i)

	if broken := s.answersWrongly(w); s.wanted(broken) {
		return s.found(i, broken, nil), true
	}

	if s.wanted(breach{property: I2}) || s.wanted(breach{property: I9}) {
		if broken := s.endsWrongly(w); s.wanted(broken) {
			return s.found(i, broken, s.quietly), true
		}
	}

	twice := false

	s.steps(w, func(n step) {
		if n.twice {
			twice = true
		} else {
			s.reach(n.to, i)
		}
	})

	if broken := (breach{I1, "One key has made two."}); twice && s.wanted(broken) {
		return s.found(i, broken, s.twice), true
	}

	return Found{}, false
}

func (s *search) wanted(b breach) bool { return slices.Contains(s.properties, b.property) }

func (s *search) normal(w world) world { return w.normal(s.Bounds, s.rules.AnyLife) }

func (s *search) reach(w world, from int) {
	if s.all.Add(s.normal(w)) {
		s.from = append(s.from, int32(from)) //nolint:gosec // memory ends before
	}
}

// answersWrongly tells what is wrong with the answers that clients get now.
func (s *search) answersWrongly(w world) breach {
	if w.now.state == absent {
		return breach{}
	}

	for _, b := range s.Bodies {
		switch repeat := s.repeated(w, b); {
		case repeat == operation.Replayed && w.now.state == finished && w.made.body != b:
			return breach{I5, fmt.Sprintf("Whoever asks with body %s is answered with what was made for body %s.", b, w.made.body)}
		case repeat == operation.Replayed && w.now.state == refused && s.Refuses != b:
			return breach{I5, fmt.Sprintf("Whoever asks with body %s is told that it was refused, but that was body %s.", b, s.Refuses)}
		case repeat == operation.Expired && w.made.body == b:
			return breach{NewKey, fmt.Sprintf("Whoever asks with body %s is told that nothing was made, and to use a new key.", b)}
		}
	}

	return breach{}
}

// breach is a property that is broken, and how. The zero value is none.
type breach struct {
	property Property
	text     string
}
