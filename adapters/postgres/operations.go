package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Operation implements ports.Operations.
func (s *Store) Operation(ctx context.Context, id uuid.UUID) (ports.Operation, error) {
	row, err := query(ctx, s, "reading an operation",
		func(ctx context.Context, q *sqlc.Queries) (sqlc.FindClaimByPaymentRow, error) {
			return q.FindClaimByPayment(ctx, id)
		})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds)
}

// OperationByKey implements ports.Operations.
func (s *Store) OperationByKey(ctx context.Context, key payment.Key) (ports.Operation, error) {
	row, err := query(ctx, s, "finding an operation", func(ctx context.Context, q *sqlc.Queries) (sqlc.FindClaimByKeyRow, error) {
		return q.FindClaimByKey(ctx, string(key))
	})
	if err != nil {
		return ports.Operation{}, errNoOperation(err)
	}

	return operationFromDB(row.PaymentRequest, row.AgeSeconds)
}

// Operations implements ports.Operations.
func (s *Store) Operations(ctx context.Context, states []ports.ClaimState, limit int) ([]ports.Operation, error) {
	names := make([]string, 0, len(states))
	for _, state := range states {
		names = append(names, string(state))
	}

	rows, err := query(ctx, s, "listing operations",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListFinishedOperationsRow, error) {
			return listOperations(ctx, q, names, limit, slices.ContainsFunc(states, isAtRest))
		})
	if err != nil {
		return nil, err
	}

	operations := make([]ports.Operation, 0, len(rows))

	for _, row := range rows {
		operation, err := operationFromDB(row.PaymentRequest, row.AgeSeconds)
		if err != nil {
			return nil, err
		}

		operations = append(operations, operation)
	}

	return operations, nil
}

// isAtRest: nobody works on it or waits for it.
func isAtRest(state ports.ClaimState) bool {
	return state != ports.ClaimPending && state != ports.ClaimNeedsAttention
}

// listOperations asks for those at rest only where they are wanted and there is
// room: they are in no index of their own.
func listOperations(
	ctx context.Context, q *sqlc.Queries, states []string, limit int, alsoAtRest bool,
) ([]sqlc.ListFinishedOperationsRow, error) {
	unfinished, err := q.ListUnfinishedOperations(ctx, sqlc.ListUnfinishedOperationsParams{
		States: states, MaxRows: int32(limit), //nolint:gosec // checked by the caller
	})
	rows := mapped(unfinished, func(row sqlc.ListUnfinishedOperationsRow) sqlc.ListFinishedOperationsRow {
		return sqlc.ListFinishedOperationsRow(row)
	})

	if err != nil || len(rows) == limit || !alsoAtRest {
		return rows, err
	}

	finished, err := q.ListFinishedOperations(ctx, sqlc.ListFinishedOperationsParams{
		States: states, MaxRows: int32(limit - len(rows)), //nolint:gosec // checked by the caller
	})

	return append(rows, finished...), err
}

func isFinished(state ports.ClaimState) bool { return ports.Claim{State: state}.Finished() }

// Close implements ports.Operations.
func (s *Store) Close(
	ctx context.Context, id uuid.UUID, state ports.ClaimState, response ports.FrozenResponse, entry ports.AuditEntry,
) (ports.Claim, error) {
	var claim ports.Claim

	err := s.inTransaction(ctx, "closing an operation", func(ctx context.Context, q *sqlc.Queries) error {
		// What waited for the lock is seen by the statements after it.
		locked, err := q.LockClaim(ctx, id)
		if err != nil {
			return fmt.Errorf("operation %s: %w", id, err)
		}

		done, err := q.HasAudit(ctx, entry.ID)
		if err != nil {
			return fmt.Errorf("operation %s: %w", id, err)
		}

		if done {
			claim, err = claimFromDB(locked.PaymentRequest, locked.AgeSeconds, uuid.Nil)

			return err
		}

		closed, err := q.CloseOperation(ctx, sqlc.CloseOperationParams{
			PaymentID:      id,
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

		if claim, err = claimFromDB(closed.PaymentRequest, closed.AgeSeconds, uuid.Nil); err != nil {
			return err
		}

		return writeAudit(ctx, q, entry)
	})

	return claim, errNoOperation(err)
}

// Adopt implements ports.Operations.
func (s *Store) Adopt(ctx context.Context, c ports.Completion, entry ports.AuditEntry) (ports.Completed, error) {
	var completed ports.Completed

	err := s.inTransaction(ctx, "adopting an intent", func(ctx context.Context, q *sqlc.Queries) error {
		locked, err := q.LockClaim(ctx, c.Payment.ID)
		if err != nil {
			return fmt.Errorf("operation %s: %w", c.Payment.ID, err)
		}

		done, err := q.HasAudit(ctx, entry.ID)
		if err != nil {
			return fmt.Errorf("operation %s: %w", c.Payment.ID, err)
		}

		if !done && isFinished(ports.ClaimState(locked.PaymentRequest.State)) {
			return fmt.Errorf("operation %s: %w", c.Payment.ID, ports.ErrMoved)
		}

		row, err := complete(ctx, q, completionToDB(c)) // repeating it changes nothing
		if err != nil {
			return err
		}

		if completed, err = completedFromDB(row); err != nil || done {
			return err
		}

		return writeAudit(ctx, q, entry)
	})

	return completed, errNoOperation(err)
}

// AuditOf implements ports.Audit.
func (s *Store) AuditOf(ctx context.Context, objectIDs ...string) ([]ports.AuditEntry, error) {
	rows, err := query(ctx, s, "reading the audit", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Audit, error) {
		return q.ListAudit(ctx, objectIDs)
	})
	if err != nil {
		return nil, err
	}

	entries := make([]ports.AuditEntry, 0, len(rows))

	for _, row := range rows {
		entry, err := auditFromDB(row)
		if err != nil {
			return nil, err
		}

		entries = append(entries, entry)
	}

	return entries, nil
}

// writeAudit is part of the transaction of the change that entry is about.
func writeAudit(ctx context.Context, q *sqlc.Queries, entry ports.AuditEntry) error {
	before, err := changeToDB(entry.Before)
	if err != nil {
		return err
	}

	after, err := changeToDB(entry.After)
	if err != nil {
		return err
	}

	err = q.InsertAudit(ctx, sqlc.InsertAuditParams{
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
	})
	if err != nil {
		return fmt.Errorf("writing the audit: %w", err)
	}

	return nil
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
	}, nil
}

// operationFromDB: the row was read ageSeconds after it was written.
func operationFromDB(row sqlc.PaymentRequest, ageSeconds float64) (ports.Operation, error) {
	claim, err := claimFromDB(row, ageSeconds, uuid.Nil)
	if err != nil {
		return ports.Operation{}, err
	}

	operation := ports.Operation{
		Claim:     claim,
		LastError: deref(row.LastError),
		InHand:    !claim.Finished() && row.LeasedUntil.After(row.CreatedAt.Add(claim.Age)),
		UpdatedAt: row.UpdatedAt.UTC(),
	}

	if claim.State == ports.ClaimPending {
		operation.RetryAt = row.RetryAt.UTC()
	}

	return operation, nil
}

// errNoOperation tells the caller that there is no such operation, if that is
// what err says.
func errNoOperation(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return errNotFound("operation")
	}

	return err
}
