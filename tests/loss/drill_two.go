package loss

import (
	"context"
)

// drillTwo lets two deployments order on one Stripe account, under the same keys. One of
// them loses its last minutes.
func drillTwo(ctx context.Context, w *world) error {
	c, err := newCluster(ctx, w, "left")
	if err != nil {
		return err
	}

	server, err := w.server(ctx, "right", nil)
	if err != nil {
		return err
	}

	right, err := w.deploy(ctx, "right", w.options.Binary, server.URL(), server.URL(), server.URL())
	if err != nil {
		return err
	}

	endLeft, endRight := c.shop.load.open(ctx), right.load.open(ctx)
	c.shop.load.goesOn(ctx, w.options.third())

	if err := c.fallBehind(ctx); err != nil {
		return err
	}

	c.shop.load.goesOn(ctx, w.options.third())

	after, err := c.failOver(ctx)
	if err != nil {
		return err
	}

	c.shop.load.goesOn(ctx, w.options.third())
	endLeft()
	endRight()
	after()

	if err := c.shop.verify(ctx, 0); err != nil {
		return err
	}

	return right.verify(ctx, 0)
}
