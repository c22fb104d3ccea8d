package tenants

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
)

// What the database no longer has must stop within five seconds in every process. Each process
// asks every RefreshEvery whether anything has changed, and after maxAge it believes nothing of
// what it knows any more, also if the database does not answer. What is left is for requests
// under way.
const (
	// RefreshEvery is how often Refresh should be called.
	RefreshEvery = time.Second
	maxAge       = 4 * time.Second
	// readPause is the least time between two reads that wrong keys cause.
	readPause = 100 * time.Millisecond
	// readTimeout bounds one read.
	readTimeout = 2 * time.Second
)

// current is something of the database that a process has in its memory, and reads again when
// its version has changed.
type current[T any] struct {
	version func(context.Context) (uuid.UUID, error)
	// read reads it anew. before is what was known until now; nil at first.
	read func(ctx context.Context, before *T) (*T, error)

	known atomic.Pointer[asOf[T]]

	mu      sync.Mutex
	reading *reading
	last    time.Time // when the last reading began
}

// asOf is what was known at a time.
type asOf[T any] struct {
	version uuid.UUID
	at      time.Time
	what    *T
}

// reading is one read, for all who wait for it.
type reading struct {
	began time.Time
	done  chan struct{}
	err   error
}

// latest is what is known, and whether that may still be believed. It is nil before anything
// was read.
func (c *current[T]) latest(now time.Time) (what *T, fresh bool) {
	known := c.known.Load()
	if known == nil {
		return nil, false
	}

	return known.what, now.Sub(known.at) <= maxAge
}

// get is latest, read again if it cannot be believed any more.
func (c *current[T]) get(ctx context.Context, now time.Time) (*T, error) {
	if what, fresh := c.latest(now); fresh {
		return what, nil
	}

	return c.since(ctx, now)
}

// since returns what is known once it is known as it was at a time, or later. It joins a
// reading that began since; one that began before may have missed a change.
func (c *current[T]) since(ctx context.Context, since time.Time) (*T, error) {
	for {
		r := c.join()

		select {
		case <-r.done:
		case <-ctx.Done():
			return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "The request was given up.")
		}

		switch {
		case r.began.Before(since):
		case r.err != nil:
			return nil, r.err
		default:
			return c.known.Load().what, nil
		}
	}
}

// join is the reading under way, or else a new one.
func (c *current[T]) join() *reading {
	c.mu.Lock()
	defer c.mu.Unlock()

	if c.reading == nil {
		r := &reading{done: make(chan struct{})}
		// Whoever joins before it begins is served by it.
		r.began = time.Now()
		if soonest := c.last.Add(readPause); soonest.After(r.began) {
			r.began = soonest
		}

		c.reading, c.last = r, r.began

		go c.run(r)
	}

	return c.reading
}

// run is not stopped by a client that disconnects: others wait for it too.
func (c *current[T]) run(r *reading) {
	time.Sleep(time.Until(r.began))

	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()

	r.err = c.load(ctx, time.Now())

	c.mu.Lock()
	c.reading = nil
	c.mu.Unlock()

	close(r.done)
}

// load asks for the version first: a change after that is then noticed by the next reading.
func (c *current[T]) load(ctx context.Context, at time.Time) error {
	version, err := c.version(ctx)
	if err != nil {
		return err
	}

	now, before := &asOf[T]{version: version, at: at}, c.known.Load()

	switch {
	case before == nil:
		now.what, err = c.read(ctx, nil)
	case before.version == version:
		now.what = before.what
	default:
		now.what, err = c.read(ctx, before.what)
	}

	if err == nil {
		c.known.Store(now)
	}

	return err
}

// uses are when something was used and what was recorded of that, in seconds since 1970. Every
// reading shares them.
type uses struct{ used, written atomic.Int64 }

func (u *uses) note(now time.Time) { u.used.Store(now.Unix()) }

// unwritten is when it was last used, if that is not recorded yet.
func (u *uses) unwritten() (at time.Time, is bool) {
	used := u.used.Load()

	return time.Unix(used, 0), used > u.written.Load()
}

// record gives write what is not recorded yet, and what was left over of things that are gone.
func record(each map[uuid.UUID]*uses, left map[uuid.UUID]time.Time, write func(map[uuid.UUID]time.Time) error) error {
	used := make(map[uuid.UUID]time.Time, len(left))
	maps.Copy(used, left)

	for id, u := range each {
		if at, is := u.unwritten(); is {
			used[id] = at
		}
	}

	if len(used) == 0 {
		return nil
	}

	if err := write(used); err != nil {
		return err
	}

	for id, u := range each {
		if at, written := used[id]; written {
			u.written.Store(at.Unix())
		}
	}

	return nil
}
