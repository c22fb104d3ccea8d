package binding_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/binding"
)

var whole = binding.Binding{Host: "api.stripe.com", Mode: binding.Live, Account: "acct_1", System: "7", Database: "marketflow"}

func TestBinding_Differences(t *testing.T) {
	t.Parallel()

	require.Empty(t, whole.Differences(whole))
	require.Empty(t, binding.Binding{}.Differences(whole), "what was not recorded does not differ")
	require.Empty(t, whole.Differences(binding.Binding{}), "what is not known does not differ")

	for what, change := range map[string]func(*binding.Binding){
		"Stripe's API":                 func(b *binding.Binding) { b.Host = "other" },
		"mode":                         func(b *binding.Binding) { b.Mode = "other" },
		"Stripe account":               func(b *binding.Binding) { b.Account = "other" },
		"PostgreSQL system identifier": func(b *binding.Binding) { b.System = "other" },
		"database name":                func(b *binding.Binding) { b.Database = "other" },
	} {
		now := whole
		change(&now)

		differ := whole.Differences(now)
		require.Len(t, differ, 1, what)
		require.Equal(t, what, differ[0].What)
		require.Equal(t, "other", differ[0].Now)
		require.NotContains(t, (&binding.DifferentError{Differences: differ}).Error(), "\n")
	}
}

// A pending operation may go on only in an account that is surely the same.
func TestBinding_SameAccount(t *testing.T) {
	t.Parallel()

	moved := whole
	moved.System, moved.Database, moved.Host = "8", "copy", "proxy.internal"
	require.True(t, whole.SameAccount(moved))

	for _, now := range []binding.Binding{
		{}, {Account: "acct_1"}, {Mode: binding.Live}, {Mode: binding.Live, Account: "acct_2"}, {Mode: binding.Test, Account: "acct_1"},
	} {
		require.False(t, whole.SameAccount(now), "%+v", now)
	}

	unknown := whole
	unknown.Account = ""
	require.False(t, unknown.SameAccount(unknown), "nobody knows")
}

func TestBinding_Adopted(t *testing.T) {
	t.Parallel()

	now := binding.Binding{Host: whole.Host, Mode: whole.Mode, Database: "copy"}
	require.Equal(t, binding.Binding{
		Host: whole.Host, Mode: whole.Mode, Account: whole.Account, System: whole.System, Database: "copy",
	}, whole.Adopted(now), "the account is of this API and mode still")

	now.Mode = binding.Test
	require.Empty(t, whole.Adopted(now).Account, "a live account says nothing about test mode")

	now = whole
	now.Account = "acct_2"
	require.Equal(t, now, whole.Adopted(now))
}
