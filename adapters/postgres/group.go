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

// group lets requests that arrive together share a statement, and so a commit.
// There is no timer: requests that arrive while a group runs wait, and go in the
// next one. Each is answered after the commit that it was part of.
//
// A request that arrives while nothing runs goes alone and at once. It may have to
// wait for a lock. Requests that arrive meanwhile do not wait for it: they form
// groups.
//
// A group does only what is simple. What its statement leaves out, and every
// request of a statement that failed, is then done alone, so that no request can
// harm the others.
type group[Q, A any] struct {
	// runTogether does what it can of requests in one commit, and never waits for
	// a row that somebody else has locked. It returns one answer for each request,
	// in their order; nil: that request was not touched. After an error no request
	// was done, except where the error is in doubt: then each may have been.
	runTogether func(ctx context.Context, requests []Q) (answers []*A, err error)
	// names: two requests with a name in common never go in one group, but one
	// after the other in the order of their arrival. Empty names do not count. It is
	// nil where requests have no names.
	names func(Q) []string
	// atOnce is how many groups without names may run at once; 0 is one. (Two at once
	// were measured for writes too: they are smaller, and cost a seventh more.)
	atOnce int

	mu      sync.Mutex
	waiting []*groupRequest[Q, A]
	// running is how many goroutines run groups.
	running int
	// runningAlone: a request that arrived while nothing ran is being done alone.
	runningAlone bool
}

// groupRequest is one request that waits for a group or is in one.
type groupRequest[Q, A any] struct {
	ctx     context.Context //nolint:containedctx // it is the request's
	request Q
	names   []string
	done    chan struct{}
	answer  *A
	err     error
	// doubt: the group failed, but may have been committed.
	doubt bool
}

// do does a request, in a group or by alone.
//
// It also waits when the client has disconnected: other requests are in the same
// commit.
func (g *group[Q, A]) do(ctx context.Context, request Q, alone func() (A, error)) (A, error) {
	if g.startAlone() {
		defer g.endAlone()

		return alone()
	}

	r := &groupRequest[Q, A]{ctx: ctx, request: request, done: make(chan struct{})}
	if g.names != nil {
		r.names = g.names(request)
	}

	g.enqueue(r)
	<-r.done

	switch {
	case r.err != nil:
		return *new(A), r.err
	case r.answer == nil && r.doubt:
		answer, err := alone()

		return answer, stillInDoubt(err)
	case r.answer == nil:
		return alone()
	default:
		return *r.answer, nil
	}
}

// startAlone tells whether nothing runs, and if so marks that a lone request does.
func (g *group[Q, A]) startAlone() bool {
	g.mu.Lock()
	defer g.mu.Unlock()

	if g.runningAlone || g.running > 0 {
		return false
	}

	g.runningAlone = true

	return true
}

func (g *group[Q, A]) endAlone() {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.runningAlone = false
}

// enqueue adds r to those who wait, and starts running groups unless enough do.
func (g *group[Q, A]) enqueue(r *groupRequest[Q, A]) {
	g.mu.Lock()
	defer g.mu.Unlock()

	g.waiting = append(g.waiting, r)

	if g.running < max(1, g.atOnce) {
		g.running++

		go g.runAll()
	}
}

// runAll runs one group after the other until no request waits.
func (g *group[Q, A]) runAll() {
	for {
		requests := g.next()
		if len(requests) == 0 {
			return
		}

		g.runOne(requests)
	}
}

// next takes the requests that may go together, the longest waiting first. If
// there are none, one goroutine less runs groups.
func (g *group[Q, A]) next() []*groupRequest[Q, A] {
	g.mu.Lock()
	defer g.mu.Unlock()

	var (
		taken []*groupRequest[Q, A]
		left  = g.waiting[:0]
		seen  map[string]struct{}
	)

	if g.names != nil {
		seen = make(map[string]struct{}, 2*len(g.waiting))
	}

	for _, r := range g.waiting {
		if len(taken) == maxGroup || slices.ContainsFunc(r.names, func(name string) bool { _, ok := seen[name]; return ok }) {
			left = append(left, r)
		} else {
			taken = append(taken, r)
		}

		// Also the names of a request that is left: later ones must not overtake it.
		for _, name := range r.names {
			if name != "" {
				seen[name] = struct{}{}
			}
		}
	}

	clear(g.waiting[len(left):])
	g.waiting = left

	if len(taken) == 0 {
		g.running--
	}

	return taken
}

// runOne runs one group and wakes its requests. The statement's span is in the
// trace of the first request; the others' spans link to that trace.
func (g *group[Q, A]) runOne(requests []*groupRequest[Q, A]) {
	first := trace.SpanContextFromContext(requests[0].ctx)
	for _, r := range requests[1:] {
		trace.SpanFromContext(r.ctx).AddLink(trace.Link{SpanContext: first})
	}

	answers, err := g.runTogether(context.WithoutCancel(requests[0].ctx),
		mapped(requests, func(r *groupRequest[Q, A]) Q { return r.request }))

	for i, r := range requests {
		switch {
		case err == nil:
			r.answer = answers[i]
		case isAcquireError(err):
			r.err = err // alone it would not get a connection either
		default:
			r.doubt = isInDoubt(err)
		}

		close(r.done)
	}

	if acquired, ok := errors.AsType[*acquireError](err); ok {
		g.failWaiting(translate("waiting for a connection", acquired)) // none of them has begun
	}
}

// failWaiting answers all who wait with an error. Otherwise one group after the
// other would wait for a connection in vain, and the last one as long as all of
// them together.
func (g *group[Q, A]) failWaiting(err error) {
	g.mu.Lock()
	waiting := g.waiting
	g.waiting = nil
	g.mu.Unlock()

	for _, r := range waiting {
		r.err = err

		close(r.done)
	}
}
