package sandbox

import "strings"

// testCards are the payment methods of Stripe's page "Testing" by their names
// there: pm_card_…, and tok_… for the same cards as tokens.
//
//nolint:gochecknoglobals // a table, never written
var testCards = cardTable()

const (
	genericDecline = "Your card was declined."
	fundingCredit  = "credit"
	fundingDebit   = "debit"
)

func cardTable() map[string]*testCard {
	table := map[string]*testCard{}

	addBrands(table)
	addCountries(table)
	addDeclines(table)
	addRadar(table)
	addAuthentication(table)
	addDisputes(table)
	addRefunds(table)

	for alias, name := range map[string]string{
		"threeDSecureRequired":               "threeDSecure2Required",
		"visa_chargeDeclinedExpiredCard":     "chargeDeclinedExpiredCard",
		"visa_chargeDeclinedIncorrectCvc":    "chargeDeclinedIncorrectCvc",
		"chargeDeclinedExpired":              "chargeDeclinedExpiredCard",
		"visa_chargeDeclinedFraudulent":      "radarBlock",
		"chargeDeclinedFraudulent":           "radarBlock",
		"visa_chargeDeclinedProcessingError": "chargeDeclinedProcessingError",
	} {
		table[alias] = table[name]
	}

	named := map[string]*testCard{}
	for name, card := range table {
		named["pm_card_"+name], named["tok_"+name] = card, card
	}

	addBankDebits(named)
	addPayLaters(named)

	return named
}

const brandVisa = "visa"

func visa(last4 string) *testCard {
	return &testCard{brand: brandVisa, last4: last4, country: "US", funding: fundingCredit}
}

//nolint:goconst // a table of Stripe's names
func addBrands(table map[string]*testCard) {
	for name, card := range map[string]*testCard{
		"visa":               {brand: brandVisa, last4: "4242", country: "US"},
		"visa_debit":         {brand: brandVisa, last4: "5556", country: "US", funding: fundingDebit},
		"mastercard":         {brand: "mastercard", last4: "4444", country: "US"},
		"mastercard_debit":   {brand: "mastercard", last4: "8210", country: "US", funding: fundingDebit},
		"mastercard_prepaid": {brand: "mastercard", last4: "5100", country: "US", funding: "prepaid"},
		"amex":               {brand: "amex", last4: "0005", country: "US"},
		"discover":           {brand: "discover", last4: "1117", country: "US"},
		"diners":             {brand: "diners", last4: "0004", country: "US"},
		"jcb":                {brand: "jcb", last4: "0505", country: "JP"},
		"unionpay":           {brand: "unionpay", last4: "0005", country: "CN"},

		"visa_cartesBancaires":       {brand: brandVisa, last4: "1001", country: "FR", second: "cartes_bancaires"},
		"mastercard_cartesBancaires": {brand: "mastercard", last4: "1001", country: "FR", second: "cartes_bancaires"},
		"visa_debit_eftposAuCoBranded": {
			brand: brandVisa, last4: "0001", country: "AU", funding: fundingDebit, second: "eftpos_au",
		},
		"mastercard_debit_eftposAuCoBranded": {
			brand: "mastercard", last4: "0080", country: "AU", funding: fundingDebit, second: "eftpos_au",
		},

		"debit_visaFsaProductCode":                  {brand: brandVisa, last4: "0072", country: "US", funding: fundingDebit},
		"debit_visaHsaProductCode":                  {brand: brandVisa, last4: "0072", country: "US", funding: fundingDebit},
		"mastercard_debit_mastercardFsaProductCode": {brand: "mastercard", last4: "8897", country: "US", funding: fundingDebit},

		"domesticPricing":            {brand: brandVisa, last4: "0093", country: "US"},
		"bypassPending":              {brand: brandVisa, last4: "0077", country: "US", available: true},
		"bypassPendingInternational": {brand: brandVisa, last4: "0278", country: "IE", available: true},
	} {
		if card.funding == "" {
			card.funding = fundingCredit
		}

		table[name] = card
	}
}

// addCountries adds pm_card_us and its like. Those of Europe, too, succeed
// without authentication.
func addCountries(table map[string]*testCard) {
	for entry := range strings.FieldsSeq(`us:4242 ar:0021 br:0002 ca:0000 cl:0001 co:0003 cr:0005 ec:0000 mx:8001 pa:0000
		py:0066 pe:0068 uy:0003 ae:0001 at:0008 be:0004 bg:0000 by:0005 hr:0009 cy:0008 cz:0002 dk:0001 ee:0009 fi:0001
		fr:0003 de:0016 gi:0005 gr:0030 hu:0005 ie:0005 it:0008 lv:0005 li:0004 lt:0000 lu:0006 mt:0007 nl:0002 no:0007
		pl:0005 pt:0007 ro:0001 si:0006 sk:0001 es:0007 se:0008 ch:0009 gb:0000 au:0006 cn:0002 hk:0004 in:0008 jp:0003
		my:0002 nz:0008 sg:0003 tw:0008`) {
		country, last4, _ := strings.Cut(entry, ":")
		card := visa(last4)
		card.country = strings.ToUpper(country)
		table[country] = card
	}

	table["ae_mastercard"] = &testCard{brand: "mastercard", last4: "0022", country: "AE", funding: fundingCredit}
	table["gb_debit"] = &testCard{brand: brandVisa, last4: "0005", country: "GB", funding: fundingDebit}
	table["gb_mastercard"] = &testCard{brand: "mastercard", last4: "4449", country: "GB", funding: fundingCredit}
	table["th_credit"] = &testCard{brand: brandVisa, last4: "0003", country: "TH", funding: fundingCredit}
	table["th_debit"] = &testCard{brand: brandVisa, last4: "0008", country: "TH", funding: fundingDebit}
}

func addDeclines(table map[string]*testCard) {
	add := func(last4 string, no decline, names ...string) *testCard {
		card := visa(last4)
		card.decline = &no

		for _, name := range names {
			table[name] = card
		}

		return card
	}

	declined := func(reason, message string) decline {
		return decline{Code: codeCardDeclined, DeclineCode: reason, Message: message}
	}

	add("0002", declined(declineGeneric, genericDecline), "chargeDeclined", "visa_chargeDeclined")
	add("9995", declined(declineFunds, noFunds), "chargeDeclinedInsufficientFunds",
		"visa_chargeDeclinedInsufficientFunds")
	add("9987", declined("lost_card", genericDecline), "chargeDeclinedLostCard", "visa_chargeDeclinedLostCard")
	add("9979", declined("stolen_card", genericDecline), "chargeDeclinedStolenCard", "visa_chargeDeclinedStolenCard")
	add("6975", declined("card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently or "+
		"exceeding its amount limit."), "chargeDeclinedVelocityLimitExceeded", "visa_chargeDeclinedVelocityLimitExceeded")
	add("0069", decline{Code: "expired_card", DeclineCode: "expired_card", Message: "Your card has expired."},
		"chargeDeclinedExpiredCard")
	add("0127", decline{
		Code: codeIncorrectCVC, DeclineCode: codeIncorrectCVC, Message: "Your card's security code is incorrect.",
	}, "chargeDeclinedIncorrectCvc").cvc = checkFail
	add("0119", decline{
		Code: codeProcessingError, DeclineCode: codeProcessingError,
		Message: "An error occurred while processing your card. Try again in a little bit.",
	}, "chargeDeclinedProcessingError")

	// These can be attached to a customer; what is charged to them fails.
	add("0341", declined(declineGeneric, genericDecline), "chargeCustomerFail").attaches = true
	add("0341", declined("lost_card", genericDecline), "visa_chargeCustomerFailLostCard").attaches = true
	add("0341", declined("stolen_card", genericDecline), "visa_chargeCustomerFailStolenCard").attaches = true
}

// addRadar adds what Radar judges. The sandbox's Radar blocks the highest risk,
// as Stripe's does by default, and nothing for a failed check.
func addRadar(table map[string]*testCard) {
	add := func(name, last4, risk string) *testCard {
		card := visa(last4)
		card.risk = risk
		table[name] = card

		if risk == riskHighest {
			card.decline = &decline{
				Code: codeCardDeclined, DeclineCode: reasonFraudulent, Message: genericDecline, Blocked: true,
			}
			card.attaches = true
		}

		return card
	}

	add("radarBlock", "0019", riskHighest)
	add("riskLevelHighest", "4954", riskHighest)
	add("riskLevelElevated", "9235", riskElevated)
	add("highFraudDisputeScore", "0407", riskElevated)
	add("highEfwScore", "0159", riskElevated)
	add("radarDynamicRiskThreshold", "1017", riskElevated)
	add("freeTrialAbuseBlock", "3804", "")
	add("adaptive3dsChallenge", "0003", "")

	add("cvcCheckFail", "0101", "").cvc = checkFail
	add("cvcCheckFailElevatedRisk", "7872", riskElevated).cvc = checkFail
	add("avsZipFail", "0036", "").zip = checkFail
	add("avsZipFailElevatedRisk", "6072", riskElevated).zip = checkFail
	add("avsLine1Fail", "0028", "").line1 = checkFail

	address := add("avsFail", "0010", "")
	address.line1, address.zip = checkFail, checkFail

	unchecked := add("avsUnchecked", "0044", "")
	unchecked.line1, unchecked.zip = checkUnavailable, checkUnavailable
}

func addAuthentication(table map[string]*testCard) {
	add := func(name, last4, country string, how authentication) *testCard {
		card := visa(last4)
		card.country, card.authentication = country, how
		table[name] = card

		return card
	}

	add("authenticationRequired", "3184", "DE", authenticationAlways)
	add("authenticationRequiredOnSetup", "3155", "FR", authenticationUnlessSetUp)
	add("authenticationRequiredSetupForOffSession", "0446", "IT", authenticationOnSession)
	funds := add("authenticationRequiredChargeDeclinedInsufficientFunds", "3178", "GB", authenticationOnSession)
	funds.decline = &decline{Code: codeCardDeclined, DeclineCode: declineFunds, Message: noFunds}
	funds.attaches = true

	add("threeDSecure2Required", "3220", "IE", authenticationAlways)
	add("threeDSecureRequiredChargeDeclined", "1629", "US", authenticationAlways).decline = &decline{
		Code: codeCardDeclined, DeclineCode: declineGeneric, Message: genericDecline,
	}
	// The question itself fails, so nobody is asked.
	add("threeDSecureRequiredProcessingError", "1280", "US", authenticationNever).decline = &decline{
		Code: codeCardDeclined, DeclineCode: declineGeneric, Message: genericDecline,
	}
	add("threeDSecureOptional", "3055", "US", authenticationOptional)
	add("threeDSecureOptionalProcessingError", "3097", "US", authenticationBroken)

	notSupported := *table["amex"]
	notSupported.authentication = authenticationUnsupported
	table["amex_threeDSecureNotSupported"] = &notSupported
}

func addDisputes(table map[string]*testCard) {
	add := func(name, last4 string, kinds ...disputeKind) {
		card := visa(last4)
		card.disputes = kinds
		table[name] = card
	}

	fraud := disputeKind{reason: reasonFraudulent, network: networkFraud}
	missing := disputeKind{reason: "product_not_received", network: networkMissing}

	add("createDispute", "0259", fraud)
	add("createDisputeProductNotReceived", "2685", missing)
	add("createDisputeInquiry", "1976", disputeKind{reason: "general", network: "33", inquiry: true})
	add("createMultipleDisputes", "0079", fraud, missing)
	add("createCe3EligibleDispute", "0038", fraud)
	add("createComplianceDispute", "0779", disputeKind{reason: reasonNoncompliant, network: networkCompliance})
	add("createAutoRepresentmentEligibleDispute", "0043", fraud)

	table["createMastercardComplianceDispute"] = &testCard{
		brand: "mastercard", last4: "0002", country: "US", funding: fundingCredit,
		disputes: []disputeKind{{reason: reasonNoncompliant, network: networkCompliance}},
	}

	warned := visa("5423")
	warned.warned = true
	table["createIssuerFraudRecord"] = warned
}

func addRefunds(table map[string]*testCard) {
	add := func(name, last4, first, then string) {
		card := visa(last4)
		card.refund, card.settles = first, then
		table[name] = card
	}

	add("pendingRefund", "7726", refundPending, refundSucceeded)
	add("refundFail", "5126", refundSucceeded, refundFailed)
	// Of the sandbox's own making: Stripe has no card whose refund waits for the
	// customer, and without one nobody can try a refund's cancel.
	add("refundRequiresAction", "7734", refundRequiresAction, "")
}
