package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/ports"
)

// WebhookSecrets is the contract of ports.WebhookSecrets.
func WebhookSecrets(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"AddWebhookSecret/every field":                  secretFields,
		"AddWebhookSecret/repeated":                     secretRepeated,
		"AddWebhookSecret/its answer is lost":           secretAnswerLost,
		"AddWebhookSecret/not too many":                 secretsTooMany,
		"RollWebhookSecret/both work for the overlap":   secretRolled,
		"RollWebhookSecret/not one that has expired":    secretRolledTooLate,
		"RemoveWebhookSecret/it is gone":                secretRemoved,
		"ResealWebhookSecrets/only what has not moved":  secretsResealed,
		"KeysVersion/changes with every secret":         secretsVersion,
		"TouchWebhookSecrets/at most once a minute":     secretsTouched,
		"WebhookSecrets/newest first, also the expired": secretsListed,
	})
}

func aSecret(tb testing.TB) (secret.Webhook, ports.AuditEntry) {
	tb.Helper()

	s := secret.Webhook{
		ID: uuid.New(), Hint: "a+/=", Sealed: secret.Sealed("sealed, as far as the store can tell " + uuid.NewString()),
		CreatedBy: "cli:me@here",
	}

	return s, entryFor(tb, ports.AuditWebhookSecretAdded, s.ID.String())
}

func (b StoreBed) mustAddSecret(tb testing.TB, change ...func(*secret.Webhook)) secret.Webhook {
	tb.Helper()

	s, entry := aSecret(tb)
	for _, alter := range change {
		alter(&s)
	}

	s, err := b.AddWebhookSecret(tb.Context(), s, entry)
	require.NoError(tb, err)

	return s
}

// secrets are all of them, as another process reads them.
func (b StoreBed) secrets(tb testing.TB) []secret.Webhook {
	tb.Helper()

	list, err := b.Twin.WebhookSecrets(tb.Context())
	require.NoError(tb, err)

	return list
}

func secretFields(t *testing.T, b StoreBed) {
	t.Helper()
	require.Empty(t, b.secrets(t))

	wanted, entry := aSecret(t)
	wanted.ExpiresAt = time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	entry.Reason = "" // nobody has to say why

	added, err := b.AddWebhookSecret(t.Context(), wanted, entry)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), added.CreatedAt, time.Minute)

	wanted.CreatedAt = added.CreatedAt
	require.Equal(t, wanted, added)
	require.Equal(t, []secret.Webhook{wanted}, b.secrets(t))
	b.requireAudit(t, wanted.ID.String(), entry)
}

func secretRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	s, entry := aSecret(t)

	first, err := b.AddWebhookSecret(t.Context(), s, entry)
	require.NoError(t, err)
	again, err := b.Twin.AddWebhookSecret(t.Context(), s, entry)
	require.NoError(t, err)
	require.Equal(t, first, again)
	b.requireAudit(t, s.ID.String(), entry)
}

func secretAnswerLost(t *testing.T, b StoreBed) {
	t.Helper()

	// Each transaction has up to seven answers; one of these cuts is the commit's.
	for answers := range 8 {
		s, entry := aSecret(t)

		mend := b.Sever(t, answers)
		_, err := b.Severed.AddWebhookSecret(t.Context(), s, entry)

		mend()

		if err != nil {
			require.Contains(t, []fault.Kind{fault.Unavailable, fault.Unknown}, fault.KindOf(err), "%v", err)
		}

		if fault.KindOf(err) == fault.Unavailable {
			require.Empty(t, b.secrets(t))
		}

		_, err = b.AddWebhookSecret(t.Context(), s, entry)
		require.NoError(t, err)
		b.requireAudit(t, s.ID.String(), entry)
		require.NoError(t, b.RemoveWebhookSecret(t.Context(), s.ID, entryFor(t, ports.AuditWebhookSecretRemoved, "x")))
	}
}

func secretsTooMany(t *testing.T, b StoreBed) {
	t.Helper()

	first := b.mustAddSecret(t, func(s *secret.Webhook) { s.ExpiresAt = time.Now().Add(-time.Hour) })

	for range ports.MaxWebhookSecrets - 1 {
		b.mustAddSecret(t)
	}

	s, entry := aSecret(t)
	_, err := b.AddWebhookSecret(t.Context(), s, entry)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	b.requireAudit(t, s.ID.String())

	require.NoError(t, b.RemoveWebhookSecret(t.Context(), first.ID, entryFor(t, ports.AuditWebhookSecretRemoved, "x")))

	_, err = b.AddWebhookSecret(t.Context(), s, entry)
	require.NoError(t, err)
}

func secretRolled(t *testing.T, b StoreBed) {
	t.Helper()

	old := b.mustAddSecret(t)
	next, entry := aSecret(t)

	added, err := b.RollWebhookSecret(t.Context(), old.ID, time.Hour, next, entry)
	require.NoError(t, err)
	require.Equal(t, next.ID, added.ID)

	again, err := b.RollWebhookSecret(t.Context(), old.ID, time.Hour, next, entry)
	require.NoError(t, err)
	require.Equal(t, added, again)

	expiry := func() time.Time { return b.secrets(t)[len(b.secrets(t))-1].ExpiresAt }
	first := expiry()
	require.WithinDuration(t, time.Now().Add(time.Hour), first, time.Minute)

	// A longer overlap does not lengthen its life.
	next, entry = aSecret(t)
	_, err = b.RollWebhookSecret(t.Context(), old.ID, 48*time.Hour, next, entry)
	require.NoError(t, err)
	require.Equal(t, first, expiry())
}

func secretRolledTooLate(t *testing.T, b StoreBed) {
	t.Helper()

	expired := b.mustAddSecret(t, func(s *secret.Webhook) { s.ExpiresAt = time.Now().Add(-time.Second) })
	next, entry := aSecret(t)

	_, err := b.RollWebhookSecret(t.Context(), expired.ID, time.Hour, next, entry)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	_, err = b.RollWebhookSecret(t.Context(), uuid.New(), time.Hour, next, entry)
	requireNotFound(t, err)
	require.Len(t, b.secrets(t), 1)
	b.requireAudit(t, next.ID.String())
}

func secretRemoved(t *testing.T, b StoreBed) {
	t.Helper()

	gone, stays := b.mustAddSecret(t), b.mustAddSecret(t)
	entry := entryFor(t, ports.AuditWebhookSecretRemoved, gone.ID.String())

	for range 2 {
		require.NoError(t, b.RemoveWebhookSecret(t.Context(), gone.ID, entry))
	}

	require.Equal(t, []secret.Webhook{stays}, b.secrets(t))
	requireNotFound(t, b.RemoveWebhookSecret(t.Context(), gone.ID, entryFor(t, ports.AuditWebhookSecretRemoved, gone.ID.String())))

	entries, err := b.AuditOf(t.Context(), gone.ID.String())
	require.NoError(t, err)
	require.Len(t, entries, 2, "that it was added, and removed once")
}

func secretsResealed(t *testing.T, b StoreBed) {
	t.Helper()

	first, second, moved := b.mustAddSecret(t), b.mustAddSecret(t), b.mustAddSecret(t)
	anew := func(s secret.Webhook) ports.Resealed {
		return ports.Resealed{ID: s.ID, Before: s.Sealed, Anew: append(secret.Sealed("anew "), s.Sealed...)}
	}
	// Somebody else was faster with this one.
	faster := anew(moved)
	faster.Before = append(secret.Sealed{0}, moved.Sealed...)

	list := []ports.Resealed{anew(first), anew(second), faster, {ID: uuid.New(), Before: first.Sealed, Anew: first.Sealed}}
	entry := entryFor(t, ports.AuditSecretsRotated, "first key")

	resealed, err := b.ResealWebhookSecrets(t.Context(), list, entry)
	require.NoError(t, err)
	require.Equal(t, 2, resealed)

	first.Sealed, second.Sealed = list[0].Anew, list[1].Anew
	require.Equal(t, []secret.Webhook{moved, second, first}, b.secrets(t))
	b.requireAudit(t, "first key", entry)

	none := entryFor(t, ports.AuditSecretsRotated, "nothing")
	resealed, err = b.ResealWebhookSecrets(t.Context(), list, none)
	require.NoError(t, err)
	require.Zero(t, resealed)
	b.requireAudit(t, "nothing")
}

func secretsVersion(t *testing.T, b StoreBed) {
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

	s := b.mustAddSecret(t)

	changed("add")

	next, entry := aSecret(t)
	_, err := b.RollWebhookSecret(t.Context(), s.ID, time.Hour, next, entry)
	require.NoError(t, err)
	changed("roll")

	_, err = b.ResealWebhookSecrets(t.Context(), []ports.Resealed{{ID: s.ID, Before: s.Sealed, Anew: next.Sealed}},
		entryFor(t, ports.AuditSecretsRotated, "x"))
	require.NoError(t, err)
	changed("reseal")

	before := version()

	require.NoError(t, b.TouchWebhookSecrets(t.Context(), map[uuid.UUID]time.Time{s.ID: time.Now()}))
	require.Equal(t, before, version(), "a use is no change")

	require.NoError(t, b.RemoveWebhookSecret(t.Context(), s.ID, entryFor(t, ports.AuditWebhookSecretRemoved, "x")))
	changed("remove")
}

func secretsTouched(t *testing.T, b StoreBed) {
	t.Helper()

	s := b.mustAddSecret(t)
	at := time.Now().Truncate(time.Microsecond).UTC()

	for _, step := range []struct{ used, recorded time.Duration }{
		{0, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {-time.Hour, time.Minute}, {3 * time.Minute, 3 * time.Minute},
	} {
		require.NoError(t, b.TouchWebhookSecrets(t.Context(), map[uuid.UUID]time.Time{s.ID: at.Add(step.used), uuid.New(): at}))
		require.Equal(t, at.Add(step.recorded), b.secrets(t)[0].LastUsedAt)
	}
}

func secretsListed(t *testing.T, b StoreBed) {
	t.Helper()

	past := time.Now().Add(-time.Hour).Truncate(time.Microsecond).UTC()
	first := b.mustAddSecret(t, func(s *secret.Webhook) { s.ExpiresAt = past })
	second := b.mustAddSecret(t)

	require.Equal(t, []secret.Webhook{second, first}, b.secrets(t))
}
