package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/ports"
)

// maxParkedPerIntent is how many parked events of one intent are read at once.
// Stripe sends a handful.
const maxParkedPerIntent = 100

// endOfTime is later than every event.
//
//nolint:gochecknoglobals // a constant
var endOfTime = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC)

// Apply implements ports.Inbox.
func (s *Store) Apply(ctx context.Context, e ports.Event) (ports.Applied, error) {
	if err := ctx.Err(); err != nil {
		return ports.Applied{}, fmt.Errorf("applying event %s: %w", e.ID, err)
	}

	alone := func() (ports.Applied, error) { return s.applyOne(ctx, e) }
	together := alone

	if len(e.Raw) <= maxGroupedEvent {
		together = func() (ports.Applied, error) { return s.events.do(ctx, e, alone) }
	}

	applied, err := together()
	if err != nil {
		return ports.Applied{}, fmt.Errorf("event %s: %w", e.ID, err)
	}

	return applied, nil
}

// FinishAndApply implements ports.Inbox.
func (s *Store) FinishAndApply(
	ctx context.Context, c ports.Completion, e ports.Event,
) (ports.Finished, ports.Applied, error) {
	var (
		finished ports.Finished
		applied  ports.Applied
	)

	err := s.hot.run(ctx, "finishing an operation by its event", func(ctx context.Context, conn *pgxpool.Conn) error {
		return lookAgain(func() error {
			return s.inTrips(ctx, "FinishAndApply", conn, func(ctx context.Context, tx *trips) (err error) {
				if finished, err = s.finishLocked(ctx, tx, c); err != nil {
					return err
				}

				if applied, err = applyAlone(ctx, tx, e); err != nil || !tx.open {
					return err
				}

				return tx.commit(ctx) // the event was there already
			})
		})
	})
	if err != nil {
		return ports.Finished{}, ports.Applied{}, fmt.Errorf("event %s: %w", e.ID, errNoOperation(err))
	}

	return finished, applied, nil
}

// Park implements ports.Inbox.
func (s *Store) Park(ctx context.Context, e ports.Event, reason ports.ParkReason) error {
	return s.hot.exec(ctx, "parking an event", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ParkEvent(ctx, sqlc.ParkEventParams{
			ID: e.ID, Type: e.Type, ObjectID: e.ObjectID, Payload: e.Raw,
			ParkedReason: string(reason), CreatedAt: optional(e.CreatedAt),
		})
	})
}

// StoreForeign implements ports.Inbox.
func (s *Store) StoreForeign(ctx context.Context, e ports.Event) (ports.EventOutcome, error) {
	stored, err := write(ctx, s.hot, "storing a foreign event", func(ctx context.Context, q *sqlc.Queries) (int64, error) {
		return q.StoreForeignEvent(ctx, sqlc.StoreForeignEventParams{ID: e.ID, Type: e.Type, CreatedAt: optional(e.CreatedAt)})
	})
	if err != nil {
		return "", fmt.Errorf("event %s: %w", e.ID, err)
	}

	if stored == 0 {
		return ports.EventDuplicate, nil
	}

	return ports.EventForeign, nil
}

// Hints implements ports.Inbox.
func (s *Store) Hints(ctx context.Context, after ports.InboxPosition, limit int) ([]ports.StoredEvent, error) {
	rows, err := query(ctx, s.background, "listing hints", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListHintsRow, error) {
		return q.ListHints(ctx, sqlc.ListHintsParams{
			AfterReceivedAt: after.ReceivedAt, AfterID: after.ID, MaxRows: int32(limit), //nolint:gosec // a small constant
		})
	})

	return mapped(rows, func(row sqlc.ListHintsRow) ports.StoredEvent { return listedFromDB(sqlc.ListEventsRow(row)) }), err
}

// ParkHints implements ports.Inbox.
func (s *Store) ParkHints(ctx context.Context, objectID string) error {
	return s.hot.exec(ctx, "parking hints", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ResolveHints(ctx, sqlc.ResolveHintsParams{Outcome: string(ports.EventParked), ObjectID: objectID})
	})
}

// Ready implements ports.Inbox.
func (s *Store) Ready(
	ctx context.Context, before ports.InboxPosition, limit int,
) ([]string, ports.InboxPosition, error) {
	if before == (ports.InboxPosition{}) {
		before.ReceivedAt = endOfTime
	}

	rows, err := query(ctx, s.background, "looking at parked events",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListParkedEventsRow, error) {
			return q.ListParkedEvents(ctx, sqlc.ListParkedEventsParams{
				BeforeReceivedAt: before.ReceivedAt, BeforeID: before.ID,
				MaxRows: int32(limit), //nolint:gosec // a small constant
			})
		})

	var (
		ids  []string
		next ports.InboxPosition
	)

	for _, row := range rows {
		if row.Ready {
			ids = append(ids, row.ID)
		}
	}

	slices.Reverse(ids)

	if n := len(rows); n == limit {
		next = ports.InboxPosition{ReceivedAt: rows[n-1].ReceivedAt, ID: rows[n-1].ID}
	}

	return ids, next, err
}

// unhandledSlice is how many events Unhandled looks at.
const unhandledSlice = 10_000

// Unhandled implements ports.Inbox.
func (s *Store) Unhandled(
	ctx context.Context, eventType string, after ports.InboxPosition, limit int,
) ([]string, ports.InboxPosition, error) {
	rows, err := query(ctx, s.background, "listing unhandled events",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListUnhandledEventsRow, error) {
			return q.ListUnhandledEvents(ctx, sqlc.ListUnhandledEventsParams{
				Type: eventType, AfterReceivedAt: after.ReceivedAt, AfterID: after.ID, MaxLookedAt: unhandledSlice,
				MaxRows: int32(limit), //nolint:gosec // a small constant
			})
		})

	var (
		ids  []string
		next ports.InboxPosition
	)

	for _, row := range rows {
		if row.Wanted { // the last row tells only where to go on, and may be any
			ids = append(ids, row.ID)
		}

		next = ports.InboxPosition{ReceivedAt: row.ReceivedAt, ID: row.ID}
	}

	return ids, next, err
}

// ReadyFor implements ports.Inbox.
func (s *Store) ReadyFor(ctx context.Context, intentID string) ([]ports.StoredEvent, error) {
	rows, err := query(ctx, s.hot, "listing parked events", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.StripeEvent, error) {
		return q.ListReadyEventsOf(ctx, sqlc.ListReadyEventsOfParams{ObjectID: intentID, MaxRows: maxParkedPerIntent})
	})

	return mapped(rows, eventFromDB), err
}

// Event implements ports.Inbox.
func (s *Store) Event(ctx context.Context, id string) (ports.StoredEvent, error) {
	row, err := query(ctx, s.hot, "reading an event", func(ctx context.Context, q *sqlc.Queries) (sqlc.StripeEvent, error) {
		return q.GetEvent(ctx, id)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.StoredEvent{}, errNotFound("event")
	}

	return eventFromDB(row), err
}

// Events implements ports.Inbox. There is one statement for each index that can
// narrow the list.
func (s *Store) Events(ctx context.Context, filter ports.EventFilter, limit int) ([]ports.StoredEvent, error) {
	outcome, eventType := optional(string(filter.Outcome)), optional(filter.Type)
	most := int32(limit) //nolint:gosec // checked by the caller

	rows, err := query(ctx, s.background, "listing events",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListEventsRow, error) {
			switch {
			case filter.ObjectID != "":
				rows, err := q.ListEventsOfObject(ctx, sqlc.ListEventsOfObjectParams{
					ObjectID: filter.ObjectID, Outcome: outcome, Type: eventType, MaxRows: most,
				})

				return mapped(rows, func(row sqlc.ListEventsOfObjectRow) sqlc.ListEventsRow { return sqlc.ListEventsRow(row) }), err
			case filter.Outcome == ports.EventParked:
				rows, err := q.ListNewestParkedEvents(ctx, sqlc.ListNewestParkedEventsParams{Type: eventType, MaxRows: most})

				return mapped(rows, func(row sqlc.ListNewestParkedEventsRow) sqlc.ListEventsRow { return sqlc.ListEventsRow(row) }), err
			default:
				return q.ListEvents(ctx, sqlc.ListEventsParams{Outcome: outcome, Type: eventType, MaxRows: most})
			}
		})

	return mapped(rows, listedFromDB), err
}

// Dismiss implements ports.Inbox.
func (s *Store) Dismiss(ctx context.Context, id string, entry ports.AuditEntry) error {
	return s.decideOn(ctx, "dismissing an event", id, entry, (*sqlc.Queries).DismissEvent)
}

// Undismiss implements ports.Inbox.
func (s *Store) Undismiss(ctx context.Context, id string, entry ports.AuditEntry) error {
	return s.decideOn(ctx, "reopening an event", id, entry, (*sqlc.Queries).ReopenEvent)
}

// decideOn changes an event by a person's decision. change returns how many rows it
// changed: none where the event is not in the state that the decision is about.
func (s *Store) decideOn(
	ctx context.Context, doing, id string, entry ports.AuditEntry,
	change func(*sqlc.Queries, context.Context, string) (int64, error),
) error {
	err := s.hot.inTransaction(ctx, doing, func(ctx context.Context, q *sqlc.Queries) error {
		if done, err := q.HasAudit(ctx, entry.ID); err != nil || done {
			return err
		}

		changed, err := change(q, ctx, id)
		if err != nil {
			return fmt.Errorf("event %s: %w", id, err)
		}

		if changed == 0 {
			if _, err := q.GetEvent(ctx, id); err != nil {
				return fmt.Errorf("event %s: %w", id, err)
			}

			return fmt.Errorf("event %s: %w", id, ports.ErrMoved)
		}

		return writeAudit(ctx, q, entry)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("event")
	}

	return err
}
