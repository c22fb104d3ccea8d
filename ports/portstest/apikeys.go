package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// APIKeys is the contract of ports.APIKeys.
func APIKeys(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"CreateAPIKey/every field":                     keyFields,
		"CreateAPIKey/repeated":                        keyRepeated,
		"CreateAPIKey/its answer is lost":              keyAnswerLost,
		"RollAPIKey/both work for the overlap":         keyRolled,
		"RollAPIKey/not one that does not work":        keyRolledTooLate,
		"RevokeAPIKey/for ever, and once":              keyRevoked,
		"ListAPIKeys/newest first, of one tenant":      keysListed,
		"KeysVersion/changes with every change":        keysVersion,
		"UsableAPIKeys/neither revoked nor expired":    keysUsable,
		"TouchAPIKeys/at most once a minute":           keysTouched,
		"every method/another tenant's is not to find": keysOfAnother,
	})
}

func aKey(tb testing.TB, owner operation.Tenant) (tenant.Key, ports.AuditEntry) {
	tb.Helper()

	secret := tenant.NewSecret(binding.Test)
	key := tenant.Key{
		ID: uuid.New(), Tenant: owner, Name: "shop Ω", Prefix: secret.Prefix(), Mode: binding.Test,
		Scopes: tenant.Scopes{tenant.PaymentsRead, tenant.PaymentsWrite}, Sum: secret.Sum(),
	}

	return key, entryFor(tb, ports.AuditKeyCreated, key.ID.String())
}

func (b StoreBed) mustCreateKey(tb testing.TB, change ...func(*tenant.Key)) tenant.Key {
	tb.Helper()

	key, entry := aKey(tb, operation.DefaultTenant)
	for _, alter := range change {
		alter(&key)
	}

	key, err := b.CreateAPIKey(tb.Context(), key, entry)
	require.NoError(tb, err)

	return key
}

func keyFields(t *testing.T, b StoreBed) {
	t.Helper()

	wanted, entry := aKey(t, operation.DefaultTenant)
	wanted.Lifetime = time.Hour
	wanted.ExpiresAt = time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	entry.Reason = "" // nobody has to say why

	made, err := b.CreateAPIKey(t.Context(), wanted, entry)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), made.CreatedAt, time.Minute)

	wanted.CreatedAt = made.CreatedAt
	require.Equal(t, wanted, made)

	read, err := b.Twin.APIKey(t.Context(), operation.DefaultTenant, made.ID)
	require.NoError(t, err)
	require.Equal(t, made, read)

	read, err = b.APIKeyByPrefix(t.Context(), operation.DefaultTenant, made.Prefix)
	require.NoError(t, err)
	require.Equal(t, made, read)

	b.requireAudit(t, made.ID.String(), entry)
}

func keyRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	key, entry := aKey(t, operation.DefaultTenant)

	first, err := b.CreateAPIKey(t.Context(), key, entry)
	require.NoError(t, err)
	again, err := b.Twin.CreateAPIKey(t.Context(), key, entry)
	require.NoError(t, err)
	require.Equal(t, first, again)

	b.requireAudit(t, key.ID.String(), entry)
}

func keyAnswerLost(t *testing.T, b StoreBed) {
	t.Helper()

	// Each transaction has up to eight answers; one of these cuts is the commit's.
	for answers := range 9 {
		key, entry := aKey(t, operation.DefaultTenant)

		mend := b.Sever(t, answers)
		_, err := b.Severed.CreateAPIKey(t.Context(), key, entry)

		mend()

		if err != nil {
			require.Contains(t, []fault.Kind{fault.Unavailable, fault.Unknown}, fault.KindOf(err), "%v", err)
		}

		_, readErr := b.APIKey(t.Context(), operation.DefaultTenant, key.ID)
		if fault.KindOf(err) == fault.Unavailable {
			requireNotFound(t, readErr)
		}

		made, err := b.CreateAPIKey(t.Context(), key, entry)
		require.NoError(t, err)
		require.Equal(t, key.Prefix, made.Prefix)
		b.requireAudit(t, key.ID.String(), entry)
	}
}

func keyRolled(t *testing.T, b StoreBed) {
	t.Helper()

	old := b.mustCreateKey(t)
	next, entry := aKey(t, operation.DefaultTenant)

	made, err := b.RollAPIKey(t.Context(), old.ID, time.Hour, next, entry)
	require.NoError(t, err)
	require.Equal(t, next.ID, made.ID)

	again, err := b.RollAPIKey(t.Context(), old.ID, time.Hour, next, entry)
	require.NoError(t, err)
	require.Equal(t, made, again)

	old, err = b.APIKey(t.Context(), operation.DefaultTenant, old.ID)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(time.Hour), old.ExpiresAt, time.Minute)

	// A longer overlap does not lengthen its life.
	next, entry = aKey(t, operation.DefaultTenant)
	_, err = b.RollAPIKey(t.Context(), old.ID, 48*time.Hour, next, entry)
	require.NoError(t, err)

	rolled, err := b.APIKey(t.Context(), operation.DefaultTenant, old.ID)
	require.NoError(t, err)
	require.Equal(t, old.ExpiresAt, rolled.ExpiresAt)
}

func keyRolledTooLate(t *testing.T, b StoreBed) {
	t.Helper()

	expired := b.mustCreateKey(t, func(k *tenant.Key) { k.ExpiresAt = time.Now().Add(-time.Second) })
	revoked := b.mustCreateKey(t)
	_, err := b.RevokeAPIKey(t.Context(), operation.DefaultTenant, revoked.ID, entryFor(t, ports.AuditKeyRevoked, "x"))
	require.NoError(t, err)

	for _, old := range []tenant.Key{expired, revoked} {
		next, entry := aKey(t, operation.DefaultTenant)
		_, err := b.RollAPIKey(t.Context(), old.ID, time.Hour, next, entry)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)

		_, err = b.APIKey(t.Context(), operation.DefaultTenant, next.ID)
		requireNotFound(t, err)
	}
}

func keyRevoked(t *testing.T, b StoreBed) {
	t.Helper()

	key := b.mustCreateKey(t)
	entry := entryFor(t, ports.AuditKeyRevoked, key.ID.String())

	revoked, err := b.RevokeAPIKey(t.Context(), operation.DefaultTenant, key.ID, entry)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), revoked.RevokedAt, time.Minute)

	again, err := b.RevokeAPIKey(t.Context(), operation.DefaultTenant, key.ID, entryFor(t, ports.AuditKeyRevoked, key.ID.String()))
	require.NoError(t, err)
	require.Equal(t, revoked, again)

	entries, err := b.AuditOf(t.Context(), key.ID.String())
	require.NoError(t, err)
	require.Len(t, entries, 2, "its creation and one revocation")
}

func keysListed(t *testing.T, b StoreBed) {
	t.Helper()

	made := make([]tenant.Key, 0, 5)
	for range 5 {
		made = append(made, b.mustCreateKey(t))
	}

	b.mustCreateKey(t, func(k *tenant.Key) { k.Tenant = 7 })

	first, err := b.ListAPIKeys(t.Context(), operation.DefaultTenant, ports.KeyPosition{}, 3)
	require.NoError(t, err)
	require.Equal(t, []tenant.Key{made[4], made[3], made[2]}, first)

	rest, err := b.ListAPIKeys(t.Context(), operation.DefaultTenant,
		ports.KeyPosition{CreatedAt: made[2].CreatedAt, ID: made[2].ID}, 3)
	require.NoError(t, err)
	require.Equal(t, []tenant.Key{made[1], made[0]}, rest)
}

func keysVersion(t *testing.T, b StoreBed) {
	t.Helper()

	version := func() uuid.UUID {
		v, err := b.Twin.KeysVersion(t.Context())
		require.NoError(t, err)

		return v
	}

	seen := map[uuid.UUID]bool{version(): true}
	changed := func(what string) {
		require.False(t, seen[version()], what)
		seen[version()] = true
	}

	key := b.mustCreateKey(t)

	changed("create")

	next, entry := aKey(t, operation.DefaultTenant)
	_, err := b.RollAPIKey(t.Context(), key.ID, time.Hour, next, entry)
	require.NoError(t, err)
	changed("roll")

	before := version()

	require.NoError(t, b.TouchAPIKeys(t.Context(), map[uuid.UUID]time.Time{key.ID: time.Now()}))
	require.Equal(t, before, version(), "a use is no change")

	_, err = b.RevokeAPIKey(t.Context(), operation.DefaultTenant, key.ID, entryFor(t, ports.AuditKeyRevoked, "x"))
	require.NoError(t, err)
	changed("revoke")
}

func keysUsable(t *testing.T, b StoreBed) {
	t.Helper()

	usable := b.mustCreateKey(t, func(k *tenant.Key) { k.ExpiresAt = time.Now().Add(time.Hour).Truncate(time.Microsecond).UTC() })
	other := b.mustCreateKey(t, func(k *tenant.Key) { k.Tenant = 7 })
	b.mustCreateKey(t, func(k *tenant.Key) { k.ExpiresAt = time.Now().Add(-time.Second) })
	revoked := b.mustCreateKey(t)
	_, err := b.RevokeAPIKey(t.Context(), operation.DefaultTenant, revoked.ID, entryFor(t, ports.AuditKeyRevoked, "x"))
	require.NoError(t, err)

	keys, err := b.UsableAPIKeys(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []tenant.Key{usable, other}, keys)
}

func keysTouched(t *testing.T, b StoreBed) {
	t.Helper()

	key, unused := b.mustCreateKey(t), b.mustCreateKey(t)
	at := time.Now().Truncate(time.Microsecond).UTC()

	for _, step := range []struct{ used, recorded time.Duration }{
		{0, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {-time.Hour, time.Minute}, {3 * time.Minute, 3 * time.Minute},
	} {
		require.NoError(t, b.TouchAPIKeys(t.Context(), map[uuid.UUID]time.Time{
			key.ID: at.Add(step.used), uuid.New(): at,
		}))

		read, err := b.APIKey(t.Context(), operation.DefaultTenant, key.ID)
		require.NoError(t, err)
		require.Equal(t, at.Add(step.recorded), read.LastUsedAt)
	}

	read, err := b.APIKey(t.Context(), operation.DefaultTenant, unused.ID)
	require.NoError(t, err)
	require.Zero(t, read.LastUsedAt)
}

func keysOfAnother(t *testing.T, b StoreBed) {
	t.Helper()

	key := b.mustCreateKey(t)

	_, err := b.APIKey(t.Context(), 7, key.ID)
	requireNotFound(t, err)
	_, err = b.APIKeyByPrefix(t.Context(), 7, key.Prefix)
	requireNotFound(t, err)
	_, err = b.RevokeAPIKey(t.Context(), 7, key.ID, entryFor(t, ports.AuditKeyRevoked, "x"))
	requireNotFound(t, err)

	next, entry := aKey(t, 7)
	_, err = b.RollAPIKey(t.Context(), key.ID, time.Hour, next, entry)
	requireNotFound(t, err)
}
