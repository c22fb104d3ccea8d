package sandbox

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Keys of the state file: a kind, a slash and an id.
const (
	keyPayment  = "payment/"
	keyEvent    = "event/"
	keyDelivery = "delivery/"
	keyUsed     = "key/"
	keyEndpoint = "endpoint/"
	keyClock    = "clock/"
	keyCustomer = "customer/"
	keyMethod   = "method/"
	keySetup    = "setup/"
	keyToken    = "token/"
)

// storedPayment is a payment in the state file.
type storedPayment struct {
	Intent       *paymentIntent        `json:"intent"`
	Charges      []*charge             `json:"charges,omitempty"`
	Refunds      []*refund             `json:"refunds,omitempty"`
	Disputes     []*dispute            `json:"disputes,omitempty"`
	Warnings     []*fraudWarning       `json:"warnings,omitempty"`
	Transactions []*balanceTransaction `json:"transactions,omitempty"`
	Methods      []*paymentMethod      `json:"methods,omitempty"`
}

// storedEvent is an event in the state file. Its snapshot is kept as text, so
// that it comes back byte for byte.
type storedEvent struct {
	Seq       int64    `json:"seq"`
	Kind      string   `json:"kind"`
	Created   int64    `json:"created"`
	Object    string   `json:"object"`
	Previous  string   `json:"previous,omitempty"`
	RequestID string   `json:"request_id,omitempty"`
	Key       string   `json:"key,omitempty"`
	Intent    string   `json:"intent,omitempty"`
	Metadata  metadata `json:"metadata,omitempty"`
	To        []string `json:"to,omitempty"`
}

// storedDelivery is what became of a delivery, in the state file.
type storedDelivery struct {
	Log         []Attempt `json:"log,omitempty"`
	DeliveredAt time.Time `json:"delivered_at,omitzero"`
	NextAt      time.Time `json:"next_at,omitzero"`
	Lost        bool      `json:"lost,omitempty"`

	// Files from before there was a log have these instead of it.
	Attempts   int       `json:"attempts,omitempty"`
	LastStatus int       `json:"last_status,omitempty"`
	LastError  string    `json:"last_error,omitempty"`
	LastAt     time.Time `json:"last_at,omitzero"`
}

// attempts are a delivery's, of an older file but their number and the last.
func (stored *storedDelivery) attempts() []Attempt {
	if stored.Log != nil || stored.Attempts == 0 {
		return stored.Log
	}

	log := make([]Attempt, stored.Attempts)
	for i := range log {
		log[i] = Attempt{At: stored.LastAt, Status: stored.LastStatus, Error: stored.LastError}
	}

	return log
}

// storedKey is a finished idempotency record in the state file.
type storedKey struct {
	Endpoint    string `json:"endpoint"`
	Fingerprint []byte `json:"fingerprint"`
	RequestID   string `json:"request_id"`
	Created     int64  `json:"created"`
	Status      int    `json:"status"`
	Body        string `json:"body"`
}

// save writes what a request changed, and the record of its key if it has one,
// as one line of the state file. The caller still holds the payment's lock.
func (s *account) save(rq *request, record *idempotencyRecord, answer reply) error {
	if s.journal == nil {
		return nil
	}

	var b batch

	if rq.changed {
		rq.pay.stored = b.put(s.scope()+keyPayment+rq.pay.intent.ID, storedPayment{
			Intent: rq.pay.intent, Charges: rq.pay.charges, Refunds: rq.pay.refunds, Disputes: rq.pay.disputes,
			Warnings: rq.pay.warnings, Transactions: rq.pay.transactions, Methods: rq.pay.methods,
		}, rq.pay.stored)
	}

	for _, k := range rq.kept {
		*k.stored = b.put(s.scope()+k.key, k.value, *k.stored)
	}

	for _, e := range rq.events {
		b.put(s.scope()+keyEvent+e.id, e.stored(), 0)
	}

	if record != nil {
		b.put(s.scope()+keyUsed+record.key, storedKey{
			Endpoint: record.endpoint, Fingerprint: record.fingerprint[:], RequestID: record.requestID,
			Created: record.created, Status: answer.status, Body: string(render(answer.body)),
		}, 0)
	}

	return s.journal.write(&b)
}

// saveOne writes one object of the account, which replaces a version of about
// the given size; nil deletes it.
func (s *account) saveOne(key string, value any, replaces int) {
	s.saveShared(s.scope()+key, value, replaces)
}

// saveShared writes what belongs to no single account.
func (s *Sandbox) saveShared(key string, value any, replaces int) {
	if s.journal == nil {
		return
	}

	var b batch

	b.put(key, value, replaces)

	if err := s.journal.write(&b); err != nil {
		s.log.Error("the sandbox's state is no longer saved", "error", err)
	}
}

// saveDelivery writes what became of a delivery.
func (s *account) saveDelivery(d *delivery) {
	const usualSize, usualAttempt = 100, 70

	stored, replaces := d.stored(), 0
	if made := len(stored.Log); made > 1 {
		replaces = usualSize + made*usualAttempt
	}

	s.saveOne(keyDelivery+d.event.id+"/"+d.to.id, stored, replaces)
}

func (e *event) stored() storedEvent {
	stored := storedEvent{
		Seq: e.seq, Kind: e.kind, Created: e.created, Object: string(render(e.object)), RequestID: e.requestID,
		Key: e.idempotencyKey, Intent: e.intent, Metadata: e.metadata,
	}

	if e.previous != nil {
		stored.Previous = string(render(e.previous))
	}

	for _, d := range e.sendings() {
		stored.To = append(stored.To, d.to.id)
	}

	return stored
}

func (d *delivery) stored() storedDelivery {
	d.mu.Lock()
	defer d.mu.Unlock()

	return storedDelivery{
		Log: d.attempts, DeliveredAt: d.deliveredAt, NextAt: d.nextAt, Lost: d.event.lost.Load(),
	}
}

// state is what replaying a state file gathers.
type state struct {
	accounts map[string]*accountState // by scope
	offset   time.Duration
}

// accountState is each object's last version.
type accountState struct {
	payments   map[string]*storedPayment
	events     map[string]*storedEvent
	deliveries map[string]*storedDelivery
	keys       map[string]*storedKey
	endpoints  map[string]*webhookEndpoint
	customers  map[string]*customer
	methods    map[string]*paymentMethod
	setups     map[string]*setupIntent
	tokens     map[string]*token
}

func newAccountState() *accountState {
	return &accountState{
		payments: map[string]*storedPayment{}, events: map[string]*storedEvent{},
		deliveries: map[string]*storedDelivery{}, keys: map[string]*storedKey{},
		endpoints: map[string]*webhookEndpoint{}, customers: map[string]*customer{}, methods: map[string]*paymentMethod{},
		setups: map[string]*setupIntent{}, tokens: map[string]*token{},
	}
}

// replay takes one entry of the state file.
func (st *state) replay(e entry) error {
	kind, id, _ := strings.Cut(e.Key, "/")
	scope, kind := splitScope(kind)

	if kind+"/" == keyClock {
		return json.Unmarshal(e.Value, &st.offset) //nolint:wrapcheck // the journal says where
	}

	of := st.accounts[scope]
	if of == nil {
		of = newAccountState()
		st.accounts[scope] = of
	}

	switch kind + "/" {
	case keyPayment:
		return keep(of.payments, id, e.Value)
	case keyEvent:
		return keep(of.events, id, e.Value)
	case keyDelivery:
		return keep(of.deliveries, id, e.Value)
	case keyUsed:
		return keep(of.keys, id, e.Value)
	case keyEndpoint:
		return keep(of.endpoints, id, e.Value)
	case keyCustomer:
		return keep(of.customers, id, e.Value)
	case keyMethod:
		return keep(of.methods, id, e.Value)
	case keySetup:
		return keep(of.setups, id, e.Value)
	case keyToken:
		return keep(of.tokens, id, e.Value)
	default:
		return nil // the header, or a later version's
	}
}

// splitScope takes an account's scope off the kind of an entry.
func splitScope(kind string) (scope, rest string) {
	end := strings.LastIndexByte(kind, ':') + 1

	return kind[:end], kind[end:]
}

func keep[T any](into map[string]*T, id string, value json.RawMessage) error {
	if string(value) == "null" {
		delete(into, id)

		return nil
	}

	stored := new(T)
	if err := json.Unmarshal(value, stored); err != nil {
		return fmt.Errorf("decoding: %w", err)
	}

	into[id] = stored

	return nil
}

// load opens the state file and puts the sandbox back to where it was. What it
// holds of accounts that are not there now stays in it.
func (s *Sandbox) load(path string) error {
	st := &state{accounts: map[string]*accountState{}}

	j, err := openJournal(path, s.log, st.replay)
	if err != nil {
		return err
	}

	s.journal = j
	s.clock.offset.Store(int64(st.offset))

	receivers := map[string]*receiver{}

	for _, a := range s.accounts {
		if of := st.accounts[a.scope()]; of != nil {
			a.loadEndpoints(of, receivers)
		}
	}

	for _, a := range s.accounts {
		if of := st.accounts[a.scope()]; of != nil {
			a.loadWallet(of)
			a.loadPayments(of)
			a.loadEvents(of, receivers)

			for key, stored := range of.keys {
				a.keys.restore(key, stored)
			}
		}
	}

	return nil
}

// loadEndpoints registers an account's endpoints and adds them to the receivers
// of all accounts, as some get events of others.
func (s *account) loadEndpoints(st *accountState, receivers map[string]*receiver) {
	for _, endpoint := range sortedBy(st.endpoints, func(e *webhookEndpoint) int64 { return e.Created }) {
		s.webhooks.register(endpoint)
	}

	for _, r := range s.webhooks.list() {
		receivers[r.id] = r
	}
}

// sortedBy returns a map's values in the order of a number in them.
func sortedBy[T any](values map[string]*T, number func(*T) int64) []*T {
	sorted := make([]*T, 0, len(values))
	for _, value := range values {
		sorted = append(sorted, value)
	}

	slices.SortFunc(sorted, func(a, b *T) int { return cmp.Compare(number(a), number(b)) })

	return sorted
}

// located is an object of a payment on its way back to its shelf.
type located struct {
	shelf   *shelf[member]
	seq     int64
	id      string
	created int64
	at      member
}

func (s *account) loadPayments(st *accountState) {
	objects := make([]located, 0, len(st.payments))

	for _, stored := range sortedBy(st.payments, func(p *storedPayment) int64 { return p.Intent.Seq }) {
		pay := &payment{
			intent: stored.Intent, charges: stored.Charges, refunds: stored.Refunds, disputes: stored.Disputes,
			warnings: stored.Warnings, transactions: stored.Transactions, methods: stored.Methods,
		}

		s.books.payments.add(pay.intent.ID, pay.intent.Created, pay)
		s.books.sequence.Store(max(s.books.sequence.Load(), pay.intent.Seq))

		s.markUsed(pay)

		for _, t := range pay.transactions {
			s.ledger.enter(t)
		}

		objects = append(objects, s.located(pay)...)
	}

	slices.SortFunc(objects, func(a, b located) int { return cmp.Compare(a.seq, b.seq) })

	for _, o := range objects {
		o.shelf.add(o.id, o.created, o.at)
		s.books.sequence.Store(max(s.books.sequence.Load(), o.seq))
	}
}

func (s *account) located(pay *payment) []located {
	objects := make([]located, 0, len(pay.charges)+len(pay.refunds)+len(pay.disputes)+len(pay.transactions))

	add := func(shelf *shelf[member], seq int64, id string, created int64, index int) {
		objects = append(objects, located{shelf, seq, id, created, member{payment: pay, index: index}})
	}

	for i, c := range pay.charges {
		add(s.books.charges, c.Seq, c.ID, c.Created, i)
	}

	for i, r := range pay.refunds {
		add(s.books.refunds, r.Seq, r.ID, r.Created, i)
	}

	for i, d := range pay.disputes {
		add(s.books.disputes, d.Seq, d.ID, d.Created, i)
	}

	for i, w := range pay.warnings {
		add(s.books.warnings, w.Seq, w.ID, w.Created, i)
	}

	for i, t := range pay.transactions {
		add(s.books.transactions, t.Seq, t.ID, t.Created, i)
	}

	return objects
}

// resume plans again what had been planned for a payment. What has fallen due
// meanwhile is done at once, so that everything must have been loaded.
func (s *account) resume(pay *payment) {
	pay.mu.Lock()
	defer pay.mu.Unlock()

	for _, t := range pay.transactions {
		if at := t.available(); at > s.clock.seconds() {
			s.fundsComing(at)
		}
	}

	for i := range pay.refunds {
		s.planRefund(member{payment: pay, index: i})
	}

	for i := range pay.disputes {
		s.planDispute(member{payment: pay, index: i})
	}

	for _, c := range pay.charges {
		if c.isBooking() {
			s.bookLater(pay, c)
		}

		if c.Pending {
			s.concludeLater(pay, c)
		}
	}

	if pay.intent.Status == statusRequiresCapture {
		s.lapseLater(pay, pay.charges[len(pay.charges)-1])
	}
}

func (s *account) loadEvents(st *accountState, receivers map[string]*receiver) {
	ids := make([]string, 0, len(st.events))
	for id := range st.events {
		ids = append(ids, id)
	}

	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(st.events[a].Seq, st.events[b].Seq) })

	for _, id := range ids {
		stored := st.events[id]
		e := stored.event(s, id)

		for _, to := range stored.To {
			if r := receivers[to]; r != nil {
				e.deliveries = append(e.deliveries, restoreDelivery(e, r, st.deliveries[id+"/"+to]))
			}
		}

		s.books.events.add(id, e.created, e)
		s.books.sequence.Store(max(s.books.sequence.Load(), e.seq))
	}
}

func (stored *storedEvent) event(s *account, id string) *event {
	e := &event{
		account: s, id: id, seq: stored.Seq, kind: stored.Kind, created: stored.Created, object: rawDocument(stored.Object),
		requestID: stored.RequestID, idempotencyKey: stored.Key, intent: stored.Intent, metadata: stored.Metadata,
	}

	if stored.Previous != "" {
		e.previous = rawDocument(stored.Previous)
	}

	return e
}

func restoreDelivery(e *event, r *receiver, stored *storedDelivery) *delivery {
	d := &delivery{event: e, to: r}

	if stored != nil {
		d.attempts, d.deliveredAt, d.nextAt = stored.attempts(), stored.DeliveredAt, stored.NextAt
		e.lost.Store(stored.Lost)
	}

	if d.deliveredAt.IsZero() {
		e.pending.Add(1)
	}

	return d
}

// resume sends on what had not arrived when the sandbox stopped.
func (h *webhooks) resume(e *event) {
	if e.lost.Load() {
		return
	}

	for _, d := range e.deliveries {
		switch {
		case !d.deliveredAt.IsZero():
		case len(d.attempts) == 0:
			h.push(d)
		case !d.nextAt.IsZero():
			h.account.schedule.at(d.nextAt, func() { h.push(d) })
		}
	}
}

// loadWallet puts customers, payment methods, setup intents and tokens back. A
// method that was made with a payment is in its line until it changes.
func (s *account) loadWallet(st *accountState) {
	w := &s.books.wallet

	for _, stored := range st.payments {
		for _, m := range stored.Methods {
			if st.methods[m.ID] == nil {
				st.methods[m.ID] = m
			}
		}
	}

	for _, c := range sortedBy(st.customers, func(c *customer) int64 { return c.Seq }) {
		putBack(s, w.customers, c.ID, c.Created, c.Seq, &keptCustomer{}, func(k *keptCustomer) { k.version.Store(c) })
	}

	for _, m := range sortedBy(st.methods, func(m *paymentMethod) int64 { return m.Seq }) {
		putBack(s, w.methods, m.ID, m.Created, m.Seq, &keptMethod{}, func(k *keptMethod) {
			k.version.Store(m)

			if of, ok := w.customers.get(m.Customer); ok {
				of.methods = append(of.methods, k)
			}
		})
	}

	for _, i := range sortedBy(st.setups, func(i *setupIntent) int64 { return i.Seq }) {
		putBack(s, w.setups, i.ID, i.Created, i.Seq, &keptSetup{}, func(k *keptSetup) { k.version.Store(i) })
	}

	for _, t := range st.tokens {
		putBack(s, w.tokens, t.ID, t.Created, 0, &keptToken{}, func(k *keptToken) { k.version.Store(t) })
	}
}

func putBack[K any](s *account, on *shelf[K], id string, created, seq int64, k K, fill func(K)) {
	fill(k)
	on.add(id, created, k)
	s.books.sequence.Store(max(s.books.sequence.Load(), seq))
}

// markUsed finds the payment methods that a payment has used up.
func (s *account) markUsed(pay *payment) {
	for _, c := range pay.charges {
		if m, ok := s.books.wallet.methods.get(c.Method.ID); ok && c.Failure == nil && c.FutureUsage == "" {
			m.used.Store(true)
		}
	}
}
