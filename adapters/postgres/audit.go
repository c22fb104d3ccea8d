package postgres

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
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

// AuditedUntil implements ports.Audit.
func (s *Store) AuditedUntil(ctx context.Context) (time.Time, error) {
	until, err := query(ctx, s.background, "reading until when the audit is complete",
		func(ctx context.Context, q *sqlc.Queries) (time.Time, error) { return q.GetAuditedUntil(ctx) })

	return until.UTC(), err
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

// keyChanged lists, in an operation's after, the names of what differs and is not kept.
const keyChanged = "changed"

// auditedToDB is a payment in the column before; empty if there is none.
func auditedToDB(p payment.Payment) string {
	if p.ID == uuid.Nil {
		return ""
	}

	return jsonToDB(p.Audited())
}

// changedToDB is the column after of an operation on a payment.
func changedToDB(before, after payment.Payment) string {
	kept := after.Audited()
	if names := payment.ChangedDetails(before, after); len(names) > 0 {
		kept[keyChanged] = names
	}

	return jsonToDB(kept)
}

// changedCustomerToDB is the column after of an operation on a customer: whose values are personal
// data, so it has names alone.
func changedCustomerToDB(before, after customer.Customer) string {
	if names := after.Changed(before); len(names) > 0 {
		return jsonToDB(map[string]any{keyChanged: names})
	}

	return ""
}

// differences are what an operation has changed of what the audit keeps of its payment. Before
// it is done, they are the payment as it stood. after is never nil.
func differences(row sqlc.ListAuditedOperationsRow) (before, after map[string]any, err error) {
	if before, err = changeFromDB(row.Before); err == nil {
		after, err = changeFromDB(row.After)
	}

	switch {
	case err != nil:
		return nil, nil, err
	case after == nil && !isFinal(operation.State(row.State)):
		return before, map[string]any{}, nil
	case after == nil: // nothing came of it
		return nil, map[string]any{}, nil
	case before == nil: // it is not known
		return nil, after, nil
	}

	for name, was := range before {
		switch is, still := after[name]; {
		case !still:
			after[name] = nil
		case reflect.DeepEqual(is, was):
			delete(before, name)
			delete(after, name)
		}
	}

	for name := range after {
		if _, had := before[name]; !had && name != keyChanged {
			before[name] = nil
		}
	}

	return before, after, nil
}

// auditOfOperation is an operation as the audit shows it: with neither metadata nor options,
// which may hold a person's data and can be erased.
func auditOfOperation(row sqlc.ListAuditedOperationsRow) (ports.AuditEntry, error) {
	kind := operation.Kind(row.Kind)
	entry := ports.AuditEntry{
		ID: row.ID, At: row.CreatedAt.UTC(), Tenant: operation.Tenant(row.Tenant), Actor: row.Actor, OnBehalfOf: deref(row.OnBehalfOf),
		Action: ports.AuditAction(kind.Action()), ObjectType: "payment", ObjectID: row.ObjectID.String(),
		Reason: row.Reason, RequestID: row.OriginRequestID,
	}

	var err error
	if entry.Before, entry.After, err = differences(row); err != nil {
		return entry, err
	}

	entry.After["operation_id"], entry.After["state"] = row.ID.String(), string(stateFromDB(row.State))

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
