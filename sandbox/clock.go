package sandbox

import (
	"container/heap"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// clock is the sandbox's own time: the machine's, moved by an offset.
type clock struct {
	real   func() time.Time
	offset atomic.Int64
}

func (c *clock) now() time.Time {
	return c.real().Add(time.Duration(c.offset.Load()))
}

// seconds is the resolution of Stripe's timestamps.
func (c *clock) seconds() int64 { return c.now().Unix() }

func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0) }

// Now is the time on the sandbox's clock.
func (s *Sandbox) Now() time.Time { return s.clock.now() }

// The years that the clock may be moved to. Outside of them its times could not
// be written down: JSON's years have four digits, a Duration spans 292 years.
const (
	firstYear = 2000
	lastYear  = 2199
)

var errClock = fmt.Errorf("the clock stays between the years %d and %d", firstYear, lastYear)

// move adds to the offset where the clock's year allows it.
func (c *clock) move(d time.Duration) (offset time.Duration, err error) {
	for {
		before := c.offset.Load()
		after := before + int64(d)

		if (d > 0) != (after > before) && d != 0 {
			return 0, errClock // it has overflowed
		}

		if year := c.real().Add(time.Duration(after)).UTC().Year(); year < firstYear || year > lastYear {
			return 0, errClock
		}

		if c.offset.CompareAndSwap(before, after) {
			return time.Duration(after), nil
		}
	}
}

// Advance moves the sandbox's clock, back if d is negative. What falls due is
// done at once: retries and delayed webhooks, refunds that settle,
// authorizations that lapse, idempotency keys that are pruned. Webhooks are
// still signed with the real time. A clock that would leave the years from 2000
// to 2199 stays where it is; MoveClock tells.
func (s *Sandbox) Advance(d time.Duration) {
	if err := s.MoveClock(d); err != nil {
		s.log.Error("the clock was not moved", "error", err)
	}
}

// MoveClock is Advance that returns an error where the clock stays.
func (s *Sandbox) MoveClock(d time.Duration) error {
	offset, err := s.clock.move(d)
	if err != nil {
		return err
	}

	s.saveShared(keyClock, offset, 0)
	s.schedule.nudge()

	return nil
}

// schedule runs jobs when the sandbox's clock reaches their time, be it because
// time passed or because a test moved the clock.
type schedule struct {
	clock *clock
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	mu   sync.Mutex
	jobs jobHeap
}

type job struct {
	due time.Time
	run func()
}

func newSchedule(c *clock) *schedule {
	s := &schedule{
		clock: c,
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}

	go s.loop()

	return s
}

// at runs a job once the clock has reached due. Jobs must not block: they
// start what takes time on goroutines of their own.
func (s *schedule) at(due time.Time, run func()) {
	s.mu.Lock()
	heap.Push(&s.jobs, job{due: due, run: run})
	s.mu.Unlock()

	s.nudge()
}

func (s *schedule) after(d time.Duration, run func()) { s.at(s.clock.now().Add(d), run) }

// nudge makes the loop look at the clock and the jobs again.
func (s *schedule) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *schedule) close() {
	close(s.stop)
	<-s.done
}

func (s *schedule) loop() {
	defer close(s.done)

	timer := time.NewTimer(time.Hour)
	defer timer.Stop()

	for {
		timer.Reset(s.runDue())

		select {
		case <-s.stop:
			return
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// runDue runs what is due and returns how long to sleep.
func (s *schedule) runDue() time.Duration {
	for {
		run, wait := s.next()
		if run == nil {
			return wait
		}

		run()
	}
}

func (s *schedule) next() (run func(), wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if len(s.jobs) == 0 {
		return nil, time.Hour
	}

	if wait := s.jobs[0].due.Sub(s.clock.now()); wait > 0 {
		return nil, wait
	}

	due, _ := heap.Pop(&s.jobs).(job)

	return due.run, 0
}

// jobHeap orders jobs by their time (container/heap).
//
//nolint:recvcheck // as in the package's own example
type jobHeap []job

func (h jobHeap) Len() int           { return len(h) }
func (h jobHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h jobHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is heap.Interface's; use heap.Push.
func (h *jobHeap) Push(x any) {
	j, _ := x.(job)
	*h = append(*h, j)
}

// Pop is heap.Interface's; use heap.Pop.
func (h *jobHeap) Pop() any {
	last := len(*h) - 1
	popped := (*h)[last]
	(*h)[last] = job{}
	*h = (*h)[:last]

	return popped
}
