// Package worlds keeps what a search has seen.
package worlds

import "hash/maphash"

// Set is a set of worlds, in the order in which they were added. A map would take three
// times the memory. Its zero value is empty.
type Set[W comparable] struct {
	worlds []W
	// slots holds, where a world's hash leads to, its number in worlds, counted from 1.
	slots []uint32
	seed  maphash.Seed
}

// Len is how many there are.
func (s *Set[W]) Len() int { return len(s.worlds) }

// At is the one with that number, counted from 0.
func (s *Set[W]) At(i int) W { return s.worlds[i] }

// slot is where w is, or where it would be.
func (s *Set[W]) slot(w W) int {
	at := int(maphash.Comparable(s.seed, w)) & (len(s.slots) - 1) //nolint:gosec // any bits will do

	for s.slots[at] != 0 && s.worlds[s.slots[at]-1] != w {
		at = (at + 1) & (len(s.slots) - 1)
	}

	return at
}

// Has tells whether w was added.
func (s *Set[W]) Has(w W) bool { return len(s.slots) > 0 && s.slots[s.slot(w)] != 0 }

// Add is false if the set has w already.
func (s *Set[W]) Add(w W) bool {
	const first = 1 << 10

	if 2*len(s.worlds) >= len(s.slots) { // half of the slots stay empty
		if s.slots == nil {
			s.seed = maphash.MakeSeed()
		}

		s.slots = make([]uint32, max(first, 2*len(s.slots)))
		for i, w := range s.worlds {
			s.slots[s.slot(w)] = uint32(i) + 1
		}
	}

	at := s.slot(w)
	if s.slots[at] != 0 {
		return false
	}

	s.worlds = append(s.worlds, w)
	s.slots[at] = uint32(len(s.worlds)) //nolint:gosec // memory ends before

	return true
}
