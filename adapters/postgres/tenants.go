package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgerrcode"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

var _ ports.Tenants = (*Store)(nil)

// Tenants implements ports.Tenants.
func (s *Store) Tenants(ctx context.Context) ([]tenant.Tenant, error) {
	rows, err := query(ctx, s.background, "listing tenants",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Tenant, error) { return q.ListTenants(ctx) })

	return mapped(rows, tenantFromDB), err
}

// Tenant implements ports.Tenants.
func (s *Store) Tenant(ctx context.Context, id operation.Tenant) (tenant.Tenant, error) {
	rows, err := query(ctx, s.hot, "reading a tenant",
		func(ctx context.Context, q *sqlc.Queries) ([]sqlc.Tenant, error) { return q.GetTenant(ctx, int32(id)) })

	switch {
	case err != nil:
		return tenant.Tenant{}, err
	case len(rows) == 0:
		return tenant.Tenant{}, errNotFound("tenant")
	default:
		return tenantFromDB(rows[0]), nil
	}
}

// CreateTenant implements ports.Tenants.
func (s *Store) CreateTenant(ctx context.Context, t tenant.Tenant, entry ports.AuditEntry) (tenant.Tenant, error) {
	made, err := s.changeTenant(ctx, "creating a tenant", t.ID, entry,
		func(ctx context.Context, q *sqlc.Queries) (sqlc.Tenant, error) {
			return q.InsertTenant(ctx, sqlc.InsertTenantParams{ID: int32(t.ID), Name: t.Name})
		})
	if hasCode(err, pgerrcode.UniqueViolation) {
		return made, fault.Newf(fault.Invalid,
			"There is a tenant %s already, or, which is very rare, another one whose id is the same; then choose another name.", t.Name)
	}

	return made, err
}

// DisableTenant implements ports.Tenants.
func (s *Store) DisableTenant(
	ctx context.Context, id operation.Tenant, disabled bool, entry ports.AuditEntry,
) (tenant.Tenant, error) {
	return s.changeTenant(ctx, "disabling or enabling a tenant", id, entry,
		func(ctx context.Context, q *sqlc.Queries) (sqlc.Tenant, error) {
			rows, err := q.GetTenant(ctx, int32(id))

			switch {
			case err != nil:
				return sqlc.Tenant{}, fmt.Errorf("reading the tenant: %w", err)
			case len(rows) == 0:
				return sqlc.Tenant{}, errNotFound("tenant")
			case (rows[0].DisabledAt != nil) == disabled:
				return rows[0], errUnchanged
			default:
				return q.DisableTenant(ctx, sqlc.DisableTenantParams{ID: int32(id), Disabled: disabled})
			}
		})
}

// changeTenant makes a change with its entry in the audit.
func (s *Store) changeTenant(
	ctx context.Context, doing string, id operation.Tenant, entry ports.AuditEntry,
	change func(context.Context, *sqlc.Queries) (sqlc.Tenant, error),
) (tenant.Tenant, error) {
	var row sqlc.Tenant

	err := s.changeWithAudit(ctx, doing, entry,
		func(ctx context.Context, q *sqlc.Queries) (err error) {
			row, err = change(ctx, q)

			return err
		},
		func(ctx context.Context, q *sqlc.Queries) error {
			rows, err := q.GetTenant(ctx, int32(id))
			if len(rows) > 0 {
				row = rows[0]
			}

			return err
		})

	return tenantFromDB(row), err
}

func tenantFromDB(row sqlc.Tenant) tenant.Tenant {
	return tenant.Tenant{
		ID: operation.Tenant(row.ID), Name: row.Name, CreatedAt: row.CreatedAt.UTC(), DisabledAt: utc(row.DisabledAt),
	}
}
