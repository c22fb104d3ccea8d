package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// maxLastError is the most bytes of an error that are stored.
const maxLastError = 500

// Begin implements ports.Operations.
func (s *Store) Begin(ctx context.Context, op ports.NewOperation) (ports.Operation, error) {
	if err := ctx.Err(); err != nil {
		return ports.Operation{}, fmt.Errorf("beginning an operation: %w", err)
	}

	var (
		params = newOperationToDB(op)
		alone  = func() (sqlc.BeginOperationOrFindRow, error) { return s.beginAlone(ctx, params) }
		row    sqlc.BeginOperationOrFindRow
		err    error
	)

	if op.CreatedAt.IsZero() {
		row, err = s.begins.do(ctx, params, alone)
	} else { // the group's statement writes the database's time
		row, err = alone()
	}

	if err != nil {
		return ports.Operation{}, err
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, op.Lease.Token)
}

// beginAlone first tries the cheap statement for a key that nobody has used.
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

		// No row: somebody else has written the key since the statement began. The
		// next one sees it.
		for range maxAttempts {
			rows, err := q.BeginOperationOrFind(ctx, params)
			if err != nil {
				return sqlc.BeginOperationOrFindRow{}, err
			}

			if len(rows) > 0 {
				return rows[0], nil
			}
		}

		return sqlc.BeginOperationOrFindRow{}, errors.New("several others write the same key")
	})
}

// newOperationRow is the row of an operation that was written just now.
func newOperationRow(op sqlc.BeginOperationOrFindParams, createdAt time.Time) *sqlc.BeginOperationOrFindRow {
	return &sqlc.BeginOperationOrFindRow{PaymentRequest: sqlc.PaymentRequest{
		PaymentID:       op.PaymentID,
		IdempotencyKey:  op.IdempotencyKey,
		Fingerprint:     op.Fingerprint,
		Amount:          op.Amount,
		Currency:        op.Currency,
		Metadata:        op.Metadata,
		StripeKey:       op.StripeKey,
		StripeParams:    op.StripeParams,
		State:           string(operation.Pending),
		LeaseToken:      op.LeaseToken,
		Attempts:        1,
		OriginRequestID: op.OriginRequestID,
		OriginTrace:     op.OriginTrace,
		CreatedAt:       createdAt,
	}}
}

// Find implements ports.Operations.
func (s *Store) Find(ctx context.Context, key operation.Key) (ports.Operation, error) {
	row, err := s.rowByKey(ctx, key)
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
	row, err := s.rowByPayment(ctx, id)
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds, uuid.Nil)
}

func (s *Store) rowByKey(ctx context.Context, key operation.Key) (sqlc.FindOperationByKeyRow, error) {
	return query(ctx, s, "finding an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindOperationByKeyRow, error) {
		return q.FindOperationByKey(ctx, string(key))
	})
}

func (s *Store) rowByPayment(ctx context.Context, id uuid.UUID) (sqlc.FindOperationByPaymentRow, error) {
	return query(ctx, s, "reading an operation",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.FindOperationByPaymentRow, error) {
			return q.FindOperationByPayment(ctx, id)
		})
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

	return mappedOrError(rows, func(row sqlc.TakeOperationsRow) (ports.Operation, error) {
		return operationFromDB(row.PaymentRequest, row.AgeSeconds, lease.Token)
	})
}

// Finish implements ports.Operations.
func (s *Store) Finish(ctx context.Context, c ports.Completion) (ports.Finished, error) {
	if err := ctx.Err(); err != nil {
		return ports.Finished{}, fmt.Errorf("finishing an operation: %w", err)
	}

	var (
		params = completionToDB(c)
		alone  = func() (sqlc.FinishOperationOrFindRow, error) { return s.finishAlone(ctx, params) }
		row    sqlc.FinishOperationOrFindRow
		err    error
	)

	if c.Response != nil {
		row, err = s.completions.do(ctx, params, alone)
	} else { // the operation stays pending, which is rare; the group's statement cannot do that
		row, err = alone()
	}

	if err != nil {
		return ports.Finished{}, errNoOperation(err)
	}

	return finishedFromDB(row)
}

// finishAlone first tries the cheap statement for a pending operation without a
// payment.
func (s *Store) finishAlone(
	ctx context.Context, params sqlc.FinishOperationOrFindParams,
) (sqlc.FinishOperationOrFindRow, error) {
	return write(ctx, s, "finishing an operation",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.FinishOperationOrFindRow, error) {
			if params.ResponseStatus != nil {
				rows, err := q.FinishOperation(ctx, finishParams(params))

				switch {
				case err != nil && !hasCode(err, pgerrcode.UniqueViolation):
					return sqlc.FinishOperationOrFindRow{}, err
				case len(rows) > 0:
					return finishedRow(rows[0].PaymentRequest, rows[0].AgeSeconds, rows[0].Parked), nil
				}
			}

			return finishOrFind(ctx, q, params)
		})
}

// finishedRow is the row of a completion that wrote its payment.
func finishedRow(op sqlc.PaymentRequest, ageSeconds float64, parked bool) sqlc.FinishOperationOrFindRow {
	return sqlc.FinishOperationOrFindRow{
		PaymentRequest: op, AgeSeconds: ageSeconds, Created: true, PaymentExists: true, Parked: parked,
	}
}

// finishOrFind is the full statement. It also works inside a transaction.
func finishOrFind(
	ctx context.Context, q *sqlc.Queries, params sqlc.FinishOperationOrFindParams,
) (sqlc.FinishOperationOrFindRow, error) {
	// A statement does not see what somebody else has committed since it began. Then
	// it finds neither the payment nor a contradiction; the next one does.
	for range maxAttempts {
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

	return sqlc.FinishOperationOrFindRow{}, fmt.Errorf("several others write payment %s", params.PaymentID)
}

// FinishRejected implements ports.Operations.
func (s *Store) FinishRejected(ctx context.Context, id uuid.UUID, response ports.FrozenResponse) (ports.Operation, error) {
	var op ports.Operation

	err := s.inTransaction(ctx, "rejecting an operation", func(ctx context.Context, q *sqlc.Queries) (err error) {
		op, err = finishRejected(ctx, q, id, response)

		return err
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return op, nil
}

// finishRejected needs a transaction with two statements: only the second one sees a
// payment that was written while the first waited for the lock.
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
func (s *Store) Reject(ctx context.Context, held ports.Operation, cause error) (ports.Operation, error) {
	var op ports.Operation

	err := s.inTransaction(ctx, "rejecting a payment", func(ctx context.Context, q *sqlc.Queries) (err error) {
		op, err = reject(ctx, q, held, cause)

		return err
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return op, nil
}

// reject needs a transaction for the same reason as finishRejected.
func reject(ctx context.Context, q *sqlc.Queries, held ports.Operation, cause error) (ports.Operation, error) {
	locked, err := q.LockOperation(ctx, held.PaymentID)
	if err != nil {
		return ports.Operation{}, fmt.Errorf("locking the operation: %w", err)
	}

	op, err := operationFromDB(locked.PaymentRequest, locked.AgeSeconds, held.Lease)
	if err != nil || !op.Held() {
		return op, err
	}

	row, err := q.RejectOperation(ctx, sqlc.RejectOperationParams{
		PaymentID: held.PaymentID, LeaseToken: held.Lease, LastError: shortError(cause),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return op, fmt.Errorf("payment %s was rejected but exists: %w", held.PaymentID, ports.ErrContradiction)
	}

	if err != nil {
		return op, fmt.Errorf("payment %s: %w", held.PaymentID, err)
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
func (s *Store) Release(ctx context.Context, held ports.Operation, retryIn time.Duration, cause error) error {
	return s.exec(ctx, "releasing an operation", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ReleaseOperation(ctx, sqlc.ReleaseOperationParams{
			PaymentID:  held.PaymentID,
			LeaseToken: held.Lease,
			RetryIn:    interval(retryIn),
			Sent:       !errors.Is(cause, ports.ErrUnavailable),
			LastError:  shortError(cause),
		})
	})
}

// Extend implements ports.Operations.
func (s *Store) Extend(ctx context.Context, held ports.Operation, by time.Duration) error {
	return s.exec(ctx, "extending a lease", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ExtendLease(ctx, sqlc.ExtendLeaseParams{
			PaymentID: held.PaymentID, LeaseToken: held.Lease, Lease: interval(by),
		})
	})
}

// GiveUp implements ports.Operations.
func (s *Store) GiveUp(ctx context.Context, id uuid.UUID, cause error) error {
	return s.exec(ctx, "giving up on an operation", func(ctx context.Context, q *sqlc.Queries) error {
		return q.GiveUpOperation(ctx, sqlc.GiveUpOperationParams{PaymentID: id, LastError: shortError(cause)})
	})
}

// shortError is what is stored of an error. The error may quote anything that a
// broken proxy has sent, but PostgreSQL's text must be UTF-8 without U+0000.
func shortError(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\uFFFD")

	return fault.Shorten(text, maxLastError)
}
