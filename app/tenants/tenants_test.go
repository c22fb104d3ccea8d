package tenants_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

func TestTenants(t *testing.T) {
	t.Parallel()

	b := setup(t)

	acme, err := b.tenants.Create(t.Context(), person(), "acme")
	require.NoError(t, err)
	require.Equal(t, "acme", acme.Name)
	require.NotEqual(t, operation.DefaultTenant, acme.ID)

	for _, name := range []string{"acme", tenant.DefaultName, "", "Ac me"} {
		_, err = b.tenants.Create(t.Context(), person(), name)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q: %v", name, err)
	}

	names := func() (names []string) {
		list, err := b.tenants.List(t.Context())
		require.NoError(t, err)

		for _, one := range list {
			names = append(names, one.Name)
		}

		return names
	}
	require.Equal(t, []string{"acme", "default"}, names())

	// Its keys are its own.
	by := person()
	by.Tenant = acme.ID
	order := tenants.Order{Name: "shop", Scopes: []string{tenant.Admin}}
	made, err := b.keys.Create(t.Context(), by, order)
	require.NoError(t, err)
	require.Equal(t, acme.ID, made.Tenant)

	_, err = b.keys.Find(t.Context(), operation.DefaultTenant, made.Prefix)
	require.Equal(t, fault.NotFound, fault.KindOf(err))

	usable := func() int {
		keys, err := b.Store.UsableAPIKeys(t.Context())
		require.NoError(t, err)

		return len(keys)
	}
	require.Equal(t, 1, usable())

	for range 2 { // repeating it is harmless
		disabled, err := b.tenants.Disable(t.Context(), person(), "acme", true)
		require.NoError(t, err)
		require.False(t, disabled.DisabledAt.IsZero())
		require.Zero(t, usable())
	}

	_, err = b.keys.Create(t.Context(), by, order)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "nobody could use it")

	enabled, err := b.tenants.Disable(t.Context(), person(), "acme", false)
	require.NoError(t, err)
	require.True(t, enabled.DisabledAt.IsZero())
	require.Equal(t, 1, usable())

	by.Tenant++
	_, err = b.keys.Create(t.Context(), by, order)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "there is no such tenant")

	_, err = b.tenants.Disable(t.Context(), person(), "none", true)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
	_, err = b.tenants.Disable(t.Context(), person(), tenant.DefaultName, true)
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	audit, err := b.Store.AuditOf(t.Context(), "acme")
	require.NoError(t, err)

	actions := make([]ports.AuditAction, 0, len(audit))
	for _, entry := range audit {
		actions = append(actions, entry.Action)
		require.Equal(t, "cli:me@here", entry.Actor)
	}

	require.Equal(t, []ports.AuditAction{ports.AuditTenantCreated, ports.AuditTenantDisabled, ports.AuditTenantEnabled}, actions)
}
