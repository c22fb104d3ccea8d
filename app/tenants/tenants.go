package tenants

import (
	"context"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// Tenants makes, lists, disables and enables tenants, by a person's decision.
type Tenants struct {
	store    ports.Tenants
	observer Observer
	spans    ports.Spans
}

// NewTenants returns the use cases.
func NewTenants(store ports.Tenants, observer Observer, spans ports.Spans) *Tenants {
	return &Tenants{store: store, observer: observer, spans: spans}
}

// List returns all tenants, by name.
func (uc *Tenants) List(ctx context.Context) ([]tenant.Tenant, error) { return uc.store.Tenants(ctx) }

// Create makes a tenant. A name that cannot be one, or that is taken, is fault.Invalid.
func (uc *Tenants) Create(ctx context.Context, by By, name string) (tenant.Tenant, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreateTenant", func(ctx context.Context) (tenant.Tenant, error) {
		wanted, err := tenant.New(name)
		if err != nil {
			return wanted, err
		}

		return uc.change(ctx, by, ports.AuditTenantCreated, wanted,
			func(entry ports.AuditEntry) (tenant.Tenant, error) { return uc.store.CreateTenant(ctx, wanted, entry) })
	})
}

// Disable makes a tenant's keys stop working, within seconds in every process; or, with disabled
// false, work again. Its payments and customers stay, and what Stripe tells of them is taken. The
// default tenant cannot be disabled: fault.Invalid. No such tenant: fault.NotFound.
func (uc *Tenants) Disable(ctx context.Context, by By, name string, disabled bool) (tenant.Tenant, error) {
	return ports.InSpan(ctx, uc.spans, "app.DisableTenant", func(ctx context.Context) (tenant.Tenant, error) {
		named, err := tenant.New(name)

		switch {
		case err != nil:
			return named, err
		case named.ID == operation.DefaultTenant:
			return named, fault.New(fault.Invalid, "The default tenant cannot be disabled. Revoke its keys instead.")
		}

		action := ports.AuditTenantEnabled
		if disabled {
			action = ports.AuditTenantDisabled
		}

		return uc.change(ctx, by, action, named,
			func(entry ports.AuditEntry) (tenant.Tenant, error) {
				return uc.store.DisableTenant(ctx, named.ID, disabled, entry)
			})
	})
}

func (uc *Tenants) change(
	ctx context.Context, by By, action ports.AuditAction, t tenant.Tenant,
	change func(entry ports.AuditEntry) (tenant.Tenant, error),
) (tenant.Tenant, error) {
	entry, err := by.entry(action, objectTenant, t.Name, map[string]any{"id": t.ID})
	if err != nil {
		return t, err
	}

	changed, err := change(entry)
	if err == nil {
		uc.observer.KeyChanged(ctx, entry)
	}

	return changed, err
}
