package loss

import (
	"context"
	"path/filepath"
	"sync"

	"github.com/marketflow/marketflow/tests/servers"
)

// drillStandby promotes a standby that has heard nothing for a while, and kills the
// primary. One process knows both servers, the other a proxy.
func drillStandby(ctx context.Context, w *world) error {
	c, err := newCluster(ctx, w, "shop")
	if err != nil {
		return err
	}

	end := c.shop.load.open(ctx)
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
	end()
	after()

	return c.shop.verify(ctx, 0)
}

// cluster is a primary, its standby, and a deployment on them.
type cluster struct {
	w                *world
	primary, standby *servers.Postgres
	proxy            *turnout
	shop             *deployment
}

func newCluster(ctx context.Context, w *world, name string) (c *cluster, err error) {
	c = &cluster{w: w}

	if c.primary, err = w.server(ctx, name+"-primary", nil); err != nil {
		return c, err
	}

	if c.standby, err = servers.StartStandby(ctx, c.primary, filepath.Join(w.dir, name+"-standby"), servers.Volatile()); err != nil {
		return c, err
	}

	w.endsServer(c.standby)

	if c.proxy, err = newTurnout(ctx, c.primary.Port); err != nil {
		return c, err
	}

	w.atEnd(c.proxy.close)

	c.shop, err = w.deploy(ctx, name, w.options.Binary, c.primary.URL(),
		bothHosts(c.primary, c.standby), throughPort(c.primary, c.proxy.port()))

	return c, err
}

// fallBehind cuts the standby off. What it would still have got is lost.
func (c *cluster) fallBehind(ctx context.Context) error {
	if err := c.standby.Execute(ctx, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()"); err != nil {
		return err
	}

	return until(ctx, "the standby to be cut off", func() bool {
		receivers, err := one[int](ctx, c.standby.URL(), "SELECT count(*) FROM pg_stat_wal_receiver")

		return err == nil && receivers == 0
	})
}

// failOver kills the primary and promotes the standby. after waits until what was lost is
// home.
func (c *cluster) failOver(ctx context.Context) (after func(), err error) {
	if err := c.primary.Kill(); err != nil {
		return nil, err
	}

	lost, err := c.shop.lost(ctx, c.standby.URL())
	if err != nil {
		return nil, err
	}

	if err := c.w.slowLists(ctx); err != nil {
		return nil, err
	}

	if err := c.standby.Promote(ctx); err != nil {
		return nil, err
	}

	c.proxy.target.Store(int64(c.standby.Port))

	return c.shop.back(ctx, c.standby.URL(), lost), nil
}

// back says that the database is back. What it returns waits until what was lost is home.
func (d *deployment) back(ctx context.Context, database string, lost []*order) (after func()) {
	var all sync.WaitGroup

	d.database.Store(database)
	all.Go(func() { d.home(ctx) })
	all.Go(func() { d.comeBack(ctx, lost) })

	return all.Wait
}
