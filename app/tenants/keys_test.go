package tenants_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

func TestKeys_Create(t *testing.T) {
	t.Parallel()

	b := setup(t)
	expires := time.Now().Add(90 * 24 * time.Hour)

	made, err := b.keys.Create(t.Context(), person(), tenants.Order{
		Name: "Shop 2", Scopes: []string{"checkout", "payments:capture"}, ExpiresAt: expires,
	})
	require.NoError(t, err)
	require.Equal(t, binding.Test, made.Secret.Mode())
	require.Equal(t, made.Secret.Prefix(), made.Prefix)
	require.WithinDuration(t, expires, made.ExpiresAt, time.Millisecond)
	require.True(t, made.Scopes.Has(tenant.PaymentsCapture))

	audit, err := b.Store.AuditOf(t.Context(), made.ID.String())
	require.NoError(t, err)
	require.Len(t, audit, 1)
	require.Equal(t, "cli:me@here", audit[0].Actor)
	require.Equal(t, ports.AuditKeyCreated, audit[0].Action)
	require.Equal(t, made.Prefix, audit[0].After["prefix"])
	require.NotContains(t, audit[0].After, "secret")

	// No error says what was sent, and nothing is made.
	for _, order := range []tenants.Order{
		{Scopes: []string{"admin"}},
		{Name: "x"},
		{Name: "x", Scopes: []string{"root"}},
		{Name: "x\n", Scopes: []string{"admin"}},
		{Name: "x", Scopes: []string{"admin"}, ExpiresAt: time.Now().Add(-time.Hour)},
	} {
		_, err := b.keys.Create(t.Context(), person(), order)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", order)
	}

	page, err := b.keys.List(t.Context(), operation.DefaultTenant, ports.KeyPosition{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Keys, 1)
}

// Whoever may make keys cannot so give itself what it may not do.
func TestKeys_GiveNothingThatTheyDoNotHave(t *testing.T) {
	t.Parallel()

	b := setup(t)
	by := person()
	by.Actor, by.May = ports.Actor{Name: "key:mf_test_x"}, tenant.Scopes{tenant.KeysWrite, tenant.PaymentsRead}

	_, err := b.keys.Create(t.Context(), by, tenants.Order{Name: "x", Scopes: []string{"payments:read", "payments:write"}})
	require.Equal(t, fault.InsufficientScope, fault.KindOf(err))
	require.Equal(t, "payments:write", fault.From(err).RequiredScope)

	_, err = b.keys.Create(t.Context(), by, tenants.Order{Name: "x", Scopes: []string{"payments:read"}})
	require.NoError(t, err)

	// Nor by rolling a key that may do more: it would get the secret.
	admin := b.make(t, "admin")
	_, err = b.keys.Roll(t.Context(), by, admin.ID, 0)
	require.Equal(t, fault.InsufficientScope, fault.KindOf(err))

	key, err := b.keys.Find(t.Context(), operation.DefaultTenant, admin.Prefix)
	require.NoError(t, err)
	require.Zero(t, key.ExpiresAt)
}

func TestKeys_Roll(t *testing.T) {
	t.Parallel()

	b := setup(t)
	auth := tenants.NewAuthenticate(b.Store, binding.Test)

	old, err := b.keys.Create(t.Context(), person(), tenants.Order{
		Name: "shop", Scopes: []string{"support"}, ExpiresAt: time.Now().Add(48 * time.Hour),
	})
	require.NoError(t, err)

	next, err := b.keys.Roll(t.Context(), person(), old.ID, time.Hour)
	require.NoError(t, err)
	require.Equal(t, old.Scopes, next.Scopes)
	require.Equal(t, old.Name, next.Name)
	require.NotEqual(t, old.Prefix, next.Prefix)
	require.WithinDuration(t, time.Now().Add(48*time.Hour), next.ExpiresAt, time.Minute)

	for _, secret := range []tenant.Secret{old.Secret, next.Secret} {
		_, err := auth.Again(t.Context(), secret)
		require.NoError(t, err)
	}

	// Its answer was lost: again, and the new key lives as long as the first was made for.
	again, err := b.keys.Roll(t.Context(), person(), old.ID, time.Hour)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(48*time.Hour), again.ExpiresAt, time.Minute)

	// Without an overlap the old one ends at once.
	_, err = b.keys.Roll(t.Context(), person(), next.ID, 0)
	require.NoError(t, err)
	_, err = auth.Again(t.Context(), next.Secret)
	require.Equal(t, fault.InvalidAPIKey, fault.KindOf(err))

	for _, overlap := range []time.Duration{-1, tenants.MaxOverlap + 1} {
		_, err := b.keys.Roll(t.Context(), person(), again.ID, overlap)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}

	_, err = b.keys.Roll(t.Context(), person(), uuid.New(), 0)
	require.Equal(t, fault.NotFound, fault.KindOf(err))
}

func TestKeys_Revoke(t *testing.T) {
	t.Parallel()

	b := setup(t)
	made := b.make(t, "admin")

	for range 2 {
		revoked, err := b.keys.Revoke(t.Context(), person(), made.ID)
		require.NoError(t, err)
		require.False(t, revoked.RevokedAt.IsZero())
	}

	_, err := b.keys.Roll(t.Context(), person(), made.ID, time.Hour)
	require.Equal(t, fault.Invalid, fault.KindOf(err))

	audit, err := b.Store.AuditOf(t.Context(), made.ID.String())
	require.NoError(t, err)
	require.Len(t, audit, 2)
	require.Equal(t, "a test", audit[1].Reason)

	by := person()
	for _, reason := range []string{"two\nlines", strings.Repeat("x", 1001), "\xff"} {
		by.Reason = reason
		_, err := b.keys.Revoke(t.Context(), by, b.make(t, "admin").ID)
		require.Equal(t, fault.Invalid, fault.KindOf(err))
	}
}

func TestKeys_List(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for range 3 {
		b.make(t, "read-only")
	}

	page, err := b.keys.List(t.Context(), operation.DefaultTenant, ports.KeyPosition{}, 2)
	require.NoError(t, err)
	require.Len(t, page.Keys, 2)
	require.True(t, page.More)

	rest, err := b.keys.List(t.Context(), operation.DefaultTenant,
		ports.KeyPosition{CreatedAt: page.Keys[1].CreatedAt, ID: page.Keys[1].ID}, 2)
	require.NoError(t, err)
	require.Len(t, rest.Keys, 1)
	require.False(t, rest.More)

	_, err = b.keys.Find(t.Context(), operation.DefaultTenant, "shop")
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}
