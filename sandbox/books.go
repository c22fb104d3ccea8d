package sandbox

import (
	"encoding/json"
	"iter"
	"slices"
	"time"
)

// Kinds of BookEntry.
const (
	KindIntent   = "intent"
	KindCharge   = "charge"
	KindRefund   = "refund"
	KindDispute  = "dispute"
	KindCustomer = "customer"
	KindMethod   = "payment_method"
	KindDelivery = "delivery"
)

// BookEntry is one line of the books, to hold another system's against.
type BookEntry struct {
	Kind string `json:"kind"`
	// ID is the object's; a delivery has its event's.
	ID string `json:"id"`
	// Account is whose it is, and Live tells whether it is of live mode.
	Account string `json:"account"`
	Live    bool   `json:"livemode,omitempty"`
	// Intent is the PaymentIntent that the entry belongs to.
	Intent string `json:"intent,omitempty"`
	// IdempotencyKey is the one that the intent was created under.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// SucceededCharges counts an intent's charges that went through.
	SucceededCharges int `json:"succeeded_charges,omitempty"`
	// Object is the object as the API returns it; a delivery has none.
	Object json.RawMessage `json:"object,omitempty"`
	// Delivery is set for deliveries alone.
	Delivery *Delivery `json:"delivery,omitempty"`
}

// Delivery is what became of sending one event to one receiver.
type Delivery struct {
	Event     string `json:"event"`
	Type      string `json:"type"`
	URL       string `json:"url"`
	Attempts  int    `json:"attempts"`
	Delivered bool   `json:"delivered"`
	// Lost is true where a fault keeps the event from ever being sent.
	Lost       bool   `json:"lost,omitempty"`
	LastStatus int    `json:"last_status,omitempty"`
	LastError  string `json:"last_error,omitempty"`
	// Endpoint is the receiver's id, and Log each attempt, oldest first.
	Endpoint string    `json:"endpoint"`
	Log      []Attempt `json:"log,omitempty"`
	// NextAttempt is when a failed delivery is tried again, on the sandbox's
	// clock; zero when none is planned.
	NextAttempt time.Time `json:"next_attempt,omitzero"`
}

// Attempt is one sending of an event.
type Attempt struct {
	At time.Time `json:"at"` // on the sandbox's clock
	// Status is the receiver's answer; 0 where there was none, and Error why.
	Status int    `json:"status"`
	Error  string `json:"error,omitempty"`
}

// BooksFilter chooses entries; its zero value chooses all.
type BooksFilter struct {
	// Kinds of entries, or none for all.
	Kinds []string
	// Metadata that the entry's payment must have. With it customers and their methods are left out.
	Metadata map[string]string
}

// bookKinds are all kinds of entries.
//
//nolint:gochecknoglobals // a table, never written
var bookKinds = []string{KindIntent, KindCharge, KindRefund, KindDispute, KindCustomer, KindMethod, KindDelivery}

func (f BooksFilter) wants(kind string) bool {
	return len(f.Kinds) == 0 || slices.Contains(f.Kinds, kind)
}

// Books yields the books as they are now: each payment is consistent in itself.
func (s *Sandbox) Books(filter BooksFilter) iter.Seq[BookEntry] {
	return func(yield func(BookEntry) bool) {
		for _, account := range s.accounts {
			for entry := range account.entries(filter) {
				if !yield(entry) {
					return
				}
			}
		}
	}
}

// entries are an account's lines in the books.
func (s *account) entries(filter BooksFilter) iter.Seq[BookEntry] {
	return func(yield func(BookEntry) bool) {
		yieldAll := func(entries []BookEntry) bool {
			for _, entry := range entries {
				entry.Account, entry.Live = s.id, s.live

				if !yield(entry) {
					return false
				}
			}

			return true
		}

		for _, item := range s.books.payments.all() {
			if !yieldAll(item.object.entries(filter)) {
				return
			}
		}

		if !yieldAll(s.books.wallet.entries(filter)) || !filter.wants(KindDelivery) {
			return
		}

		for _, item := range s.books.events.all() {
			if !yieldAll(item.object.entries(filter)) {
				return
			}
		}
	}
}

// entries are a payment's lines in the books.
func (p *payment) entries(filter BooksFilter) []BookEntry {
	p.mu.Lock()
	defer p.mu.Unlock()

	if !p.intent.Metadata.matches(filter.Metadata) {
		return nil
	}

	var entries []BookEntry

	add := func(kind, id string, d document) {
		if filter.wants(kind) {
			entries = append(entries, BookEntry{Kind: kind, ID: id, Intent: p.intent.ID, Object: compact(d)})
		}
	}

	add(KindIntent, p.intent.ID, p.intent)

	if len(entries) == 1 {
		entries[0].IdempotencyKey, entries[0].SucceededCharges = p.intent.Key, p.succeeded()
	}

	for _, c := range p.charges {
		add(KindCharge, c.ID, c)
	}

	for _, r := range p.refunds {
		add(KindRefund, r.ID, r)
	}

	for _, d := range p.disputes {
		add(KindDispute, d.ID, d)
	}

	return entries
}

// entries are customers, the deleted ones too, and their payment methods. None belongs to a
// payment.
func (w *wallet) entries(filter BooksFilter) (entries []BookEntry) {
	if len(filter.Metadata) > 0 {
		return nil
	}

	if filter.wants(KindCustomer) {
		for _, item := range w.customers.all() {
			entries = append(entries, BookEntry{Kind: KindCustomer, ID: item.object.now().ID, Object: compact(item.object.now())})
		}
	}

	if filter.wants(KindMethod) {
		for _, item := range w.methods.all() {
			entries = append(entries, BookEntry{Kind: KindMethod, ID: item.object.now().ID, Object: compact(item.object.now())})
		}
	}

	return entries
}

func (p *payment) succeeded() int {
	count := 0

	for _, c := range p.charges {
		if c.Paid {
			count++
		}
	}

	return count
}

// entries are an event's deliveries.
func (e *event) entries(filter BooksFilter) []BookEntry {
	if !e.metadata.matches(filter.Metadata) {
		return nil
	}

	deliveries := e.sendings()
	entries := make([]BookEntry, 0, len(deliveries))

	for _, d := range deliveries {
		entries = append(entries, BookEntry{Kind: KindDelivery, ID: e.id, Intent: e.intent, Delivery: d.report()})
	}

	return entries
}

func (d *delivery) report() *Delivery {
	to, _ := d.to.now()

	d.mu.Lock()
	defer d.mu.Unlock()

	made := &Delivery{
		Event: d.event.id, Type: d.event.kind, URL: to.URL, Attempts: len(d.attempts), Delivered: !d.deliveredAt.IsZero(),
		Lost: d.event.lost.Load(), NextAttempt: d.nextAt, Endpoint: d.to.id, Log: slices.Clone(d.attempts),
	}

	if len(d.attempts) > 0 {
		last := d.attempts[len(d.attempts)-1]
		made.LastStatus, made.LastError = last.Status, last.Error
	}

	return made
}

func compact(d document) json.RawMessage {
	w := jsonWriter{buf: make([]byte, 0, renderedSize), compact: true}
	d.writeJSON(&w)

	return w.buf
}
