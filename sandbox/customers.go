package sandbox

import (
	"net/mail"
	"regexp"
	"slices"
	"strings"
)

// customersURL is where customers are made and listed.
const customersURL = "/v1/customers"

// customer is one version of a Customer.
type customer struct {
	ID            string
	Seq           int64
	Created       int64
	Live          bool
	Deleted       bool      `json:"deleted,omitempty"`
	Address       *address  `json:"address,omitempty"`
	Balance       int64     `json:"balance,omitempty"`
	Description   string    `json:"description,omitempty"`
	Email         string    `json:"email,omitempty"`
	InvoicePrefix string    `json:"invoice_prefix,omitempty"`
	DefaultMethod string    `json:"default_method,omitempty"`
	Footer        string    `json:"footer,omitempty"`
	Fields        []pair    `json:"fields,omitempty"`
	TaxDisplay    string    `json:"tax_display,omitempty"`
	Metadata      metadata  `json:"metadata,omitempty"`
	Name          string    `json:"name,omitempty"`
	NextInvoice   int64     `json:"next_invoice,omitempty"`
	Phone         string    `json:"phone,omitempty"`
	Locales       []string  `json:"locales,omitempty"`
	Shipping      *shipping `json:"shipping,omitempty"`
	TaxExempt     string    `json:"tax_exempt,omitempty"`
}

func (c *customer) writeJSON(w *jsonWriter) { c.write(w, view{}) }

func (c *customer) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", c.ID)
	w.str("object", objectCustomer)

	if c.Deleted {
		w.boolean("deleted", true)
		w.endObject()

		return
	}

	c.Address.writeOrNull(w, "address")
	w.num("balance", c.Balance)
	w.num("created", c.Created)
	w.null("currency")
	w.null("default_source")
	w.boolean("delinquent", false)
	w.strOrNull("description", c.Description)
	w.null("discount")
	w.strOrNull("email", c.Email)
	w.str("invoice_prefix", c.InvoicePrefix)
	c.writeInvoiceSettings(w, v.within("invoice_settings"))
	w.boolean("livemode", c.Live)
	c.Metadata.write(w)
	w.strOrNull("name", c.Name)
	w.num("next_invoice_sequence", c.NextInvoice)
	w.strOrNull("phone", c.Phone)
	w.strings("preferred_locales", c.Locales)
	c.Shipping.write(w)
	w.str("tax_exempt", c.TaxExempt)
	w.null("test_clock")
	w.endObject()
}

func (c *customer) writeInvoiceSettings(w *jsonWriter, v view) {
	w.object("invoice_settings")

	if len(c.Fields) == 0 {
		w.null("custom_fields")
	} else {
		w.array("custom_fields")

		for _, each := range c.Fields {
			w.element()
			w.beginObject()
			w.str("name", each.Key)
			w.str("value", each.Value)
			w.endObject()
		}

		w.endArray()
	}

	v.ref(w, "default_payment_method", c.DefaultMethod)
	w.strOrNull("footer", c.Footer)

	if c.TaxDisplay == "" {
		w.null("rendering_options")
	} else {
		w.object("rendering_options")
		w.str("amount_tax_display", c.TaxDisplay)
		w.endObject()
	}

	w.endObject()
}

// createCustomer is POST /v1/customers.
func (s *account) createCustomer(rq *request) *refusal {
	c := &customer{NextInvoice: 1, TaxExempt: "none"}
	readCustomerFields(rq.params, c)

	method := rq.params.text(objectMethod)

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	// A method becomes the new customer's, so only that one can be the default.
	made := &keptCustomer{}
	c.ID, c.Created, c.Live = newCustomerID(), s.clock.seconds(), s.live
	c.Seq, c.InvoicePrefix = s.books.sequence.Add(1), orDefault(c.InvoicePrefix, strings.ToUpper(c.ID[len("cus_"):][:8]))
	wanted := c.DefaultMethod
	c.DefaultMethod = ""
	made.version.Store(c)

	var (
		first *keptMethod
		next  *paymentMethod
		r     *refusal
	)

	if method != "" {
		if first, next, r = s.attachable(method); r != nil {
			return r
		}
	}

	switch {
	case wanted == "":
	case wanted != method:
		return notTheirs(wanted)
	default:
		c.DefaultMethod = next.ID
	}

	s.books.wallet.customers.add(c.ID, c.Created, made)
	replace(rq, &made.kept, keyCustomer, c.ID, c)
	rq.emit("customer.created", c, nil)

	if first != nil {
		s.keepNewMethod(first)
		s.attach(rq, first, next, made)
	}

	rq.answer(nil, c)

	return nil
}

// newCustomerID is cus_ and fourteen characters, as Stripe's.
func newCustomerID() string { return randomText("cus_", requestIDLength) }

// invoicePrefix is what Stripe takes: three to twelve capitals or digits.
var invoicePrefix = regexp.MustCompile(`^[A-Z0-9]{3,12}$`)

func readCustomerFields(p *params, c *customer) {
	for name, into := range map[string]*string{
		"description": &c.Description, "name": &c.Name, "phone": &c.Phone, "email": &c.Email,
	} {
		setText(p, name, into)
	}

	checkEmail(p, "email", c.Email)

	if p.has("address") {
		c.Address = readAddress(p.child("address"), c.Address)
	}

	if p.has("shipping") {
		c.Shipping = readShipping(p.child("shipping"))
	}

	if balance, sent := p.integer("balance"); sent {
		c.Balance = balance
	}

	if next, sent := p.integer("next_invoice_sequence"); sent {
		c.NextInvoice = next
	}

	if p.has("preferred_locales") {
		c.Locales = p.list("preferred_locales")
	}

	if p.has("invoice_prefix") {
		if c.InvoicePrefix = p.text("invoice_prefix"); !invoicePrefix.MatchString(c.InvoicePrefix) {
			p.refuse(invalid("The invoice prefix must be between 3 and 12 characters, uppercase letters or numbers.",
				"invoice_prefix", ""))
		}
	}

	c.TaxExempt = orDefault(p.oneOf("tax_exempt", "none", "exempt", "reverse"), c.TaxExempt)
	c.Metadata = readMetadata(p, c.Metadata)
	readInvoiceSettings(p.child("invoice_settings"), c)
}

func readInvoiceSettings(p *params, c *customer) {
	if p == nil {
		return
	}

	setText(p, "default_payment_method", &c.DefaultMethod)
	setText(p, "footer", &c.Footer)

	if options := p.child("rendering_options"); options != nil {
		c.TaxDisplay = options.oneOf("amount_tax_display", "exclude_tax", "include_inclusive_tax")
	} else if p.has("rendering_options") {
		c.TaxDisplay = ""
	}

	if !p.has("custom_fields") {
		return
	}

	c.Fields = nil

	if list := p.child("custom_fields"); list != nil {
		for _, member := range list.form.fields {
			if each := list.child(member.name); each != nil {
				c.Fields = append(c.Fields, pair{Key: each.required("name"), Value: each.required("value")})
			}
		}
	}
}

// checkEmail refuses what is no address; empty is none.
func checkEmail(p *params, name, email string) {
	if email == "" || !p.has(name) {
		return
	}

	if parsed, err := mail.ParseAddress(email); err != nil || parsed.Address != email {
		p.refuse(invalid("Invalid email address: "+email, p.path(name), codeEmailInvalid))
	}
}

func notTheirs(methodID string) *refusal {
	return invalid("The customer does not have a payment method with the ID "+methodID+". The payment method must be attached "+
		"to the customer.", "invoice_settings[default_payment_method]", codeResourceMissing)
}

// pathCustomer finds the customer that the path names; a deleted one only where
// it is asked for.
func (s *account) pathCustomer(rq *request, deleted bool) (*keptCustomer, *refusal) {
	found, ok := s.books.wallet.customers.get(rq.objectID)
	if !ok || (found.now().Deleted && !deleted) {
		return nil, missing(objectCustomer, rq.objectID, "id")
	}

	return found, nil
}

// getCustomer is GET /v1/customers/:id.
func (s *account) getCustomer(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	found, r := s.pathCustomer(rq, true)
	if r != nil {
		return r
	}

	rq.answer(nil, found.now())

	return nil
}

// updateCustomer is POST /v1/customers/:id.
func (s *account) updateCustomer(rq *request) *refusal {
	readCustomerFields(rq.params, &customer{}) // first onto one that is thrown away, as for an intent

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	found, r := s.pathCustomer(rq, false)
	if r != nil {
		return r
	}

	before := found.now()
	next := *before
	readCustomerFields(rq.params, &next)

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	if next.DefaultMethod != before.DefaultMethod && next.DefaultMethod != "" {
		m, ok := s.books.wallet.methods.get(next.DefaultMethod)
		if !ok || m.now().Customer != next.ID {
			return notTheirs(next.DefaultMethod)
		}
	}

	replace(rq, &found.kept, keyCustomer, next.ID, &next)

	if previous := changes(before, &next); previous != nil {
		rq.emit("customer.updated", &next, previous)
	}

	rq.answer(nil, &next)

	return nil
}

// forgetDefault takes a detached method from its customer's settings.
func (s *account) forgetDefault(rq *request, c *keptCustomer, methodID string) {
	before := c.now()
	if before.DefaultMethod != methodID || before.Deleted {
		return
	}

	next := *before
	next.DefaultMethod = ""
	replace(rq, &c.kept, keyCustomer, next.ID, &next)
	rq.emit("customer.updated", &next, changes(before, &next))
}

// deleteCustomer is DELETE /v1/customers/:id. Payments keep the customer's id;
// the payment methods are detached, without events of their own.
func (s *account) deleteCustomer(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	found, r := s.pathCustomer(rq, false)
	if r != nil {
		return r
	}

	before := found.now()
	next := &customer{ID: before.ID, Seq: before.Seq, Created: before.Created, Live: before.Live, Deleted: true}
	replace(rq, &found.kept, keyCustomer, next.ID, next)

	for _, m := range slices.Clone(found.methods) {
		s.detach(rq, m)
	}

	rq.emit("customer.deleted", before, nil)
	rq.answer(nil, next)

	return nil
}

// listCustomers is GET /v1/customers.
func (s *account) listCustomers(rq *request) *refusal {
	email := rq.params.text("email")

	return list(rq, listing[*keptCustomer]{
		kind: objectCustomer, url: customersURL,
		items: s.books.wallet.customers.all(), position: s.books.wallet.customers.position,
		keep: func(c *keptCustomer) bool {
			return !c.now().Deleted && (email == "" || c.now().Email == email)
		},
		show: func(w *jsonWriter, c *keptCustomer, expand expansion) { c.now().write(w, s.look(expand, nil)) },
	})
}
