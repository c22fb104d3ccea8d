package loss

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/tests/servers"
)

// drillCopy restores a dump in another server, as a staging environment does, with the
// settings of production: serve and every command refuse to work on it.
func drillCopy(ctx context.Context, w *world) error {
	server, err := w.server(ctx, "production", nil)
	if err != nil {
		return err
	}

	shop, err := w.deploy(ctx, "shop", w.options.Binary, server.URL(), server.URL(), server.URL())
	if err != nil {
		return err
	}

	end := shop.load.open(ctx)
	shop.load.goesOn(ctx, w.options.third())

	staging, err := w.server(ctx, "staging", nil)
	if err != nil {
		return err
	}

	if err := dump(ctx, server, staging, filepath.Join(w.dir, "dump")); err != nil {
		return err
	}

	before, err := one[string](ctx, staging.URL(), contents)
	if err != nil {
		return err
	}

	payment := shop.load.answered()[0].answer()

	for _, command := range commands(payment) {
		out, code := shop.runAt(ctx, staging.URL(), command...)
		w.holdsf(refused, code == 1 && strings.Contains(out, "PostgreSQL system identifier: recorded"),
			"marketflow %s: exit code %d: %s", strings.Join(command, " "), code, out)
	}

	after, err := one[string](ctx, staging.URL(), contents)
	if err != nil {
		return err
	}

	w.holdsf(refused, before == after, "the copy was %s and is %s", before, after)

	// Looking at what differs is allowed.
	out, code := shop.runAt(ctx, staging.URL(), "account", "show")
	w.figuref("account show on the copy: exit code %d\n%s", code, indented(out))

	shop.load.goesOn(ctx, w.options.third())
	end()

	return shop.verify(ctx, 0)
}

// contents sums up what a database holds.
const contents = `SELECT concat_ws(' ', (SELECT count(*) FROM payments), (SELECT max(updated_at) FROM payments),
	(SELECT count(*) FROM operations), (SELECT max(updated_at) FROM operations), (SELECT count(*) FROM stripe_events),
	(SELECT through FROM reconciliation), (SELECT id FROM installation))`

// commands are all that work on a database, and serve.
func commands(p *created) [][]string {
	id, reason := p.ID, []string{"--reason", "a drill"}

	return [][]string{
		{"serve"},
		{"payments", "show", id},
		append([]string{"payments", "accept", id}, reason...),
		{"operations", "list"},
		{"operations", "show", id},
		append([]string{"operations", "close", id}, reason...),
		append([]string{"operations", "adopt", id}, reason...),
		{"inbox", "list"},
		{"inbox", "show", "evt_1"},
		{"inbox", "reprocess", "evt_1"},
		append([]string{"inbox", "dismiss", "evt_" + uuid.NewString()}, reason...),
		{"reconcile", "--since", "24h"},
		{"reconcile", "--since", "24h", "--dry-run"},
	}
}

// dump copies the database with pg_dump and psql.
func dump(ctx context.Context, from, to *servers.Postgres, file string) error {
	for _, step := range [][]string{
		{"pg_dump", "--dbname=" + from.URL(), "--format=plain", "--file=" + file},
		{"psql", "--dbname=" + to.URL(), "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=" + file},
	} {
		program, err := servers.Program(ctx, step[0])
		if err != nil {
			return err
		}

		if out, err := exec.CommandContext(ctx, program, step[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", step[0], err, out)
		}
	}

	return nil
}

func indented(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }
