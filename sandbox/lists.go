package sandbox

import (
	"math"
	"slices"
	"strconv"
)

// Stripe, "Pagination": 10 objects unless asked for 1 to 100.
const (
	defaultPage = 10
	maxPage     = 100
)

// listing is a collection to page through.
type listing[T any] struct {
	kind string // what an unknown cursor is called
	url  string
	// items are all candidates, oldest first, and position finds one by id.
	items    []shelved[T]
	position func(id string) (int, bool)
	// keep filters, where set.
	keep func(T) bool
	// show writes one object.
	show func(w *jsonWriter, object T, expand expansion)
}

// page is what list parameters ask for.
type page struct {
	limit         int
	after, before string
	created       window
}

// window is the range of timestamps that created[…] asks for, both ends in it.
type window struct{ from, to int64 }

// list is a page of a listing, newest first.
func list[T any](rq *request, l listing[T]) *refusal {
	asked := readPage(rq.params)

	if r := rq.finish(); r != nil {
		return r
	}

	found, more, r := l.find(asked)
	if r != nil {
		return r
	}

	w := &jsonWriter{buf: make([]byte, 0, renderedSize*(len(found)+1))}
	w.beginObject()
	w.str("object", "list")
	w.array("data")

	for _, object := range found {
		w.element()
		l.show(w, object, rq.expand["data"])
	}

	w.endArray()
	w.boolean("has_more", more)
	w.str("url", l.url)
	w.endObject()

	rq.body = rawDocument(w.buf)

	return nil
}

// find returns the page's objects, newest first, and whether there are more in
// the direction of paging.
func (l listing[T]) find(asked page) (found []T, more bool, r *refusal) {
	at, step := len(l.items), -1

	if cursor := asked.after + asked.before; cursor != "" {
		position, ok := l.position(cursor)
		if !ok {
			r := missing(l.kind, cursor, "starting_after")
			if asked.before != "" {
				r.param = "ending_before"
			}

			r.status = 400

			return nil, false, r
		}

		at = position
	}

	if asked.before != "" {
		step = 1
	}

	for at += step; at >= 0 && at < len(l.items); at += step {
		item := l.items[at]
		if !asked.created.contains(item.created) || (l.keep != nil && !l.keep(item.object)) {
			continue
		}

		if len(found) == asked.limit {
			more = true

			break
		}

		found = append(found, item.object)
	}

	if step > 0 {
		slices.Reverse(found)
	}

	return found, more, nil
}

func (w window) contains(created int64) bool { return created >= w.from && created <= w.to }

func readPage(p *params) page {
	asked := page{limit: defaultPage, after: p.text("starting_after"), before: p.text("ending_before")}

	if limit, sent := p.integer("limit"); sent {
		asked.limit = int(min(max(limit, 0), maxPage+1))
	}

	switch {
	case asked.limit < 1:
		p.refuse(invalid("This value must be greater than or equal to 1.", "limit", codeParameterInvalidInteger))
	case asked.limit > maxPage:
		p.refuse(invalid("This value must be less than or equal to "+strconv.Itoa(maxPage)+".", "limit",
			codeParameterInvalidInteger))
	case asked.after != "" && asked.before != "":
		p.refuse(invalid("You may only specify one of these parameters: starting_after, ending_before.",
			"starting_after", codeParametersExclusive))
	}

	asked.created = readWindow(p)

	return asked
}

// readWindow reads created, a timestamp or a hash of gt, gte, lt, lte.
func readWindow(p *params) window {
	everything := window{from: math.MinInt64, to: math.MaxInt64}

	member := p.form.find("created")
	if member == nil {
		return everything
	}

	if member.nested == nil {
		exact, _ := p.integer("created")

		return window{from: exact, to: exact}
	}

	bounds, asked := p.child("created"), everything

	if value, sent := bounds.integer("gt"); sent {
		asked.from = max(asked.from, value+1)
	}

	if value, sent := bounds.integer("gte"); sent {
		asked.from = max(asked.from, value)
	}

	if value, sent := bounds.integer("lt"); sent {
		asked.to = min(asked.to, value-1)
	}

	if value, sent := bounds.integer("lte"); sent {
		asked.to = min(asked.to, value)
	}

	return asked
}

// listPaymentIntents is GET /v1/payment_intents.
func (s *account) listPaymentIntents(rq *request) *refusal {
	customerID := s.readCustomerFilter(rq.params)

	return list(rq, listing[*payment]{
		kind: objectIntent, url: intentsURL,
		items: s.books.payments.all(), position: s.books.payments.position,
		keep: func(p *payment) bool { return customerID == "" || p.customer() == customerID },
		show: func(w *jsonWriter, p *payment, expand expansion) {
			p.mu.Lock()
			defer p.mu.Unlock()

			p.intent.write(w, s.look(expand, p))
		},
	})
}

// listMembers lists charges, refunds, disputes or warnings, of all payments or of
// one.
func (s *account) listMembers(
	rq *request, shelf *shelf[member], kind, url string, pick func(*payment, int) viewable, keep ...func(member) bool,
) *refusal {
	p := rq.params
	intentID, chargeID := p.text(objectIntent), ""

	switch {
	case rq.objectID != "": // the path names the charge
		chargeID = rq.objectID
	case kind != objectCharge:
		chargeID = p.text(objectCharge)
	}

	if rq.objectID != "" {
		url = refundsURL(chargeID)
	}

	all := listing[member]{kind: kind, url: url, items: shelf.all(), position: shelf.position, show: showMember(s, pick)}

	for _, each := range keep {
		all = all.only(each)
	}

	if intentID != "" {
		pay, ok := s.books.payments.get(intentID)
		if !ok {
			p.refuse(badReference(missing(objectIntent, intentID, objectIntent)))
		}

		all = all.only(func(m member) bool { return m.payment == pay })
	}

	if chargeID != "" {
		at, ok := s.books.charges.get(chargeID)
		if !ok {
			if rq.objectID != "" {
				return missing(objectCharge, chargeID, objectCharge)
			}

			p.refuse(badReference(missing(objectCharge, chargeID, objectCharge)))
		}

		all = all.only(func(m member) bool { return m.payment == at.payment && m.chargeID(pick) == chargeID })
	}

	return list(rq, all)
}

// readCustomerFilter reads the customer whose objects a list is of; empty: of all.
func (s *account) readCustomerFilter(p *params) string {
	id := p.text(objectCustomer)
	if _, ok := s.books.wallet.customers.get(id); id != "" && !ok {
		p.refuse(badReference(missing(objectCustomer, id, objectCustomer)))
	}

	return id
}

// customer is whose payment it is; empty: nobody's.
func (p *payment) customer() string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.intent.Customer
}

// charge is the member, where it is a charge.
func (m member) charge() *charge {
	m.payment.mu.Lock()
	defer m.payment.mu.Unlock()

	return m.payment.charges[m.index]
}

// badReference is a missing object that a parameter, not the path, names.
func badReference(r *refusal) *refusal {
	r.status, r.executed = 400, false

	return r
}

// only narrows a listing down.
func (l listing[T]) only(keep func(T) bool) listing[T] {
	before := l.keep
	l.keep = func(object T) bool { return (before == nil || before(object)) && keep(object) }

	return l
}

// chargeID is the charge that a refund or dispute belongs to.
func (m member) chargeID(pick func(*payment, int) viewable) string {
	m.payment.mu.Lock()
	defer m.payment.mu.Unlock()

	switch object := pick(m.payment, m.index).(type) {
	case *refund:
		return object.Charge
	case *dispute:
		return object.Charge
	case *fraudWarning:
		return object.Charge
	default:
		return ""
	}
}

func showMember(s *account, pick func(*payment, int) viewable) func(*jsonWriter, member, expansion) {
	return func(w *jsonWriter, m member, expand expansion) {
		m.payment.mu.Lock()
		defer m.payment.mu.Unlock()

		pick(m.payment, m.index).write(w, s.look(expand, m.payment))
	}
}
