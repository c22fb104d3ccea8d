package loss

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/scenarios/runner"
)

// releaseBefore is the last commit of the release before operations had kinds and marks.
const releaseBefore = "f1922c53f2ec49adafe03cf9692c8605c93093ad"

// drillUpgrade lets the release before leave operations of every state, upgrades it as
// docs/operations.md says, and then lets the database lose its last minutes.
func drillUpgrade(ctx context.Context, w *world) error {
	old, err := buildRelease(ctx, filepath.Join(w.dir, "before"), releaseBefore)
	if err != nil {
		return err
	}

	server, err := w.server(ctx, "primary", forgetful())
	if err != nil {
		return err
	}

	shop, err := w.deploy(ctx, "shop", old, server.URL(), server.URL(), server.URL())
	if err != nil {
		return err
	}

	shop.load.onlyCreates = true

	end := shop.load.open(ctx)
	shop.load.goesOn(ctx, w.options.third())
	end()

	u := &upgrade{w: w, shop: shop, r: rand.New(rand.NewPCG(w.options.Seed, 0))}
	for _, leave := range []func(context.Context) error{u.leaveRejected, u.leaveFrozen, u.leaveForAPerson, u.leavePending} {
		if err := leave(ctx); err != nil {
			return err
		}
	}

	if err := u.count(ctx, "before the upgrade", "payment_requests"); err != nil {
		return err
	}

	if err := u.upgrade(ctx); err != nil {
		return err
	}

	end = shop.load.open(ctx)
	u.comeBack(ctx)

	if err := u.loseTheEnd(ctx); err != nil {
		return err
	}

	after, err := shop.crash(ctx, server)
	if err != nil {
		return err
	}

	shop.load.goesOn(ctx, w.options.third())
	end()
	after()
	u.comeBack(ctx)

	if err := u.count(ctx, "in the end", "operations"); err != nil {
		return err
	}

	return shop.verify(ctx, 1)
}

// buildRelease builds the service of another commit.
func buildRelease(ctx context.Context, into, commit string) (string, error) {
	root, err := runner.ModuleRoot(ctx)
	if err != nil {
		return "", err
	}

	binary := filepath.Join(into, "marketflow")
	script := `mkdir -p "$1/src"
git archive "$2" | tar -x -C "$1/src"
cd "$1/src"
go build -o "$1/marketflow" ./cmd/marketflow`

	cmd := exec.CommandContext(ctx, "sh", "-ec", script, "sh", into, commit)
	cmd.Dir = root

	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the release before (%s): %w\n%s", commit, err, out)
	}

	return binary, os.RemoveAll(filepath.Join(into, "src"))
}

// upgrade is a drill's old and new release.
type upgrade struct {
	w    *world
	shop *deployment
	r    *rand.Rand

	// unanswered are the orders whose clients come back.
	unanswered []*order
	// frozen is an order that Stripe's API rejects for ever, and answer what was said.
	frozen *order
	answer answer
}

func (u *upgrade) order(name, fate string) *order {
	o := drawOrder(u.r, u.shop.name, name)
	o.metadata["fate"] = fate

	return o
}

func (u *upgrade) ask(ctx context.Context, o *order) answer {
	return u.shop.load.call(ctx, u.r, http.MethodPost, "/payments", "", o.body(0))
}

// leaveRejected leaves an operation that Stripe has rejected because of the deployment.
func (u *upgrade) leaveRejected(ctx context.Context) error {
	rule, err := u.w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.Error, Method: http.MethodPost, Metadata: map[string]string{"fate": "rejected"}, Count: -1,
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "parameter_unknown", Message: "Received unknown parameter",
	})
	if err != nil {
		return err
	}

	o := u.order("rejected", "rejected")
	u.shop.load.add(o)
	u.unanswered = append(u.unanswered, o)

	u.shop.load.expectBadGateway(true)
	got := u.ask(ctx, o)
	u.shop.load.expectBadGateway(false)
	u.w.holdsf(goodAnswers, got.status == http.StatusBadGateway, "a rejected order: %s", got)

	return u.w.stripe.RemoveFault(rule.ID)
}

// leaveFrozen leaves an operation whose amount Stripe does not take.
func (u *upgrade) leaveFrozen(ctx context.Context) error {
	u.frozen = u.order("frozen", "frozen")
	u.frozen.currency, u.frozen.amount = "USD", "0.01"

	u.shop.load.expectBadGateway(true)
	u.answer = u.ask(ctx, u.frozen)
	u.shop.load.expectBadGateway(false)
	u.w.holdsf(goodAnswers, u.answer.status == http.StatusBadGateway || u.answer.status == http.StatusUnprocessableEntity,
		"an order that is too small: %s", u.answer)

	return nil
}

// leaveForAPerson leaves an operation that needs attention: Stripe did not say what became
// of it, and its key is too old by now.
func (u *upgrade) leaveForAPerson(ctx context.Context) error {
	const patience = time.Minute

	rule, err := u.w.stripe.AddFault(sandbox.Fault{
		Action: sandbox.HangRequest, Method: http.MethodPost, Metadata: map[string]string{"fate": "hung"}, Count: -1,
	})
	if err != nil {
		return err
	}

	o := u.order("for-a-person", "hung")
	got := u.ask(ctx, o)
	u.w.holdsf(goodAnswers, got.status == http.StatusServiceUnavailable, "an order that Stripe does not answer: %s", got)

	if _, err := query(ctx, u.shop.url(), pgx.RowTo[int], `UPDATE payment_requests
		SET created_at = now() - interval '25 hours', retry_at = now() WHERE idempotency_key = $1 RETURNING 1`, o.key); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	return errors.Join(until(ctx, "an operation to need attention", func() bool {
		state, err := one[string](ctx, u.shop.url(), "SELECT state FROM payment_requests WHERE idempotency_key = $1", o.key)

		return err == nil && state == "needs_attention"
	}), u.w.stripe.RemoveFault(rule.ID))
}

// leavePending kills the old processes while Stripe works: what it has done, and what not.
func (u *upgrade) leavePending(ctx context.Context) error {
	const each = 5

	var (
		asking sync.WaitGroup
		rules  []string
	)

	for action, fate := range map[sandbox.Action]string{sandbox.Hold: "held", sandbox.HoldBefore: "not-begun"} {
		rule, err := u.w.stripe.AddFault(sandbox.Fault{
			Action: action, Method: http.MethodPost, Metadata: map[string]string{"fate": fate}, Count: -1,
		})
		if err != nil {
			return err
		}

		rules = append(rules, rule.ID)

		for i := range each {
			o := u.order(fmt.Sprintf("%s-%d", fate, i), fate)
			u.shop.load.add(o)
			u.unanswered = append(u.unanswered, o)

			r := rand.New(rand.NewPCG(u.w.options.Seed, uint64(i)))

			asking.Go(func() { u.shop.load.call(ctx, r, http.MethodPost, "/payments", "", o.body(0)) })
		}

		if err := u.w.stripe.WaitFault(ctx, rule.ID, each); err != nil {
			return err
		}
	}

	for _, s := range u.shop.services {
		if err := s.stop(syscall.SIGKILL); err != nil {
			return err
		}
	}

	asking.Wait()

	for _, id := range rules {
		if err := u.w.stripe.RemoveFault(id); err != nil {
			return err
		}
	}

	return nil
}

// upgrade migrates and starts the new release.
func (u *upgrade) upgrade(ctx context.Context) error {
	u.shop.binary = u.w.options.Binary
	u.shop.load.onlyCreates = false

	if out, code := u.shop.run(ctx, "migrate", "up"); code != 0 {
		return fmt.Errorf("migrate up: exit code %d: %s", code, out)
	}

	for _, s := range u.shop.services {
		s.binary = u.w.options.Binary

		if err := s.start(ctx); err != nil {
			return errors.Join(err, u.shop.logTail(s))
		}
	}

	return nil
}

// loseTheEnd makes the end of the upgrade's reconciliation one of the commits that are lost:
// after the crash its job is still running, and nobody works on it.
func (u *upgrade) loseTheEnd(ctx context.Context) error {
	// There may be two by now, and a third may begin meanwhile; only one may be under way.
	const lose = `UPDATE river_job SET state = 'running', finalized_at = NULL
		WHERE id = (SELECT max(id) FROM river_job WHERE kind = 'reconcile') AND state = 'completed'
		RETURNING true`

	return until(ctx, "the first reconciliation to end", func() bool {
		lost, err := one[bool](ctx, u.shop.url(), lose)

		return err == nil && lost
	})
}

// comeBack are the clients that the old release did not answer, or rejected.
func (u *upgrade) comeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, answeredWithin)
	defer cancel()

	for _, o := range u.unanswered {
		u.shop.load.create(ctx, u.r, o)
	}

	u.shop.load.expectBadGateway(true)
	defer u.shop.load.expectBadGateway(false)

	for got := u.ask(ctx, u.frozen); ; got = u.ask(ctx, u.frozen) {
		if got.decided() || ctx.Err() != nil {
			u.w.holdsf(sameAnswer, got.status == u.answer.status && string(got.body) == string(u.answer.body),
				"an order that is too small: was %s, is %s", u.answer, got)

			return
		}
	}
}

// count tells how many operations there are in each state.
func (u *upgrade) count(ctx context.Context, when, table string) error {
	counts, err := query(ctx, u.shop.url(), pgx.RowTo[string],
		"SELECT count(*) || ' ' || state FROM "+table+" GROUP BY state ORDER BY state")
	u.w.figuref("%s %v", when, counts)

	return err
}
