package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// ListRefunds implements ports.RefundLists. It reads slices, as ListPayments does.
func (s *Store) ListRefunds(
	ctx context.Context, filter ports.RefundFilter, after list.Position, limit int,
) (page ports.RefundPage, err error) {
	leave, err := s.enterLists(ctx)
	if err != nil {
		return page, err
	}
	defer leave()

	on := s.background
	on.reads = pageRead

	if filter.PaymentID != uuid.Nil {
		return refundsOfPayment(ctx, on, filter, after, limit)
	}

	begun, lookAt, looked := time.Now(), firstSlice, 0

	for {
		found, end, err := refundSlice(ctx, on, filter, after.Newest(filter.Created), lookAt, limit+1-len(page.Refunds))
		if err != nil {
			return ports.RefundPage{}, err
		}

		page.Refunds = append(page.Refunds, found...)
		looked += lookAt

		switch {
		case len(page.Refunds) > limit:
			page.Refunds = page.Refunds[:limit]
			page.Next = ports.PositionOfRefund(page.Refunds[limit-1])

			return page, nil
		case end.IsZero():
			return page, nil
		case looked >= maxLookedAt, time.Since(begun) > slowPage:
			page.Next = end

			return page, nil
		}

		after, lookAt = end, laterSlice
	}
}

// refundSlice looks at some refunds in the order of their creation. end is the last one that was
// looked at; zero if there are no more.
func refundSlice(
	ctx context.Context, on connections, filter ports.RefundFilter, before list.Position, lookAt, limit int,
) (found []refund.Refund, end list.Position, err error) {
	fits := fittingOf(ports.PaymentFilter{Currency: filter.Currency, Amount: filter.Amount})

	rows, err := query(ctx, on, "listing refunds", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListRefundsRow, error) {
		return q.ListRefunds(ctx, sqlc.ListRefundsParams{
			Tenant:          int32(filter.Tenant),
			BeforeCreatedAt: before.At, BeforeID: before.ID, FromCreatedAt: filter.Created.From,
			Status: string(filter.Status), Reason: filter.Reason, Origin: string(filter.Origin), Currency: fits.currency,
			AmountFrom: fits.from, AmountTo: fits.to,
			MaxLookedAt: int32(lookAt), MaxRows: int32(limit), //nolint:gosec // small
		})
	})
	if err != nil {
		return nil, end, err
	}

	for _, row := range rows {
		r, err := refundFromDB(row.Refund)
		if err != nil {
			return nil, end, err
		}

		if row.Fits {
			found = append(found, r)
		}

		if row.LookedAt == int64(lookAt) { // else there are no more
			end = ports.PositionOfRefund(r)
		}
	}

	return found, end, nil
}

// refundsOfPayment is a page of the few refunds of one payment.
func refundsOfPayment(
	ctx context.Context, on connections, filter ports.RefundFilter, after list.Position, limit int,
) (page ports.RefundPage, err error) {
	rows, err := query(ctx, on, "listing a payment's refunds", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Refund, error) {
		return q.ListRefundsOf(ctx, []uuid.UUID{filter.PaymentID})
	})
	if err != nil {
		return page, err
	}

	all, err := mappedOrError(rows, refundFromDB)
	if err != nil {
		return page, err
	}

	before := after.Newest(filter.Created)

	for _, r := range slices.Backward(all) {
		if filter.Fits(r) && ports.PositionOfRefund(r).Precedes(before) {
			page.Refunds = append(page.Refunds, r)
		}
	}

	if len(page.Refunds) > limit {
		page.Refunds = page.Refunds[:limit]
		page.Next = ports.PositionOfRefund(page.Refunds[limit-1])
	}

	return page, nil
}
