package ports

import (
	"context"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
)

// Tenants keeps who owns API keys, payments and customers. Atomicity, idempotency and errors are
// as with APIKeys.
type Tenants interface {
	// Tenants returns all of them, by name. The default one is always there.
	Tenants(ctx context.Context) ([]tenant.Tenant, error)

	// Tenant returns one. None: fault.NotFound.
	Tenant(ctx context.Context, id operation.Tenant) (tenant.Tenant, error)

	// CreateTenant writes a tenant. The store sets CreatedAt. If it is there already, or
	// another one has its id: fault.Invalid.
	CreateTenant(ctx context.Context, t tenant.Tenant, entry AuditEntry) (tenant.Tenant, error)

	// DisableTenant makes the keys of a tenant stop working, or work again. If that is so
	// already, nothing happens, and there is no entry.
	DisableTenant(ctx context.Context, id operation.Tenant, disabled bool, entry AuditEntry) (tenant.Tenant, error)
}

// The actions on tenants.
const (
	AuditTenantCreated  AuditAction = "tenant.create"
	AuditTenantDisabled AuditAction = "tenant.disable"
	AuditTenantEnabled  AuditAction = "tenant.enable"
)
