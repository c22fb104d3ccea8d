package runner

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// watch looks at the database again and again while the storm lasts. It sees what the
// records do not show any more when all is quiet.
func (w *world) watch(ctx context.Context) {
	const every = 25 * time.Millisecond

	for ctx.Err() == nil {
		// Each is one snapshot.
		if found, err := w.db.Query(ctx, `SELECT subject::text FROM operations
			WHERE kind IN ('confirm', 'capture', 'cancel', 'update', 'update_customer', 'delete_customer')
				AND state IN ('pending', 'needs_attention')
			GROUP BY subject, kind = 'update' HAVING count(*) > 1`); err == nil {
			payments, _ := pgx.CollectRows(found, pgx.RowTo[string]) // the database may be down

			w.mu.Lock()
			w.twoAtOnce = append(w.twoAtOnce, payments...)
			w.mu.Unlock()
		}

		wait(ctx, every)
	}
}

// saw is what watch has seen.
func (w *world) saw(found *violations) {
	w.mu.Lock()
	defer w.mu.Unlock()

	slices.Sort(w.twoAtOnce)

	for _, payment := range slices.Compact(w.twoAtOnce) {
		found.addf("J4", "payment or customer "+payment, "two operations were under way at the same time")
	}
}

// draw notes an event that the runner has made up to contradict the records, and whether it
// was accepted.
func (w *world) draw(event string, accepted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()

	w.drawn[event] = accepted
}

func (w *world) drawnEvents() map[string]bool {
	w.mu.Lock()
	defer w.mu.Unlock()

	return maps.Clone(w.drawn)
}

func (w *world) isDrawn(event string) bool {
	_, drawn := w.drawnEvents()[event]

	return drawn
}
