package tenants_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/ports"
)

const (
	oneSecret   = "whsec_OneOneOneOneOneOneOneOneOneOneOneOne"
	otherSecret = "whsec_TwoTwoTwoTwoTwoTwoTwoTwoTwoTwoTwoTwo"
)

func newKeys(t *testing.T) secret.Keys {
	t.Helper()

	key, _ := secret.NewKey()
	keys, err := secret.NewKeys(key)
	require.NoError(t, err)

	return keys
}

// heldSecrets is a store in the memory of a test, which may fail.
type heldSecrets struct {
	mu      sync.Mutex
	version uuid.UUID
	secrets []secret.Webhook
	err     error
	touched map[uuid.UUID]time.Time
}

func (h *heldSecrets) KeysVersion(ctx context.Context) (uuid.UUID, error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.version, errors.Join(h.err, ctx.Err())
}

func (h *heldSecrets) WebhookSecrets(context.Context) ([]secret.Webhook, error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	return h.secrets, h.err
}

func (h *heldSecrets) TouchWebhookSecrets(_ context.Context, used map[uuid.UUID]time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()

	if h.err == nil {
		h.touched = used
	}

	return h.err
}

func (h *heldSecrets) put(list ...secret.Webhook) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.version, h.secrets = uuid.New(), list
}

func (h *heldSecrets) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.err = err
}

func sealed(t *testing.T, keys secret.Keys, text string) secret.Webhook {
	t.Helper()

	s := secret.Webhook{ID: uuid.New()}

	var err error

	s.Sealed, err = keys.Seal([]byte(text), s.Place())
	require.NoError(t, err)

	return s
}

// tries tells whether text is one of the secrets that events are compared with.
func tries(uc *tenants.SigningSecrets, text string) (bool, error) {
	return uc.Try(func(s []byte) bool { return string(s) == text })
}

func requireTried(t *testing.T, uc *tenants.SigningSecrets, text string, want bool) {
	t.Helper()

	is, err := tries(uc, text)
	require.NoError(t, err)
	require.Equal(t, want, is)
}

func TestSigningSecrets_EndByThemselves(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		keys, store := newKeys(t), &heldSecrets{}
		one := sealed(t, keys, oneSecret)
		one.ExpiresAt = time.Now().Add(1500 * time.Millisecond)

		store.put(one)

		uc := tenants.NewSigningSecrets(store, keys)
		requireTried(t, uc, oneSecret, false) // nothing is known yet
		require.NoError(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, true)
		requireTried(t, uc, otherSecret, false)

		time.Sleep(1500 * time.Millisecond)
		requireTried(t, uc, oneSecret, false) // though nobody has told of a change
	})
}

// While nobody can tell whether a secret was removed, none is believed for longer than five
// seconds. A service without stored ones answers as ever.
func TestSigningSecrets_DatabaseAway(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		keys, store, empty := newKeys(t), &heldSecrets{}, &heldSecrets{}
		store.put(sealed(t, keys, oneSecret))

		uc, none := tenants.NewSigningSecrets(store, keys), tenants.NewSigningSecrets(empty, keys)
		require.NoError(t, uc.Refresh(t.Context()))
		require.NoError(t, none.Refresh(t.Context()))

		store.fail(fault.New(fault.Unavailable, "Away."))
		time.Sleep(4 * time.Second)
		require.Error(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, true)
		time.Sleep(time.Second)

		for _, text := range []string{oneSecret, otherSecret} {
			_, err := tries(uc, text)
			require.Equal(t, fault.Unavailable, fault.KindOf(err), "%v", err)
		}

		requireTried(t, none, oneSecret, false)

		store.fail(nil)
		require.NoError(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, true)
	})
}

// A rotation does not stop a process that does not have the new key yet. A row that was changed
// stops counting.
func TestSigningSecrets_SealedAnew(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		old, next, store := newKeys(t), newKeys(t), &heldSecrets{}
		one := sealed(t, old, oneSecret)
		store.put(one)

		uc := tenants.NewSigningSecrets(store, old)
		require.NoError(t, uc.Refresh(t.Context()))
		require.Empty(t, uc.Unreadable())

		var err error

		one.Sealed, err = next.Seal([]byte(oneSecret), one.Place())
		require.NoError(t, err)
		store.put(one)

		require.NoError(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, true)
		require.Len(t, uc.Unreadable(), 1)
		require.ErrorIs(t, uc.Unreadable()[0].Err, secret.ErrOtherKey)

		restarted := tenants.NewSigningSecrets(store, old)
		usable, err := restarted.AnyUsable(t.Context())
		require.NoError(t, err)
		require.False(t, usable)

		one.Sealed, err = old.Seal([]byte(otherSecret), secret.PlaceOfWebhook(uuid.New()))
		require.NoError(t, err)
		store.put(one)

		require.NoError(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, false)
		requireTried(t, uc, otherSecret, false)
		require.ErrorIs(t, uc.Unreadable()[0].Err, secret.ErrBroken)
	})
}

func TestSigningSecrets_RecordsUses(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		keys, store := newKeys(t), &heldSecrets{}
		one, other := sealed(t, keys, oneSecret), sealed(t, keys, otherSecret)
		store.put(one, other)

		uc := tenants.NewSigningSecrets(store, keys)
		require.NoError(t, uc.RecordUses(t.Context()))
		require.NoError(t, uc.Refresh(t.Context()))
		requireTried(t, uc, oneSecret, true)

		at := time.Unix(time.Now().Unix(), 0)

		store.put(other, one) // a change in between forgets nothing
		require.NoError(t, uc.Refresh(t.Context()))

		store.fail(fault.New(fault.Unavailable, "Away."))
		require.Error(t, uc.RecordUses(t.Context()))
		store.fail(nil)

		require.NoError(t, uc.RecordUses(t.Context()))
		require.Equal(t, map[uuid.UUID]time.Time{one.ID: at}, store.touched)

		store.touched = nil

		require.NoError(t, uc.RecordUses(t.Context()))
		require.Nil(t, store.touched, "nothing is new")
	})
}

// What a person decides about secrets, on a real database.
func TestWebhookSecrets(t *testing.T) {
	t.Parallel()

	b := setup(t)
	uc := tenants.NewWebhookSecrets(b.Store, newKeys(t), b.Observer, b.Observer)
	by := tenants.By{Actor: ports.Actor{Name: "cli:me@here"}, Reason: "a test"}

	added, err := uc.Add(t.Context(), by, " "+oneSecret+"\n", time.Time{})
	require.NoError(t, err)
	require.Equal(t, "eOne", added.Hint)
	require.Equal(t, "cli:me@here", added.CreatedBy)

	for text, says := range map[string]string{
		oneSecret: "is stored already, as " + added.ID.String(), "": "begins with whsec_", "whsec_x": "too short",
	} {
		_, err := uc.Add(t.Context(), by, text, time.Time{})
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
		require.ErrorContains(t, err, says)
	}

	_, err = uc.Add(t.Context(), by, otherSecret, time.Now().Add(-time.Second))
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	_, err = uc.Roll(t.Context(), by, added.ID, -1, otherSecret)
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	_, err = uc.Roll(t.Context(), by, uuid.New(), time.Hour, otherSecret)
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)

	_, err = uc.Find(t.Context(), "none")
	require.Equal(t, fault.NotFound, fault.KindOf(err), "%v", err)

	// Two that end alike are told apart by their ids alone.
	_, err = uc.Add(t.Context(), by, "whsec_"+otherSecret[6:]+"eOne", time.Time{})
	require.NoError(t, err)
	_, err = uc.Find(t.Context(), added.Hint)
	require.ErrorContains(t, err, "name one by its id")

	found, err := uc.Find(t.Context(), added.ID.String())
	require.NoError(t, err)
	require.Equal(t, added, found)

	_, err = tenants.NewWebhookSecrets(b.Store, secret.Keys{}, b.Observer, b.Observer).
		Add(t.Context(), by, otherSecret, time.Time{})
	require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "SECRETS_KEY is not set; make one with: openssl rand -base64 32")
}
