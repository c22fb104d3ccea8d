package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"

	"go.opentelemetry.io/otel/trace"
)

// maxGroup is the most requests that share a commit.
const maxGroup = 64

// group makes requests that arrive together share a statement, and so a commit.
// There is no timer: what arrives while a group is in flight waits and goes in
// the next one. Each is answered only after the commit that it was in. (Two
// groups in flight were measured too: they are smaller, and cost a seventh more.)
//
// A request that comes while nothing is in flight goes alone and at once. It may
// have to wait for a lock: those who come meanwhile form groups all the same.
//
// A group only ever does what is simple. What its statement leaves out, and
// everything in a statement that failed, is then done alone, so that no request
// can harm its neighbours.
type group[Q, A any] struct {
	// run does what it can of asked, in one commit, and waits for nobody's lock.
	// answers has one for each, in their order; nil is for what was not touched.
	// After an error nothing was, unless it is in doubt: then each may have been done.
	run func(ctx context.Context, asked []Q) (answers []*A, err error)
	// names: two requests that share one never go together, but one after the
	// other, in the order in which they came. Empty names do not count.
	names func(Q) []string

	mu      sync.Mutex
	waiting []*member[Q, A]
	// flying: a group is in flight.
	flying bool
	// lone: a request that came while nothing was in flight is.
	lone bool
}

// member is one request in a group.
type member[Q, A any] struct {
	ctx    context.Context //nolint:containedctx // it is the request's
	asked  Q
	names  []string
	done   chan struct{}
	answer *A
	err    error
	// doubt: the group may have been committed although it failed.
	doubt bool
}

// do does what is asked, in a group or by alone.
//
// A caller that hangs up is waited for like any other: others are in its commit.
func (g *group[Q, A]) do(ctx context.Context, asked Q, alone func() (A, error)) (A, error) {
	if g.leads() {
		defer g.landed()

		return alone()
	}

	m := &member[Q, A]{ctx: ctx, asked: asked, names: g.names(asked), done: make(chan struct{})}
	g.join(m)
	<-m.done

	switch {
	case m.err != nil:
		return *new(A), m.err
	case m.answer == nil && m.doubt:
		answer, err := alone()

		return answer, stillInDoubt(err)
	case m.answer == nil:
		return alone()
	default:
		return *m.answer, nil
	}
}

// leads tells whether nothing is in flight, and if so marks that something is.
func (g *group[Q, A]) leads() bool {
	g.mu.Lock()
	defer g.mu.Unlock()

	if g.lone || g.flying {
		return false
	}

	g.lone = true

	return true
}

func (g *group[Q, A]) landed() {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.lone = false
}

// join waits for the next group, and starts it if none is in flight.
func (g *group[Q, A]) join(m *member[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.waiting = append(g.waiting, m)

	if !g.flying {
		g.flying = true

		go g.fly()
	}
}

// fly runs groups until nobody waits.
func (g *group[Q, A]) fly() {
	for {
		members := g.next()
		if len(members) == 0 {
			return
		}

		g.finish(members)
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
	g.flying = len(taken) > 0

	return taken
}

// finish runs one group. Its statement is in the trace of the first; the others'
// point there.
func (g *group[Q, A]) finish(members []*member[Q, A]) {
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
		default:
			m.doubt = isInDoubt(err)
		}

		close(m.done)
	}

	if acquired, ok := errors.AsType[*acquireError](err); ok {
		g.giveUp(translate("waiting for a connection", acquired)) // none of them has asked for anything
	}
}

// giveUp answers all who wait with an error: one group after the other would wait
// for a connection in vain, and the last for as long as all of them.
func (g *group[Q, A]) giveUp(err error) {
	g.mu.Lock()
	waiting := g.waiting
	g.waiting = nil
	g.mu.Unlock()

	for _, m := range waiting {
		m.err = err

		close(m.done)
	}
}
