package money_test

import (
	"encoding/json"
	"math"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/money"
)

func TestMoney_Decimal(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		minor    int64
		currency string
		want     string
	}{
		{0, "USD", "0.00"},
		{1, "USD", "0.01"},
		{-1, "USD", "-0.01"},
		{-10, "USD", "-0.10"},
		{1050, "USD", "10.50"},
		{-1050, "USD", "-10.50"},
		{-100, "USD", "-1.00"},
		{math.MaxInt64, "USD", "92233720368547758.07"},
		{math.MinInt64, "USD", "-92233720368547758.08"},

		{0, "JPY", "0"},
		{-500, "JPY", "-500"},
		{math.MinInt64, "JPY", "-9223372036854775808"},

		{0, "KWD", "0.000"},
		{5, "KWD", "0.005"},
		{-1234, "KWD", "-1.234"},
		{math.MinInt64, "KWD", "-9223372036854775.808"},

		{0, "ISK", "0"},
		{100000, "ISK", "1000"},
		{-100000, "ISK", "-1000"},
		{-500, "UGX", "-5"},
		// What Stripe cannot charge is cut off.
		{199, "UGX", "1"},
		{-199, "UGX", "-1"},
		{99, "ISK", "0"},
		{-99, "ISK", "0"},
		{math.MinInt64, "ISK", "-92233720368547758"},
	} {
		sum := money.Of(c.minor, currency(t, c.currency))
		require.Equal(t, c.want, sum.Decimal(), "%d %s", c.minor, c.currency)
		require.Equal(t, c.want+" "+c.currency, sum.String())
		require.True(t, json.Valid([]byte(sum.Decimal())))
	}
}

// A sum has no limits as a price has, and its decimal form has exactly its value.
func TestMoney_DecimalAgreesWithRationals(t *testing.T) {
	t.Parallel()

	rapid.Check(t, func(t *rapid.T) {
		c := drawCurrency(t)
		minor := drawMinor(t, "minor")

		if c.Code() == "ISK" {
			minor -= minor % 100
		}

		scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.Exponent())), nil)
		shown, ok := new(big.Rat).SetString(money.Of(minor, c).Decimal())
		require.True(t, ok)
		require.Zero(t, shown.Cmp(new(big.Rat).SetFrac(big.NewInt(minor), scale)), "%d is not %s", minor, shown)
	})
}

func TestMoney_Of(t *testing.T) {
	t.Parallel()

	usd := currency(t, "USD")
	require.True(t, money.Money{}.IsZero())
	require.False(t, money.Of(0, usd).IsZero(), "zero dollars are a sum")
	require.Equal(t, int64(-7), money.Of(-7, usd).Minor())
	require.Equal(t, usd, money.Of(-7, usd).Currency())

	price, err := money.NewPrice(1050, usd)
	require.NoError(t, err)
	require.Equal(t, money.Of(1050, usd), price.Money())
}

func TestMoney_AddAndSub(t *testing.T) {
	t.Parallel()

	for _, c := range []struct {
		a, b     int64
		sum      int64
		sumFits  bool
		diff     int64
		diffFits bool
	}{
		{0, 0, 0, true, 0, true},
		{1050, 50, 1100, true, 1000, true},
		{50, 1050, 1100, true, -1000, true},
		{-5, -7, -12, true, 2, true},
		{math.MaxInt64, 0, math.MaxInt64, true, math.MaxInt64, true},
		{math.MaxInt64, 1, 0, false, math.MaxInt64 - 1, true},
		{math.MaxInt64, -1, math.MaxInt64 - 1, true, 0, false},
		{math.MinInt64, 1, math.MinInt64 + 1, true, 0, false},
		{math.MinInt64, -1, 0, false, math.MinInt64 + 1, true},
		{math.MaxInt64, math.MinInt64, -1, true, 0, false},
		{math.MinInt64, math.MinInt64, 0, false, 0, true},
		{-1, math.MinInt64, 0, false, math.MaxInt64, true},
		{0, math.MinInt64, math.MinInt64, true, 0, false},
		{math.MinInt64, math.MaxInt64, -1, true, 0, false},
		{math.MaxInt64, math.MaxInt64, 0, false, 0, true},
		{math.MaxInt64 - 1, 1, math.MaxInt64, true, math.MaxInt64 - 2, true},
		{math.MaxInt64 - 1, -1, math.MaxInt64 - 2, true, math.MaxInt64, true},
		{math.MinInt64 + 1, -1, math.MinInt64, true, math.MinInt64 + 2, true},
		{math.MinInt64 + 1, 1, math.MinInt64 + 2, true, math.MinInt64, true},
	} {
		usd := currency(t, "USD")
		a, b := money.Of(c.a, usd), money.Of(c.b, usd)

		sum, err := a.Add(b)
		requireSum(t, c.sum, c.sumFits, sum, err)

		diff, err := a.Sub(b)
		requireSum(t, c.diff, c.diffFits, diff, err)
	}
}

// Whatever is added or taken away, the result is exact or ErrOverflow.
func TestMoney_ArithmeticIsExact(t *testing.T) {
	t.Parallel()

	usd := currency(t, "USD")

	rapid.Check(t, func(t *rapid.T) {
		a, b := drawMinor(t, "a"), drawMinor(t, "b")
		bigA, bigB := big.NewInt(a), big.NewInt(b)

		sum, err := money.Of(a, usd).Add(money.Of(b, usd))
		want := new(big.Int).Add(bigA, bigB)
		requireSum(t, want.Int64(), want.IsInt64(), sum, err)

		diff, err := money.Of(a, usd).Sub(money.Of(b, usd))
		want = new(big.Int).Sub(bigA, bigB)
		requireSum(t, want.Int64(), want.IsInt64(), diff, err)

		compared, err := money.Of(a, usd).Compare(money.Of(b, usd))
		require.NoError(t, err)
		require.Equal(t, bigA.Cmp(bigB), compared)
	})
}

func TestMoney_CurrenciesDoNotMix(t *testing.T) {
	t.Parallel()

	usd := money.Of(1050, currency(t, "USD"))

	for _, other := range []money.Money{
		money.Of(1050, currency(t, "EUR")), money.Of(0, currency(t, "EUR")),
		money.Of(math.MinInt64, currency(t, "EUR")),
		{},
	} {
		for name, do := range map[string]func() error{
			"add":     func() error { _, err := usd.Add(other); return err },
			"sub":     func() error { _, err := usd.Sub(other); return err },
			"compare": func() error { _, err := usd.Compare(other); return err },
		} {
			err := do()
			require.Error(t, err, "%s %s", name, other)
			require.NotErrorIs(t, err, money.ErrOverflow)
			require.ErrorContains(t, err, usd.String())
			require.ErrorContains(t, err, other.String())
		}
	}
}

func requireSum(t require.TestingT, want int64, fits bool, got money.Money, err error) {
	if !fits {
		require.ErrorIs(t, err, money.ErrOverflow)
		require.True(t, got.IsZero())

		return
	}

	require.NoError(t, err)
	require.Equal(t, want, got.Minor())
	require.Equal(t, "USD", got.Currency().Code())
}

// drawMinor likes the ends of the range.
func drawMinor(t *rapid.T, label string) int64 {
	return rapid.OneOf(
		rapid.Int64(), rapid.Int64Range(math.MinInt64, math.MinInt64+9), rapid.Int64Range(math.MaxInt64-9, math.MaxInt64),
		rapid.Int64Range(-9, 9),
	).Draw(t, label)
}
