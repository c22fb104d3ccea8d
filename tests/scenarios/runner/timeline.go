package runner

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// timeline is what happened when. It is printed with a failure.
type timeline struct {
	start time.Time

	mu      sync.Mutex
	entries []entry
}

type entry struct {
	at   time.Duration
	who  string
	what string
}

func newTimeline() *timeline { return &timeline{start: time.Now()} }

// now is the time since the scenario began, by the monotonic clock.
func (t *timeline) now() time.Duration { return time.Since(t.start) }

func (t *timeline) addf(who, format string, args ...any) {
	t.addAtf(t.now(), who, format, args...)
}

func (t *timeline) addAtf(at time.Duration, who, format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()

	t.entries = append(t.entries, entry{at: at, who: who, what: fmt.Sprintf(format, args...)})
}

// print writes the entries in the order of their times.
func (t *timeline) print(w io.Writer) {
	t.mu.Lock()
	entries := slices.Clone(t.entries)
	t.mu.Unlock()

	slices.SortStableFunc(entries, func(a, b entry) int { return int(a.at - b.at) })

	for _, e := range entries {
		fmt.Fprintf(w, "  %9.3fs  %-10s %s\n", e.at.Seconds(), e.who, e.what)
	}
}
