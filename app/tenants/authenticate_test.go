package tenants_test

import (
	"hash/crc32"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
)

func requireInvalid(t *testing.T, err error) {
	t.Helper()
	require.Equal(t, fault.InvalidAPIKey, fault.KindOf(err), "%v", err)
}

// All keys that do not work are told the same, from memory.
func TestAuthenticate_SaysNothingAboutKeys(t *testing.T) {
	t.Parallel()

	right, revoked, expired := tenant.NewSecret(binding.Test), tenant.NewSecret(binding.Test), tenant.NewSecret(binding.Test)
	store := &held{}
	store.put(right, expired)
	store.keys[1].ExpiresAt = time.Now().Add(-time.Second)

	auth := tenants.NewAuthenticate(store, binding.Test)
	key, err := auth.Do(t.Context(), right)
	require.NoError(t, err)
	require.Equal(t, right.Prefix(), key.Prefix)

	// Right in everything but one character of the secret, and the check of that.
	wrong := renamed(t, right.Prefix())

	told := map[string]bool{}

	for _, secret := range []tenant.Secret{wrong, revoked, expired} {
		_, err := auth.Do(t.Context(), secret)
		requireInvalid(t, err)

		told[err.Error()] = true
	}

	require.Len(t, told, 1)

	asked, _ := store.counts()
	require.Equal(t, 1, asked)
}

// renamed is another key with the name of one that exists. The checksum tells anybody how.
func renamed(t *testing.T, prefix string) tenant.Secret {
	t.Helper()

	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	body := prefix + tenant.NewSecret(binding.Test).Reveal()[16:60]
	check, sum := "", crc32.ChecksumIEEE([]byte(body))

	for range 6 {
		check, sum = string(digits[sum%62])+check, sum/62
	}

	secret, err := tenant.ParseKey(body + check)
	require.NoError(t, err)

	return secret
}

func TestAuthenticate_OtherMode(t *testing.T) {
	t.Parallel()

	live := tenant.NewSecret(binding.Live)
	store := &held{}
	store.put(live) // even if the database has it

	auth := tenants.NewAuthenticate(store, binding.Test)

	_, err := auth.Do(t.Context(), live)
	requireInvalid(t, err)
	require.ErrorContains(t, err, "This is a live key, and this installation takes test keys")
	_, err = auth.Again(t.Context(), live)
	requireInvalid(t, err)

	usable, err := auth.AnyUsable(t.Context())
	require.NoError(t, err)
	require.False(t, usable)
}

// A revoked key stops in five seconds, whether the database tells of it or is away. Then nobody
// is let in until it answers.
func TestAuthenticate_RevokedStops(t *testing.T) {
	t.Parallel()

	for name, gone := range map[string]func(*held){
		"the database tells": func(h *held) { h.put() },
		"the database is away": func(h *held) {
			h.put()
			h.fail(fault.New(fault.Unavailable, "Away."))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			synctest.Test(t, func(t *testing.T) {
				secret, store := tenant.NewSecret(binding.Test), &held{}
				store.put(secret)

				auth := tenants.NewAuthenticate(store, binding.Test)
				require.NoError(t, auth.Refresh(t.Context()))

				gone(store)

				revoked := time.Now()

				for time.Since(revoked) < 5*time.Second {
					_, err := auth.Do(t.Context(), secret)
					if err != nil {
						require.Contains(t, []fault.Kind{fault.InvalidAPIKey, fault.Unavailable}, fault.KindOf(err))
						require.Greater(t, time.Since(revoked), time.Second/2)
					}

					time.Sleep(100 * time.Millisecond)

					if time.Since(revoked)%tenants.RefreshEvery == 0 {
						_ = auth.Refresh(t.Context())
					}
				}

				_, err := auth.Do(t.Context(), secret)
				require.Error(t, err)

				store.fail(nil)

				_, err = auth.Do(t.Context(), secret)
				requireInvalid(t, err)
			})
		})
	}
}

// Where nobody refreshes, for instance because the process hangs, the keys are not believed.
func TestAuthenticate_OldKnowledgeIsReadAgain(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		secret, store := tenant.NewSecret(binding.Test), &held{}
		store.put(secret)

		auth := tenants.NewAuthenticate(store, binding.Test)
		_, err := auth.Do(t.Context(), secret)
		require.NoError(t, err)

		store.put()
		time.Sleep(4*time.Second + 1)

		_, err = auth.Do(t.Context(), secret)
		requireInvalid(t, err)
	})
}

// Wrong keys, however many, cause ten questions a second, and read the keys once.
func TestAuthenticate_WrongKeysShareAnswers(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		store := &held{}
		store.put(tenant.NewSecret(binding.Test))

		auth := tenants.NewAuthenticate(store, binding.Test)

		var all sync.WaitGroup

		for i := range 2000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)

				_, err := auth.Again(t.Context(), tenant.NewSecret(binding.Test))
				requireInvalid(t, err)
			})
		}

		all.Wait()

		asked, read := store.counts()
		require.LessOrEqual(t, asked, 22)
		require.Equal(t, 1, read)
	})
}

// Whoever made a key may use it at once: the answer is younger than the question.
func TestAuthenticate_ANewKeyWorksAtOnce(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		store := &held{}
		auth := tenants.NewAuthenticate(store, binding.Test)

		for range 20 {
			secret := tenant.NewSecret(binding.Test)

			_, err := auth.Do(t.Context(), secret)
			requireInvalid(t, err)

			store.put(secret)

			_, err = auth.Again(t.Context(), secret)
			require.NoError(t, err)
		}
	})
}

func TestAuthenticate_RecordsUses(t *testing.T) {
	t.Parallel()

	synctest.Test(t, func(t *testing.T) {
		used, unused, gone := tenant.NewSecret(binding.Test), tenant.NewSecret(binding.Test), tenant.NewSecret(binding.Test)
		store := &held{}
		store.put(used, unused, gone)
		ids := []uuid.UUID{store.keys[0].ID, store.keys[1].ID, store.keys[2].ID}

		auth := tenants.NewAuthenticate(store, binding.Test)

		for range 3 {
			for _, secret := range []tenant.Secret{used, gone} {
				_, err := auth.Do(t.Context(), secret)
				require.NoError(t, err)
			}
		}

		require.Nil(t, store.touched, "a use is no write")

		at := time.Unix(time.Now().Unix(), 0)

		// A key that is revoked before its use was recorded is not forgotten.
		store.version, store.keys = uuid.New(), store.keys[:2]

		require.NoError(t, auth.Refresh(t.Context()))

		store.fail(fault.New(fault.Unavailable, "Away."))
		require.Error(t, auth.RecordUses(t.Context()))
		store.fail(nil)

		require.NoError(t, auth.RecordUses(t.Context()))
		require.Equal(t, map[uuid.UUID]time.Time{ids[0]: at, ids[2]: at}, store.touched)

		store.touched = nil

		require.NoError(t, auth.RecordUses(t.Context()))
		require.Nil(t, store.touched, "nothing is new")
	})
}

// On a real database, in two processes.
func TestAuthenticate_InEveryProcess(t *testing.T) {
	t.Parallel()

	b := setup(t)
	here, there := tenants.NewAuthenticate(b.Store, binding.Test), tenants.NewAuthenticate(b.Store, binding.Test)

	usable, err := here.AnyUsable(t.Context())
	require.NoError(t, err)
	require.False(t, usable)

	made := b.make(t, "checkout")

	for _, auth := range []*tenants.Authenticate{here, there} {
		key, err := auth.Again(t.Context(), made.Secret)
		require.NoError(t, err)
		require.Equal(t, made.Key, key)
	}

	usable, err = here.AnyUsable(t.Context())
	require.NoError(t, err)
	require.True(t, usable)

	_, err = b.keys.Revoke(t.Context(), person(), made.ID)
	require.NoError(t, err)

	for _, auth := range []*tenants.Authenticate{here, there} {
		require.NoError(t, auth.Refresh(t.Context()))

		_, err := auth.Do(t.Context(), made.Secret)
		requireInvalid(t, err)
	}
}

// A request is told in well under 30 µs whose key it carries, with as many keys as there may be.
func BenchmarkAuthenticate(b *testing.B) {
	store := &held{}
	secrets := make([]tenant.Secret, 10_000)

	for i := range secrets {
		secrets[i] = tenant.NewSecret(binding.Test)
	}

	store.put(secrets...)

	auth := tenants.NewAuthenticate(store, binding.Test)
	require.NoError(b, auth.Refresh(b.Context()))

	text := secrets[5000].Reveal()
	begun := time.Now()

	b.ReportAllocs()

	for b.Loop() {
		if time.Since(begun) > time.Second {
			b.StopTimer()

			begun = time.Now()

			require.NoError(b, auth.Refresh(b.Context()))
			b.StartTimer()
		}

		secret, err := tenant.ParseKey(text)
		if err == nil {
			_, err = auth.Do(b.Context(), secret)
		}

		if err != nil {
			b.Fatal(err)
		}
	}
}
