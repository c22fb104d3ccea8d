package secret_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/secret"
)

func place() secret.Place {
	return secret.PlaceOfWebhook(uuid.MustParse("01890000-0000-7000-8000-000000000001"))
}

func newKeys(t *testing.T, list ...secret.Key) secret.Keys {
	t.Helper()

	keys, err := secret.NewKeys(list...)
	require.NoError(t, err)

	return keys
}

func TestKeys_SealAndOpen(t *testing.T) {
	t.Parallel()

	first, _ := secret.NewKey()
	second, _ := secret.NewKey()
	old, rolled := newKeys(t, first), newKeys(t, second, first)

	for _, text := range []string{"", "whsec_x", strings.Repeat("é", 300)} {
		sealed, err := old.Seal([]byte(text), place())
		require.NoError(t, err)
		require.Equal(t, first.ID(), sealed.KeyID())

		if text != "" {
			require.NotContains(t, string(sealed), text)
		}

		for _, keys := range []secret.Keys{old, rolled} {
			opened, err := keys.Open(sealed, place())
			require.NoError(t, err)
			require.Equal(t, text, string(opened))
		}

		again, err := old.Seal([]byte(text), place())
		require.NoError(t, err)
		require.NotEqual(t, sealed, again, "a nonce of its own")

		_, err = newKeys(t, second).Open(sealed, place())
		require.ErrorIs(t, err, secret.ErrOtherKey)
	}
}

// Nobody who can write to the database makes one secret count as another.
func TestKeys_OpenOnlyWhatWasSealed(t *testing.T) {
	t.Parallel()

	key, _ := secret.NewKey()
	keys := newKeys(t, key)
	sealed, err := keys.Seal([]byte("whsec_x"), place())
	require.NoError(t, err)

	for i := range sealed {
		changed := slices.Clone(sealed)
		changed[i] ^= 1

		_, err := keys.Open(changed, place())
		require.Error(t, err, "byte %d", i)

		_, err = keys.Open(sealed[:i], place())
		require.ErrorIs(t, err, secret.ErrBroken, "cut at %d", i)
	}

	for _, elsewhere := range []secret.Place{
		secret.PlaceOfWebhook(uuid.New()), {Table: "other", Row: place().Row}, {Table: place().Table + place().Row}, {},
	} {
		_, err := keys.Open(sealed, elsewhere)
		require.ErrorIs(t, err, secret.ErrBroken, elsewhere)
	}
}

func TestKeys_Reseal(t *testing.T) {
	t.Parallel()

	first, _ := secret.NewKey()
	second, _ := secret.NewKey()
	sealed, err := newKeys(t, first).Seal([]byte("whsec_x"), place())
	require.NoError(t, err)

	same, done, err := newKeys(t, first, second).Reseal(sealed, place())
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, sealed, same)

	anew, done, err := newKeys(t, second, first).Reseal(sealed, place())
	require.NoError(t, err)
	require.False(t, done)

	opened, err := newKeys(t, second).Open(anew, place())
	require.NoError(t, err)
	require.Equal(t, "whsec_x", string(opened))

	_, _, err = newKeys(t, second).Reseal(sealed, place())
	require.ErrorIs(t, err, secret.ErrOtherKey)
}

func TestKeys_None(t *testing.T) {
	t.Parallel()

	var none secret.Keys

	_, err := none.First()
	require.ErrorIs(t, err, secret.ErrNoKey)
	_, err = none.Seal([]byte("x"), place())
	require.ErrorIs(t, err, secret.ErrNoKey)
	_, _, err = none.Reseal(nil, place())
	require.ErrorIs(t, err, secret.ErrNoKey)

	key, _ := secret.NewKey()
	sealed, err := newKeys(t, key).Seal([]byte("x"), place())
	require.NoError(t, err)
	_, err = none.Open(sealed, place())
	require.ErrorIs(t, err, secret.ErrOtherKey)

	_, err = secret.NewKeys(key, key)
	require.ErrorIs(t, err, secret.ErrDoubled)
}

// What was sealed once is opened for ever: no later release may change the form.
func TestKeys_Known(t *testing.T) {
	t.Parallel()

	key, err := secret.ParseKey("/d3YlBqR4F7fN8KQmGx2yJ0oWc1b5vUe9sTzHiLkA3M=")
	require.NoError(t, err)
	require.Equal(t, knownID, key.ID().String())

	sealed, err := base64.StdEncoding.DecodeString(knownSealed)
	require.NoError(t, err)

	opened, err := newKeys(t, key).Open(sealed, place())
	require.NoError(t, err)
	require.Equal(t, "whsec_known", string(opened))
}

func TestParseKey(t *testing.T) {
	t.Parallel()

	made, text := secret.NewKey()
	read, err := secret.ParseKey(text)
	require.NoError(t, err)
	require.Equal(t, made.ID(), read.ID())

	in64 := func(bytes string) string { return base64.StdEncoding.EncodeToString([]byte(bytes)) }

	for text, want := range map[string]error{
		"":                                       secret.ErrLength,
		"changeme":                               secret.ErrLength,
		"replace_me":                             secret.ErrNotBase64,
		text[:len(text)-1]:                       secret.ErrNotBase64,
		text[4:]:                                 secret.ErrLength,
		text + "AAAA":                            secret.ErrNotBase64,
		text[:20] + "\n" + text[20:]:             nil, // as a wrapped line; configuration takes no line breaks
		strings.Repeat("0123456789abcdef", 4):    secret.ErrLength,
		in64(strings.Repeat("\x00", 32)):         secret.ErrNotChance,
		in64("0123456789abcdefghijklmnopqrstuv"): secret.ErrNotChance,
		in64(strings.Repeat("\x01\x02\x80\x90\xa0\xf0 ~", 4)): secret.ErrNotChance,
	} {
		_, err := secret.ParseKey(text)
		require.ErrorIs(t, err, want, "%q", text)
	}
}

func TestKey_IsNotShown(t *testing.T) {
	t.Parallel()

	key, text := secret.NewKey()
	bytes, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)

	require.Equal(t, "key "+key.ID().String(), key.String())

	for _, shown := range []string{fmt.Sprint(key), fmt.Sprintf("%v %+v %s", key, key, key)} {
		require.NotContains(t, shown, string(bytes))
		require.NotContains(t, shown, text)
	}
}

func TestHintOf(t *testing.T) {
	t.Parallel()

	hint, err := secret.HintOf("whsec_" + strings.Repeat("a", 28) + "+/x=")
	require.NoError(t, err)
	require.Equal(t, "+/x=", hint)

	for _, text := range []string{
		"", "whsec_", "whsec_" + strings.Repeat("a", 31), "sk_live_" + strings.Repeat("a", 40), "whsec_" + strings.Repeat("a", 600),
		"whsec_ " + strings.Repeat("a", 32), "whsec_" + strings.Repeat("é", 32), "whsec_" + strings.Repeat("a", 32) + "\n",
	} {
		_, err := secret.HintOf(text)
		require.Equal(t, fault.Invalid, fault.KindOf(err), "%q", text)
		require.NotContains(t, err.Error(), "aaaa")
	}
}

func TestWebhook_Usable(t *testing.T) {
	t.Parallel()

	now := time.Now()
	require.True(t, secret.Webhook{}.Usable(now))
	require.True(t, secret.Webhook{ExpiresAt: now.Add(1)}.Usable(now))
	require.False(t, secret.Webhook{ExpiresAt: now}.Usable(now))
}

// Whatever is in the database, opening it does not panic.
func FuzzKeys_Open(f *testing.F) {
	key, _ := secret.NewKey()

	keys, err := secret.NewKeys(key)
	require.NoError(f, err)

	sealed, err := keys.Seal([]byte("whsec_x"), place())
	require.NoError(f, err)
	f.Add([]byte(sealed))
	f.Add([]byte{1})

	f.Fuzz(func(t *testing.T, text []byte) {
		if opened, err := keys.Open(text, place()); err == nil {
			require.Equal(t, "whsec_x", string(opened))
		}
	})
}

const (
	knownID     = "61a90b117db0"
	knownSealed = "AWGpCxF9sIqh7XBiFEj+XLVhtIqoV5vj7b+pYI4ldfqeFbZDTtXYOl1bzLIuGw=="
)
