package model

import (
	"fmt"
	"slices"
)

// found tells how world i was reached, what came then, and what is wrong with it.
func (s *search) found(i int, broken breach, then func(t *teller, w world)) Found {
	s.telling = true
	t := &teller{}

	var way []int

	for at := i; at != 0; at = int(s.from[at]) {
		way = append(way, at)
	}

	// The same steps again, with the processes that do them.
	w := s.all.At(0)

	for _, at := range slices.Backward(way) {
		told := false

		s.steps(w, func(n step) {
			if !told && !n.twice && s.normal(n.to) == s.all.At(at) {
				t.tell(n.text)

				w, told = n.to, true
			}
		})
	}

	if then != nil {
		then(t, w)
	}

	t.tell(string(broken.property) + " is broken. " + broken.text)

	return Found{Broken: broken.property, Story: t.lines, Worlds: s.all.Len()}
}

// teller writes a story, with the time of each line.
type teller struct {
	lines []string
	hour  int
}

func (t *teller) tell(text string) {
	if text == fourHoursPass {
		t.hour += hours
	} else {
		t.lines = append(t.lines, fmt.Sprintf("%3d h  %s", t.hour, text))
	}
}

// twice tells how one key makes two.
func (s *search) twice(t *teller, w world) {
	s.steps(w, func(n step) {
		if n.twice {
			t.tell(n.text)
		}
	})
}

// quietly tells how it ends if nothing goes wrong from now on.
func (s *search) quietly(t *teller, w world) {
	t.tell("From here on nobody asks, and nothing goes wrong.")

	said := map[string]bool{}

	for range 2 * day {
		w = s.quiet(s.fourHours(w, func(text string) {
			if !said[text] {
				t.tell(text)
			}

			said[text] = true
		}))

		t.tell(fourHoursPass)
	}
}
