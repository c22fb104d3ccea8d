package operation_test

import (
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/operation"
)

func drawMark(t *rapid.T) operation.Mark {
	bytes := func(label string, n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label) }

	return operation.Mark{
		Installation: uuid.UUID(bytes("installation", 16)),
		Tenant:       operation.Tenant(rapid.Int32Range(1, math.MaxInt32).Draw(t, "tenant")),
		// Those of later releases are read too.
		Kind:        operation.Kind(rapid.SampledFrom([]string{"create", "capture", "cancel", "confirm", "refund"}).Draw(t, "kind")),
		Operation:   uuid.UUID(bytes("operation", 16)),
		Fingerprint: operation.Fingerprint(bytes("fingerprint", 32)),
	}
}

// The text of a mark is read back as the same mark, and fits into Stripe's metadata.
func TestMark_RoundTrips(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		mark := drawMark(t)
		text := mark.String()

		require.Less(t, len(text), 200)
		require.Regexp(t, `^[A-Za-z0-9_.-]+$`, text)

		again, ok := operation.ParseMark(text)
		require.True(t, ok, text)
		require.Equal(t, mark, again)
	})
}

// The text stays as it is for ever: objects at Stripe carry it.
func TestMark_TheText(t *testing.T) {
	t.Parallel()

	mark := operation.Installation{ID: uuid.MustParse("0190a000-0000-7000-8000-0000000000ff")}.Mark(
		operation.DefaultTenant, operation.Capture, uuid.MustParse("0190b000-0000-7000-8000-000000000001"),
		operation.Fingerprint{0: 0xfb, 31: 0xff})
	require.Equal(t, operation.DefaultTenant, mark.Tenant)
	require.Equal(t, "1.AZCgAAAAcACAAAAAAAAA_w.1.capture.AZCwAAAAcACAAAAAAAAAAQ.-wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAP8",
		mark.String())
}

// Whatever text is read as a mark is exactly the text of that mark: no two texts are one
// mark.
func TestParseMark_HasOneSpelling(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		text := drawMark(t).String()
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		with := rapid.StringOfN(rapid.RuneFrom([]rune("aA0.+-_/= \n\r\tж")), 0, 2, -1).Draw(t, "with")
		changed := text[:at] + with + text[at+rapid.IntRange(0, 1).Draw(t, "cut"):]

		if mark, ok := operation.ParseMark(changed); ok {
			require.Equal(t, changed, mark.String())
		}
	})
}

// A mark that somebody cut off or added to is none.
func TestParseMark_RefusesWhatIsTruncatedOrPadded(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		text := drawMark(t).String()

		for i := range len(text) {
			requireNoMark(t, text[:i])

			if i > 0 {
				requireNoMark(t, text[i:])
			}
		}

		for _, more := range []string{" ", "\n", "\r\n", "=", "==", ".", ".a", "A", "\x00", text} {
			requireNoMark(t, text+more)
			requireNoMark(t, more+text)
		}
	})
}

func TestParseMark_RefusesOtherTexts(t *testing.T) {
	t.Parallel()

	part := strings.Split(operation.Mark{
		Installation: uuid.Max, Tenant: 7, Kind: operation.Create, Operation: uuid.Max,
	}.String(), ".")

	for name, c := range map[string]struct {
		at   int
		with string
	}{
		"another version":             {0, "2"},
		"no version":                  {0, ""},
		"a version with a zero":       {0, "01"},
		"no installation":             {1, ""},
		"a hexadecimal installation":  {1, uuid.Max.String()},
		"a longer installation":       {1, part[1] + "AA"},
		"a shorter installation":      {1, part[1][:20]},
		"standard base64":             {1, strings.ReplaceAll(part[1], "_", "/")},
		"padded base64":               {1, part[1] + "=="},
		"other spare bits":            {1, part[1][:21] + "x"},
		"a line break within":         {1, part[1][:5] + "\n" + part[1][5:]},
		"no tenant":                   {2, ""},
		"tenant nought":               {2, "0"},
		"a negative tenant":           {2, "-7"},
		"a tenant with a sign":        {2, "+7"},
		"a tenant with a zero":        {2, "07"},
		"a hexadecimal tenant":        {2, "0x7"},
		"a tenant with an underscore": {2, "1_0"},
		"a tenant of over 32 bits":    {2, "2147483648"},
		"no kind":                     {3, ""},
		"a kind that is far too long": {3, strings.Repeat("k", 200)},
		"two kinds":                   {3, "create.create"},
		"no operation":                {4, ""},
		"spare bits of an operation":  {4, part[4][:21] + "x"},
		"no fingerprint":              {5, ""},
		"spare bits of a fingerprint": {5, part[5][:42] + "B"},
		"an operation as fingerprint": {5, part[4]},
		"a fingerprint as operation":  {4, part[5]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			changed := append([]string(nil), part...)
			changed[c.at] = c.with
			requireNoMark(t, strings.Join(changed, "."))
		})
	}

	_, ok := operation.ParseMark(strings.Join(part, "."))
	require.True(t, ok, "the unchanged text is a mark")

	// Too short and too long for six parts, and what other programs write.
	for _, text := range []string{"", ".", ".....", "1.....", "true", uuid.NewString(), strings.Repeat("1.", 500)} {
		requireNoMark(t, text)
	}
}

func requireNoMark(t require.TestingT, text string) {
	mark, ok := operation.ParseMark(text)
	require.False(t, ok, "%q", text)
	require.Zero(t, mark)
}
