package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

var _ ports.Reconciliation = (*Store)(nil)

// ReconciledThrough implements ports.Reconciliation.
func (s *Store) ReconciledThrough(ctx context.Context) (time.Time, error) {
	through, err := query(ctx, s, "reading how far reconciliation came",
		func(ctx context.Context, q *sqlc.Queries) (time.Time, error) { return q.GetReconciledThrough(ctx) })
	if errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, nil
	}

	return through.UTC(), err
}

// SetReconciledThrough implements ports.Reconciliation.
func (s *Store) SetReconciledThrough(ctx context.Context, through time.Time) error {
	_, err := query(ctx, s, "writing how far reconciliation came",
		func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
			return struct{}{}, q.SetReconciledThrough(ctx, through)
		})

	return err
}

// UnknownEvents implements ports.Reconciliation.
func (s *Store) UnknownEvents(ctx context.Context, ids []string) ([]string, error) {
	return query(ctx, s, "looking for unknown events", func(ctx context.Context, q *sqlc.Queries) ([]string, error) {
		return q.ListUnknownEvents(ctx, ids)
	})
}

// PaymentsByIntent implements ports.Reconciliation.
func (s *Store) PaymentsByIntent(ctx context.Context, intentIDs []string) (map[string]payment.Payment, error) {
	rows, err := query(ctx, s, "reading payments by intent", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
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

// Unsettled implements ports.Reconciliation.
func (s *Store) Unsettled(
	ctx context.Context, before time.Time, after payment.Payment, limit int,
) ([]payment.Payment, error) {
	rows, err := query(ctx, s, "listing unsettled payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
		return q.ListUnsettledPayments(ctx, sqlc.ListUnsettledPaymentsParams{
			Before:         before,
			AfterCreatedAt: after.CreatedAt,
			AfterID:        after.ID,
			MaxRows:        int32(limit), //nolint:gosec // a small constant
		})
	})
	if err != nil {
		return nil, err
	}

	payments := make([]payment.Payment, 0, len(rows))

	for _, row := range rows {
		p, err := paymentFromDB(row)
		if err != nil {
			return nil, err
		}

		payments = append(payments, p)
	}

	return payments, nil
}

// Advance implements ports.Reconciliation.
func (s *Store) Advance(ctx context.Context, id uuid.UUID, to payment.Status, cause string) (bool, error) {
	_, err := query(ctx, s, "advancing a payment", func(ctx context.Context, q *sqlc.Queries) (string, error) {
		return q.AdvancePayment(ctx, sqlc.AdvancePaymentParams{
			ID: id, ToStatus: string(to), FromStatuses: statusesToDB(to.Sources()), Cause: cause,
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}

	if err != nil {
		return false, fmt.Errorf("payment %s: %w", id, err)
	}

	return true, nil
}
