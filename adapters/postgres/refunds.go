package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Refund implements ports.Refunds.
func (s *Store) Refund(ctx context.Context, id uuid.UUID) (refund.Refund, error) {
	row, err := query(ctx, s.hot, "reading a refund", func(ctx context.Context, q *sqlc.Queries) (sqlc.Refund, error) {
		return q.GetRefund(ctx, id)
	})

	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return refund.Refund{}, errNotFound("refund")
	case err != nil:
		return refund.Refund{}, err
	default:
		return refundFromDB(row)
	}
}

// FullPayment implements ports.Refunds. The payment is read first, and what belongs to it in
// statements of their own, whose snapshots are younger.
func (s *Store) FullPayment(ctx context.Context, id uuid.UUID) (ports.FullPayment, error) {
	p, err := s.Payment(ctx, id)
	if err != nil {
		return ports.FullPayment{}, err
	}

	var (
		f        = ports.FullPayment{Payment: p}
		refunds  []sqlc.Refund
		disputes []sqlc.Dispute
	)

	err = s.hot.run(ctx, "reading what belongs to a payment", func(ctx context.Context, conn *pgxpool.Conn) error {
		refunds, disputes = nil, nil

		return (&trips{to: conn.Conn(), implicit: true}).send(ctx,
			selectRows(sqlc.ListRefundsOf, func(r sqlc.Refund) { refunds = append(refunds, r) }, []uuid.UUID{id}),
			selectRows(sqlc.ListDisputesOfPayments, func(d sqlc.Dispute) { disputes = append(disputes, d) }, []uuid.UUID{id}),
			hears(p.IntentID, &f.Heard))
	})
	if err != nil {
		return ports.FullPayment{}, err
	}

	if f.Refunds, err = mappedOrError(refunds, refundFromDB); err != nil {
		return ports.FullPayment{}, err
	}

	f.Disputes, err = mappedOrError(disputes, disputeFromDB)

	return f, err
}

// hears reads what is heard of a payment by now.
func hears(intentID string, heard *int64) statement {
	return selectRows(sqlc.GetHeard, func(r struct{ Heard int64 }) { *heard = r.Heard }, intentID)
}

// RefundsMade implements ports.Refunds.
func (s *Store) RefundsMade(ctx context.Context, from, to time.Time, limit int) ([]refund.Refund, error) {
	rows, err := query(ctx, s.background, "reading refunds by their time",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Refund, error) {
			return q.ListRefundsMade(ctx, sqlc.ListRefundsMadeParams{
				FromCreatedAt: from, ToCreatedAt: to, MaxRows: int32(limit), //nolint:gosec // a small constant
			})
		})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, refundFromDB)
}

// Overdrawn implements ports.Refunds.
func (s *Store) Overdrawn(ctx context.Context, limit int) ([]payment.Payment, error) {
	rows, err := query(ctx, s.background, "listing overdrawn payments",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
			return q.ListOverdrawn(ctx, int32(limit)) //nolint:gosec // checked by the caller
		})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, paymentFromDB)
}

// lockFull waits for whoever has locked a payment, and reads what belongs to it and, in the same
// trip, more. now is the database's clock.
func lockFull(
	ctx context.Context, tx *trips, id uuid.UUID, more ...statement,
) (f ports.FullPayment, now time.Time, err error) {
	locked, now, err := lockAll(ctx, tx, sqlc.LockPayments, []uuid.UUID{id}, more...)
	if err != nil {
		return f, now, err
	}

	f, here := locked[id]
	if !here {
		return f, now, fmt.Errorf("payment %s: %w", id, pgx.ErrNoRows)
	}

	return f, now, nil
}

// lockAll locks payments and reads what belongs to them, in one trip: each statement has a
// snapshot of its own, which is younger than the locks of those before it.
func lockAll(
	ctx context.Context, tx *trips, lock string, ids []uuid.UUID, more ...statement,
) (locked map[uuid.UUID]ports.FullPayment, now time.Time, err error) {
	var (
		payments []lockedPayment
		refunds  []sqlc.Refund
		disputes []sqlc.Dispute
	)

	err = tx.send(ctx, append([]statement{
		selectRows(lock, func(r lockedPayment) { payments = append(payments, r) }, ids),
		selectRows(sqlc.ListRefundsOf, func(r sqlc.Refund) { refunds = append(refunds, r) }, ids),
		selectRows(sqlc.ListDisputesOfPayments, func(r sqlc.Dispute) { disputes = append(disputes, r) }, ids),
	}, more...)...)
	if err != nil {
		return nil, now, err
	}

	locked = make(map[uuid.UUID]ports.FullPayment, len(payments))

	for _, row := range payments {
		p, err := paymentFromDB(row.Payment)
		if err != nil {
			return nil, now, err
		}

		locked[p.ID], now = ports.FullPayment{Payment: p}, row.Now
	}

	for _, row := range refunds {
		r, err := refundFromDB(row)
		if err != nil {
			return nil, now, err
		}

		if f, here := locked[r.PaymentID]; here {
			f.Refunds = append(f.Refunds, r)
			locked[r.PaymentID] = f
		}
	}

	return locked, now, addDisputes(locked, disputes)
}

// stampedFull is f with the version and the time of a change that is written now.
func stampedFull(f ports.FullPayment, now time.Time) ports.FullPayment {
	f.Payment = stamped(f.Payment, now)

	return f
}

// sameBelongings tells whether the same refunds and disputes belong to a payment.
func sameBelongings(before, after ports.FullPayment) bool {
	return slices.EqualFunc(before.Refunds, after.Refunds, refund.Refund.SameAs) &&
		slices.EqualFunc(before.Disputes, after.Disputes, dispute.Dispute.SameAs)
}

// fullChange is what becomes of a payment that is locked, and of what belongs to it.
type fullChange struct {
	before, after ports.FullPayment
	cause         string
}

// writeFull writes payments, what belongs to them, and their history. They are in the order of
// their ids; now is the database's clock.
func writeFull(changes []fullChange, now time.Time) []statement {
	var (
		payments           = make([]change, 0, len(changes))
		inserted, replaced refundColumns
		gone               []uuid.UUID
		disputes           = make([]statement, 0, len(changes))
		writes             []statement
	)

	for _, c := range changes {
		payments = append(payments, change{before: c.before.Payment, after: c.after.Payment, cause: c.cause})

		for _, r := range dated(c.before, c.after, now).Refunds {
			was, here := refund.Find(c.before.Refunds, r.ID)

			switch {
			case !here:
				inserted.add(r, c.after.Payment)
			case !r.SameAs(was):
				replaced.add(r, c.after.Payment)
			}
		}

		disputes = append(disputes, writeDisputes(c.before, c.after, now.UTC())...)

		for _, r := range c.before.Refunds {
			if _, stays := refund.Find(c.after.Refunds, r.ID); !stays {
				gone = append(gone, r.ID)
			}
		}
	}

	if len(gone) > 0 {
		writes = append(writes, execute(sqlc.DeleteRefunds, gone))
	}

	writes = append(writes, inserted.insert()...)
	writes = append(writes, replaced.update()...)
	writes = append(writes, disputes...)

	return append(writes, writeChanges(payments)...)
}

// refundColumns are the columns of refunds that are written.
type refundColumns struct {
	tenants                                                  []int32
	ids, paymentIDs                                          []uuid.UUID
	stripeIDs, keys, currencies, statuses, reasons, failures []string
	origins, referenceTypes, references, metadata            []string
	amounts                                                  []pgtype.Numeric
	versions                                                 []int64
	created, updated, paymentCreated                         []time.Time
}

// add adds a refund of a payment.
func (w *refundColumns) add(r refund.Refund, of payment.Payment) {
	w.tenants = append(w.tenants, int32(of.Tenant))
	w.paymentCreated = append(w.paymentCreated, of.CreatedAt)

	w.ids, w.paymentIDs = append(w.ids, r.ID), append(w.paymentIDs, r.PaymentID)
	w.stripeIDs, w.keys = append(w.stripeIDs, r.ProviderID), append(w.keys, string(r.Key))
	w.amounts, w.currencies = append(w.amounts, amountToDB(r.Amount)), append(w.currencies, r.Amount.Currency().Code())
	w.statuses, w.reasons = append(w.statuses, string(r.Status)), append(w.reasons, r.Reason)
	w.failures, w.origins = append(w.failures, r.FailureReason), append(w.origins, string(r.Origin))
	w.referenceTypes = append(w.referenceTypes, r.Reference.Type)
	w.references = append(w.references, r.Reference.Value)
	w.metadata = append(w.metadata, string(metadataToDB(r.Metadata)))
	w.versions = append(w.versions, r.Version)
	w.created, w.updated = append(w.created, r.CreatedAt), append(w.updated, r.UpdatedAt)
}

func (w *refundColumns) insert() []statement {
	if len(w.ids) == 0 {
		return nil
	}

	return []statement{execute(sqlc.InsertRefunds, w.ids, w.tenants, w.paymentIDs, w.stripeIDs, w.keys,
		w.amounts, w.currencies, w.statuses, w.reasons, w.failures, w.origins, w.referenceTypes, w.references, w.metadata,
		w.versions, w.created, w.updated, w.paymentCreated)}
}

func (w *refundColumns) update() []statement {
	if len(w.ids) == 0 {
		return nil
	}

	return []statement{execute(sqlc.UpdateRefunds, w.ids, w.stripeIDs, w.keys, w.amounts, w.statuses, w.reasons, w.failures,
		w.origins, w.referenceTypes, w.references, w.metadata, w.versions, w.updated)}
}

func refundFromDB(row sqlc.Refund) (refund.Refund, error) {
	amount, err := amountFromDB(row.Amount, row.Currency)
	if err != nil {
		return refund.Refund{}, fmt.Errorf("refund %s: %w", row.ID, err)
	}

	metadata, err := metadataFromDB(row.Metadata)
	if err != nil {
		return refund.Refund{}, fmt.Errorf("refund %s: %w", row.ID, err)
	}

	return refund.Refund{
		ID:            row.ID,
		Tenant:        operation.Tenant(row.Tenant),
		PaymentID:     row.PaymentID,
		ProviderID:    deref(row.StripeRefundID),
		Key:           operation.Key(deref(row.IdempotencyKey)),
		Amount:        amount,
		Status:        refund.Status(row.Status),
		Reason:        deref(row.Reason),
		FailureReason: deref(row.FailureReason),
		Origin:        refund.Origin(row.Origin),
		Reference:     refund.Reference{Type: deref(row.ReferenceType), Value: deref(row.Reference)},
		Metadata:      metadata,
		Version:       row.Version,
		CreatedAt:     row.CreatedAt.UTC(),
		UpdatedAt:     row.UpdatedAt.UTC(),
	}, nil
}
