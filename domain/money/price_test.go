package money_test

import (
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
)

func TestParsePrice_Exact(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		text, currency string
		minor          int64
		decimal        string
	}{
		{"1000.00", "USD", 100000, "1000.00"},
		{"1000", "usd", 100000, "1000.00"},
		{"1e3", "USD", 100000, "1000.00"},
		{"1E+3", "USD", 100000, "1000.00"},
		{"100000e-2", "USD", 100000, "1000.00"},
		{"0.1", "EUR", 10, "0.10"},
		{"0.01", "EUR", 1, "0.01"},
		{"19.99", "USD", 1999, "19.99"},
		{"1.10", "USD", 110, "1.10"},
		{"10.000", "USD", 1000, "10.00"},
		{"999999.99", "USD", 99999999, "999999.99"},
		{"1000", "JPY", 1000, "1000"},
		{"1000.00", "JPY", 1000, "1000"},
		{"99999999", "JPY", 99999999, "99999999"},
		{"1.5", "KWD", 1500, "1.500"},
		{"1.230", "KWD", 1230, "1.230"},
		{"1000", "ISK", 100000, "1000"},
		{"5", "UGX", 500, "5"},
		{"5", "MGA", 5, "5"},
		{"5.25", "HUF", 525, "5.25"},
		{"1000000.00", "IDR", 100000000, "1000000.00"},
		{"9999999999.99", "IDR", 999999999999, "9999999999.99"},
	} {
		t.Run(c.text+" "+c.currency, func(t *testing.T) {
			t.Parallel()

			amount, err := money.ParsePrice(c.text, currency(t, c.currency))
			require.NoError(t, err)
			require.Equal(t, c.minor, amount.Minor())
			require.Equal(t, c.decimal, amount.Decimal())
			require.Equal(t, c.decimal+" "+strings.ToUpper(c.currency), amount.String())
		})
	}
}

func TestParsePrice_Refuses(t *testing.T) {
	t.Parallel()

	for text, code := range map[string]string{
		"": "USD", "abc": "USD", "0": "USD", "0.00": "USD", "-1": "USD", "-0": "USD", "10.001": "USD",
		"10.5": "JPY", "1.2345": "KWD", "1.001": "KWD", "0.5": "ISK", "1e400": "USD", "1e-400": "USD",
		"1e99999999999999999999": "USD", "1e-99999999999999999999": "USD",
		"12345678901234567890": "USD", "1000000": "USD", "100000000": "JPY", "999999.999": "KWD",
		"1000000.000": "ISK", "10000000000": "IDR", "9999999999.999": "IDR",
		"+1": "USD", "01": "USD", ".5": "USD", "5.": "USD", "1e": "USD", "1e+": "USD",
		"1e+-3": "USD", "1,5": "USD", "0x10": "USD", "NaN": "USD", "Infinity": "USD",
		"1_000": "USD", "١": "USD", "1.1.1": "USD", "1\t": "USD", "--1": "USD", strings.Repeat("0", 99) + "1": "USD",
	} {
		t.Run(text+" "+code, func(t *testing.T) {
			t.Parallel()

			amount, err := money.ParsePrice(text, currency(t, code))
			require.Equal(t, fault.Invalid, fault.KindOf(err), "%v", err)
			require.True(t, amount.IsZero())
		})
	}
}

func TestParsePrice_NeedsACurrency(t *testing.T) {
	t.Parallel()

	_, err := money.ParsePrice("1", money.Currency{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
	_, err = money.NewPrice(1, money.Currency{})
	require.Equal(t, fault.Invalid, fault.KindOf(err))
}

// An accepted amount has exactly the value of its text in rational arithmetic, and its
// decimal form is a JSON number of the same value.
func TestParsePrice_AgreesWithRationals(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "text")
		c := drawCurrency(t)

		amount, err := money.ParsePrice(text, c)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))

			return
		}

		want, ok := new(big.Rat).SetString(text)
		require.True(t, ok)
		requireValue(t, want, amount)
	})
}

// Every chargeable amount is the same after being written as text and read back.
func TestPriceDecimal_RoundTrips(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		c := drawCurrency(t)

		most := int64(money.MaxMinor)
		if c.Code() == "IDR" {
			most = money.MaxMinorIDR
		}

		amount, err := money.NewPrice(rapid.Int64Range(-10, most+10).Draw(t, "minor"), c)
		if err != nil {
			require.Equal(t, fault.Invalid, fault.KindOf(err))

			return
		}

		again, err := money.ParsePrice(amount.Decimal(), c)
		require.NoError(t, err)
		require.Equal(t, amount, again)
		require.True(t, json.Valid([]byte(amount.Decimal())))
	})
}

func TestParseCurrency(t *testing.T) {
	t.Parallel()

	for _, code := range []string{"usd", "USD", "Usd"} {
		require.Equal(t, "USD", currency(t, code).Code())
	}

	for _, code := range []string{"", "US", "USDT", "ZZZ", "XAU", "us d", "ＵＳＤ", "ıSK"} {
		_, err := money.ParseCurrency(code)
		require.Equal(t, fault.Invalid, fault.KindOf(err), code)
	}
}

func FuzzParsePrice(f *testing.F) {
	for _, text := range []string{"1000.00", "1e3", "0.1", "-1", "1e400", "10.001", "99999999999999999999"} {
		f.Add(text, "USD")
		f.Add(text, "JPY")
		f.Add(text, "KWD")
		f.Add(text, "ISK")
	}

	f.Fuzz(func(t *testing.T, text, code string) {
		c, err := money.ParseCurrency(code)
		if err != nil {
			t.Skip()
		}

		amount, err := money.ParsePrice(text, c)
		if err != nil {
			return
		}

		require.True(t, json.Valid([]byte(text)), "%q is no JSON number", text)

		want, ok := new(big.Rat).SetString(text)
		require.True(t, ok)
		requireValue(t, want, amount)
	})
}

func requireValue(t require.TestingT, want *big.Rat, amount money.Price) {
	scale, err := strconv.ParseInt("1"+strings.Repeat("0", amount.Currency().Exponent()), 10, 64)
	require.NoError(t, err)
	require.Zero(t, want.Cmp(big.NewRat(amount.Minor(), scale)), "%s is not %s", amount, want)

	shown, ok := new(big.Rat).SetString(amount.Decimal())
	require.True(t, ok)
	require.Zero(t, want.Cmp(shown), "%s is not %s", amount.Decimal(), want)
}

func drawCurrency(t *rapid.T) money.Currency {
	c, err := money.ParseCurrency(rapid.SampledFrom([]string{"USD", "JPY", "KWD", "ISK", "HUF", "IDR"}).Draw(t, "currency"))
	require.NoError(t, err)

	return c
}

func currency(t *testing.T, code string) money.Currency {
	t.Helper()

	c, err := money.ParseCurrency(code)
	require.NoError(t, err)

	return c
}

func BenchmarkParsePrice(b *testing.B) {
	c, err := money.ParseCurrency("USD")
	require.NoError(b, err)
	b.ReportAllocs()

	for b.Loop() {
		if _, err := money.ParsePrice("1000.00", c); err != nil {
			b.Fatal(err)
		}
	}
}
