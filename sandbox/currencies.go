package sandbox

import (
	"strconv"
	"strings"
)

// currencyRule is what Stripe's "Supported currencies" page says of one
// currency. The table is kept apart from the product's own on purpose: a second
// opinion that shares its table with the first is none.
type currencyRule struct {
	// decimals is how many digits of the amount are minor units.
	decimals int
	// step is what the amount must be a multiple of.
	step int64
	// maximum is the largest charge, in minor units.
	maximum int64
	// minimum is the smallest charge, in minor units. Stripe's depends on the
	// settlement currency; this is the published one, or one unit.
	minimum int64
	symbol  string
}

// defaultCurrency is the account's own.
const defaultCurrency = "usd"

// Stripe's largest charges: eight digits of minor units, twelve for rupiah.
const (
	maxAmount = 99_999_999
	maxRupiah = 999_999_999_999
)

// currencies maps Stripe's presentment currencies to their rules.
//
//nolint:gochecknoglobals // a table, never written
var currencies = currencyTable()

func currencyTable() map[string]currencyRule {
	table := map[string]currencyRule{}

	add := func(rule currencyRule, codes string) {
		for code := range strings.FieldsSeq(codes) {
			table[code] = rule
		}
	}

	rule := func(decimals int, step int64) currencyRule {
		return currencyRule{decimals: decimals, step: step, minimum: step, maximum: maxAmount}
	}

	add(rule(2, 1), `aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn
		bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip
		gmd gtq gyd hkd hnl htg huf idr ils inr jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop
		mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd
		shp sle sos srd std szl thb tjs top try ttd twd tzs uah usd uyu uzs wst xcd yer zar zmw`)
	add(rule(0, 1),
		`bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf`)
	// Sent as if they had two decimals, which must be zero.
	add(rule(2, 100), `isk ugx`)
	// The last of three decimals must be zero.
	add(rule(3, 10), `bhd jod kwd omr tnd`)

	for code, smallest := range map[string]struct {
		minimum int64
		symbol  string
	}{
		defaultCurrency: {50, "$"}, "eur": {50, "€"}, "gbp": {30, "£"}, "jpy": {50, "¥"}, "aed": {200, ""}, "aud": {50, "$"},
		"bgn": {100, ""}, "brl": {50, "R$"}, "cad": {50, "$"}, "chf": {50, ""}, "czk": {1500, ""}, "dkk": {250, ""},
		"hkd": {400, "$"}, "huf": {17500, ""}, "inr": {50, "₹"}, "mxn": {1000, "$"}, "myr": {200, ""},
		"nok": {300, ""}, "nzd": {50, "$"}, "pln": {200, ""}, "ron": {200, ""}, "sek": {300, ""}, "sgd": {50, "$"},
		"thb": {1000, ""},
	} {
		rule := table[code]
		rule.minimum, rule.symbol = smallest.minimum, smallest.symbol
		table[code] = rule
	}

	rupiah := table["idr"]
	rupiah.maximum = maxRupiah
	table["idr"] = rupiah

	return table
}

// format writes an amount as Stripe's messages do: $0.50 usd.
func (c currencyRule) format(amount int64, currency string) string {
	return c.symbol + c.digits(amount) + " " + currency
}

// money writes an amount with its symbol alone where it has one: $0.50.
func (c currencyRule) money(amount int64, currency string) string {
	if c.symbol == "" {
		return c.format(amount, currency)
	}

	return c.symbol + c.digits(amount)
}

// digits writes an amount in major units: 999,999.99.
func (c currencyRule) digits(amount int64) string {
	const group = 3

	digits := strconv.FormatInt(amount, 10)
	for len(digits) <= c.decimals {
		digits = "0" + digits
	}

	point := len(digits) - c.decimals
	text := digits[:point]

	if c.decimals > 0 {
		text += "." + digits[point:]
	}

	for comma := point - group; comma > 0; comma -= group {
		text = text[:comma] + "," + text[comma:]
	}

	return text
}

// readCurrency reads a required currency, in any case.
func readCurrency(p *params) (string, currencyRule) {
	code := strings.ToLower(p.required("currency"))

	rule, known := currencies[code]
	if !known && code != "" {
		p.refuse(invalid("Invalid currency: "+code+". Stripe currently supports these currencies: "+
			"see https://stripe.com/docs/currencies", "currency", ""))
	}

	return code, rule
}

// checkAmount refuses what Stripe refuses to charge.
func checkAmount(amount int64, currency string, rule currencyRule, param string) *refusal {
	switch {
	case amount < 1:
		return invalid("This value must be greater than or equal to 1.", param, codeParameterInvalidInteger)
	case amount < rule.minimum:
		return invalid("Amount must be at least "+rule.format(rule.minimum, currency), param, codeAmountTooSmall)
	case amount > rule.maximum:
		return invalid("Amount must be no more than "+rule.money(rule.maximum, currency), param, codeAmountTooLarge)
	case amount%rule.step != 0:
		return invalid("Invalid "+param+": amounts in "+strings.ToUpper(currency)+" must be a multiple of "+
			strconv.FormatInt(rule.step, 10)+" (https://stripe.com/docs/currencies#special-cases).",
			param, codeParameterInvalidInteger)
	default:
		return nil
	}
}
