package postgres

import (
	"bytes"
	"cmp"
	"context"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const (
	// maxLists is how many pages are read at once: half of the background pool, so that the
	// jobs and the metrics keep the other half.
	maxLists = 4
	// Payments that one page looks at: few first, because most filters are met soon.
	firstSlice, laterSlice, maxLookedAt = 200, 2000, 10_200
	// slowPage is when a page ends with what it has found.
	slowPage = 2 * time.Second
)

// ListPayments implements ports.PaymentLists.
func (s *Store) ListPayments(
	ctx context.Context, filter ports.PaymentFilter, after ports.PaymentPosition, limit int,
) (ports.PaymentPage, error) {
	leave, err := s.enterLists(ctx)
	if err != nil {
		return ports.PaymentPage{}, err
	}
	defer leave()

	on := s.background
	on.reads = pageRead

	l := &listing{on: on, filter: filter, fits: fittingOf(filter)}

	next, err := s.driving(ctx, l, limit)
	if err != nil {
		return ports.PaymentPage{}, err
	}

	return l.page(after, limit, next)
}

// enterLists waits for room among the lists.
func (s *Store) enterLists(ctx context.Context) (leave func(), err error) {
	patience := time.NewTimer(pageRead.acquire)
	defer patience.Stop()

	select {
	case s.lists <- struct{}{}:
		return func() { <-s.lists }, nil
	case <-ctx.Done():
		return nil, translate("listing payments", ctx.Err())
	case <-patience.C:
		return nil, fault.New(fault.Unavailable, "Too many lists are being read at once. Try again.").After(time.Second)
	}
}

// listing is one page that is being read.
type listing struct {
	on     connections
	filter ports.PaymentFilter
	fits   fitting
	// lookAt is how many payments the first slice looks at.
	lookAt int
}

// slice is a part of the payments, in the order of lists.
type slice struct {
	// found are those that fit.
	found []payment.Payment
	// end is the last one that was looked at; zero if there are no more.
	end ports.PaymentPosition
}

// nextSlice reads the payments after a position: it looks at some and returns up to limit.
type nextSlice func(after ports.PaymentPosition, lookAt, limit int) (slice, error)

// driving chooses by what payments are looked up: an exact name, the customer, indexed metadata, what
// was taken from them, or else the time of their creation. If whatever is found there fits, no more are looked at than
// are asked for.
func (s *Store) driving(ctx context.Context, l *listing, limit int) (nextSlice, error) {
	f := l.filter
	name, err := s.indexedName(ctx, f.Metadata)
	others := f.Status != "" || f.IntentStatus != "" || f.Currency.Code() != "" || f.Refunded || f.Disputed

	switch {
	case err != nil:
		return nil, err
	case f.Key != "" || f.IntentID != "" || f.AnyID != "":
		return func(after ports.PaymentPosition, _, limit int) (slice, error) { return l.named(ctx, after, limit) }, nil
	case f.CustomerID != uuid.Nil:
		if l.lookAt = firstSlice; !others && len(f.Metadata) == 0 {
			l.lookAt = limit + 1
		}

		return func(after ports.PaymentPosition, lookAt, limit int) (slice, error) {
			return l.ofCustomer(ctx, after, lookAt, limit)
		}, nil
	case name != "":
		if l.lookAt = firstSlice; !others && len(f.Metadata) == 1 {
			l.lookAt = limit + 1
		}

		return func(after ports.PaymentPosition, lookAt, limit int) (slice, error) {
			return l.withMetadata(ctx, name, after, lookAt, limit)
		}, nil
	case f.Disputed || f.Refunded:
		l.lookAt = firstSlice

		return func(after ports.PaymentPosition, lookAt, limit int) (slice, error) {
			return l.takenFrom(ctx, after, lookAt, limit)
		}, nil
	default:
		if l.lookAt = firstSlice; !others && len(f.Metadata) == 0 {
			l.lookAt = limit + 1
		}

		return func(after ports.PaymentPosition, lookAt, limit int) (slice, error) {
			return l.byTime(ctx, after, lookAt, limit)
		}, nil
	}
}

// page reads slices until the page is full, there are no more, or enough were looked at.
func (l *listing) page(after ports.PaymentPosition, limit int, next nextSlice) (page ports.PaymentPage, err error) {
	begun, lookAt, looked := time.Now(), l.lookAt, 0

	for {
		read, err := next(after, lookAt, limit+1-len(page.Payments))
		if err != nil {
			return ports.PaymentPage{}, err
		}

		page.Payments = append(page.Payments, read.found...)
		looked += lookAt

		switch {
		case len(page.Payments) > limit:
			page.Payments = page.Payments[:limit]
			page.Next = positionOf(page.Payments[limit-1])

			return page, nil
		case read.end.IsZero():
			return page, nil
		case looked >= maxLookedAt, time.Since(begun) > slowPage:
			page.Next = read.end

			return page, nil
		}

		after, lookAt = read.end, laterSlice
	}
}

func positionOf(p payment.Payment) ports.PaymentPosition {
	return ports.PaymentPosition{CreatedAt: p.CreatedAt, ID: p.ID}
}

// byTime looks at payments in the order of their creation.
func (l *listing) byTime(ctx context.Context, after ports.PaymentPosition, lookAt, limit int) (read slice, err error) {
	before := l.before(after)

	params := sqlc.ListPaymentsParams{
		Status: l.fits.status, IntentStatus: l.fits.intentStatus, Currency: l.fits.currency,
		AmountFrom: l.fits.from, AmountTo: l.fits.to, Metadata: l.fits.metadata,
		Refunded: l.filter.Refunded, Disputed: l.filter.Disputed,
		BeforeCreatedAt: before.CreatedAt, BeforeID: before.ID, FromCreatedAt: l.filter.Created.From,
		MaxLookedAt: int32(lookAt), MaxRows: int32(limit), //nolint:gosec // small
	}

	rows, err := query(ctx, l.on, "listing payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListPaymentsRow, error) {
		if l.filter.Tenant == operation.DefaultTenant {
			return q.ListPayments(ctx, params)
		}

		rows, err := q.ListPaymentsOfTenant(ctx, ofTenant(l.filter.Tenant, params))

		return mapped(rows, func(row sqlc.ListPaymentsOfTenantRow) sqlc.ListPaymentsRow { return sqlc.ListPaymentsRow(row) }), err
	})
	if err != nil {
		return read, err
	}

	for _, row := range rows {
		p, err := paymentFromDB(row.Payment)
		if err != nil {
			return read, err
		}

		if row.Fits {
			read.found = append(read.found, p)
		}

		if row.LookedAt == int64(lookAt) { // else there are no more
			read.end = positionOf(p)
		}
	}

	return read, nil
}

func ofTenant(tenant operation.Tenant, p sqlc.ListPaymentsParams) sqlc.ListPaymentsOfTenantParams {
	return sqlc.ListPaymentsOfTenantParams{
		Tenant: int32(tenant), Status: p.Status, IntentStatus: p.IntentStatus, Currency: p.Currency,
		AmountFrom: p.AmountFrom, AmountTo: p.AmountTo, Metadata: p.Metadata,
		Refunded: p.Refunded, Disputed: p.Disputed,
		BeforeCreatedAt: p.BeforeCreatedAt, BeforeID: p.BeforeID, FromCreatedAt: p.FromCreatedAt,
		MaxLookedAt: p.MaxLookedAt, MaxRows: p.MaxRows,
	}
}

// withMetadata looks at payments that have had an entry of the filter's. They may have
// another one now.
func (l *listing) withMetadata(
	ctx context.Context, name string, after ports.PaymentPosition, lookAt, limit int,
) (read slice, err error) {
	before := l.before(after)

	rows, err := query(ctx, l.on, "finding payments by metadata",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListPaymentsWithRow, error) {
			return q.ListPaymentsWith(ctx, sqlc.ListPaymentsWithParams{
				Tenant: int32(l.filter.Tenant), Name: name, Value: l.filter.Metadata[name],
				BeforeCreatedAt: before.CreatedAt, BeforePaymentID: before.ID, FromCreatedAt: l.filter.Created.From,
				MaxLookedAt: int32(lookAt), //nolint:gosec // small
			})
		})
	if err != nil {
		return read, err
	}

	if len(rows) == lookAt {
		last := rows[len(rows)-1]
		read.end = ports.PaymentPosition{CreatedAt: last.CreatedAt.UTC(), ID: last.PaymentID}
	}

	read.found, err = l.of(ctx, mapped(rows, func(row sqlc.ListPaymentsWithRow) uuid.UUID { return row.PaymentID }), limit)

	return read, err
}

// ofCustomer looks at the payments of the filter's customer.
func (l *listing) ofCustomer(ctx context.Context, after ports.PaymentPosition, lookAt, limit int) (read slice, err error) {
	before := l.before(after)

	rows, err := query(ctx, l.on, "finding a customer's payments",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListPaymentsOfCustomerRow, error) {
			return q.ListPaymentsOfCustomer(ctx, sqlc.ListPaymentsOfCustomerParams{
				CustomerID: l.filter.CustomerID, BeforeCreatedAt: before.CreatedAt, BeforePaymentID: before.ID,
				FromCreatedAt: l.filter.Created.From, MaxLookedAt: int32(lookAt), //nolint:gosec // small
			})
		})
	if err != nil {
		return read, err
	}

	if len(rows) == lookAt {
		last := rows[len(rows)-1]
		read.end = ports.PaymentPosition{CreatedAt: last.CreatedAt.UTC(), ID: last.PaymentID}
	}

	read.found, err = l.of(ctx, mapped(rows, func(row sqlc.ListPaymentsOfCustomerRow) uuid.UUID { return row.PaymentID }), limit)

	return read, err
}

// takenFrom looks at the payments that have a dispute, or a refund. There are fewer disputes.
func (l *listing) takenFrom(ctx context.Context, after ports.PaymentPosition, lookAt, limit int) (read slice, err error) {
	before, tenant := l.before(after), int32(l.filter.Tenant)

	rows, err := query(ctx, l.on, "finding payments by what was taken from them",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListDisputedPaymentsRow, error) {
			if l.filter.Disputed {
				return q.ListDisputedPayments(ctx, sqlc.ListDisputedPaymentsParams{
					Tenant: tenant, BeforeCreatedAt: before.CreatedAt, BeforePaymentID: before.ID,
					FromCreatedAt: l.filter.Created.From, MaxLookedAt: int32(lookAt), //nolint:gosec // small
				})
			}

			rows, err := q.ListRefundedPayments(ctx, sqlc.ListRefundedPaymentsParams{
				Tenant: tenant, BeforeCreatedAt: before.CreatedAt, BeforePaymentID: before.ID,
				FromCreatedAt: l.filter.Created.From, MaxLookedAt: int32(lookAt), //nolint:gosec // small
			})

			return mapped(rows, func(row sqlc.ListRefundedPaymentsRow) sqlc.ListDisputedPaymentsRow {
				return sqlc.ListDisputedPaymentsRow(row)
			}), err
		})
	if err != nil {
		return read, err
	}

	if len(rows) == lookAt {
		last := rows[len(rows)-1]
		read.end = ports.PaymentPosition{CreatedAt: last.CreatedAt.UTC(), ID: last.PaymentID}
	}

	read.found, err = l.of(ctx, mapped(rows, func(row sqlc.ListDisputedPaymentsRow) uuid.UUID { return row.PaymentID }), limit)

	return read, err
}

// named looks at the few payments that have an id, an intent or a key.
func (l *listing) named(ctx context.Context, after ports.PaymentPosition, limit int) (read slice, err error) {
	before, ids := l.before(after), []uuid.UUID{}

	rows, err := query(ctx, l.on, "finding payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.FindPaymentsRow, error) {
		return q.FindPayments(ctx, namesOf(l.filter))
	})
	if err != nil {
		return read, err
	}

	for _, row := range rows {
		at := ports.PaymentPosition{CreatedAt: row.CreatedAt.UTC(), ID: row.PaymentID}
		if precedes(at, before) && !at.CreatedAt.Before(l.filter.Created.From) {
			ids = append(ids, row.PaymentID)
		}
	}

	read.found, err = l.of(ctx, ids, limit)
	read.found = slices.DeleteFunc(read.found, func(p payment.Payment) bool { return !hasNames(p, l.filter) })

	return read, err
}

// namesOf are the names that one of the payments has.
func namesOf(f ports.PaymentFilter) sqlc.FindPaymentsParams {
	names := sqlc.FindPaymentsParams{Ids: []uuid.UUID{}, IntentIds: []string{f.IntentID}, IdempotencyKeys: []string{string(f.Key)}}

	if f.AnyID != "" {
		names.IntentIds, names.IdempotencyKeys = append(names.IntentIds, f.AnyID), append(names.IdempotencyKeys, f.AnyID)

		if id, err := uuid.Parse(f.AnyID); err == nil {
			names.Ids = append(names.Ids, id)
		}
	}

	return names
}

// hasNames: a payment has all the names that are asked for.
func hasNames(p payment.Payment, f ports.PaymentFilter) bool {
	return (f.CustomerID == uuid.Nil || p.CustomerID == f.CustomerID) &&
		(f.Key == "" || p.Key == f.Key) && (f.IntentID == "" || p.IntentID == f.IntentID) &&
		(f.AnyID == "" || p.IntentID == f.AnyID || string(p.Key) == f.AnyID || strings.EqualFold(p.ID.String(), f.AnyID))
}

// of reads those of the payments that fit.
func (l *listing) of(ctx context.Context, ids []uuid.UUID, limit int) ([]payment.Payment, error) {
	if len(ids) == 0 {
		return nil, nil
	}

	rows, err := query(ctx, l.on, "listing payments", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Payment, error) {
		return q.ListPaymentsOf(ctx, sqlc.ListPaymentsOfParams{
			Ids: ids, Tenant: int32(l.filter.Tenant), Status: l.fits.status, IntentStatus: l.fits.intentStatus, Currency: l.fits.currency,
			AmountFrom: l.fits.from, AmountTo: l.fits.to, Metadata: l.fits.metadata,
			Refunded: l.filter.Refunded, Disputed: l.filter.Disputed,
			MaxRows: int32(limit), //nolint:gosec // small
		})
	})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, paymentFromDB)
}

// before is the position after which the payments of a filter come: where the last page
// ended, or where the filter begins.
func (l *listing) before(after ports.PaymentPosition) ports.PaymentPosition {
	first := ports.PaymentPosition{CreatedAt: l.filter.Created.Before}
	if first.IsZero() {
		first.CreatedAt = time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC) // later than all
	}

	if after.IsZero() || precedes(first, after) {
		return first
	}

	return after
}

// precedes compares positions as PostgreSQL compares (created_at, id).
func precedes(a, b ports.PaymentPosition) bool {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:])) < 0
}

// fitting is what a payment must have. What is not asked for has a value that every payment
// fits.
type fitting struct {
	status, intentStatus, currency string
	from, to                       pgtype.Numeric
	metadata                       string
}

func fittingOf(f ports.PaymentFilter) fitting {
	const digits = 15 // before the point, in the column

	fits := fitting{
		status: string(f.Status), intentStatus: string(f.IntentStatus), currency: f.Currency.Code(),
		from: pgtype.Numeric{Int: new(big.Int), Valid: true}, to: pgtype.Numeric{Int: big.NewInt(1), Exp: digits, Valid: true},
		metadata: "{}",
	}

	if !f.Amount.From.IsZero() {
		fits.from = moneyToDB(f.Amount.From)
	}

	if !f.Amount.To.IsZero() {
		fits.to = moneyToDB(f.Amount.To)
	}

	if len(f.Metadata) > 0 {
		fits.metadata = string(metadataToDB(f.Metadata))
	}

	return fits
}
