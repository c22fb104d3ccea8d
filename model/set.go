package model

import "hash/maphash"

// set is a set of worlds, in the order in which they were added. A map would take three
// times the memory.
type set struct {
	worlds []world
	// slots holds, where a world's hash leads to, its number in worlds, counted from 1.
	slots []uint32
	seed  maphash.Seed
}

// slot is where w is, or where it would be.
func (s *set) slot(w world) int {
	at := int(maphash.Comparable(s.seed, w)) & (len(s.slots) - 1) //nolint:gosec // any bits will do

	for s.slots[at] != 0 && s.worlds[s.slots[at]-1] != w {
		at = (at + 1) & (len(s.slots) - 1)
	}

	return at
}

func (s *set) has(w world) bool { return len(s.slots) > 0 && s.slots[s.slot(w)] != 0 }

// add is false if the set has w already.
func (s *set) add(w world) bool {
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
