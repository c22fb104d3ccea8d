package postgres

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Payment implements ports.Payments.
func (s *Store) Payment(ctx context.Context, id uuid.UUID) (payment.Payment, error) {
	row, err := query(ctx, s.hot, "reading a payment", func(ctx context.Context, q *sqlc.Queries) (sqlc.Payment, error) {
		return q.GetPayment(ctx, id)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return payment.Payment{}, errNotFound("payment")
	}

	if err != nil {
		return payment.Payment{}, err
	}

	return paymentFromDB(row)
}

// History implements ports.Payments.
func (s *Store) History(ctx context.Context, id uuid.UUID) ([]ports.Transition, error) {
	rows, err := query(ctx, s.background, "reading a payment's history",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListTransitionsRow, error) {
			return q.ListTransitions(ctx, id)
		})
	if err != nil {
		return nil, err
	}

	return mapped(rows, func(row sqlc.ListTransitionsRow) ports.Transition {
		return ports.Transition{
			From:  payment.Status(deref(row.FromStatus)),
			To:    payment.Status(row.ToStatus),
			Cause: row.Cause,
			At:    row.At.UTC(),
		}
	}), nil
}
