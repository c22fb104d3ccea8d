package loss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
)

// drillWhole loses the whole database and has no backup. An empty one is given the id of
// the installation, as docs/operations.md says.
func drillWhole(ctx context.Context, w *world) error {
	server, err := w.server(ctx, "primary", nil)
	if err != nil {
		return err
	}

	shop, err := w.deploy(ctx, "shop", w.options.Binary, server.URL(), server.URL(), server.URL())
	if err != nil {
		return err
	}

	out, code := shop.run(ctx, "account", "show", "-o", "json")

	var account struct {
		ID string `json:"installation_id"`
	}
	if err := json.Unmarshal([]byte(out), &account); err != nil || code != 0 {
		return fmt.Errorf("account show: exit code %d: %s", code, out)
	}

	end := shop.load.open(ctx)
	shop.load.goesOn(ctx, 2*w.options.third())

	if err := server.Kill(); err != nil {
		return err
	}

	for _, s := range shop.services {
		if err := s.stop(syscall.SIGTERM); err != nil {
			return err
		}
	}

	empty, err := w.server(ctx, "empty", nil)
	if err != nil {
		return err
	}

	if out, code := shop.runAt(ctx, empty.URL(), "migrate", "up"); code != 0 {
		return fmt.Errorf("migrate up: exit code %d: %s", code, out)
	}

	lost, err := shop.lost(ctx, empty.URL())
	if err != nil {
		return err
	}

	if err := w.slowLists(ctx); err != nil {
		return err
	}

	for _, s := range shop.services {
		s.env = append(shop.environment(empty.URL()), "INSTALLATION_ID="+account.ID)

		if err := s.start(ctx); err != nil {
			return errors.Join(err, shop.logTail(s))
		}
	}

	after := shop.back(ctx, empty.URL(), lost)

	shop.load.goesOn(ctx, w.options.third())
	end()
	after()

	return shop.verify(ctx, 0)
}
