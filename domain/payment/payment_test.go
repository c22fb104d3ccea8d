package payment_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestStatus_TheTable(t *testing.T) {
	t.Parallel()

	allowed := map[payment.Status][]payment.Status{
		payment.Pending: {payment.Succeeded, payment.Failed, payment.Cancelled},
		payment.Failed:  {payment.Succeeded, payment.Cancelled},
	}

	for _, from := range payment.Statuses() {
		for _, to := range payment.Statuses() {
			require.Equal(t, slices.Contains(allowed[from], to), from.CanBecome(to), "%s → %s", from, to)
		}
	}
}

// Whatever changes are tried in whatever order: a final status stays, and no status comes
// back.
func TestStatus_NeverGoesBackwards(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		status := payment.Pending
		left := map[payment.Status]bool{}

		for _, next := range rapid.SliceOf(rapid.SampledFrom(payment.Statuses())).Draw(t, "changes") {
			if !status.CanBecome(next) {
				continue
			}

			require.False(t, status.Final(), "%s is final", status)
			require.False(t, left[next], "came back to %s", next)
			left[status], status = true, next
		}
	})
}

// The last status of a payment does not depend on the order in which its events arrive, if
// Stripe sends only one final event.
func TestStatus_AnyOrderEndsTheSame(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		events := []payment.Status{payment.Failed, payment.Failed, payment.Pending}
		final := rapid.SampledFrom([]payment.Status{payment.Succeeded, payment.Cancelled}).Draw(t, "final")
		status := payment.Pending

		for _, next := range rapid.Permutation(append(events, final)).Draw(t, "arrival") {
			if status.CanBecome(next) {
				status = next
			}
		}

		require.Equal(t, final, status)
	})
}

func TestFingerprint_IgnoresMapOrderAndSpelling(t *testing.T) {
	t.Parallel()

	usd := currency(t, "usd")
	one := payment.Order{Amount: amount(t, "1000.00", usd), Metadata: payment.Metadata{"a": "1", "b": "2"}}
	two := payment.Order{Amount: amount(t, "1e3", usd), Metadata: payment.Metadata{"b": "2", "a": "1"}}

	require.Equal(t, one.Fingerprint(), two.Fingerprint())
}

func TestFingerprint_TellsOrdersApart(t *testing.T) {
	t.Parallel()

	text := rapid.StringN(0, 6, -1)
	order := rapid.Custom(func(t *rapid.T) payment.Order {
		c, err := money.ParseCurrency(rapid.SampledFrom([]string{"USD", "EUR", "JPY"}).Draw(t, "currency"))
		require.NoError(t, err)
		a, err := money.NewPrice(rapid.Int64Range(1, 300).Draw(t, "minor"), c)
		require.NoError(t, err)

		return payment.Order{Amount: a, Metadata: rapid.MapOfN(text, text, 0, 3).Draw(t, "metadata")}
	})

	rapid.Check(t, func(t *rapid.T) {
		one, two := order.Draw(t, "one"), order.Draw(t, "two")
		same := one.Amount == two.Amount && maps.Equal(one.Metadata, two.Metadata)
		require.Equal(t, same, one.Fingerprint() == two.Fingerprint())
	})
}

// Each part is preceded by its length, so moving a character from a key to its value makes
// another order.
func TestFingerprint_MovedCharacterIsAnotherOrder(t *testing.T) {
	t.Parallel()

	a := amount(t, "1", currency(t, "USD"))
	one := payment.Order{Amount: a, Metadata: payment.Metadata{"ab": "c"}}
	two := payment.Order{Amount: a, Metadata: payment.Metadata{"a": "bc"}}

	require.NotEqual(t, one.Fingerprint(), two.Fingerprint())
}

func TestParseMetadata_RefusesWhatStripeWould(t *testing.T) {
	t.Parallel()

	many := map[string]string{}
	for i := range payment.MaxMetadataEntries + 1 {
		many[fmt.Sprintf("key_%02d", i)] = "v"
	}

	for name, entries := range map[string]map[string]string{
		"too many":       many,
		"empty key":      {"": "v"},
		"long key":       {strings.Repeat("k", 41): "v"},
		"long value":     {"k": strings.Repeat("v", 501)},
		"bracket":        {"a[b]": "v"},
		"control":        {"a\tb": "v"},
		"NUL in a value": {"k": "a\x00"},
		"reserved":       {payment.ReservedMetadata: "v"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			_, err := payment.ParseMetadata(entries)
			require.Equal(t, fault.Invalid, fault.KindOf(err))
		})
	}
}

func TestParseMetadata_AcceptsItsLimits(t *testing.T) {
	t.Parallel()

	entries := map[string]string{strings.Repeat("ж", 40): strings.Repeat("ж", 500), "empty": ""}
	for i := len(entries); i < payment.MaxMetadataEntries; i++ {
		entries[fmt.Sprintf("key_%02d", i)] = "v"
	}

	metadata, err := payment.ParseMetadata(entries)
	require.NoError(t, err)
	require.Len(t, metadata, payment.MaxMetadataEntries)

	metadata, err = payment.ParseMetadata(nil)
	require.NoError(t, err)
	require.Nil(t, metadata)
}

func currency(t *testing.T, code string) money.Currency {
	t.Helper()

	c, err := money.ParseCurrency(code)
	require.NoError(t, err)

	return c
}

func amount(t *testing.T, text string, c money.Currency) money.Price {
	t.Helper()

	a, err := money.ParsePrice(text, c)
	require.NoError(t, err)

	return a
}
