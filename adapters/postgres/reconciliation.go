package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// openSlice is how many payments one statement searches for open ones.
const openSlice = 5_000

// ReconciledThrough implements ports.Reconciliation.
func (s *Store) ReconciledThrough(ctx context.Context) (through, now time.Time, err error) {
	row, err := query(ctx, s.background, "reading how far reconciliation has come",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetReconciledThroughRow, error) {
			return q.GetReconciledThrough(ctx)
		})

	return row.Through.UTC(), row.Now.UTC(), err
}

// MoveReconciledThrough implements ports.Reconciliation.
func (s *Store) MoveReconciledThrough(ctx context.Context, from, to time.Time, incarnation string) (bool, error) {
	moved, err := write(ctx, s.background, "writing how far reconciliation has come",
		func(ctx context.Context, q *sqlc.Queries) (int64, error) {
			if from.IsZero() {
				return q.StartReconciledThrough(ctx, sqlc.StartReconciledThroughParams{Through: to, Incarnation: incarnation})
			}

			return q.MoveReconciledThrough(ctx, sqlc.MoveReconciledThroughParams{
				FromThrough: from, Through: to, Current: incarnation,
			})
		})

	return moved > 0, err
}

// EndReconciliation implements ports.Reconciliation.
func (s *Store) EndReconciliation(ctx context.Context, incarnation string) (bool, error) {
	ended, err := write(ctx, s.background, "writing that reconciliation is through",
		func(ctx context.Context, q *sqlc.Queries) (int64, error) {
			return q.EndReconciliation(ctx, incarnation)
		})
	if err == nil && ended > 0 {
		s.lives.setReconciled(incarnation)
	}

	return ended > 0, err
}

// HoldReconciliation implements ports.Reconciliation.
func (s *Store) HoldReconciliation(ctx context.Context, lease ports.Lease) (bool, error) {
	held, err := write(ctx, s.background, "taking the lease of reconciliation",
		func(ctx context.Context, q *sqlc.Queries) (int64, error) {
			return q.HoldReconciliation(ctx, sqlc.HoldReconciliationParams{Token: lease.Token, Lease: interval(lease.For)})
		})

	return held > 0, err
}

// ReleaseReconciliation implements ports.Reconciliation.
func (s *Store) ReleaseReconciliation(ctx context.Context, token uuid.UUID) error {
	return s.background.exec(ctx, "giving the lease of reconciliation back", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ReleaseReconciliation(ctx, token)
	})
}

// UnknownEvents implements ports.Reconciliation.
func (s *Store) UnknownEvents(ctx context.Context, ids []string) ([]string, error) {
	return query(ctx, s.background, "looking for unknown events", func(ctx context.Context, q *sqlc.Queries) ([]string, error) {
		return q.ListUnknownEvents(ctx, ids)
	})
}

// PaymentsByIntent implements ports.Reconciliation.
func (s *Store) PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error) {
	rows, err := query(ctx, s.background, "reading payments by intent",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
			return q.ListPaymentsByIntent(ctx, intentIDs)
		})
	if err != nil {
		return nil, err
	}

	byIntent := make(map[string]payment.Payment, len(rows))

	for _, row := range rows {
		p, err := paymentFromDB(row)
		if err != nil {
			return nil, err
		}

		byIntent[p.IntentID] = p
	}

	return byIntent, nil
}

// OpenPayments implements ports.Reconciliation.
func (s *Store) OpenPayments(
	ctx context.Context, from time.Time, before ports.PaymentPosition, limit int,
) ([]payment.Payment, ports.PaymentPosition, error) {
	rows, err := query(ctx, s.background, "listing open payments",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListOpenPaymentsRow, error) {
			return q.ListOpenPayments(ctx, sqlc.ListOpenPaymentsParams{
				FromCreatedAt:   from,
				BeforeCreatedAt: before.CreatedAt,
				BeforeID:        before.ID,
				MaxLookedAt:     openSlice,
				MaxRows:         int32(limit), //nolint:gosec // a small constant
			})
		})
	if err != nil {
		return nil, ports.PaymentPosition{}, err
	}

	var next ports.PaymentPosition

	open := make([]payment.Payment, 0, len(rows))

	for _, row := range rows {
		p, err := paymentFromDB(row.Payment)
		if err != nil {
			return nil, ports.PaymentPosition{}, err
		}

		if !p.Status.Final() { // the last row tells only where to go on, and may be final
			open = append(open, p)
		}

		next = ports.PaymentPosition{CreatedAt: p.CreatedAt, ID: p.ID}
	}

	return open, next, nil
}

// Sweep implements ports.Reconciliation.
func (s *Store) Sweep(ctx context.Context, band int) (ports.PaymentPosition, error) {
	row, err := query(ctx, s.background, "reading where a sweep goes on",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.GetSweepRow, error) {
			return q.GetSweep(ctx, int16(band)) //nolint:gosec // a small constant
		})
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.PaymentPosition{}, nil
	}

	return ports.PaymentPosition{CreatedAt: row.CreatedAt.UTC(), ID: row.PaymentID}, err
}

// SetSweep implements ports.Reconciliation.
func (s *Store) SetSweep(ctx context.Context, band int, at ports.PaymentPosition) error {
	return s.background.exec(ctx, "writing where a sweep goes on", func(ctx context.Context, q *sqlc.Queries) error {
		if at == (ports.PaymentPosition{}) {
			return q.EndSweep(ctx, int16(band)) //nolint:gosec // a small constant
		}

		return q.SetSweep(ctx, sqlc.SetSweepParams{
			Band: int16(band), CreatedAt: at.CreatedAt, PaymentID: at.ID, //nolint:gosec // a small constant
		})
	})
}
