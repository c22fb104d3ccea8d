package money

import (
	"strings"

	"github.com/marketflow/marketflow/domain/fault"
)

// Currency is a currency that Stripe charges in. The zero value is no currency.
type Currency struct{ code string }

// rule says how Stripe counts a currency. The table is Stripe's, not ISO 4217's: they
// differ for ISK, UGX and MGA (https://docs.stripe.com/currencies).
type rule struct {
	// exponent: one major unit is 10^exponent minor units at Stripe.
	exponent uint8
	// decimals is how many people write and our answers show.
	decimals uint8
	// step: a chargeable number of minor units is a multiple of it.
	step int64
}

// ordinary holds for every supported currency that special does not list.
var ordinary = rule{exponent: 2, decimals: 2, step: 1} //nolint:gochecknoglobals // a constant table

//nolint:gochecknoglobals // constant tables
var (
	zeroDecimal  = rule{exponent: 0, decimals: 0, step: 1}
	threeDecimal = rule{exponent: 3, decimals: 3, step: 10}
	// backwardCompatible: there are no fractions, but Stripe still counts in hundredths.
	backwardCompatible = rule{exponent: 2, decimals: 0, step: 100}

	special = map[string]rule{
		"BIF": zeroDecimal, "CLP": zeroDecimal, "DJF": zeroDecimal, "GNF": zeroDecimal,
		"JPY": zeroDecimal, "KMF": zeroDecimal, "KRW": zeroDecimal, "MGA": zeroDecimal,
		"PYG": zeroDecimal, "RWF": zeroDecimal, "VND": zeroDecimal, "VUV": zeroDecimal,
		"XAF": zeroDecimal, "XOF": zeroDecimal, "XPF": zeroDecimal,

		"BHD": threeDecimal, "JOD": threeDecimal, "KWD": threeDecimal,
		"OMR": threeDecimal, "TND": threeDecimal,

		"ISK": backwardCompatible, "UGX": backwardCompatible,
	}

	supported = currencySet(`
		AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND
		BOB BRL BSD BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CVE CZK DJF DKK DOP
		DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR
		ILS INR ISK JMD JOD JPY KES KGS KHR KMF KRW KWD KYD KZT LAK LBP LKR LRD
		LSL MAD MDL MGA MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
		NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR
		SEK SGD SHP SLE SOS SRD STD SZL THB TJS TND TOP TRY TTD TWD TZS UAH UGX
		USD UYU UZS VND VUV WST XAF XCD XOF XPF YER ZAR ZMW`)
)

func currencySet(codes string) map[string]struct{} {
	set := make(map[string]struct{})
	for code := range strings.FieldsSeq(codes) {
		set[code] = struct{}{}
	}

	return set
}

// ParseCurrency reads an ISO 4217 code in any case. An unknown one is
// fault.Invalid.
func ParseCurrency(code string) (Currency, error) {
	upper := strings.ToUpper(code)
	if _, ok := supported[upper]; !ok || len(code) != len(upper) {
		return Currency{}, fault.Newf(fault.Invalid,
			"currency %s is not one that we can charge; send a three-letter ISO 4217 code such as USD", quote(code))
	}

	return Currency{code: upper}, nil
}

// Code is the ISO 4217 code in capitals.
func (c Currency) Code() string { return c.code }

// String implements fmt.Stringer.
func (c Currency) String() string { return c.code }

// Decimals is how many decimals people write in this currency, from 0 to 3.
func (c Currency) Decimals() int { return int(c.rule().decimals) }

// Exponent is the power of ten that makes one major unit of Stripe's minor units. It
// differs from Decimals for ISK and UGX.
func (c Currency) Exponent() int { return int(c.rule().exponent) }

// most is the largest chargeable number of minor units.
func (c Currency) most() int64 {
	if c.code == "IDR" {
		return MaxMinorIDR
	}

	return MaxMinor - MaxMinor%c.rule().step
}

func (c Currency) rule() rule {
	if r, ok := special[c.code]; ok {
		return r
	}

	return ordinary
}
