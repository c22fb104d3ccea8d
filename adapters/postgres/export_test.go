package postgres

// AlwaysGrouped makes every request go in a group, also when nothing else is in
// flight.
func AlwaysGrouped(s *Store) *Store {
	s.claims.lone, s.completions.lone, s.events.lone = true, true, true

	return s
}
