package loss

import (
	"context"
	"math/rand/v2"
	"net/http"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// drillDrawn promotes a standby while other things go wrong, all drawn from the seed: Stripe's
// answers are lost or are errors although it has done what was asked, its events never
// arrive, and processes die.
func drillDrawn(ctx context.Context, w *world) error {
	c, err := newCluster(ctx, w, "shop")
	if err != nil {
		return err
	}

	r := rand.New(rand.NewPCG(w.options.Seed, 0))

	end := c.shop.load.open(ctx)

	spoiled, noMore, err := w.spoil(r)
	if err != nil {
		return err
	}

	c.shop.load.goesOn(ctx, w.drawn(r))

	// On a slow machine few have called by now.
	spoiled(ctx)

	if err := c.shop.dies(ctx, r); err != nil {
		return err
	}

	if err := c.fallBehind(ctx); err != nil {
		return err
	}

	c.shop.load.goesOn(ctx, w.drawn(r))

	after, err := c.failOver(ctx)
	if err != nil {
		return err
	}

	noMore()
	c.shop.load.goesOn(ctx, w.drawn(r))

	if err := c.shop.dies(ctx, r); err != nil {
		return err
	}

	end()
	after()

	return c.shop.verify(ctx, 0)
}

// drawn is from a half to one and a half thirds of the time.
func (w *world) drawn(r *rand.Rand) time.Duration {
	return w.options.third()/2 + time.Duration(r.Int64N(int64(w.options.third())))
}

// spoil makes some of Stripe's answers and events go wrong. The returned spoiled waits until
// each kind has, and noMore ends it, at the loss: what never arrived in the first life is found by
// the reconciliation of the second.
func (w *world) spoil(r *rand.Rand) (spoiled func(context.Context), noMore func(), err error) {
	const some, limit = 4, time.Minute

	var rules []sandbox.FaultStatus

	spoiled = func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()

		for _, rule := range rules {
			err := w.stripe.WaitFault(ctx, rule.ID, 1)
			w.holdsf(happened, err == nil, "%s %s%s: %v", rule.Action, rule.Path, rule.Event, err)
		}
	}

	noMore = func() {
		for _, rule := range rules {
			_ = w.stripe.RemoveFault(rule.ID)
		}
	}

	// The three about creates must not meet the same calls: one rule acts on a call. The last
	// acts only on a call that is done, which one that is repeated is not, so it gets more.
	for i, rule := range []sandbox.Fault{
		{Action: sandbox.DropAfter, Method: http.MethodPost, Path: "/v1/payment_intents/*/capture"},
		{Action: sandbox.DropAfter, Method: http.MethodPost, Path: "/v1/payment_intents"},
		{Action: sandbox.DropBefore, Method: http.MethodPost, Path: "/v1/payment_intents"},
		{Action: sandbox.Saved500, Method: http.MethodPost, Path: "/v1/payment_intents"},
		{Action: sandbox.WebhookLose, Event: "payment_intent.*"},
		{Action: sandbox.WebhookDuplicate, Event: "payment_intent.*", Delay: time.Second},
		{Action: sandbox.DropAfter, Method: http.MethodPost, Path: "/v1/refunds"},
	} {
		rule.Nth, rule.Count = 1+i*some, 1+r.IntN(some)
		if rule.Action == sandbox.Saved500 {
			rule.Count += 2 * some
		}

		if rule.Path == "/v1/refunds" { // of which there are fewer
			rule.Nth = 2
		}

		status, err := w.stripe.AddFault(rule)
		if err != nil {
			return nil, noMore, err
		}

		rules = append(rules, status)
	}

	return spoiled, noMore, nil
}

// dies kills a process or none, and waits until it is back. Without a database it could not
// start.
func (d *deployment) dies(ctx context.Context, r *rand.Rand) error {
	i := r.IntN(len(d.services) + 1)
	if i == len(d.services) {
		return nil
	}

	s := d.services[i]
	d.w.figuref("%s is killed", s.name)

	if err := s.stop(syscall.SIGKILL); err != nil {
		return err
	}

	return s.start(ctx)
}
