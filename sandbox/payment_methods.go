package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// methodsURL is where payment methods are made and listed.
const methodsURL = "/v1/payment_methods"

// paymentMethod is one version of a PaymentMethod: a use of a test card, as
// Stripe, too, makes a new object of each use of pm_card_….
type paymentMethod struct {
	ID      string
	Seq     int64 `json:"seq,omitempty"`
	Created int64
	Live    bool
	// Card is the card's name in testCards.
	Card string
	// Customer is whose it is. Detached is true once it was somebody's and can be
	// nobody's any more.
	Customer string `json:"customer,omitempty"`
	Detached bool   `json:"detached,omitempty"`
	// Saved is true for a method that an intent has set up, which can be attached
	// although it was used, and SetUp for a card that its customer has
	// authenticated for payments at which they are not present. Used is true where
	// a setup has used it up; payments see to keptMethod.used.
	Saved bool `json:"saved,omitempty"`
	SetUp bool `json:"set_up,omitempty"`
	Used  bool `json:"used,omitempty"`
	// Billing is nil where nothing is known of the holder.
	Billing  *billing `json:"billing,omitempty"`
	Metadata metadata `json:"metadata,omitempty"`
	// ExpMonth and ExpYear are zero, and Last4 empty, where they are the test card's.
	ExpMonth int64  `json:"exp_month,omitempty"`
	ExpYear  int64  `json:"exp_year,omitempty"`
	Last4    string `json:"last4,omitempty"`
}

// billing is what is known of a payment method's holder.
type billing struct {
	Address address
	Email   string
	Name    string
	Phone   string
}

// card returns the test card behind the method.
func (m *paymentMethod) card() *testCard { return testCards[m.Card] }

// Expiry of every test card: far away, whatever the clock is moved to.
const (
	cardExpMonth = 12
	cardExpYear  = 2042
)

func (m *paymentMethod) expiry() (month, year int64) {
	if m.ExpYear == 0 {
		return cardExpMonth, cardExpYear
	}

	return m.ExpMonth, m.ExpYear
}

func (m *paymentMethod) last4() string { return orDefault(m.Last4, m.card().last4) }

func (m *paymentMethod) writeJSON(w *jsonWriter) { m.write(w, view{}) }

func (m *paymentMethod) write(w *jsonWriter, v view) {
	w.beginObject()
	w.str("id", m.ID)
	w.str("object", objectMethod)
	m.Billing.write(w)

	if m.card().methodType() == typeOfCards {
		m.writeCard(w)
	}

	w.num("created", m.Created)
	v.ref(w, objectCustomer, m.Customer)
	w.boolean("livemode", m.Live)
	m.Metadata.write(w)
	w.str("type", m.card().methodType())

	if bank := m.card().bank; bank != nil {
		bank.write(w)
	}

	if later := m.card().later; later != nil {
		later.write(w)
	}

	w.endObject()
}

func (m *paymentMethod) writeCard(w *jsonWriter) {
	card := m.card()
	month, year := m.expiry()

	w.object("card")
	w.str("brand", card.brand)
	writeChecks(w, card)
	w.str("country", card.country)
	w.num("exp_month", month)
	w.num("exp_year", year)
	w.str("fingerprint", card.fingerprint())
	w.str("funding", card.funding)
	w.null("generated_from")
	w.str("last4", m.last4())
	w.object("networks")
	w.strings("available", card.networks())
	w.null("preferred")
	w.endObject()
	w.object("three_d_secure_usage")
	w.boolean("supported", card.authentication != authenticationUnsupported)
	w.endObject()
	w.null("wallet")
	w.endObject()
}

func (b *billing) write(w *jsonWriter) {
	if b == nil {
		b = &billing{}
	}

	w.object("billing_details")
	b.Address.write(w, "address")
	w.strOrNull("email", b.Email)
	w.strOrNull("name", b.Name)
	w.strOrNull("phone", b.Phone)
	w.endObject()
}

// readBilling merges billing_details into what was known.
func readBilling(p *params, before *billing) *billing {
	details := p.child("billing_details")
	if details == nil {
		return before
	}

	next := billing{}
	if before != nil {
		next = *before
	}

	setText(details, "email", &next.Email)
	setText(details, "name", &next.Name)
	setText(details, "phone", &next.Phone)
	checkEmail(details, "email", next.Email)

	if details.has("address") {
		if sent := readAddress(details.child("address"), &next.Address); sent != nil {
			next.Address = *sent
		}
	}

	return &next
}

// methodChoice is what a request says of its payment method: the id of one, a
// test card's name, or a token of a new one with its details.
type methodChoice struct {
	name     string
	param    string // where the name stands; empty: payment_method
	billing  *billing
	metadata metadata
	month    int64
	year     int64
}

func (c methodChoice) sent() bool { return c.name != "" }

// newMethod is a payment method of a test card that is in no books yet.
func (s *account) newMethod(c methodChoice) *paymentMethod {
	return &paymentMethod{
		ID: newID("pm_1"), Seq: s.books.sequence.Add(1), Created: s.clock.seconds(), Live: s.live, Card: c.name,
		Billing: c.billing, Metadata: c.metadata, ExpMonth: c.month, ExpYear: c.year,
	}
}

// findMethod resolves what a client calls a payment method, and refuses one that
// cannot be used for an intent of the customer (empty: of none). What is the
// object that the error speaks of.
func (s *account) findMethod(rq *request, c methodChoice, customerID, what string) (*paymentMethod, *refusal) {
	if testCards[c.name] != nil {
		return s.newMethod(c), nil
	}

	if strings.HasPrefix(c.name, "tok_") {
		return s.fromToken(rq, c)
	}

	m, ok := s.books.wallet.methods.get(c.name)
	if !ok {
		r := missing("PaymentMethod", c.name, objectMethod)
		r.status = http.StatusBadRequest

		return nil, r
	}

	if r := m.usable(customerID, what); r != nil {
		return nil, r
	}

	return m.now(), nil
}

// keepNewMethod enters a payment method into the wallet.
func (s *account) keepNewMethod(m *keptMethod) {
	if _, known := s.books.wallet.methods.get(m.now().ID); !known {
		s.books.wallet.methods.add(m.now().ID, m.now().Created, m)
	}
}

// readMethod reads the payment method of an intent: payment_method, or
// payment_method_data, which makes one.
func readMethod(p *params) methodChoice {
	data := p.child("payment_method_data")
	name := p.text(objectMethod)

	switch {
	case data == nil && strings.HasPrefix(name, "tok_"):
		p.refuse(badReference(missing("PaymentMethod", name, objectMethod)))
	case data != nil && name != "":
		p.refuse(invalid("You may only specify one of these parameters: payment_method, payment_method_data.",
			objectMethod, codeParametersExclusive))
	case data != nil:
		return readNewMethod(data)
	}

	return methodChoice{name: name}
}

// readNewMethod reads the details of a new payment method, of a card or of one
// that pays later.
func readNewMethod(p *params) methodChoice {
	kind := p.required("type")

	var choice methodChoice

	switch later := payLaterOf(kind); {
	case later != nil:
		choice = readPayLater(p, later)
	case kind != "" && kind != typeOfCards:
		p.refuse(invalid("The sandbox makes no payment methods of the type "+kind+"; bank accounts have names, such as "+
			"pm_usBankAccount_success.", p.path("type"), ""))
	default:
		choice = readCard(p)
	}

	choice.billing, choice.metadata = readBilling(p, nil), readMetadata(p, nil)

	return choice
}

// createPaymentMethod is POST /v1/payment_methods.
func (s *account) createPaymentMethod(rq *request) *refusal {
	p := rq.params
	choice := readNewMethod(p)

	if p.text(objectCustomer) != "" {
		p.refuse(invalid("You cannot attach a PaymentMethod to a Customer during PaymentMethod creation. Please instead create "+
			"the PaymentMethod and then attach it using the attachment method of the PaymentMethods API.", "", ""))
	}

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	method, r := s.findMethod(rq, choice, "", "")
	if r != nil {
		return r
	}

	m := &keptMethod{}
	replace(rq, &m.kept, keyMethod, method.ID, method)
	s.keepNewMethod(m)
	rq.answer(nil, method)

	return nil
}

// getPaymentMethod is GET /v1/payment_methods/:id.
func (s *account) getPaymentMethod(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	m, r := s.pathMethod(rq)
	if r != nil {
		return r
	}

	rq.answer(nil, m.now())

	return nil
}

func (s *account) pathMethod(rq *request) (*keptMethod, *refusal) {
	m, ok := s.books.wallet.methods.get(rq.objectID)
	if !ok {
		return nil, missing("PaymentMethod", rq.objectID, objectMethod)
	}

	return m, nil
}

// updatePaymentMethod is POST /v1/payment_methods/:id.
func (s *account) updatePaymentMethod(rq *request) *refusal {
	readMethodUpdate(rq.params, &paymentMethod{})

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	m, r := s.pathMethod(rq)
	if r != nil {
		return r
	}

	if m.now().Customer == "" {
		return invalid("You must save this PaymentMethod to a customer before you can update it.", "", "")
	}

	next := *m.now()
	readMethodUpdate(rq.params, &next)

	if r := rq.params.finish(); r != nil { // merged, the metadata may be too much
		return r
	}

	s.changeMethod(rq, m, &next, "payment_method.updated")
	rq.answer(nil, &next)

	return nil
}

func readMethodUpdate(p *params, m *paymentMethod) {
	m.Billing, m.Metadata = readBilling(p, m.Billing), readMetadata(p, m.Metadata)

	card := p.child(typeOfCards)
	month, hasMonth := card.integer("exp_month")
	year, hasYear := card.integer("exp_year")

	if m.Card == "" { // read to be thrown away
		checkExpiry(card, orNumber(month, hasMonth, 1), orNumber(year, hasYear, cardExpYear))

		return
	}

	oldMonth, oldYear := m.expiry()
	if hasMonth || hasYear {
		m.ExpMonth, m.ExpYear = orNumber(month, hasMonth, oldMonth), orNumber(year, hasYear, oldYear)
	}
}

func orNumber(value int64, sent bool, otherwise int64) int64 {
	if sent {
		return value
	}

	return otherwise
}

// changeMethod puts a changed payment method in place and tells of it where
// something differs.
func (s *account) changeMethod(rq *request, m *keptMethod, next *paymentMethod, kind string) {
	previous := changes(m.now(), next)
	replace(rq, &m.kept, keyMethod, next.ID, next)

	if previous != nil {
		rq.emit(kind, next, previous)
	}
}

// attachable finds a payment method to attach: a test card's name makes a new
// one. It returns the next version, which the caller may write.
func (s *account) attachable(name string) (*keptMethod, *paymentMethod, *refusal) {
	m := &keptMethod{}

	if card := testCards[name]; card != nil && strings.HasPrefix(name, "pm_") {
		m.version.Store(s.newMethod(methodChoice{name: name}))
	} else {
		found, ok := s.books.wallet.methods.get(name)
		if !ok {
			return nil, nil, badReference(missing("PaymentMethod", name, objectMethod))
		}

		m = found
	}

	next := *m.now()

	switch no := next.card().decline; {
	case next.card().later != nil:
		return nil, nil, refused("The payment method type "+next.card().methodType()+" cannot be attached to a customer.", "")
	case next.Detached, (next.Used || m.used.Load()) && !next.Saved:
		return nil, nil, usedUp()
	case no != nil && !next.card().attaches:
		return nil, nil, &refusal{
			status: http.StatusPaymentRequired, kind: typeCard, code: no.Code, declineCode: no.DeclineCode,
			message: no.Message, executed: true,
		}
	}

	return m, &next, nil
}

// attachPaymentMethod is POST /v1/payment_methods/:id/attach.
func (s *account) attachPaymentMethod(rq *request) *refusal {
	customerID := rq.params.required(objectCustomer)

	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	to, r := s.findCustomer(customerID)
	if r != nil {
		return r
	}

	m, next, r := s.attachable(rq.objectID)

	switch {
	case r != nil && r.code == codeResourceMissing:
		return missing("PaymentMethod", rq.objectID, objectMethod)
	case r != nil:
		return r
	case next.Customer == customerID: // again: nothing happens
		rq.answer(nil, m.now())

		return nil
	case next.Customer != "":
		return refused("The payment method you provided has already been attached to a customer.", "")
	case !to.hasRoom():
		return refused("The maximum number of PaymentMethods for this Customer has been reached. Either detach some "+
			"PaymentMethods from this Customer or proceed with a different Customer.", "customer_max_payment_methods")
	}

	s.keepNewMethod(m)
	s.attach(rq, m, next, to)
	rq.answer(nil, next)

	return nil
}

// detachPaymentMethod is POST /v1/payment_methods/:id/detach.
func (s *account) detachPaymentMethod(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	rq.openWallet()

	m, r := s.pathMethod(rq)
	if r != nil {
		return r
	}

	before := m.now()
	if before.Customer == "" {
		return invalid("The payment method you provided is not attached to a customer so detachment is impossible.", "", "")
	}

	next := s.detach(rq, m)
	rq.emit("payment_method.detached", next, changes(before, next))
	rq.answer(nil, next)

	return nil
}

// listPaymentMethods is GET /v1/payment_methods, which without a customer lists
// none: Stripe's is for the Treasury then.
func (s *account) listPaymentMethods(rq *request) *refusal {
	customerID := rq.params.text(objectCustomer)
	if customerID == "" {
		return s.listMethodsOf(rq, &keptCustomer{}, methodsURL)
	}

	of, r := s.findCustomer(customerID)
	if r != nil {
		rq.params.refuse(r)

		of = &keptCustomer{}
	}

	return s.listMethodsOf(rq, of, methodsURL)
}

// listCustomerMethods is GET /v1/customers/:id/payment_methods.
func (s *account) listCustomerMethods(rq *request) *refusal {
	of, r := s.pathCustomer(rq, false)
	if r != nil {
		return r
	}

	return s.listMethodsOf(rq, of, customersURL+"/"+rq.objectID+"/payment_methods")
}

func (s *account) listMethodsOf(rq *request, of *keptCustomer, url string) *refusal {
	kind := rq.params.text("type")

	rq.openWallet()

	items := make([]shelved[*keptMethod], 0, len(of.methods))
	for _, m := range of.methods {
		items = append(items, shelved[*keptMethod]{id: m.now().ID, created: m.now().Created, object: m})
	}

	slices.SortFunc(items, func(a, b shelved[*keptMethod]) int {
		return cmp.Compare(a.object.now().Seq, b.object.now().Seq)
	})

	return list(rq, listing[*keptMethod]{
		kind: "PaymentMethod", url: url, items: items,
		position: func(id string) (int, bool) {
			index := slices.IndexFunc(items, func(item shelved[*keptMethod]) bool { return item.id == id })

			return index, index >= 0
		},
		keep: func(m *keptMethod) bool { return kind == "" || m.now().card().methodType() == kind },
		show: func(w *jsonWriter, m *keptMethod, expand expansion) { m.now().write(w, s.look(expand, nil)) },
	})
}

// getCustomerMethod is GET /v1/customers/:id/payment_methods/:payment_method.
func (s *account) getCustomerMethod(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	if _, r := s.pathCustomer(rq, false); r != nil {
		return r
	}

	m, ok := s.books.wallet.methods.get(rq.innerID)
	if !ok || m.now().Customer != rq.objectID {
		return missing("PaymentMethod", rq.innerID, objectMethod)
	}

	rq.answer(nil, m.now())

	return nil
}

// RenewCard changes a customer's saved card as its network does when the bank
// issues a new one: the number's last four digits, unless last4 is empty, and the
// expiry, three years on. payment_method.automatically_updated tells of it.
func (s *Sandbox) RenewCard(methodID, last4 string) error {
	for _, a := range s.accounts {
		if m, ok := a.books.wallet.methods.get(methodID); ok {
			return a.renew(m, last4)
		}
	}

	return fmt.Errorf("%w: payment method %s", errNoObject, methodID)
}

// renewedFor is how many years a new card is valid for longer.
const renewedFor = 3

func (s *account) renew(m *keptMethod, last4 string) error {
	var err error

	s.inBackground(func(rq *request) {
		rq.openWallet()

		next := *m.now()

		switch {
		case next.Customer == "" || next.card().methodType() != typeOfCards:
			err = fmt.Errorf("%w: %s is no card of a customer", errBadControl, next.ID)
		case last4 != "" && !isDigits(last4, len("4242")):
			err = fmt.Errorf("%w: last4 must be four digits", errBadControl)
		default:
			next.ExpMonth, next.ExpYear = next.expiry()
			next.ExpYear += renewedFor
			next.Last4 = orDefault(last4, next.Last4)
			s.changeMethod(rq, m, &next, "payment_method.automatically_updated")
		}
	})

	return err
}

func isDigits(text string, length int) bool {
	return len(text) == length && strings.Trim(text, "0123456789") == ""
}
