package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// maxLastError bounds what is kept of an error, in bytes.
const maxLastError = 500

// Claim implements ports.Claims.
func (s *Store) Claim(ctx context.Context, c ports.NewClaim) (ports.Claim, error) {
	fingerprint := c.Order.Fingerprint()
	params := sqlc.ClaimPaymentOrFindParams{
		IdempotencyKey:  keyToDB(c.Key),
		PaymentID:       c.PaymentID,
		Fingerprint:     fingerprint[:],
		Amount:          amountToDB(c.Order.Amount),
		Currency:        c.Order.Amount.Currency().Code(),
		Metadata:        metadataToDB(c.Order.Metadata),
		StripeKey:       c.Request.IdempotencyKey,
		StripeParams:    c.Request.Params,
		LeaseToken:      optionalID(c.Lease.Token),
		Lease:           interval(c.Lease.For),
		OriginRequestID: c.Origin.RequestID,
		OriginTrace:     c.Origin.TraceParent,
		CreatedAt:       optional(c.CreatedAt),
	}

	if err := ctx.Err(); err != nil {
		return ports.Claim{}, fmt.Errorf("claiming a payment: %w", err)
	}

	alone := func() (sqlc.ClaimPaymentOrFindRow, error) { return s.claimAlone(ctx, params) }
	together := alone

	if c.CreatedAt.IsZero() {
		together = func() (sqlc.ClaimPaymentOrFindRow, error) { return s.claims.do(ctx, params, alone) }
	}

	row, err := together()
	if err != nil {
		return ports.Claim{}, err
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, c.Lease.Token)
}

func (s *Store) claimAlone(ctx context.Context, params sqlc.ClaimPaymentOrFindParams) (sqlc.ClaimPaymentOrFindRow, error) {
	return write(ctx, s, "claiming a payment", func(ctx context.Context, q *sqlc.Queries) (sqlc.ClaimPaymentOrFindRow, error) {
		written, err := q.ClaimPayment(ctx, sqlc.ClaimPaymentParams(params))
		if err != nil {
			return sqlc.ClaimPaymentOrFindRow{}, err
		}

		if len(written) > 0 {
			row := newClaimRow(params, written[0].CreatedAt)
			row.AgeSeconds = written[0].AgeSeconds

			return *row, nil
		}

		// Each empty answer means that somebody else has just written the key:
		// the next statement sees it.
		for range tries {
			rows, err := q.ClaimPaymentOrFind(ctx, params)
			if err != nil {
				return sqlc.ClaimPaymentOrFindRow{}, err
			}

			if len(rows) > 0 {
				return rows[0], nil
			}
		}

		return sqlc.ClaimPaymentOrFindRow{}, errors.New("the key is contended")
	})
}

// newClaimRow is the row of a claim that was written this moment.
func newClaimRow(c sqlc.ClaimPaymentOrFindParams, createdAt time.Time) *sqlc.ClaimPaymentOrFindRow {
	return &sqlc.ClaimPaymentOrFindRow{PaymentRequest: sqlc.PaymentRequest{
		PaymentID:       c.PaymentID,
		IdempotencyKey:  c.IdempotencyKey,
		Fingerprint:     c.Fingerprint,
		Amount:          c.Amount,
		Currency:        c.Currency,
		Metadata:        c.Metadata,
		StripeKey:       c.StripeKey,
		StripeParams:    c.StripeParams,
		State:           string(ports.ClaimPending),
		LeaseToken:      c.LeaseToken,
		Attempts:        1,
		OriginRequestID: c.OriginRequestID,
		OriginTrace:     c.OriginTrace,
		CreatedAt:       createdAt,
	}}
}

// FindClaim implements ports.Claims.
func (s *Store) FindClaim(ctx context.Context, key payment.Key) (ports.Claim, error) {
	row, err := query(ctx, s, "finding a claim", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindClaimByKeyRow, error) {
		return q.FindClaimByKey(ctx, string(key))
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.Claim{}, errNotFound("idempotency key")
	}

	if err != nil {
		return ports.Claim{}, err
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// ClaimByPayment implements ports.Claims.
func (s *Store) ClaimByPayment(ctx context.Context, id uuid.UUID) (ports.Claim, error) {
	row, err := query(ctx, s, "reading a claim", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindClaimByPaymentRow, error) {
		return q.FindClaimByPayment(ctx, id)
	})
	if err != nil {
		return ports.Claim{}, errNoClaim(err)
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// TakeUnfinished implements ports.Claims.
func (s *Store) TakeUnfinished(ctx context.Context, limit int, lease ports.Lease) ([]ports.Claim, error) {
	rows, err := write(ctx, s, "taking unfinished claims",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.TakeUnfinishedClaimsRow, error) {
			return q.TakeUnfinishedClaims(ctx, sqlc.TakeUnfinishedClaimsParams{
				LeaseToken: optionalID(lease.Token),
				Lease:      interval(lease.For),
				MaxRows:    int32(limit), //nolint:gosec // a small constant
			})
		})
	if err != nil {
		return nil, err
	}

	claims := make([]ports.Claim, 0, len(rows))

	for _, row := range rows {
		claim, err := claimFromDB(row.PaymentRequest, row.AgeSeconds, lease.Token)
		if err != nil {
			return nil, err
		}

		claims = append(claims, claim)
	}

	return claims, nil
}

// Complete implements ports.Claims.
func (s *Store) Complete(ctx context.Context, c ports.Completion) (ports.Completed, error) {
	if err := ctx.Err(); err != nil {
		return ports.Completed{}, fmt.Errorf("completing a payment: %w", err)
	}

	params := completionToDB(c)
	alone := func() (sqlc.CompletePaymentOrFindRow, error) { return s.completeAlone(ctx, params) }

	// Without a response the claim stays open: that is rare, and not simple.
	together := alone
	if c.Response != nil {
		together = func() (sqlc.CompletePaymentOrFindRow, error) { return s.completions.do(ctx, params, alone) }
	}

	row, err := together()
	if err != nil {
		return ports.Completed{}, errNoClaim(err)
	}

	return completedFromDB(row)
}

func (s *Store) completeAlone(
	ctx context.Context, params sqlc.CompletePaymentOrFindParams,
) (sqlc.CompletePaymentOrFindRow, error) {
	return write(ctx, s, "completing a payment", func(ctx context.Context, q *sqlc.Queries) (sqlc.CompletePaymentOrFindRow, error) {
		if params.ResponseStatus != nil {
			rows, err := q.CompletePayment(ctx, pendingToDB(params))

			switch {
			case err != nil && !isTaken(err):
				return sqlc.CompletePaymentOrFindRow{}, err
			case len(rows) > 0:
				return completedRow(rows[0].PaymentRequest, rows[0].AgeSeconds, rows[0].Parked), nil
			}
		}

		return complete(ctx, q, params)
	})
}

// completedRow is the row of a completion that wrote its payment.
func completedRow(claim sqlc.PaymentRequest, ageSeconds float64, parked bool) sqlc.CompletePaymentOrFindRow {
	return sqlc.CompletePaymentOrFindRow{PaymentRequest: claim, AgeSeconds: ageSeconds, Created: true, Here: true, Parked: parked}
}

// complete is the whole statement, for use inside a transaction too.
func complete(
	ctx context.Context, q *sqlc.Queries, params sqlc.CompletePaymentOrFindParams,
) (sqlc.CompletePaymentOrFindRow, error) {
	// The payment is neither there nor contradicted while what somebody else has
	// just written is not in the statement's snapshot: the next one sees it.
	for range tries {
		row, err := q.CompletePaymentOrFind(ctx, params)

		switch {
		case err != nil:
			return row, fmt.Errorf("payment %s, intent %s: %w", params.PaymentID, params.IntentID, err)
		case row.Contradicts:
			return row, fmt.Errorf("intent %s does not fit payment %s: %w",
				params.IntentID, params.PaymentID, ports.ErrContradiction)
		case row.Here:
			return row, nil
		}
	}

	return sqlc.CompletePaymentOrFindRow{}, fmt.Errorf("payment %s is contended", params.PaymentID)
}

// Refuse implements ports.Claims.
func (s *Store) Refuse(ctx context.Context, id uuid.UUID, response ports.FrozenResponse) (ports.Claim, error) {
	var claim ports.Claim

	err := s.run(ctx, "refusing a payment", func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var err error

			claim, err = refuse(ctx, sqlc.New(tx), id, response)

			return err
		})
	})
	if err != nil {
		return ports.Claim{}, errNoClaim(err)
	}

	return claim, nil
}

// refuse needs a transaction: a payment that was written while it waited for
// the claim is seen by its second statement alone.
func refuse(ctx context.Context, q *sqlc.Queries, id uuid.UUID, response ports.FrozenResponse) (ports.Claim, error) {
	locked, err := q.LockClaim(ctx, id)
	if err != nil {
		return ports.Claim{}, fmt.Errorf("locking the claim: %w", err)
	}

	claim, err := claimFromDB(locked.PaymentRequest, locked.AgeSeconds, uuid.Nil)
	if err != nil || claim.Finished() {
		return claim, err
	}

	row, err := q.RefuseClaim(ctx, sqlc.RefuseClaimParams{
		PaymentID:      id,
		ResponseStatus: int16(response.Status), //nolint:gosec // an HTTP status
		ResponseBody:   bodyToDB(response.Body),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return claim, fmt.Errorf("payment %s was refused but exists: %w", id, ports.ErrContradiction)
	}

	if err != nil {
		return claim, fmt.Errorf("payment %s: %w", id, err)
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// Reject implements ports.Claims.
func (s *Store) Reject(ctx context.Context, c ports.Claim, cause error) (ports.Claim, error) {
	var claim ports.Claim

	err := s.run(ctx, "rejecting a payment", func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var err error

			claim, err = reject(ctx, sqlc.New(tx), c, cause)

			return err
		})
	})
	if err != nil {
		return ports.Claim{}, errNoClaim(err)
	}

	return claim, nil
}

// reject needs a transaction for the reason that refuse has.
func reject(ctx context.Context, q *sqlc.Queries, c ports.Claim, cause error) (ports.Claim, error) {
	locked, err := q.LockClaim(ctx, c.PaymentID)
	if err != nil {
		return ports.Claim{}, fmt.Errorf("locking the claim: %w", err)
	}

	claim, err := claimFromDB(locked.PaymentRequest, locked.AgeSeconds, c.Lease)
	if err != nil || !claim.Held() {
		return claim, err
	}

	row, err := q.RejectClaim(ctx, sqlc.RejectClaimParams{
		PaymentID: c.PaymentID, LeaseToken: c.Lease, LastError: shortError(cause),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return claim, fmt.Errorf("payment %s was rejected but exists: %w", c.PaymentID, ports.ErrContradiction)
	}

	if err != nil {
		return claim, fmt.Errorf("payment %s: %w", c.PaymentID, err)
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// Reopen implements ports.Claims.
func (s *Store) Reopen(ctx context.Context, id uuid.UUID, lease ports.Lease) (ports.Claim, error) {
	row, err := write(ctx, s, "reopening a claim", func(ctx context.Context, q *sqlc.Queries) (sqlc.ReopenClaimRow, error) {
		return q.ReopenClaim(ctx, sqlc.ReopenClaimParams{
			PaymentID: id, LeaseToken: lease.Token, Lease: interval(lease.For),
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return s.ClaimByPayment(ctx, id)
	}

	if err != nil {
		return ports.Claim{}, err
	}

	return claimFromDB(row.PaymentRequest, row.AgeSeconds, lease.Token)
}

// Release implements ports.Claims.
func (s *Store) Release(ctx context.Context, c ports.Claim, retryIn time.Duration, cause error) error {
	_, err := write(ctx, s, "releasing a claim", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.ReleaseClaim(ctx, sqlc.ReleaseClaimParams{
			PaymentID:  c.PaymentID,
			LeaseToken: c.Lease,
			RetryIn:    interval(retryIn),
			Sent:       !errors.Is(cause, ports.ErrUnavailable),
			LastError:  shortError(cause),
		})
	})

	return err
}

// Extend implements ports.Claims.
func (s *Store) Extend(ctx context.Context, c ports.Claim, by time.Duration) error {
	_, err := write(ctx, s, "extending a lease", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.ExtendLease(ctx, sqlc.ExtendLeaseParams{
			PaymentID: c.PaymentID, LeaseToken: c.Lease, Lease: interval(by),
		})
	})

	return err
}

// GiveUp implements ports.Claims.
func (s *Store) GiveUp(ctx context.Context, id uuid.UUID, cause error) error {
	_, err := write(ctx, s, "giving up on a claim", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.GiveUpClaim(ctx, sqlc.GiveUpClaimParams{PaymentID: id, LastError: shortError(cause)})
	})

	return err
}

// shortError is what is kept of an error. It may quote anything that a broken
// proxy has sent, and PostgreSQL's text is UTF-8 without U+0000.
func shortError(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\uFFFD")

	return fault.Shorten(text, maxLastError)
}

// errNoClaim tells the caller that there is no such claim, if that is what err says.
func errNoClaim(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("claim")
	}

	return err
}
