// Package money holds exact amounts: a Price is what Stripe can charge, Money is any sum.
// Both are an int64 of Stripe's minor units and a currency. No conversion from or to text
// uses a float, and what cannot be represented exactly is fault.Invalid.
package money

import (
	"math"
	"strconv"
	"strings"

	"github.com/marketflow/marketflow/domain/fault"
)

// MaxMinor is the largest number of minor units that Stripe charges at once: eight
// digits, and MaxMinorIDR, twelve, in Indonesian rupiah
// (https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts).
const (
	MaxMinor    = 99_999_999
	MaxMinorIDR = 999_999_999_999
)

// maxText bounds what ParsePrice looks at: no amount needs more characters.
const maxText = 64

// Price is a positive sum of money. The zero value is no amount.
type Price struct {
	minor    int64
	currency Currency
}

// NewPrice returns a price of minor units. Anything that Stripe could not charge in
// that currency is fault.Invalid.
func NewPrice(minor int64, currency Currency) (Price, error) {
	switch {
	case currency.code == "":
		return Price{}, fault.New(fault.Invalid, "an amount needs a currency")
	case minor <= 0:
		return Price{}, fault.New(fault.Invalid, "amount must be greater than 0")
	case minor > currency.most():
		return Price{}, fault.Newf(fault.Invalid, "amount is too large; the most in %s is %s",
			currency, decimal(currency.most(), currency))
	case minor%currency.rule().step != 0:
		return Price{}, fault.Newf(fault.Invalid, "amount in %s must be a multiple of %s",
			currency, smallestStep(currency))
	}

	return Price{minor: minor, currency: currency}, nil
}

// ParsePrice reads a price in major units: a JSON number (RFC 8259 section 6),
// which includes plain decimals. "0.1", "19.99", "1e3" and "1000.00" are exact;
// an amount with more decimals than the currency has, of 0 or less, or of more than
// Stripe charges is fault.Invalid. Zeros at the end of a fraction are accepted.
func ParsePrice(text string, currency Currency) (Price, error) {
	if currency.code == "" {
		return Price{}, fault.New(fault.Invalid, "an amount needs a currency")
	}

	number, ok := scan(text)
	if !ok {
		return Price{}, fault.Newf(fault.Invalid,
			"amount %s is not a decimal number; send one such as 1000.00", quote(text))
	}

	if number.digits == "" {
		return Price{}, fault.New(fault.Invalid, "amount must be greater than 0")
	}

	if number.negative {
		return Price{}, fault.New(fault.Invalid, "amount must be greater than 0")
	}

	if decimals := currency.Decimals(); number.exponent < -decimals {
		return Price{}, fault.Newf(fault.Invalid, "amount has more decimals than %s, which has %d", currency, decimals)
	}

	minor, ok := number.scaled(currency.Exponent())
	if !ok {
		minor = math.MaxInt64 // NewPrice rejects it and names the limit
	}

	return NewPrice(minor, currency)
}

// Minor is the amount in Stripe's minor units.
func (p Price) Minor() int64 { return p.minor }

// Currency is the amount's currency.
func (p Price) Currency() Currency { return p.currency }

// IsZero says whether p is the zero value, which is no amount.
func (p Price) IsZero() bool { return p == Price{} }

// Decimal is the amount in major units with exactly the currency's decimals:
// "1000.00" in USD, "1000" in JPY, "1.500" in KWD. It is a JSON number.
func (p Price) Decimal() string { return decimal(p.minor, p.currency) }

// String implements fmt.Stringer: "1000.00 USD".
func (p Price) String() string { return p.Decimal() + " " + p.currency.code }

func decimal(minor int64, c Currency) string {
	r := c.rule()
	digits, negative := strings.CutPrefix(strconv.FormatInt(minor, 10), "-")

	if pad := int(r.exponent) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}

	text := digits[:len(digits)-int(r.exponent)]
	if r.decimals > 0 { // else ISK and UGX, whose hundredths cannot be charged
		text += "." + digits[len(text):]
	}

	if negative && strings.Trim(text, "0.") != "" {
		text = "-" + text
	}

	return text
}

func smallestStep(c Currency) string { return decimal(c.rule().step, c) }

// number is ±digits × 10^exponent, with no zero at either end of digits.
type number struct {
	negative bool
	digits   string
	exponent int
}

// scan reads the grammar of RFC 8259 section 6. It bounds the text and the exponent, so
// that a hostile number is never written out in full.
func scan(text string) (number, bool) {
	if len(text) == 0 || len(text) > maxText {
		return number{}, false
	}

	rest, negative := strings.CutPrefix(text, "-")
	mantissa, exponent, ok := cutExponent(rest)

	if !ok {
		return number{}, false
	}

	whole, fraction, dotted := strings.Cut(mantissa, ".")
	if !allDigits(whole) || (dotted && !allDigits(fraction)) || (len(whole) > 1 && whole[0] == '0') {
		return number{}, false
	}

	digits := strings.TrimLeft(whole+fraction, "0")
	exponent -= len(fraction)
	trimmed := strings.TrimRight(digits, "0")
	exponent += len(digits) - len(trimmed)

	return number{negative: negative, digits: trimmed, exponent: exponent}, true
}

func cutExponent(text string) (mantissa string, exponent int, ok bool) {
	at := strings.IndexAny(text, "eE")
	if at < 0 {
		return text, 0, true
	}

	digits := strings.TrimPrefix(text[at+1:], "+")
	if digits == text[at+1:] {
		digits = strings.TrimPrefix(digits, "-")
	}

	if !allDigits(digits) {
		return "", 0, false
	}

	exponent, err := strconv.Atoi(strings.TrimPrefix(text[at+1:], "+"))
	if err != nil || exponent < math.MinInt32 || exponent > math.MaxInt32 {
		exponent = math.MaxInt32 // out of every currency's range, with either sign
		if strings.HasPrefix(text[at+1:], "-") {
			exponent = math.MinInt32
		}
	}

	return text[:at], exponent, true
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}

	return s != ""
}

// scaled returns the number × 10^shift if that is an integer in int64's range.
func (n number) scaled(shift int) (int64, bool) {
	zeros := n.exponent + shift
	if zeros < 0 || zeros > 18 || len(n.digits)+zeros > 18 {
		return 0, false
	}

	value, err := strconv.ParseInt(n.digits+strings.Repeat("0", zeros), 10, 64)

	return value, err == nil
}

// quote quotes a client's input in a message, cut to a readable length.
func quote(s string) string {
	const most = 40
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}

	return strconv.Quote(s)
}
