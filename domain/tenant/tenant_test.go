package tenant_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
)

// These ids are at Stripe, in marks: another way to make them would give a tenant's payments
// to another one after a restore.
func TestNew(t *testing.T) {
	t.Parallel()

	for name, want := range map[string]operation.Tenant{
		"default": operation.DefaultTenant, "acme": 132030889, "acme-eu": 1827924152, "7": 669897405,
		strings.Repeat("a", 63): 389388514,
	} {
		made, err := tenant.New(name)
		require.NoError(t, err)
		require.Equal(t, want, made.ID, name)
		require.Equal(t, name, made.Name)
	}

	for _, name := range []string{"", "Acme", "a b", "-a", "a-", "a--b", "ж", "a_b", strings.Repeat("a", 64), "a\n"} {
		_, err := tenant.New(name)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", name)
	}
}
