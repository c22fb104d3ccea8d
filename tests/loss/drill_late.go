package loss

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// away is how long the database is away: Stripe has forgotten every key by then, and the
// cursor of reconciliation is too old to send anything.
const away = 25 * time.Hour

// drillLate promotes a standby a day after the primary's end. Stripe's clock is that much
// behind at first, and what the standby has is made older then: PostgreSQL's clock cannot
// be moved. Some of the lost payments cannot be written at first, so no reconciliation
// may count them as looked at.
func drillLate(ctx context.Context, w *world) error {
	w.stripe.Advance(-away)

	c, err := newCluster(ctx, w, "shop")
	if err != nil {
		return err
	}

	end := c.shop.load.open(ctx)
	c.shop.load.goesOn(ctx, w.options.third())

	// The cursor begins here. The first scheduled run would come after minutes.
	if out, code := c.shop.run(ctx, "reconcile", "--since", "48h"); code != 0 {
		return fmt.Errorf("reconcile: exit code %d: %s", code, out)
	}

	if err := c.fallBehind(ctx); err != nil {
		return err
	}

	c.shop.load.goesOn(ctx, w.options.third())
	end()

	lost, err := c.dayLater(ctx)
	if err != nil {
		return err
	}

	writable, err := c.unwritable(ctx, lost)
	if err != nil {
		return err
	}

	for _, s := range c.shop.services {
		if err := s.start(ctx); err != nil {
			return err
		}
	}

	after := c.shop.back(ctx, c.standby.URL(), lost)

	wait(ctx, w.options.third())

	if err := writable(); err != nil {
		return err
	}

	after()

	return c.shop.verify(ctx, 0)
}

// dayLater ends the primary and the processes, promotes the standby and lets a day pass.
// It returns the orders that are lost.
func (c *cluster) dayLater(ctx context.Context) ([]*order, error) {
	for _, s := range c.shop.services {
		if err := s.stop(syscall.SIGKILL); err != nil {
			return nil, err
		}
	}

	if err := c.primary.Kill(); err != nil {
		return nil, err
	}

	lost, err := c.shop.lost(ctx, c.standby.URL())
	if err != nil {
		return nil, err
	}

	if err := c.standby.Promote(ctx); err != nil {
		return nil, err
	}

	for _, statement := range []string{
		"UPDATE reconciliation SET through = through - interval '%[1]s'",
		"UPDATE operations SET created_at = created_at - interval '%[1]s', retry_at = retry_at - interval '%[1]s', " +
			"leased_until = leased_until - interval '%[1]s'",
	} {
		if err := c.standby.Execute(ctx, fmt.Sprintf(statement, away)); err != nil {
			return nil, err
		}
	}

	c.w.stripe.Advance(away)
	c.proxy.target.Store(int64(c.standby.Port))

	return lost, nil
}

// unwritable lets the database fail to write the payments of some orders until writable is
// called.
func (c *cluster) unwritable(ctx context.Context, orders []*order) (writable func() error, err error) {
	const some = 6

	orders = orders[:min(some, len(orders))]
	intents := make([]string, 0, len(orders))

	for _, o := range orders {
		intents = append(intents, o.answer().Intent)
	}

	writable = func() error { return c.standby.Execute(ctx, "DROP TRIGGER drill ON payments") }

	return writable, c.standby.Execute(ctx,
		`CREATE FUNCTION drill() RETURNS trigger LANGUAGE plpgsql AS
			'BEGIN RAISE EXCEPTION ''not now''; END'`,
		fmt.Sprintf(`CREATE TRIGGER drill BEFORE INSERT ON payments FOR EACH ROW
			WHEN (NEW.stripe_payment_intent_id IN ('%s')) EXECUTE FUNCTION drill()`, strings.Join(intents, "', '")))
}
