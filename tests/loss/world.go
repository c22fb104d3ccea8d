package loss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/servers"
)

const (
	secretKey     = "sk_test_51LossLossLossLoss"
	webhookSecret = "whsec_LossLossLossLossLossLossLossLoss"
)

// The promises.
const (
	oneIntent   = "a key makes one intent"
	oneCharge   = "an intent is charged once, for what was asked"
	homeSoon    = "what Stripe has is home within a minute"
	sameAnswer  = "a retry gets the payment that it got before"
	otherBody   = "another body under the same key gets 422"
	wholeReads  = "a read shows metadata and key"
	neverGone   = "a payment that was answered is never 404"
	unknownIDs  = "an unknown id is 404 or 503"
	captureKeys = "a capture's key gets its answer"
	refundKeys  = "a refund's key gives back once, and gets its answer"
	noMoreBack  = "no more is given back than was captured"
	allEnd      = "every operation ends"
	asAtStripe  = "status and sums are Stripe's"
	goodAnswers = "answers are those that the API has"
	cleanRun    = "reconcile finds nothing left"
	onlyOurs    = "nobody takes what is another deployment's"
	refused     = "a copy is refused"
	happened    = "what was to go wrong did"
)

// world is what a drill runs in.
type world struct {
	name, dir string
	options   Options
	stripe    *sandbox.Server

	mu          sync.Mutex
	deployments []*deployment
	ends        []func() // what close does, the last first
	figures     []string
	checks      []*Check
}

func newWorld(ctx context.Context, name, dir string, o Options) (*world, error) {
	w := &world{name: name, dir: dir, options: o}

	stripe, err := sandbox.Listen(ctx, "127.0.0.1:0", sandbox.Options{
		// Quicker than Stripe, so that a drill is quiet within seconds.
		WebhookTimeout: 6 * time.Second, RetryBase: 100 * time.Millisecond, RetryMax: time.Second,
	})
	if err != nil {
		return nil, err
	}

	w.stripe = stripe
	w.atEnd(func() { stripe.ClearFaults(); _ = stripe.Close() })

	// Some requests are always under way at Stripe.
	if _, err := stripe.AddFault(sandbox.Fault{
		Action: sandbox.Latency, Method: "POST", P50: 40 * time.Millisecond, P99: 200 * time.Millisecond, Count: -1,
	}); err != nil {
		w.close()

		return nil, err
	}

	return w, nil
}

// atEnd ends something with the drill.
func (w *world) atEnd(end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.ends = append(w.ends, end)
}

func (w *world) close() {
	for _, end := range slices.Backward(w.ends) {
		end()
	}
}

// server starts a PostgreSQL.
func (w *world) server(ctx context.Context, name string, settings map[string]string) (*servers.Postgres, error) {
	all := servers.Volatile()
	maps.Copy(all, settings)

	server, err := servers.StartPostgres(ctx, devserver.PostgresOptions{DataDir: filepath.Join(w.dir, name), Settings: all})
	if err != nil {
		return nil, err
	}

	w.endsServer(server)

	return server, nil
}

// endsServer ends a server with the drill. A killed one is started once more: the System V
// shared memory that it left is freed by its successor alone.
func (w *world) endsServer(server *servers.Postgres) {
	const limit = 30 * time.Second

	w.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()

		if !server.Running() {
			if err := server.Restart(ctx, servers.ShutdownFast); err != nil && !errors.Is(err, servers.ErrStopped) {
				return
			}
		}

		_ = server.Stop(ctx)
	})
}

// slowLists makes Stripe's lists slow for a while, as those of a large account are. So
// clients come back before reconciliation has brought home what was lost.
func (w *world) slowLists(ctx context.Context) error {
	const during = 4 * time.Second

	end, err := w.slowListsUntil(ctx)
	time.AfterFunc(during, end)

	return err
}

// slowListsUntil is slowLists until end is called.
func (w *world) slowListsUntil(ctx context.Context) (end func(), err error) {
	const slow = 1500 * time.Millisecond

	var rules []string

	end = func() {
		for _, rule := range rules {
			_ = w.stripe.RemoveFault(rule)
		}
	}
	context.AfterFunc(ctx, end)

	for _, list := range []string{"/v1/payment_intents", "/v1/events", "/v1/refunds", "/v1/disputes"} {
		rule, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.Latency, Method: "GET", Path: list, P50: slow, Count: -1})
		if err != nil {
			return end, err
		}

		rules = append(rules, rule.ID)
	}

	return end, nil
}

// figuref adds a line for people.
func (w *world) figuref(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.figures = append(w.figures, fmt.Sprintf(format, args...))
}

// check finds a promise; the caller holds mu.
func (w *world) check(promise string) *Check {
	for _, c := range w.checks {
		if c.Promise == promise {
			return c
		}
	}

	c := &Check{Promise: promise}
	w.checks = append(w.checks, c)

	return c
}

// looked counts a case that was looked at.
func (w *world) looked(promise string) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.check(promise).Looked++
}

// brokenf notes that a promise does not hold.
func (w *world) brokenf(promise, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()

	c := w.check(promise)
	c.Broken = append(c.Broken, fmt.Sprintf(format, args...))
}

// holdsf counts a case, and notes it if it is not right.
func (w *world) holdsf(promise string, right bool, format string, args ...any) {
	w.looked(promise)

	if !right {
		w.brokenf(promise, format, args...)
	}
}

func (w *world) result() Result {
	w.mu.Lock()
	defer w.mu.Unlock()

	r := Result{Name: w.name, Figures: w.figures, Logs: w.dir}
	for _, c := range w.checks {
		r.Checks = append(r.Checks, *c)
	}

	return r
}
