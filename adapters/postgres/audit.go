package postgres

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// ListAudit implements ports.Audit. It is made of two tables, each read in the same order.
func (s *Store) ListAudit(
	ctx context.Context, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition, limit int,
) ([]ports.AuditEntry, error) {
	if before == (ports.AuditPosition{}) {
		before.At = endOfTime
	}

	reading := s.background
	reading.reads = pageRead

	rows, err := query(ctx, reading, "reading the audit", func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Audit, error) {
		return q.ListAuditEntries(ctx, sqlc.ListAuditEntriesParams{
			BeforeAt: before.At, BeforeID: before.ID, FromAt: filter.From, Tenant: int32(owner),
			ObjectID: filter.ObjectID, Actor: filter.Actor,
			Action: string(filter.Action), MaxRows: int32(limit), //nolint:gosec // checked by the caller
		})
	})
	if err != nil {
		return nil, err
	}

	entries, err := mappedOrError(rows, auditFromDB)
	if err != nil {
		return nil, err
	}

	ops, err := s.auditedOperations(ctx, reading, owner, filter, before, limit)
	if err != nil {
		return nil, err
	}

	entries = append(entries, ops...)
	slices.SortStableFunc(entries, func(a, b ports.AuditEntry) int {
		if order := b.At.Compare(a.At); order != 0 {
			return order
		}

		return slices.Compare(b.ID[:], a.ID[:])
	})

	return entries[:min(limit, len(entries))], nil
}

func (*Store) auditedOperations(
	ctx context.Context, on connections, owner operation.Tenant, filter ports.AuditFilter, before ports.AuditPosition, limit int,
) ([]ports.AuditEntry, error) {
	object, mayBe := objectOf(filter)
	if !mayBe {
		return nil, nil
	}

	var kind operation.Kind
	if filter.Action != "" {
		kind = operation.KindOfAction(string(filter.Action))
	}

	rows, err := query(ctx, on, "reading what clients asked for",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.ListAuditedOperationsRow, error) {
			return q.ListAuditedOperations(ctx, sqlc.ListAuditedOperationsParams{
				BeforeAt: before.At, BeforeID: before.ID, FromAt: filter.From, Tenant: int32(owner),
				OfObject: filter.ObjectID != "", ObjectID: object, Actor: filter.Actor, Kind: string(kind),
				MaxRows: int32(limit), //nolint:gosec // checked by the caller
			})
		})
	if err != nil {
		return nil, err
	}

	return mappedOrError(rows, auditOfOperation)
}

// objectOf is the payment or customer that a filter names, and whether one may be meant: each has
// a UUID.
func objectOf(filter ports.AuditFilter) (id uuid.UUID, mayBe bool) {
	if filter.ObjectID == "" {
		return uuid.Nil, true
	}

	id, err := uuid.Parse(filter.ObjectID)

	return id, err == nil
}

// auditOfOperation is an operation as the audit shows it: with neither metadata nor options,
// which may hold a person's data and can be erased.
func auditOfOperation(row sqlc.ListAuditedOperationsRow) (ports.AuditEntry, error) {
	kind := operation.Kind(row.Kind)
	entry := ports.AuditEntry{
		ID: row.ID, At: row.CreatedAt.UTC(), Actor: row.Actor, OnBehalfOf: deref(row.OnBehalfOf),
		Action: ports.AuditAction(kind.Action()), ObjectType: "payment", ObjectID: row.ObjectID.String(),
		Reason: deref(row.Reason), RequestID: row.OriginRequestID,
		After: map[string]any{"operation_id": row.ID.String(), "state": string(stateFromDB(row.State))},
	}

	if kind.OnCustomer() {
		entry.ObjectType = "customer"
	}

	if row.ResponseStatus != nil {
		entry.After["response_status"] = int(*row.ResponseStatus)
	}

	if row.Amount.Valid {
		amount, err := amountFromDB(row.Amount, deref(row.Currency))
		if err != nil {
			return entry, err
		}

		entry.After["amount"], entry.After["currency"] = amount.Decimal(), amount.Currency().Code()
	}

	return entry, nil
}
