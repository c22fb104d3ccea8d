package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/ports"
)

var _ ports.Erasure = (*Store)(nil)

// EraseBodies implements ports.Erasure.
func (s *Store) EraseBodies(
	ctx context.Context, mention string, after ports.InboxPosition, limit int,
) (int, []string, ports.InboxPosition, error) {
	rows, err := query(ctx, s.background, "looking through stored events",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListEventsThatMentionRow, error) {
			return q.ListEventsThatMention(ctx, sqlc.ListEventsThatMentionParams{
				Mention: []byte(mention), AfterReceivedAt: after.ReceivedAt, AfterID: after.ID,
				MaxRows: int32(limit), //nolint:gosec // a small constant
			})
		})
	if err != nil {
		return 0, nil, ports.InboxPosition{}, err
	}

	var (
		ids, parked []string
		next        ports.InboxPosition
	)

	for _, row := range rows {
		switch {
		case row.Mentions && row.Parked:
			parked = append(parked, row.ID)
		case row.Mentions:
			ids = append(ids, row.ID)
		}
	}

	if n := len(rows); n == limit {
		next = ports.InboxPosition{ReceivedAt: rows[n-1].ReceivedAt, ID: rows[n-1].ID}
	}

	if len(ids) == 0 {
		return 0, parked, next, nil
	}

	erased, err := s.emptyBodies(ctx, ids)

	return erased, parked, next, err
}

func (s *Store) emptyBodies(ctx context.Context, ids []string) (int, error) {
	erased, err := write(ctx, s.background, "erasing bodies of events", func(ctx context.Context, q *sqlc.Queries) (int64, error) {
		return q.EraseEventBodies(ctx, ids)
	})

	return int(erased), err
}

// EraseDisputeBodies implements ports.Erasure.
func (s *Store) EraseDisputeBodies(ctx context.Context, customerID uuid.UUID, limit int) (int, []string, error) {
	rows, err := query(ctx, s.background, "looking for events about disputes",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListDisputeEventsOfCustomerRow, error) {
			return q.ListDisputeEventsOfCustomer(ctx, sqlc.ListDisputeEventsOfCustomerParams{
				CustomerID: customerID, MaxRows: int32(limit), //nolint:gosec // a small constant
			})
		})

	var ids, parked []string

	for _, row := range rows {
		if row.Parked {
			parked = append(parked, row.ID)
		} else {
			ids = append(ids, row.ID)
		}
	}

	if err != nil || len(ids) == 0 {
		return 0, parked, err
	}

	erased, err := s.emptyBodies(ctx, ids)

	return erased, parked, err
}

// EraseCustomer implements ports.Erasure.
func (s *Store) EraseCustomer(
	ctx context.Context, id uuid.UUID, answer ports.FrozenResponse, entry ports.AuditEntry,
) (int, error) {
	var changed int64

	err := s.hot.inTransaction(ctx, "erasing a customer", func(ctx context.Context, q *sqlc.Queries) error {
		done, err := q.HasAudit(ctx, entry.ID)
		if err != nil || done {
			return err
		}

		open, err := q.CountUnerasable(ctx, id)

		switch {
		case err != nil:
			return err
		case open > 0:
			return fmt.Errorf("customer %s: %w", id, ports.ErrInProgress)
		}

		rows, err := q.EraseCustomer(ctx, id)
		if err != nil {
			return err
		}

		changed, err = q.EraseOperationsOfCustomer(ctx, sqlc.EraseOperationsOfCustomerParams{
			CustomerID: id, ResponseStatus: int16(answer.Status), ResponseBody: bodyToDB(answer.Body), //nolint:gosec // an HTTP status
		})

		switch {
		case err != nil:
			return err
		case rows+changed == 0:
			return errNotFound("customer")
		}

		receipts, err := q.EraseReceiptsOfCustomer(ctx, id)
		if err != nil {
			return err
		}

		evidence, err := q.EraseEvidenceOfCustomer(ctx, sqlc.EraseEvidenceOfCustomerParams{
			CustomerID: id, ResponseStatus: int16(answer.Status), ResponseBody: bodyToDB(answer.Body), //nolint:gosec // an HTTP status
		})
		if err != nil {
			return err
		}

		changed += receipts + evidence
		entry.After["operations"] = changed

		return writeAudit(ctx, q, entry)
	})

	return int(changed), err
}
