package tenant_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
)

func TestNewSecret(t *testing.T) {
	t.Parallel()

	seen := map[string]bool{}

	for _, mode := range []binding.Mode{binding.Live, binding.Test} {
		for range 100 {
			made := tenant.NewSecret(mode)
			require.Len(t, made.Reveal(), 66)
			require.True(t, strings.HasPrefix(made.Reveal(), "mf_"+string(mode)+"_"))
			require.Equal(t, made.Reveal()[:16], made.Prefix())
			require.True(t, tenant.IsPrefix(made.Prefix()))

			read, err := tenant.ParseKey(made.Reveal())
			require.NoError(t, err)
			require.Equal(t, mode, read.Mode())
			require.True(t, read.Sum().Is(made.Sum()))

			require.False(t, seen[made.Prefix()])
			seen[made.Prefix()] = true
		}
	}
}

// Any one character that is wrong, missing, added or changed for its neighbour is noticed
// without a database.
func TestParseKey_NoticesSlips(t *testing.T) {
	t.Parallel()

	key := tenant.NewSecret(binding.Test).Reveal()

	wrong := []string{"", "mf_test_", key + "0", " " + key, key + "\n", "Bearer " + key, strings.ToUpper(key), strings.ToLower(key)}

	for i := range key {
		wrong = append(wrong, key[:i]+key[i+1:], key[:i]+"x"+key[i:])

		for _, c := range "0aZ_-é" {
			wrong = append(wrong, key[:i]+string(c)+key[i+1:])
		}

		if i > 0 {
			wrong = append(wrong, key[:i-1]+key[i:i+1]+key[i-1:i]+key[i+1:])
		}
	}

	for _, text := range wrong {
		if text == key { // the same character again
			continue
		}

		_, err := tenant.ParseKey(text)
		require.Equal(t, fault.InvalidAPIKey, fault.KindOf(err), text)
		require.NotContains(t, err.Error(), key[20:40])
	}
}

// Keys that were made once are read for ever.
func TestParseKey_Known(t *testing.T) {
	t.Parallel()

	key, err := tenant.ParseKey("mf_test_abcdEF12_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0u843q")
	require.NoError(t, err)
	require.Equal(t, "mf_test_abcdEF12", key.Prefix())
	require.Equal(t, "8f8d3b42086e3eda", fmt.Sprintf("%x", key.Sum())[:16])
}

func TestSecret_IsNotShown(t *testing.T) {
	t.Parallel()

	key := tenant.NewSecret(binding.Live)
	form, err := json.Marshal(map[string]any{"key": key})
	require.NoError(t, err)

	for _, shown := range []string{
		key.String(), fmt.Sprint(key), fmt.Sprintf("%+v %#v %q", key, key, key), string(form),
	} {
		require.Contains(t, shown, key.Prefix())
		require.NotContains(t, shown, key.Reveal()[17:40])
	}
}

func TestParseScopes(t *testing.T) {
	t.Parallel()

	scopes, err := tenant.ParseScopes("checkout", "payments:capture", "payments:read")
	require.NoError(t, err)
	require.Equal(t, "customers:read, customers:write, payments:capture, payments:read, payments:write", scopes.String())
	require.True(t, scopes.Has(tenant.PaymentsCapture))
	require.False(t, scopes.Has(tenant.KeysWrite))
	require.Empty(t, scopes.Beyond(tenant.AllScopes()))
	require.Equal(t, tenant.AuditRead, tenant.AllScopes().Beyond(scopes))

	all, err := tenant.ParseScopes("admin")
	require.NoError(t, err)
	require.Equal(t, tenant.AllScopes(), all)
	require.True(t, slices.IsSorted(all))

	reading, err := tenant.ParseScopes("read-only")
	require.NoError(t, err)

	for _, scope := range reading {
		require.True(t, strings.HasSuffix(string(scope), ":read"), scope)
	}

	for _, names := range [][]string{nil, {""}, {"root"}, {"payments:*"}, {"payments:read", "Payments:read"}, {"payments"}} {
		_, err := tenant.ParseScopes(names...)
		require.Equal(t, fault.Invalid, fault.KindOf(err), names)
	}
}

func TestKey_Usable(t *testing.T) {
	t.Parallel()

	now := time.Now()

	require.True(t, tenant.Key{}.Usable(now))
	require.True(t, tenant.Key{ExpiresAt: now.Add(1)}.Usable(now))
	require.False(t, tenant.Key{ExpiresAt: now}.Usable(now))
	require.False(t, tenant.Key{RevokedAt: now.Add(time.Hour)}.Usable(now))
}

func TestCheckName(t *testing.T) {
	t.Parallel()

	for _, name := range []string{"shop", "Shop 2, checkout", "Läden", strings.Repeat("é", 100)} {
		require.NoError(t, tenant.CheckName(name))
	}

	for _, name := range []string{"", " ", " shop", "a\nb", "\xff", strings.Repeat("é", 101)} {
		require.Equal(t, fault.Invalid, fault.KindOf(tenant.CheckName(name)), name)
	}
}

// Whatever a client sends, a key is accepted only if it is one, and nothing panics.
func FuzzParseKey(f *testing.F) {
	for _, mode := range []binding.Mode{binding.Live, binding.Test} {
		f.Add(tenant.NewSecret(mode).Reveal())
	}

	f.Add("")
	f.Add("mf_test_abcdEF12_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg000000")
	f.Add(strings.Repeat("mf_live_", 100))

	f.Fuzz(func(t *testing.T, text string) {
		key, err := tenant.ParseKey(text)
		if err != nil {
			require.Equal(t, fault.InvalidAPIKey, fault.KindOf(err))
			require.Empty(t, key.Reveal())

			return
		}

		require.Equal(t, text, key.Reveal())
		require.Len(t, text, 66)
		require.True(t, tenant.IsPrefix(key.Prefix()))
		require.Contains(t, []binding.Mode{binding.Live, binding.Test}, key.Mode())
	})
}
