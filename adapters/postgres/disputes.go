package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/list"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Dispute implements ports.Disputes.
func (s *Store) Dispute(ctx context.Context, id uuid.UUID) (dispute.Dispute, error) {
	row, err := query(ctx, s.hot, "reading a dispute", func(ctx context.Context, q *sqlc.Queries) (sqlc.Dispute, error) {
		return q.GetDispute(ctx, id)
	})

	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return dispute.Dispute{}, errNotFound("dispute")
	case err != nil:
		return dispute.Dispute{}, err
	default:
		return disputeFromDB(row)
	}
}

// DisputesByProviderID implements ports.Disputes.
func (s *Store) DisputesByProviderID(ctx context.Context, ids []string) (map[string]dispute.Dispute, error) {
	rows, err := query(ctx, s.hot, "reading disputes", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Dispute, error) {
		return q.ListDisputesByStripeID(ctx, ids)
	})
	if err != nil {
		return nil, err
	}

	found := make(map[string]dispute.Dispute, len(rows))

	for _, row := range rows {
		if found[row.StripeDisputeID], err = disputeFromDB(row); err != nil {
			return nil, err
		}
	}

	return found, nil
}

// OpenDisputes implements ports.Disputes.
func (s *Store) OpenDisputes(ctx context.Context, after uuid.UUID, limit int) ([]dispute.Dispute, error) {
	rows, err := query(ctx, s.background, "reading open disputes",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Dispute, error) {
			return q.ListOpenDisputes(ctx, sqlc.ListOpenDisputesParams{AfterID: after, MaxRows: int32(limit)}) //nolint:gosec // small
		})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, disputeFromDB)
}

// ListDisputes implements ports.Disputes. There is one statement for each index.
func (s *Store) ListDisputes(
	ctx context.Context, filter ports.DisputeFilter, after list.Position, limit int,
) ([]dispute.Dispute, error) {
	leave, err := s.enterLists(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()

	on := s.background
	on.reads = pageRead

	rows, err := query(ctx, on, "listing disputes", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Dispute, error) {
		switch {
		case filter.PaymentID != uuid.Nil:
			return q.ListDisputesOfPayments(ctx, []uuid.UUID{filter.PaymentID})
		case filter.ByDue:
			return q.ListDisputesByDue(ctx, byDueToDB(filter, after, limit))
		default:
			return q.ListDisputes(ctx, byTimeToDB(filter, after, limit))
		}
	})
	if err != nil {
		return nil, err
	}

	found, err := mappedOrError(rows, disputeFromDB)
	if err != nil || filter.PaymentID == uuid.Nil {
		return found, err
	}

	return pageOf(found, filter, after, limit), nil
}

func byDueToDB(filter ports.DisputeFilter, after list.Position, limit int) sqlc.ListDisputesByDueParams {
	return sqlc.ListDisputesByDueParams{
		AfterDue: after.At, AfterID: after.ID, DueFrom: filter.Due.From, DueBefore: orLater(filter.Due.Before),
		FromCreatedAt: filter.Created.From, BeforeCreatedAt: orLater(filter.Created.Before),
		Tenant: int32(filter.Tenant), Status: string(filter.Status), Kind: string(filter.Kind),
		MaxRows: int32(limit), //nolint:gosec // small
	}
}

func byTimeToDB(filter ports.DisputeFilter, after list.Position, limit int) sqlc.ListDisputesParams {
	before := after.Newest(filter.Created)

	// Without a span a dispute without a deadline has one that fits.
	noDue := endOfTime
	if filter.Due == (list.Span{}) {
		noDue = time.Time{}
	}

	return sqlc.ListDisputesParams{
		BeforeCreatedAt: before.At, BeforeID: before.ID, FromCreatedAt: filter.Created.From,
		Tenant: int32(filter.Tenant), Status: string(filter.Status), Kind: string(filter.Kind), NoDue: noDue, DueFrom: filter.Due.From,
		DueBefore: orLater(filter.Due.Before), MaxRows: int32(limit), //nolint:gosec // small
	}
}

// orLater is a bound, or the end of time where there is none.
func orLater(t time.Time) time.Time {
	if t.IsZero() {
		return endOfTime
	}

	return t
}

// pageOf is a page of the few disputes of one payment.
func pageOf(found []dispute.Dispute, filter ports.DisputeFilter, after list.Position, limit int) []dispute.Dispute {
	before := after.Newest(filter.Created)

	found = slices.DeleteFunc(found, func(d dispute.Dispute) bool {
		at := filter.PositionOf(d)

		return !filter.Fits(d) || filter.ByDue && !after.Precedes(at) || !filter.ByDue && !at.Precedes(before)
	})

	slices.SortFunc(found, func(a, b dispute.Dispute) int {
		if first := filter.PositionOf(a).Precedes(filter.PositionOf(b)); first == filter.ByDue {
			return -1
		}

		return 1
	})

	return found[:min(limit, len(found))]
}

// storedBalance is the form of one entry of the column balance.
type storedBalance struct {
	Amount   int64     `json:"amount"`
	Fee      int64     `json:"fee"`
	Currency string    `json:"currency"`
	At       time.Time `json:"at"`
}

func disputeFromDB(row sqlc.Dispute) (dispute.Dispute, error) {
	d, err := disputeSumsFromDB(row)
	if err != nil {
		return d, fmt.Errorf("dispute %s: %w", row.ID, err)
	}

	d.ID, d.Tenant, d.PaymentID, d.ProviderID = row.ID, operation.Tenant(row.Tenant), row.PaymentID, row.StripeDisputeID
	d.Status, d.Reason, d.NetworkReasonCode = dispute.Status(row.Status), row.Reason, row.NetworkReasonCode
	d.EvidenceDueBy, d.Submissions = utc(row.EvidenceDueBy), int(row.Submissions)
	d.Version, d.CreatedAt, d.UpdatedAt = row.Version, row.CreatedAt.UTC(), row.UpdatedAt.UTC()

	return d, nil
}

func disputeSumsFromDB(row sqlc.Dispute) (d dispute.Dispute, err error) {
	currency, err := money.ParseCurrency(row.Currency)
	if err != nil {
		return d, fmt.Errorf("stored currency: %w", err)
	}

	counted, err := money.ParseCurrency(row.CountedCurrency)
	if err != nil {
		return d, fmt.Errorf("stored currency: %w", err)
	}

	if d.Amount, err = moneyFromDB(row.Amount, currency); err != nil {
		return d, err
	}

	if d.Counted, err = moneyFromDB(row.Counted, counted); err != nil {
		return d, err
	}

	var balance []storedBalance
	if err := json.Unmarshal(row.Balance, &balance); err != nil {
		return d, fmt.Errorf("stored balance: %w", err)
	}

	for _, b := range balance {
		currency, err := money.ParseCurrency(b.Currency)
		if err != nil {
			return d, fmt.Errorf("stored balance: %w", err)
		}

		d.Balance = append(d.Balance, dispute.Balance{
			Amount: money.Of(b.Amount, currency), Fee: money.Of(b.Fee, currency), At: b.At.UTC(),
		})
	}

	return d, nil
}

func balanceToDB(balance []dispute.Balance) string {
	stored := make([]storedBalance, 0, len(balance))
	for _, b := range balance {
		stored = append(stored, storedBalance{b.Amount.Minor(), b.Fee.Minor(), b.Amount.Currency().Code(), b.At})
	}

	return jsonToDB(stored)
}

// addDisputes adds the rows to the payments that are locked.
func addDisputes(locked map[uuid.UUID]ports.FullPayment, rows []sqlc.Dispute) error {
	for _, row := range rows {
		d, err := disputeFromDB(row)
		if err != nil {
			return err
		}

		if f, here := locked[d.PaymentID]; here {
			f.Disputes = append(f.Disputes, d)
			locked[d.PaymentID] = f
		}
	}

	return nil
}

// writeDisputes writes those of a payment's disputes that differ from what is written down. The
// caller has locked the payment. None is ever deleted.
func writeDisputes(before, after ports.FullPayment, now time.Time) []statement {
	var writes []statement

	for _, d := range after.Disputes {
		was, here := before.Dispute(d.ID)
		if here && was.SameAs(d) {
			continue
		}

		d.Version, d.UpdatedAt = was.NextVersion(now), now

		if here {
			writes = append(writes, updateDispute(d))
		} else {
			writes = append(writes, insertDispute(d, after.Payment))
		}
	}

	return writes
}

func insertDispute(d dispute.Dispute, of payment.Payment) statement {
	return execute(sqlc.InsertDispute,
		d.ID, int32(of.Tenant), d.PaymentID, of.CreatedAt, d.ProviderID, moneyToDB(d.Amount),
		d.Amount.Currency().Code(), string(d.Kind()), string(d.Status), d.Reason, d.NetworkReasonCode,
		optional(d.EvidenceDueBy), d.Submissions, moneyToDB(d.Counted), d.Counted.Currency().Code(), balanceToDB(d.Balance),
		d.Version, d.CreatedAt, d.UpdatedAt)
}

func updateDispute(d dispute.Dispute) statement {
	return execute(sqlc.UpdateDispute,
		moneyToDB(d.Amount), d.Amount.Currency().Code(), string(d.Kind()), string(d.Status), d.Reason, d.NetworkReasonCode,
		optional(d.EvidenceDueBy), d.Submissions, moneyToDB(d.Counted), d.Counted.Currency().Code(), balanceToDB(d.Balance),
		d.Version, d.UpdatedAt, d.ID)
}
