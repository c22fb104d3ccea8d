package postgres

import (
	"cmp"
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

// Find implements ports.Operations.
func (s *Store) Find(ctx context.Context, tenant operation.Tenant, key operation.Key) (ports.Operation, error) {
	row, err := s.rowByKey(ctx, tenant, key)
	if errors.Is(err, pgx.ErrNoRows) {
		return ports.Operation{}, errNotFound("idempotency key")
	}

	if err != nil {
		return ports.Operation{}, err
	}

	return operationFromDB(row.Operation, row.AgeSeconds, uuid.Nil)
}

// FindByID implements ports.Operations.
func (s *Store) FindByID(ctx context.Context, id uuid.UUID) (ports.Operation, error) {
	row, err := s.rowByID(ctx, id)
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return operationFromDB(row.Operation, row.AgeSeconds, uuid.Nil)
}

// keyOf is a key of a tenant.
type keyOf struct {
	tenant int32
	key    string
}

// rowByKey looks for the operation of a key. Those that arrive together share a statement.
func (s *Store) rowByKey(
	ctx context.Context, tenant operation.Tenant, key operation.Key,
) (row sqlc.FindOperationsByKeyRow, err error) {
	if err := ctx.Err(); err != nil {
		return row, translate("finding an operation", err)
	}

	of := keyOf{int32(tenant), string(key)}

	row, err = s.finds.do(ctx, of, func() (row sqlc.FindOperationsByKeyRow, err error) {
		rows, err := s.findAll(ctx, []keyOf{of})
		if err == nil {
			row = *rows[0]
		}

		return row, err
	})
	if err == nil && row.Operation.ID == uuid.Nil {
		err = pgx.ErrNoRows
	}

	return row, err
}

// findAll looks for the operations of keys. The row of one that does not exist is the zero value.
func (s *Store) findAll(ctx context.Context, keys []keyOf) ([]*sqlc.FindOperationsByKeyRow, error) {
	rows, err := query(ctx, s.hot, "finding operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.FindOperationsByKeyRow, error) {
			return q.FindOperationsByKey(ctx, sqlc.FindOperationsByKeyParams{
				IdempotencyKeys: mapped(keys, func(k keyOf) string { return k.key }),
				Tenants:         mapped(keys, func(k keyOf) int32 { return k.tenant }),
			})
		})
	if err != nil {
		return nil, err
	}

	found := make(map[keyOf]*sqlc.FindOperationsByKeyRow, len(rows))
	for i := range rows {
		found[keyOf{rows[i].Operation.Tenant, deref(rows[i].Operation.IdempotencyKey)}] = &rows[i]
	}

	return mapped(keys, func(k keyOf) *sqlc.FindOperationsByKeyRow {
		return cmp.Or(found[k], new(sqlc.FindOperationsByKeyRow))
	}), nil
}

func (s *Store) rowByID(ctx context.Context, id uuid.UUID) (sqlc.FindOperationByIDRow, error) {
	return query(ctx, s.hot, "reading an operation",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.FindOperationByIDRow, error) {
			return q.FindOperationByID(ctx, id)
		})
}

// Take implements ports.Operations.
func (s *Store) Take(ctx context.Context, limit int, lease ports.Lease) ([]ports.Operation, error) {
	rows, err := write(ctx, s.hot, "taking unfinished operations",
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
		op, err := operationFromDB(row.Operation, row.AgeSeconds, lease.Token)
		op.Incarnation, op.Standing = row.Incarnation, standingFromDB(row.Reconciled, row.BehindSeconds)
		op.IntentID = row.IntentID
		s.lives.sees(row.Incarnation)

		return op, err
	})
}

// FinishRejected implements ports.Operations.
func (s *Store) FinishRejected(
	ctx context.Context, asked ports.Operation, response ports.FrozenResponse,
) (ports.Operation, error) {
	return s.reject(ctx, "rejecting an operation", asked.ID, uuid.Nil,
		func(ctx context.Context, q *sqlc.Queries, tx *trips, found ports.Operation) (ports.Operation, error) {
			if !found.Row().MayRefuse(asked.Fingerprint) {
				return found, nil
			}

			if err := giveBack(ctx, tx, found, string(operation.ByRequest)); err != nil {
				return found, err
			}

			row, err := q.FinishRejectedOperation(ctx, sqlc.FinishRejectedOperationParams{
				ID:             asked.ID,
				Fingerprint:    asked.Fingerprint[:],
				ResponseStatus: int16(response.Status), //nolint:gosec // an HTTP status
				ResponseBody:   bodyToDB(response.Body),
			})
			if err != nil {
				return found, err
			}

			return operationFromDB(row.Operation, row.AgeSeconds, uuid.Nil)
		})
}

// Reject implements ports.Operations.
func (s *Store) Reject(ctx context.Context, held ports.Operation, cause error) (ports.Operation, error) {
	return s.reject(ctx, "rejecting a payment", held.ID, held.Lease,
		func(ctx context.Context, q *sqlc.Queries, tx *trips, found ports.Operation) (ports.Operation, error) {
			if !found.Held() {
				return found, nil
			}

			if err := giveBack(ctx, tx, found, string(operation.ByRequest)); err != nil {
				return found, err
			}

			row, err := q.RejectOperation(ctx, sqlc.RejectOperationParams{
				ID: held.ID, LeaseToken: held.Lease, LastError: shortError(cause),
			})
			if err != nil {
				return found, err
			}

			return operationFromDB(row.Operation, row.AgeSeconds, uuid.Nil)
		})
}

// reject locks an operation and lets change write that it was rejected. That takes a
// transaction with two statements: only the second one sees a payment that was written
// while the first waited for the lock. If it finds one, it writes no row.
func (s *Store) reject(
	ctx context.Context, doing string, id, lease uuid.UUID,
	change func(context.Context, *sqlc.Queries, *trips, ports.Operation) (ports.Operation, error),
) (ports.Operation, error) {
	var op ports.Operation

	err := s.hot.inTransactionWithTrips(ctx, doing, func(ctx context.Context, q *sqlc.Queries, tx *trips) error {
		locked, err := q.LockOperation(ctx, id)
		if err != nil {
			return fmt.Errorf("locking the operation: %w", err)
		}

		found, err := operationFromDB(locked.Operation, locked.AgeSeconds, lease)
		if err != nil {
			return err
		}

		op, err = change(ctx, q, tx, found)

		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("operation %s was rejected, but its payment exists: %w", id, ports.ErrContradiction)
		case err != nil:
			return fmt.Errorf("operation %s: %w", id, err)
		default:
			return nil
		}
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return op, nil
}

// Reopen implements ports.Operations.
func (s *Store) Reopen(
	ctx context.Context, id uuid.UUID, lease ports.Lease, reserve ports.Reserve,
) (ports.Operation, error) {
	var row sqlc.ReopenOperationRow

	reopen := func(ctx context.Context, q *sqlc.Queries, tx *trips) error {
		before, err := q.LockOperation(ctx, id)
		if err != nil {
			return err
		}

		row, err = q.ReopenOperation(ctx, sqlc.ReopenOperationParams{
			ID: id, LeaseToken: lease.Token, Lease: interval(lease.For),
		})
		if err != nil {
			return err
		}

		if reserve != nil && stateFromDB(before.Operation.State) == operation.Rejected {
			return errNoPayment(reserveAgain(ctx, tx, row.Operation.Subject.UUID, reserve))
		}

		return checkReopened(ctx, q, row.Operation)
	}

	err := s.hot.inTransactionWithTrips(ctx, "reopening an operation", reopen)

	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return s.FindByID(ctx, id)
	case hasCode(err, pgerrcode.UniqueViolation): // of operations_one_at_a_time or operations_one_update
		return ports.Operation{}, fmt.Errorf("operation %s: %w", id, ports.ErrInProgress)
	case err != nil:
		return ports.Operation{}, err
	}

	op, err := operationFromDB(row.Operation, row.AgeSeconds, lease.Token)
	op.Incarnation, op.Standing = row.Incarnation, standingFromDB(row.Reconciled, row.BehindSeconds)
	op.IntentID = row.IntentID

	return op, err
}

// errNoPayment is err, or fault.NotFound where the payment of an operation was not found.
func errNoPayment(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("payment")
	}

	return err
}

// Release implements ports.Operations.
func (s *Store) Release(ctx context.Context, held ports.Operation, retryIn time.Duration, cause error) error {
	return s.hot.exec(ctx, "releasing an operation", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ReleaseOperation(ctx, sqlc.ReleaseOperationParams{
			ID:         held.ID,
			LeaseToken: held.Lease,
			RetryIn:    interval(retryIn),
			Sent:       !errors.Is(cause, ports.ErrUnavailable),
			LastError:  shortError(cause),
		})
	})
}

// Extend implements ports.Operations.
func (s *Store) Extend(ctx context.Context, held ports.Operation, by time.Duration) error {
	return s.hot.exec(ctx, "extending a lease", func(ctx context.Context, q *sqlc.Queries) error {
		return q.ExtendLease(ctx, sqlc.ExtendLeaseParams{
			ID: held.ID, LeaseToken: held.Lease, Lease: interval(by),
		})
	})
}

// GiveUp implements ports.Operations.
func (s *Store) GiveUp(ctx context.Context, id uuid.UUID, cause error) error {
	return s.hot.exec(ctx, "giving up on an operation", func(ctx context.Context, q *sqlc.Queries) error {
		return q.GiveUpOperation(ctx, sqlc.GiveUpOperationParams{ID: id, LastError: shortError(cause)})
	})
}

// shortError is what is stored of an error. The error may quote anything that a
// broken proxy has sent, but PostgreSQL's text must be UTF-8 without U+0000.
func shortError(err error) string {
	text := strings.ToValidUTF8(strings.ReplaceAll(err.Error(), "\x00", ""), "\uFFFD")

	return fault.Shorten(text, maxLastError)
}
