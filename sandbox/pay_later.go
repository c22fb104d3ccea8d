package sandbox

import (
	"slices"
	"strings"
)

// payLater is a way to buy now and pay later (Stripe, "Buy now, pay later"): its
// customer is sent to a page of the provider, approves or declines there, and the
// money is the merchant's at once.
type payLater struct {
	kind       string // the type of payment method
	Name       string
	currencies []string
}

// payLaters are the providers that the sandbox knows.
//
//nolint:gochecknoglobals,goconst // a table, never written
var payLaters = []*payLater{
	{"klarna", "Klarna", strings.Fields("aud cad chf czk dkk eur gbp nok nzd pln ron sek usd")},
	{"affirm", "Affirm", strings.Fields("cad usd")},
	{"afterpay_clearpay", "Afterpay", strings.Fields("aud cad gbp nzd usd")},
}

// addPayLaters adds pm_klarna and so on. The names are the sandbox's own: Stripe
// makes these from payment_method_data[type] alone.
func addPayLaters(named map[string]*testCard) {
	for _, later := range payLaters {
		named["pm_"+later.kind] = &testCard{later: later, country: "US", authentication: authenticationAlways}
	}
}

func payLaterOf(kind string) *payLater {
	index := slices.IndexFunc(payLaters, func(l *payLater) bool { return l.kind == kind })
	if index < 0 {
		return nil
	}

	return payLaters[index]
}

// readPayLater reads the details of a new method, which only its provider uses.
func readPayLater(p *params, later *payLater) methodChoice {
	if details := p.child(later.kind); details != nil {
		markRead(details.form)
	}

	return methodChoice{name: "pm_" + later.kind}
}

// check refuses what the provider does not do.
func (l *payLater) check(i *paymentIntent, returnURL string) *refusal {
	switch {
	case !slices.Contains(l.currencies, i.Currency):
		return invalid("The currency provided ("+i.Currency+") is invalid for the payment method type "+l.kind+".", "currency",
			"payment_intent_invalid_parameter")
	case i.FutureUsage != "":
		return invalid("The payment method type "+l.kind+" does not support setup_future_usage.", "setup_future_usage",
			"payment_intent_invalid_parameter")
	case returnURL == "":
		return invalid("A `return_url` is required to confirm with the payment method type "+l.kind+", which redirects the "+
			"customer.", "return_url", codeParameterMissing)
	default:
		return nil
	}
}

func (l *payLater) write(w *jsonWriter) {
	w.object(l.kind)

	if l.kind == "klarna" {
		w.null("dob")
	}

	w.endObject()
}

func (l *payLater) writeOptions(w *jsonWriter) {
	w.object(l.kind)

	switch l.kind {
	case "klarna":
		w.null("preferred_locale")
	case "afterpay_clearpay":
		w.null("reference")
	}

	w.str("setup_future_usage", "none")
	w.endObject()
}

func (l *payLater) writeDetails(w *jsonWriter) {
	w.object("payment_method_details")
	w.object(l.kind)

	switch l.kind {
	case "klarna":
		w.str("payment_method_category", "pay_later")
		w.str("preferred_locale", "en-US")
	case "afterpay_clearpay":
		w.null("order_id")
		w.null("reference")
	default:
		w.null("transaction_id")
	}

	w.endObject()
	w.str("type", l.kind)
	w.endObject()
}
