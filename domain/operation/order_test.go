package operation_test

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
)

// The fingerprints that the first release (f1922c5) wrote: a client that repeats a create
// of before the upgrade must be answered, not told that the key was used for something
// else.
func TestOrder_FingerprintOfAPlainCreateIsThatOfTheFirstRelease(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		amount, currency string
		metadata         map[string]string
		want             string
	}{
		{"1000.00", "USD", nil, "947bdb4af284ffd592d44a1f13017279b5beeb902f48b65104b5af37ff9658b1"},
		{"1e3", "usd", map[string]string{}, "947bdb4af284ffd592d44a1f13017279b5beeb902f48b65104b5af37ff9658b1"},
		{
			"19.99", "EUR",
			map[string]string{"order_id": "42"},
			"9abd7072243c6b09e099ce2123f7ba3b9203ea0b60016eb14ee7c9eefdd4df83",
		},
		{
			"500", "JPY",
			map[string]string{"b": "2", "a": "1"},
			"ab552fb3182297bc6216ffac7ce6c5f9821836efe5a27d9b3cfea89a95fab75b",
		},
		{
			"1.230", "KWD",
			map[string]string{"empty": "", "имя": "Жанна ☂"},
			"5818a95ceaa2d48ba09f1e1b330b2e0168386a776f8ba8c6ba0f7c7c4b41a566",
		},
		{"1000", "ISK", nil, "fecdcac20f39a86c127e341b0a8f7dcf4dec89f75fe85ea2f797bb72a6884af2"},
		{
			"9999999999.99", "IDR",
			map[string]string{"ab": "c"},
			"14a2fd56c29b8737a65903c65d66b47c022704d2288eb05fb867e888f81365ac",
		},
	} {
		order := operation.Order{Amount: price(t, c.amount, c.currency), Metadata: c.metadata}
		got := order.Fingerprint(operation.Create, uuid.Nil)
		require.Equal(t, c.want, hex.EncodeToString(got[:]), "%s %s", c.amount, c.currency)

		order.Options = map[string]string{}
		require.Equal(t, got, order.Fingerprint(operation.Create, uuid.Nil), "no options were given")
	}
}

// asked is everything that a fingerprint covers.
type asked struct {
	kind    operation.Kind
	subject uuid.UUID
	order   operation.Order
}

func (a asked) fingerprint() operation.Fingerprint { return a.order.Fingerprint(a.kind, a.subject) }

func (a asked) equal(b asked) bool {
	return a.kind == b.kind && a.subject == b.subject && a.order.Amount == b.order.Amount &&
		maps.Equal(a.order.Metadata, b.order.Metadata) && maps.Equal(a.order.Options, b.order.Options)
}

// Two requests have one fingerprint if, and only if, they ask for the same. The texts are
// short and few, so that many requests differ only in where a character stands.
func TestOrder_FingerprintsNeverCollide(t *testing.T) {
	t.Parallel()

	one := uuid.MustParse("018f0000-0000-7000-8000-000000000001")
	two := uuid.MustParse("018f0000-0000-7000-8000-000000000002")
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', 0}), 0, 3, -1)
	entries := rapid.MapOfN(text, text, 0, 3)
	prices := rapid.SampledFrom([]money.Price{{}, price(t, "1", "USD"), price(t, "2", "USD"), price(t, "1", "EUR")})
	draw := rapid.Custom(func(t *rapid.T) asked {
		a := asked{
			kind: rapid.SampledFrom(operation.Kinds()).Draw(t, "kind"),
			order: operation.Order{
				Amount: prices.Draw(t, "amount"), Metadata: entries.Draw(t, "metadata"), Options: entries.Draw(t, "options"),
			},
		}

		if a.kind != operation.Create { // a create has no subject
			a.subject = rapid.SampledFrom([]uuid.UUID{one, two}).Draw(t, "subject")
		}

		return a
	})

	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")

		// Mostly the two differ in one thing only.
		switch rapid.IntRange(0, 5).Draw(t, "alike") {
		case 0:
			b.order.Metadata, b.order.Options = a.order.Options, a.order.Metadata
		case 1:
			b.order.Amount, b.order.Options = a.order.Amount, a.order.Options
		case 2:
			b.order = a.order
		case 3:
			b.kind, b.subject = a.kind, a.subject
		case 4:
			b = a
			b.order.Metadata, b.order.Options = maps.Clone(a.order.Metadata), maps.Clone(a.order.Options)
		}

		require.Equal(t, a.equal(b), a.fingerprint() == b.fingerprint())
	})
}

// Everything that makes a request another one, once each.
func TestOrder_FingerprintCoversEverything(t *testing.T) {
	t.Parallel()

	subject := uuid.New()
	plain := asked{operation.Capture, subject, operation.Order{
		Amount: price(t, "4", "USD"), Metadata: map[string]string{"ab": "c"}, Options: map[string]string{"ab": "c"},
	}}
	seen := map[operation.Fingerprint]string{plain.fingerprint(): "plain"}

	for name, change := range map[string]func(*asked){
		"another kind":               func(a *asked) { a.kind = operation.Cancel },
		"a create":                   func(a *asked) { a.kind, a.subject = operation.Create, uuid.Nil },
		"another subject":            func(a *asked) { a.subject = uuid.New() },
		"another amount":             func(a *asked) { a.order.Amount = price(t, "4.01", "USD") },
		"another currency":           func(a *asked) { a.order.Amount = price(t, "4", "EUR") },
		"no amount":                  func(a *asked) { a.order.Amount = money.Price{} },
		"no metadata":                func(a *asked) { a.order.Metadata = nil },
		"no options":                 func(a *asked) { a.order.Options = nil },
		"another metadata value":     func(a *asked) { a.order.Metadata = map[string]string{"ab": "d"} },
		"a moved metadata character": func(a *asked) { a.order.Metadata = map[string]string{"a": "bc"} },
		"one more metadata entry":    func(a *asked) { a.order.Metadata = map[string]string{"ab": "c", "": ""} },
		"another option":             func(a *asked) { a.order.Options = map[string]string{"ab": "d"} },
		"a moved option character":   func(a *asked) { a.order.Options = map[string]string{"a": "bc"} },
		"one more option":            func(a *asked) { a.order.Options = map[string]string{"ab": "c", "": ""} },
	} {
		other := plain
		change(&other)

		require.NotContains(t, seen, other.fingerprint(), name)
		seen[other.fingerprint()] = name
	}
}

// An option and an amount cannot be made to look like an amount and metadata: without the
// number of options these two would have one form.
func TestOrder_FingerprintTellsOptionsFromWhatFollows(t *testing.T) {
	t.Parallel()

	part := func(text string) string { return string(binary.BigEndian.AppendUint64(nil, uint64(len(text)))) + text }
	value := strings.Repeat("v", 83)
	asMetadata := operation.Order{
		Amount: price(t, "1", "USD"), Metadata: map[string]string{"A": value, "EUR": part("") + part("")},
	}
	asOption := operation.Order{
		Options: map[string]string{"USD": part("A") + part(value)},
		Amount:  price(t, "0.16", "EUR"), Metadata: map[string]string{"": ""},
	}

	require.NotEqual(t, asMetadata.Fingerprint(operation.Capture, uuid.Max), asOption.Fingerprint(operation.Capture, uuid.Max))
}

func price(t *testing.T, text, code string) money.Price {
	t.Helper()

	c, err := money.ParseCurrency(code)
	require.NoError(t, err)
	p, err := money.ParsePrice(text, c)
	require.NoError(t, err)

	return p
}
