package postgres

import (
	"context"
	"io/fs"
	"time"
)

// NewMigratorOf has other migrations than the product's, and its own patience.
func NewMigratorOf(ctx context.Context, url string, files fs.FS, patience time.Duration) (*Migrator, error) {
	m, err := newMigrator(ctx, url, files)
	if err == nil {
		m.patience = patience
	}

	return m, err
}

// Patient waits as long as a busy machine may take: contracts are not about
// time-outs, which have tests of their own.
func Patient(s *Store) *Store {
	long := limits{acquire: time.Minute, whole: time.Minute}
	s.hot.reads, s.hot.writes, s.background.reads, s.background.writes = long, long, long, long

	return s
}

// AlwaysGrouped makes every request go in a group, also when nothing else runs.
func AlwaysGrouped(s *Store) *Store {
	s.begins.runningAlone, s.finishes.runningAlone, s.events.runningAlone, s.reads.runningAlone = true, true, true, true
	s.reserves.runningAlone = true

	return s
}

// RegisterTypes is what each connection does with its types.
var RegisterTypes = registerTypes

// ReadsWaiting is how many reads of payments wait for others to end.
func ReadsWaiting(s *Store) int {
	s.reads.mu.Lock()
	defer s.reads.mu.Unlock()

	return len(s.reads.waiting)
}

// Sees is what a store does with the life that a statement was answered in.
func Sees(s *Store, incarnation string) { s.lives.sees(incarnation) }

// ListsUnderWay is how many pages are being read.
func ListsUnderWay(s *Store) int { return len(s.lists) }
