package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Operation implements ports.Decisions.
func (s *Store) Operation(ctx context.Context, id uuid.UUID) (ports.OperationDetails, error) {
	row, err := s.rowByID(ctx, id)
	if err != nil {
		return ports.OperationDetails{}, errNoOperation(err)
	}

	return detailsFromDB(row.Operation, row.AgeSeconds)
}

// OperationByKey implements ports.Decisions.
func (s *Store) OperationByKey(ctx context.Context, tenant operation.Tenant, key operation.Key) (ports.OperationDetails, error) {
	row, err := s.rowByKey(ctx, tenant, key)
	if err != nil {
		return ports.OperationDetails{}, errNoOperation(err)
	}

	return detailsFromDB(row.Operation, row.AgeSeconds)
}

// OperationsOn implements ports.Decisions.
func (s *Store) OperationsOn(ctx context.Context, paymentID uuid.UUID) ([]ports.OperationDetails, error) {
	rows, err := query(ctx, s.background, "listing a payment's operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListOperationsOnRow, error) {
			return q.ListOperationsOn(ctx, sqlc.ListOperationsOnParams{Subject: paymentID, MaxRows: ports.MaxOperationsOn})
		})
	if err != nil {
		return nil, err
	}

	slices.Reverse(rows)

	return mappedOrError(rows, func(row sqlc.ListOperationsOnRow) (ports.OperationDetails, error) {
		return detailsFromDB(row.Operation, row.AgeSeconds)
	})
}

// Operations implements ports.Decisions.
func (s *Store) Operations(
	ctx context.Context, owner operation.Tenant, states []operation.State, limit int,
) ([]ports.OperationDetails, error) {
	rows, err := query(ctx, s.background, "listing operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListFinishedOperationsRow, error) {
			return listOperations(ctx, q, owner, statesToDB(states), limit, slices.ContainsFunc(states, isFinal))
		})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, func(row sqlc.ListFinishedOperationsRow) (ports.OperationDetails, error) {
		return detailsFromDB(row.Operation, row.AgeSeconds)
	})
}

// isFinal: neither recovery nor a person still has to do anything.
func isFinal(state operation.State) bool {
	return state != operation.Pending && state != operation.NeedsAttention
}

// listOperations reads final operations, which have no index of their own, only where
// they are wanted and the limit leaves room.
func listOperations(
	ctx context.Context, q *sqlc.Queries, owner operation.Tenant, states []string, limit int, alsoFinal bool,
) ([]sqlc.ListFinishedOperationsRow, error) {
	unfinished, err := q.ListUnfinishedOperations(ctx, sqlc.ListUnfinishedOperationsParams{
		States: states, Tenant: int32(owner), MaxRows: int32(limit), //nolint:gosec // checked by the caller
	})
	rows := mapped(unfinished, func(row sqlc.ListUnfinishedOperationsRow) sqlc.ListFinishedOperationsRow {
		return sqlc.ListFinishedOperationsRow(row)
	})

	if err != nil || len(rows) == limit || !alsoFinal {
		return rows, err
	}

	finished, err := q.ListFinishedOperations(ctx, sqlc.ListFinishedOperationsParams{
		States: states, Tenant: int32(owner), MaxRows: int32(limit - len(rows)), //nolint:gosec // checked by the caller
	})

	return append(rows, finished...), err
}

// Close implements ports.Decisions.
func (s *Store) Close(
	ctx context.Context, id uuid.UUID, state operation.State, response ports.FrozenResponse, entry ports.AuditEntry,
) (ports.Operation, error) {
	var op ports.Operation

	err := s.hot.inTransactionWithTrips(ctx, "closing an operation", func(ctx context.Context, q *sqlc.Queries, tx *trips) error {
		locked, done, err := lockToDecide(ctx, q, id, entry)
		if err != nil {
			return err
		}

		if done {
			op, err = operationFromDB(locked.Operation, locked.AgeSeconds, uuid.Nil)

			return err
		}

		closed, err := q.CloseOperation(ctx, sqlc.CloseOperationParams{
			ID:             id,
			State:          string(state),
			ResponseStatus: int16(response.Status), //nolint:gosec // an HTTP status
			ResponseBody:   bodyToDB(response.Body),
		})

		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("operation %s: %w", id, ports.ErrMoved)
		case err != nil:
			return fmt.Errorf("operation %s: %w", id, err)
		}

		if op, err = operationFromDB(closed.Operation, closed.AgeSeconds, uuid.Nil); err != nil {
			return err
		}

		if err := giveBack(ctx, tx, op, string(operation.ByPerson)); err != nil {
			return err
		}

		return writeAudit(ctx, q, entry)
	})

	return op, errNoOperation(err)
}

// Adopt implements ports.Decisions.
func (s *Store) Adopt(ctx context.Context, c ports.Completion, entry ports.AuditEntry) (ports.Finished, error) {
	var finished ports.Finished

	err := s.hot.run(ctx, "adopting an intent", func(ctx context.Context, conn *pgxpool.Conn) error {
		return lookAgain(func() error {
			return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
				finished, err = s.adopt(ctx, tx, c, entry)

				return err
			})
		})
	})

	return finished, errNoOperation(err)
}

func (s *Store) adopt(
	ctx context.Context, tx pgx.Tx, c ports.Completion, entry ports.AuditEntry,
) (ports.Finished, error) {
	q := sqlc.New(tx)

	locked, done, err := lockToDecide(ctx, q, c.Payment.ID, entry)
	if err != nil {
		return ports.Finished{}, err
	}

	if !done && stateFromDB(locked.Operation.State) == operation.Finished {
		return ports.Finished{}, fmt.Errorf("operation %s: %w", c.Payment.ID, ports.ErrMoved)
	}

	finished, err := s.finishLocked(ctx, &trips{to: tx, open: true}, c) // to repeat it changes nothing
	if err != nil || done {
		return finished, err
	}

	return finished, writeAudit(ctx, q, entry)
}

// AdoptOn implements ports.Decisions.
func (s *Store) AdoptOn(
	ctx context.Context, id uuid.UUID, c ports.Change, entry ports.AuditEntry,
) (ports.Finished, error) {
	return s.finishOn(ctx, id, string(operation.ByPerson), c, &entry)
}

// lockToDecide locks an operation: the statements after it see everything that was
// committed before. done: an earlier attempt has already written the decision.
func lockToDecide(
	ctx context.Context, q *sqlc.Queries, id uuid.UUID, entry ports.AuditEntry,
) (locked sqlc.LockOperationRow, done bool, err error) {
	if locked, err = q.LockOperation(ctx, id); err == nil {
		done, err = q.HasAudit(ctx, entry.ID)
	}

	if err != nil {
		return locked, false, fmt.Errorf("operation %s: %w", id, err)
	}

	return locked, done, nil
}

// AuditOf implements ports.Audit.
func (s *Store) AuditOf(ctx context.Context, objectIDs ...string) ([]ports.AuditEntry, error) {
	rows, err := query(ctx, s.background, "reading the audit", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Audit, error) {
		return q.ListAudit(ctx, sqlc.ListAuditParams{ObjectIds: objectIDs, MaxRows: ports.MaxAudit})
	})
	if err != nil {
		return nil, err
	}

	slices.Reverse(rows)

	return mappedOrError(rows, auditFromDB)
}

// writeAudit runs in the transaction of the change that entry is about.
func writeAudit(ctx context.Context, q *sqlc.Queries, entry ports.AuditEntry) error {
	params, err := auditToDB(entry)
	if err != nil {
		return err
	}

	if err := q.InsertAudit(ctx, params); err != nil {
		return fmt.Errorf("writing the audit: %w", err)
	}

	return nil
}

// insertAudit is writeAudit as a statement of a trip.
func insertAudit(entry ports.AuditEntry) (statement, error) {
	p, err := auditToDB(entry)

	return execute(sqlc.InsertAudit, p.ID, p.Actor, p.OnBehalfOf, p.Action, p.ObjectType, p.ObjectID, p.Reason, p.Before,
		p.After, p.RequestID, p.Tenant), err
}

// hasAudit tells whether a decision is written; uuid.Nil is none.
func hasAudit(ctx context.Context, tx *trips, id uuid.UUID) (done bool, err error) {
	if id == uuid.Nil {
		return false, nil
	}

	err = tx.send(ctx, selectRows(sqlc.HasAudit, func(r struct{ Done bool }) { done = r.Done }, id))

	return done, err
}

func auditToDB(entry ports.AuditEntry) (sqlc.InsertAuditParams, error) {
	before, err := changeToDB(entry.Before)
	if err != nil {
		return sqlc.InsertAuditParams{}, err
	}

	after, err := changeToDB(entry.After)
	if err != nil {
		return sqlc.InsertAuditParams{}, err
	}

	return sqlc.InsertAuditParams{
		ID:         entry.ID,
		Actor:      entry.Actor,
		OnBehalfOf: optional(entry.OnBehalfOf),
		Action:     string(entry.Action),
		ObjectType: entry.ObjectType,
		ObjectID:   entry.ObjectID,
		Reason:     entry.Reason,
		Before:     before,
		After:      after,
		RequestID:  optional(entry.RequestID),
		Tenant:     optional(int32(entry.Tenant)),
	}, nil
}

func changeToDB(change map[string]any) (*string, error) {
	if change == nil {
		return nil, nil
	}

	form, err := json.Marshal(change)
	if err != nil {
		return nil, fmt.Errorf("a change for the audit: %w", err)
	}

	return new(string(form)), nil
}

func changeFromDB(form []byte) (map[string]any, error) {
	if form == nil {
		return nil, nil
	}

	var change map[string]any
	if err := json.Unmarshal(form, &change); err != nil {
		return nil, fmt.Errorf("a change in the audit: %w", err)
	}

	return change, nil
}

func auditFromDB(row sqlc.Audit) (ports.AuditEntry, error) {
	before, err := changeFromDB(row.Before)
	if err != nil {
		return ports.AuditEntry{}, err
	}

	after, err := changeFromDB(row.After)
	if err != nil {
		return ports.AuditEntry{}, err
	}

	return ports.AuditEntry{
		ID:         row.ID,
		At:         row.At.UTC(),
		Actor:      row.Actor,
		OnBehalfOf: deref(row.OnBehalfOf),
		Action:     ports.AuditAction(row.Action),
		ObjectType: row.ObjectType,
		ObjectID:   row.ObjectID,
		Reason:     row.Reason,
		Before:     before,
		After:      after,
		RequestID:  deref(row.RequestID),
		Tenant:     operation.Tenant(deref(row.Tenant)),
	}, nil
}

// detailsFromDB: the row was read ageSeconds after it was written.
func detailsFromDB(row sqlc.Operation, ageSeconds float64) (ports.OperationDetails, error) {
	op, err := operationFromDB(row, ageSeconds, uuid.Nil)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	details := ports.OperationDetails{
		Operation: op,
		LastError: deref(row.LastError),
		InHand:    !op.Finished() && row.LeasedUntil.After(row.CreatedAt.Add(op.Age)),
		UpdatedAt: row.UpdatedAt.UTC(),
	}

	if op.State == operation.Pending {
		details.RetryAt = row.RetryAt.UTC()
	}

	return details, nil
}

// errNoOperation is err, or fault.NotFound where no row was found.
func errNoOperation(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("operation")
	}

	return err
}
