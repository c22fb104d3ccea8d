package loss

import (
	"context"
	"fmt"
	"syscall"

	"github.com/marketflow/marketflow/tests/servers"
)

// forgetful are settings under which only the WAL writer writes the log, once
// synchronous_commit is off.
func forgetful() map[string]string {
	return map[string]string{
		"wal_buffers": "64MB", "bgwriter_lru_maxpages": "0", "autovacuum": "off", "checkpoint_timeout": "1h", "max_wal_size": "4GB",
	}
}

// drillUnsynced kills all of PostgreSQL's processes when it has not written the commits of
// the last seconds, and starts it again.
func drillUnsynced(ctx context.Context, w *world) error {
	server, err := w.server(ctx, "primary", forgetful())
	if err != nil {
		return err
	}

	shop, err := w.deploy(ctx, "shop", w.options.Binary, server.URL(), server.URL(), server.URL())
	if err != nil {
		return err
	}

	end := shop.load.open(ctx)
	shop.load.goesOn(ctx, w.options.third())

	after, err := shop.crash(ctx, server)
	if err != nil {
		return err
	}

	shop.load.goesOn(ctx, w.options.third())
	end()
	after()

	return shop.verify(ctx, 0)
}

// crash lets the server write nothing for a while, as a stalled disk does, kills it and
// starts it again. The server has to be forgetful.
func (d *deployment) crash(ctx context.Context, server *servers.Postgres) (after func(), err error) {
	// serve refuses such a database when it starts, so its sessions begin anew.
	if err := server.Execute(ctx, "ALTER DATABASE marketflow SET synchronous_commit = off",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'marketflow' AND pid <> pg_backend_pid()",
	); err != nil {
		return nil, err
	}

	writer, err := one[int](ctx, server.URL(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
	if err != nil {
		return nil, err
	}

	if err := syscall.Kill(writer, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("stopping the WAL writer: %w", err)
	}

	d.load.goesOn(ctx, d.w.options.third())

	unwritten, err := one[int64](ctx, server.URL(), "SELECT (pg_current_wal_insert_lsn() - pg_current_wal_lsn())::bigint")
	if err != nil {
		return nil, err
	}

	d.w.figuref("%s: PostgreSQL is killed with %d KiB of its log unwritten", d.name, unwritten>>10)

	if err := server.Kill(); err != nil {
		return nil, err
	}

	if err := d.w.slowLists(ctx); err != nil {
		return nil, err
	}

	if err := server.Restart(ctx, servers.ShutdownCrash); err != nil {
		return nil, err
	}

	lost, err := d.lost(ctx, server.URL())
	if err != nil {
		return nil, err
	}

	return d.back(ctx, server.URL(), lost), server.Execute(ctx, "ALTER DATABASE marketflow RESET synchronous_commit")
}
