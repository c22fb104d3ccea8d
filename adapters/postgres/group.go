package postgres

import (
	"context"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// Bounds on a group.
const (
	// maxGroup is the most requests that share a commit.
	maxGroup = 64
	// maxGroupsInFlight: while one group waits for the disk, PostgreSQL works on
	// another.
	maxGroupsInFlight = 2
)

// group makes requests that arrive together share a statement, and so a commit.
// There is no timer: a request that comes while fewer than maxGroupsInFlight
// are in flight goes at once, and what waits meanwhile goes in the next. Each is
// answered only after the commit that it was in.
//
// A group only ever does what is simple. What its statement leaves out, and
// everything in a statement that failed, is for the callers to do alone, so that
// no request can harm its neighbours.
type group[Q, A any] struct {
	// run does what it can of asked, in one commit. answers has one for each, in
	// their order; nil is for what was not touched. After an error nothing was.
	run func(ctx context.Context, asked []Q) (answers []*A, err error)
	// names: two requests that share one never go together, but one after the
	// other, in the order in which they came. Empty names do not count.
	names func(Q) []string

	mu       sync.Mutex
	waiting  []*member[Q, A]
	inFlight int
}

// member is one request in a group.
type member[Q, A any] struct {
	ctx    context.Context //nolint:containedctx // it is the request's
	asked  Q
	names  []string
	done   chan struct{}
	answer *A
	err    error
}

// do returns the answer of the group that asked went with; nil for what has to
// be done alone. An error says that there is no connection: trying alone is no
// use.
//
// A caller that hangs up is waited for like any other: others are in its commit.
func (g *group[Q, A]) do(ctx context.Context, asked Q) (*A, error) {
	m := &member[Q, A]{ctx: ctx, asked: asked, names: g.names(asked), done: make(chan struct{})}

	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	start := g.inFlight < maxGroupsInFlight

	if start {
		g.inFlight++
	}
	g.mu.Unlock()

	if start {
		go g.fly()
	}

	<-m.done

	return m.answer, m.err
}

// fly runs groups until nobody waits.
func (g *group[Q, A]) fly() {
	for {
		members := g.next()
		if len(members) == 0 {
			return
		}

		g.settle(members)
	}
}

// next takes those who may go together, the longest waiting first. None: this
// flight has ended.
func (g *group[Q, A]) next() []*member[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()

	var (
		taken []*member[Q, A]
		left  = g.waiting[:0]
		seen  = make(map[string]struct{})
	)

	for _, m := range g.waiting {
		// A name that was seen is held for those behind, too: they keep their order.
		if slices.ContainsFunc(m.names, func(name string) bool { _, ok := seen[name]; return ok }) || len(taken) == maxGroup {
			left = append(left, m)
		} else {
			taken = append(taken, m)
		}

		for _, name := range m.names {
			if name != "" {
				seen[name] = struct{}{}
			}
		}
	}

	clear(g.waiting[len(left):])
	g.waiting = left

	if len(taken) == 0 {
		g.inFlight--
	}

	return taken
}

// settle runs one group. Its statement is in the trace of the first; the others'
// point there.
func (g *group[Q, A]) settle(members []*member[Q, A]) {
	asked := make([]Q, 0, len(members))
	for _, m := range members {
		asked = append(asked, m.asked)
	}

	first := trace.SpanContextFromContext(members[0].ctx)
	for _, m := range members[1:] {
		trace.SpanFromContext(m.ctx).AddLink(trace.Link{SpanContext: first})
	}

	answers, err := g.run(context.WithoutCancel(members[0].ctx), asked)

	for i, m := range members {
		switch {
		case err == nil:
			m.answer = answers[i]
		case noConnection(err):
			m.err = err
		}

		close(m.done)
	}
}
