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
			GROUP BY subject, kind = 'update' HAVING count(*) > 1
			UNION ALL SELECT options ->> 'dispute_id' FROM operations
			WHERE kind IN ('submit_evidence', 'accept_dispute') AND state IN ('pending', 'needs_attention')
			GROUP BY options ->> 'dispute_id' HAVING count(*) > 1`); err == nil {
			payments, _ := pgx.CollectRows(found, pgx.RowTo[string]) // the database may be down

			w.mu.Lock()
			w.twoAtOnce = append(w.twoAtOnce, payments...)
			w.mu.Unlock()
		}

		// The database's own rule says the same, and rests on nothing but the row.
		if found, err := w.db.Query(ctx, `SELECT id::text FROM payments
			WHERE amount_refund_pending + amount_refunded + amount_disputed > amount_captured + overdrawn`); err == nil {
			payments, _ := pgx.CollectRows(found, pgx.RowTo[string])

			w.mu.Lock()
			w.overPromised = append(w.overPromised, payments...)
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
		found.addf("J4", "payment, dispute or customer "+payment, "two operations were under way at the same time")
	}

	slices.Sort(w.overPromised)

	for _, payment := range slices.Compact(w.overPromised) {
		found.addf("J1", "payment "+payment, "more was to be given back than was captured")
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
