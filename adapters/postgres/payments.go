package postgres

import (
	"cmp"
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Payment implements ports.Payments. Reads that arrive together share a statement.
func (s *Store) Payment(ctx context.Context, id uuid.UUID) (payment.Payment, error) {
	if err := ctx.Err(); err != nil {
		return payment.Payment{}, translate("reading a payment", err)
	}

	row, err := s.reads.do(ctx, id, func() (sqlc.Payment, error) {
		rows, err := s.readAll(ctx, []uuid.UUID{id})
		if err != nil {
			return sqlc.Payment{}, err
		}

		return *rows[0], nil
	})

	switch {
	case err != nil:
		return payment.Payment{}, err
	case row.ID == uuid.Nil:
		return payment.Payment{}, errNotFound("payment")
	default:
		return paymentFromDB(row)
	}
}

// readAll reads payments. The row of one that does not exist is the zero value.
func (s *Store) readAll(ctx context.Context, ids []uuid.UUID) ([]*sqlc.Payment, error) {
	rows, err := query(ctx, s.hot, "reading payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
		return q.GetPayments(ctx, ids)
	})
	if err != nil {
		return nil, err
	}

	found := make(map[uuid.UUID]*sqlc.Payment, len(rows))
	for i := range rows {
		found[rows[i].ID] = &rows[i]
	}

	return mapped(ids, func(id uuid.UUID) *sqlc.Payment { return cmp.Or(found[id], new(sqlc.Payment)) }), nil
}

// History implements ports.Payments.
func (s *Store) History(ctx context.Context, id uuid.UUID) ([]ports.Transition, error) {
	rows, err := query(ctx, s.background, "reading a payment's history",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListTransitionsRow, error) {
			return q.ListTransitions(ctx, sqlc.ListTransitionsParams{PaymentID: id, MaxRows: ports.MaxHistory})
		})
	if err != nil {
		return nil, err
	}

	slices.Reverse(rows)

	return mapped(rows, func(row sqlc.ListTransitionsRow) ports.Transition {
		return ports.Transition{
			From:  payment.Status(deref(row.FromStatus)),
			To:    payment.Status(row.ToStatus),
			Cause: row.Cause,
			At:    row.At.UTC(),
		}
	}), nil
}
