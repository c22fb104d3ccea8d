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
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// maxLastError bounds what is kept of an error, in bytes.
const maxLastError = 500

// Operation implements ports.Operations.
func (s *Store) Begin(ctx context.Context, c ports.NewOperation) (ports.Operation, error) {
	fingerprint := c.Order.Fingerprint()
	params := sqlc.BeginOperationOrFindParams{
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
		return ports.Operation{}, fmt.Errorf("beginning an operation: %w", err)
	}

	alone := func() (sqlc.BeginOperationOrFindRow, error) { return s.beginAlone(ctx, params) }
	together := alone

	if c.CreatedAt.IsZero() {
		together = func() (sqlc.BeginOperationOrFindRow, error) { return s.ops.do(ctx, params, alone) }
	}

	row, err := together()
	if err != nil {
		return ports.Operation{}, err
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, c.Lease.Token)
}

func (s *Store) beginAlone(ctx context.Context, params sqlc.BeginOperationOrFindParams) (sqlc.BeginOperationOrFindRow, error) {
	return write(ctx, s, "beginning an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.BeginOperationOrFindRow, error) {
		written, err := q.BeginOperation(ctx, sqlc.BeginOperationParams(params))
		if err != nil {
			return sqlc.BeginOperationOrFindRow{}, err
		}

		if len(written) > 0 {
			row := newOperationRow(params, written[0].CreatedAt)
			row.AgeSeconds = written[0].AgeSeconds

			return *row, nil
		}

		// Each empty answer means that somebody else has just written the key:
		// the next statement sees it.
		for range tries {
			rows, err := q.BeginOperationOrFind(ctx, params)
			if err != nil {
				return sqlc.BeginOperationOrFindRow{}, err
			}

			if len(rows) > 0 {
				return rows[0], nil
			}
		}

		return sqlc.BeginOperationOrFindRow{}, errors.New("the key is contended")
	})
}

// newOperationRow is the row of an operation that was written this moment.
func newOperationRow(c sqlc.BeginOperationOrFindParams, createdAt time.Time) *sqlc.BeginOperationOrFindRow {
	return &sqlc.BeginOperationOrFindRow{PaymentRequest: sqlc.PaymentRequest{
		PaymentID:       c.PaymentID,
		IdempotencyKey:  c.IdempotencyKey,
		Fingerprint:     c.Fingerprint,
		Amount:          c.Amount,
		Currency:        c.Currency,
		Metadata:        c.Metadata,
		StripeKey:       c.StripeKey,
		StripeParams:    c.StripeParams,
		State:           string(operation.Pending),
		LeaseToken:      c.LeaseToken,
		Attempts:        1,
		OriginRequestID: c.OriginRequestID,
		OriginTrace:     c.OriginTrace,
		CreatedAt:       createdAt,
	}}
}

// Find implements ports.Operations.
func (s *Store) Find(ctx context.Context, key operation.Key) (ports.Operation, error) {
	row, err := query(ctx, s, "finding an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindOperationByKeyRow, error) {
		return q.FindOperationByKey(ctx, string(key))
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.Operation{}, errNotFound("idempotency key")
	}

	if err != nil {
		return ports.Operation{}, err
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// FindByPayment implements ports.Operations.
func (s *Store) FindByPayment(ctx context.Context, id uuid.UUID) (ports.Operation, error) {
	row, err := query(ctx, s, "reading an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindOperationByPaymentRow, error) {
		return q.FindOperationByPayment(ctx, id)
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// Take implements ports.Operations.
func (s *Store) Take(ctx context.Context, limit int, lease ports.Lease) ([]ports.Operation, error) {
	rows, err := write(ctx, s, "taking unfinished operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.TakeOperationsRow, error) {
			return q.TakeOperations(ctx, sqlc.TakeOperationsParams{
				LeaseToken: optionalID(lease.Token),
				Lease:      interval(lease.For),
				MaxRows:    int32(limit), //nolint:gosec // a small constant
			})
		})
	if err != nil {
		return nil, err
	}

	ops := make([]ports.Operation, 0, len(rows))

	for _, row := range rows {
		op, err := operationFromDB(row.PaymentRequest, row.AgeSeconds, lease.Token)
		if err != nil {
			return nil, err
		}

		ops = append(ops, op)
	}

	return ops, nil
}

// Finish implements ports.Operations.
func (s *Store) Finish(ctx context.Context, c ports.Completion) (ports.Finished, error) {
	if err := ctx.Err(); err != nil {
		return ports.Finished{}, fmt.Errorf("finishing an operation: %w", err)
	}

	params := completionToDB(c)
	alone := func() (sqlc.FinishOperationOrFindRow, error) { return s.finishAlone(ctx, params) }

	// Without a response the operation stays open: that is rare, and not simple.
	together := alone
	if c.Response != nil {
		together = func() (sqlc.FinishOperationOrFindRow, error) { return s.completions.do(ctx, params, alone) }
	}

	row, err := together()
	if err != nil {
		return ports.Finished{}, errNoOperation(err)
	}

	return finishedFromDB(row)
}

func (s *Store) finishAlone(
	ctx context.Context, params sqlc.FinishOperationOrFindParams,
) (sqlc.FinishOperationOrFindRow, error) {
	return write(ctx, s, "finishing an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.FinishOperationOrFindRow, error) {
		if params.ResponseStatus != nil {
			rows, err := q.FinishOperation(ctx, pendingToDB(params))

			switch {
			case err != nil && !isTaken(err):
				return sqlc.FinishOperationOrFindRow{}, err
			case len(rows) > 0:
				return finishedRow(rows[0].PaymentRequest, rows[0].AgeSeconds, rows[0].Parked), nil
			}
		}

		return complete(ctx, q, params)
	})
}

// finishedRow is the row of a completion that wrote its payment.
func finishedRow(op sqlc.PaymentRequest, ageSeconds float64, parked bool) sqlc.FinishOperationOrFindRow {
	return sqlc.FinishOperationOrFindRow{PaymentRequest: op, AgeSeconds: ageSeconds, Created: true, PaymentExists: true, Parked: parked}
}

// complete is the whole statement, for use inside a transaction too.
func complete(
	ctx context.Context, q *sqlc.Queries, params sqlc.FinishOperationOrFindParams,
) (sqlc.FinishOperationOrFindRow, error) {
	// The payment is neither there nor contradicted while what somebody else has
	// just written is not in the statement's snapshot: the next one sees it.
	for range tries {
		row, err := q.FinishOperationOrFind(ctx, params)

		switch {
		case err != nil:
			return row, fmt.Errorf("payment %s, intent %s: %w", params.PaymentID, params.IntentID, err)
		case row.Contradicts:
			return row, fmt.Errorf("intent %s does not fit payment %s: %w",
				params.IntentID, params.PaymentID, ports.ErrContradiction)
		case row.PaymentExists:
			return row, nil
		}
	}

	return sqlc.FinishOperationOrFindRow{}, fmt.Errorf("payment %s is contended", params.PaymentID)
}

// FinishRejected implements ports.Operations.
func (s *Store) FinishRejected(ctx context.Context, id uuid.UUID, response ports.FrozenResponse) (ports.Operation, error) {
	var op ports.Operation

	err := s.run(ctx, "rejecting an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var err error

			op, err = finishRejected(ctx, sqlc.New(tx), id, response)

			return err
		})
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return op, nil
}

// finishRejected needs a transaction: a payment that was written while it waited for
// the operation is seen by its second statement alone.
func finishRejected(ctx context.Context, q *sqlc.Queries, id uuid.UUID, response ports.FrozenResponse) (ports.Operation, error) {
	locked, err := q.LockOperation(ctx, id)
	if err != nil {
		return ports.Operation{}, fmt.Errorf("locking the operation: %w", err)
	}

	op, err := operationFromDB(locked.PaymentRequest, locked.AgeSeconds, uuid.Nil)
	if err != nil || op.Finished() {
		return op, err
	}

	row, err := q.FinishRejectedOperation(ctx, sqlc.FinishRejectedOperationParams{
		PaymentID:      id,
		ResponseStatus: int16(response.Status), //nolint:gosec // an HTTP status
		ResponseBody:   bodyToDB(response.Body),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return op, fmt.Errorf("payment %s was rejected but exists: %w", id, ports.ErrContradiction)
	}

	if err != nil {
		return op, fmt.Errorf("payment %s: %w", id, err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// Reject implements ports.Operations.
func (s *Store) Reject(ctx context.Context, c ports.Operation, cause error) (ports.Operation, error) {
	var op ports.Operation

	err := s.run(ctx, "rejecting a payment", func(ctx context.Context, conn *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var err error

			op, err = reject(ctx, sqlc.New(tx), c, cause)

			return err
		})
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return op, nil
}

// reject needs a transaction for the reason that finishRejected has.
func reject(ctx context.Context, q *sqlc.Queries, c ports.Operation, cause error) (ports.Operation, error) {
	locked, err := q.LockOperation(ctx, c.PaymentID)
	if err != nil {
		return ports.Operation{}, fmt.Errorf("locking the operation: %w", err)
	}

	op, err := operationFromDB(locked.PaymentRequest, locked.AgeSeconds, c.Lease)
	if err != nil || !op.Held() {
		return op, err
	}

	row, err := q.RejectOperation(ctx, sqlc.RejectOperationParams{
		PaymentID: c.PaymentID, LeaseToken: c.Lease, LastError: shortError(cause),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return op, fmt.Errorf("payment %s was rejected but exists: %w", c.PaymentID, ports.ErrContradiction)
	}

	if err != nil {
		return op, fmt.Errorf("payment %s: %w", c.PaymentID, err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

// Reopen implements ports.Operations.
func (s *Store) Reopen(ctx context.Context, id uuid.UUID, lease ports.Lease) (ports.Operation, error) {
	row, err := write(ctx, s, "reopening an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.ReopenOperationRow, error) {
		return q.ReopenOperation(ctx, sqlc.ReopenOperationParams{
			PaymentID: id, LeaseToken: lease.Token, Lease: interval(lease.For),
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return s.FindByPayment(ctx, id)
	}

	if err != nil {
		return ports.Operation{}, err
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, lease.Token)
}

// Release implements ports.Operations.
func (s *Store) Release(ctx context.Context, c ports.Operation, retryIn time.Duration, cause error) error {
	_, err := write(ctx, s, "releasing an operation", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.ReleaseOperation(ctx, sqlc.ReleaseOperationParams{
			PaymentID:  c.PaymentID,
			LeaseToken: c.Lease,
			RetryIn:    interval(retryIn),
			Sent:       !errors.Is(cause, ports.ErrUnavailable),
			LastError:  shortError(cause),
		})
	})

	return err
}

// Extend implements ports.Operations.
func (s *Store) Extend(ctx context.Context, c ports.Operation, by time.Duration) error {
	_, err := write(ctx, s, "extending a lease", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.ExtendLease(ctx, sqlc.ExtendLeaseParams{
			PaymentID: c.PaymentID, LeaseToken: c.Lease, Lease: interval(by),
		})
	})

	return err
}

// GiveUp implements ports.Operations.
func (s *Store) GiveUp(ctx context.Context, id uuid.UUID, cause error) error {
	_, err := write(ctx, s, "giving up on an operation", func(ctx context.Context, q *sqlc.Queries) (struct{}, error) {
		return struct{}{}, q.GiveUpOperation(ctx, sqlc.GiveUpOperationParams{PaymentID: id, LastError: shortError(cause)})
	})

	return err
}

// shortError is what is kept of an error. It may quote anything that a broken
// proxy has sent, and PostgreSQL's text is UTF-8 without U+0000.
func shortError(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\uFFFD")

	return fault.Shorten(text, maxLastError)
}
