package money

import (
	"cmp"
	"errors"
	"fmt"
	"math"
)

// Money is any sum in one currency: it may be zero or negative. The zero value is no sum.
type Money struct {
	minor    int64
	currency Currency
}

// ErrOverflow says that a sum does not fit an int64 of minor units.
var ErrOverflow = errors.New("the sum of money is too large")

// Of returns a sum of minor units, of which there may be none or fewer.
func Of(minor int64, currency Currency) Money { return Money{minor: minor, currency: currency} }

// Money is the price as a sum.
func (p Price) Money() Money { return Money(p) }

// Minor is the sum in Stripe's minor units.
func (m Money) Minor() int64 { return m.minor }

// Currency is the sum's currency.
func (m Money) Currency() Currency { return m.currency }

// IsZero says whether m is the zero value, which is no sum. Zero dollars are a sum.
func (m Money) IsZero() bool { return m == Money{} }

// Decimal is the sum in major units with exactly the currency's decimals, such as
// "-10.50" in USD. It is a JSON number. Hundredths of a currency without decimals, which
// Stripe cannot charge (https://docs.stripe.com/currencies), are cut off.
func (m Money) Decimal() string { return decimal(m.minor, m.currency) }

// String implements fmt.Stringer: "-10.50 USD".
func (m Money) String() string { return m.Decimal() + " " + m.currency.code }

// Add returns m + n. If the currencies differ, or the sum is too large (ErrOverflow), it
// is an error.
func (m Money) Add(n Money) (Money, error) {
	if m.currency != n.currency {
		return Money{}, fmt.Errorf("%s and %s cannot be added", m, n)
	}

	if n.minor > 0 && m.minor > math.MaxInt64-n.minor || n.minor < 0 && m.minor < math.MinInt64-n.minor {
		return Money{}, ErrOverflow
	}

	return Money{minor: m.minor + n.minor, currency: m.currency}, nil
}

// Sub returns m - n, with the errors of Add.
func (m Money) Sub(n Money) (Money, error) {
	if m.currency != n.currency {
		return Money{}, fmt.Errorf("%s cannot be taken from %s", n, m)
	}

	if n.minor < 0 && m.minor > math.MaxInt64+n.minor || n.minor > 0 && m.minor < math.MinInt64+n.minor {
		return Money{}, ErrOverflow
	}

	return Money{minor: m.minor - n.minor, currency: m.currency}, nil
}

// Compare is negative if m is less than n, 0 if they are equal and positive if m is more.
// If the currencies differ, it is an error.
func (m Money) Compare(n Money) (int, error) {
	if m.currency != n.currency {
		return 0, fmt.Errorf("%s and %s cannot be compared", m, n)
	}

	return cmp.Compare(m.minor, n.minor), nil
}
