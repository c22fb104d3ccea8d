package sandbox

import "strings"

// maxExpandDepth is Stripe's limit ("Expanding responses").
const maxExpandDepth = 4

// Kinds of objects, which are also what references to them are called.
const (
	objectIntent      = "payment_intent"
	objectCharge      = "charge"
	objectRefund      = "refund"
	objectDispute     = "dispute"
	objectMethod      = "payment_method"
	objectTransaction = "balance_transaction"
	objectWarning     = "radar.early_fraud_warning"
	objectAccount     = "account"
	objectCustomer    = "customer"
	objectSetup       = "setup_intent"
	objectToken       = "token"
	onBehalfOf        = "on_behalf_of"
	latestCharge      = "latest_charge"
)

// view is how an object is looked at: which references are written as whole
// objects, the payment in which those are found, and when. The zero view writes
// ids.
type view struct {
	expand  expansion
	payment *payment
	wallet  *wallet
	now     int64
}

// look is how a request sees an object of the account; the payment is nil for those that
// belong to none.
func (s *account) look(expand expansion, pay *payment) view {
	return view{expand: expand, payment: pay, wallet: &s.books.wallet, now: s.clock.seconds()}
}

// within looks at what is under a field.
func (v view) within(name string) view {
	v.expand = v.expand[name]

	return v
}

// expansion is what expand[] asks for, as a tree: latest_charge.refunds is
// {latest_charge: {refunds: {}}}.
type expansion map[string]expansion

// viewable is an object that can be written expanded.
type viewable interface {
	document
	write(w *jsonWriter, v view)
}

// expandable maps each kind of object to its fields that may be expanded, and
// those to the kind of object found there. An empty kind is a reference that is
// always null here: it may be asked for, to no effect.
//
//nolint:gochecknoglobals,goconst // a table, never written
var expandable = map[string]map[string]string{
	objectIntent: {
		latestCharge: objectCharge, objectMethod: objectMethod, "application": "", objectCustomer: objectCustomer, "invoice": "",
		onBehalfOf: "", "review": "", "source": "",
	},
	objectCharge: {
		objectTransaction: objectTransaction, objectIntent: objectIntent, "refunds": "refunds",
		"application": "", "application_fee": "", objectCustomer: objectCustomer, "failure_balance_transaction": "", "invoice": "",
		onBehalfOf: "", "review": "", "source_transfer": "", "transfer": "",
	},
	"refunds": {"data": objectRefund},
	objectRefund: {
		objectTransaction: objectTransaction, objectCharge: objectCharge, objectIntent: objectIntent,
		"failure_balance_transaction": objectTransaction, "source_transfer_reversal": "", "transfer_reversal": "",
	},
	objectDispute:      {objectCharge: objectCharge, objectIntent: objectIntent},
	objectWarning:      {objectCharge: objectCharge, objectIntent: objectIntent},
	objectTransaction:  {"source": "source"},
	objectMethod:       {objectCustomer: objectCustomer},
	objectCustomer:     {"default_source": "", "invoice_settings": "invoice_settings", "test_clock": ""},
	"invoice_settings": {"default_payment_method": objectMethod},
	objectSetup: {
		objectCustomer: objectCustomer, objectMethod: objectMethod, "application": "", "latest_attempt": "", "mandate": "",
		onBehalfOf: "", "single_use_mandate": "",
	},
}

// readExpansion reads expand[] for a kind of object, or for lists of it.
func readExpansion(p *params, kind string, isList bool) expansion {
	var root expansion

	for _, path := range p.list("expand") {
		names := strings.Split(path, ".")
		if len(names) > maxExpandDepth {
			p.refuse(invalid("You cannot expand more than 4 levels of a property. Property: "+path, "expand", ""))

			continue
		}

		if !canExpand(names, kind, isList) {
			p.refuse(invalid("This property cannot be expanded ("+path+").", "expand", ""))

			continue
		}

		if root == nil {
			root = expansion{}
		}

		at := root

		for _, name := range names {
			if at[name] == nil {
				at[name] = expansion{}
			}

			at = at[name]
		}
	}

	return root
}

func canExpand(names []string, kind string, isList bool) bool {
	if isList {
		if names[0] != "data" || len(names) == 1 {
			return false
		}

		names = names[1:]
	}

	for _, name := range names {
		inner, ok := expandable[kind][name]
		if !ok {
			// What a transaction came from may be any kind of object.
			if kind != "source" {
				return false
			}

			continue
		}

		kind = inner
	}

	return true
}

// ref writes a reference: null, an id, or the object itself.
func (v view) ref(w *jsonWriter, name, id string) {
	inner, asked := v.expand[name]
	if !asked || id == "" {
		w.strOrNull(name, id)

		return
	}

	w.key(name)

	switch found := v.find(id).(type) {
	case nil:
		w.text(id)
	case viewable:
		v.expand = inner
		found.write(w, v)
	default:
		found.writeJSON(w)
	}
}

// find returns the current version of an object that the view reaches, or nil.
//
//nolint:ireturn // it may be any of nine kinds
func (v view) find(id string) document {
	if v.wallet != nil {
		if found := v.wallet.find(id); found != nil {
			return found
		}
	}

	if v.payment == nil {
		return nil
	}

	return v.payment.find(id)
}

// find returns the current version of one of the payment's objects, or nil.
//
//nolint:ireturn // it may be any of seven kinds
func (p *payment) find(id string) document {
	if p.intent.ID == id {
		return p.intent
	}

	for _, c := range p.charges {
		switch id {
		case c.ID:
			return c
		case c.Method.ID:
			return c.Method
		}
	}

	for _, r := range p.refunds {
		if r.ID == id {
			return r
		}
	}

	for _, d := range p.disputes {
		if d.ID == id {
			return d
		}
	}

	for _, t := range p.transactions {
		if t.ID == id {
			return t
		}
	}

	if p.intent.Method != nil && p.intent.Method.ID == id {
		return p.intent.Method
	}

	return nil
}
