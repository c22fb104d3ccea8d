package loss

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	// homeWithin is the promise: what Stripe has is back within a minute.
	homeWithin = time.Minute
	// quietWithin is how long operations and hints may take to end after the load.
	quietWithin = time.Minute
	// verifiers repeat requests at the same time, repeatedWithin in all.
	verifiers      = 8
	repeatedWithin = 90 * time.Second
)

// intent is a PaymentIntent as the sandbox knows it.
type intent struct {
	ID       string            `json:"id"`
	Amount   int64             `json:"amount"`
	Received int64             `json:"amount_received"`
	Currency string            `json:"currency"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`

	charges int
}

// status is the intent's status in our words. No card is declined here.
func (i intent) status() string {
	switch i.Status {
	case "succeeded":
		return "succeeded"
	case "canceled":
		return "cancelled"
	default:
		return "pending"
	}
}

// intents are Stripe's, of one deployment.
func (d *deployment) intents() (all []intent) {
	filter := sandbox.BooksFilter{Kinds: []string{sandbox.KindIntent}, Metadata: map[string]string{"shop": d.name}}
	for entry := range d.w.stripe.Books(filter) {
		i := intent{charges: entry.SucceededCharges}
		if err := json.Unmarshal(entry.Object, &i); err != nil {
			panic(err) // the sandbox's own
		}

		all = append(all, i)
	}

	return all
}

// lost counts what was answered and is not in a database: payments, and finished
// captures and refunds. It returns the orders that it has lost, and after them those of which it has lost
// a refund alone.
func (d *deployment) lost(ctx context.Context, database string) (orders []*order, err error) {
	ids, err := query(ctx, database, pgx.RowTo[string], "SELECT id::text FROM payments")
	if err != nil {
		return nil, err
	}

	kept, err := query(ctx, database, pgx.RowTo[string], `SELECT idempotency_key FROM operations
		WHERE kind IN ('capture', 'refund') AND state = 'finished' AND idempotency_key IS NOT NULL`)
	if err != nil {
		return nil, err
	}

	var (
		captures, refunds int
		ofRefunds         []*order
	)

	for _, o := range d.load.answered() {
		lost := 0

		for _, g := range o.given() {
			if !slices.Contains(kept, g.key) {
				lost++
			}
		}

		refunds += lost

		switch {
		case !slices.Contains(ids, o.answer().ID):
			orders = append(orders, o)
		case lost > 0:
			ofRefunds = append(ofRefunds, o)
		}

		o.mu.Lock()
		if o.captured != nil && !slices.Contains(kept, o.captureKey) {
			captures++
		}
		o.mu.Unlock()
	}

	d.w.figuref("%s: %d of %d payments, %d captures and %d refunds that clients were told of are lost (%d payments lack "+
		"a refund alone)", d.name, len(orders), len(d.load.answered()), captures, refunds, len(ofRefunds))

	if len(orders) == 0 {
		return nil, errors.New("nothing was lost, so nothing is shown")
	}

	return append(orders, ofRefunds...), nil
}

// comeBack are the clients of lost orders, who come back at once: some repeat, some ask
// for something else under the same key.
func (d *deployment) comeBack(ctx context.Context, lost []*order) {
	const most, ofRefunds = 40, 20 // the last are those that lack a refund

	var all sync.WaitGroup

	for i, o := range lost {
		if o.key == "" || i >= most && i < len(lost)-ofRefunds {
			continue
		}

		all.Go(func() {
			r := rand.New(rand.NewPCG(d.w.options.Seed, uint64(i)))

			ctx, cancel := context.WithTimeout(ctx, answeredWithin)
			defer cancel()

			if i%2 == 0 {
				for !d.load.tryOther(ctx, r, o) && ctx.Err() == nil {
					pause(ctx, r)
				}
			}

			if o.captured != nil {
				if i%2 == 0 {
					d.otherCapture(ctx, r, o)
				}

				d.load.capture(ctx, r, o)
			}

			for _, g := range o.given() {
				if i%2 == 0 {
					d.otherRefund(ctx, r, o, g)
				}

				d.load.refund(ctx, r, o, g)
			}

			d.load.create(ctx, r, o)
		})
	}

	all.Wait()
}

// home waits until everything that Stripe has at this moment is in the database.
func (d *deployment) home(ctx context.Context) {
	began := time.Now()

	var missing []intent

	ids := map[string]intent{}
	for _, i := range d.intents() {
		ids[i.ID] = i
	}

	first := -1

	ctx, cancel := context.WithTimeout(ctx, homeWithin)
	defer cancel()

	err := until(ctx, "all payments to be home", func() bool {
		here, err := query(ctx, d.url(), pgx.RowTo[string], "SELECT stripe_payment_intent_id FROM payments")
		if err != nil {
			return false
		}

		missing = missing[:0]

		for id, i := range ids {
			if !slices.Contains(here, id) {
				missing = append(missing, i)
			}
		}

		if first < 0 {
			first = len(missing)
		}

		return len(missing) == 0
	})

	took := time.Since(began)
	d.w.figuref("%s: of %d intents at Stripe %d had no payment; all are home after %.1f s", d.name, len(ids), first, took.Seconds())

	for range ids {
		d.w.looked(homeSoon)
	}

	if err != nil && len(missing) == 0 {
		d.w.brokenf(homeSoon, "%s: %v", d.name, err)
	}

	for _, i := range missing {
		d.w.brokenf(homeSoon, "intent %s (%s) has no payment after %s", i.ID, i.Metadata["order"], homeWithin)
	}
}

// quiet waits until every operation has ended and no hint waits to be read.
func (d *deployment) quiet(ctx context.Context, attention int) {
	ctx, cancel := context.WithTimeout(ctx, quietWithin)
	defer cancel()

	began := time.Now()

	err := until(ctx, "quiet", func() bool {
		waiting, err := one[int](ctx, d.url(), `SELECT (SELECT count(*) FROM operations WHERE state = 'pending')
			+ (SELECT count(*) FROM stripe_events WHERE outcome = 'hint')`)

		return err == nil && waiting == 0
	})

	d.w.holdsf(allEnd, err == nil, "%s: operations are pending, or hints unread, %s after the load", d.name, quietWithin)
	d.w.figuref("%s: quiet %.1f s after the last request", d.name, time.Since(began).Seconds())

	type row struct{ ID, Kind, State, Error string }

	rows, err := query(context.WithoutCancel(ctx), d.url(), pgx.RowToStructByPos[row],
		`SELECT id::text, kind, state, COALESCE(last_error, '') FROM operations WHERE state IN ('pending', 'needs_attention')`)
	if err != nil {
		d.w.brokenf(allEnd, "%s: %v", d.name, err)
	}

	if len(rows) != attention {
		for _, r := range rows {
			d.w.brokenf(allEnd, "%s: %s %s is %s: %s", d.name, r.Kind, r.ID, r.State, r.Error)
		}
	}
}

// verify repeats every request and holds both sides' records against each other.
// attention is how many operations wait for a person, rightly.
func (d *deployment) verify(ctx context.Context, attention int) error {
	d.quiet(ctx, attention)
	d.repeatAll(ctx)
	d.quiet(ctx, attention)

	for _, odd := range d.odd() {
		d.w.brokenf(goodAnswers, "%v", odd)
	}

	if err := d.compare(ctx); err != nil {
		return err
	}

	d.reconcile(ctx, attention)

	d.load.mu.Lock()
	defer d.load.mu.Unlock()

	d.w.figuref("%s: answers: %v", d.name, d.load.statuses)

	return nil
}

// repeatAll sends every request once more, to either process.
func (d *deployment) repeatAll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, repeatedWithin)
	defer cancel()

	queue := make(chan *order)

	go func() {
		defer close(queue)

		orders := d.load.answered()
		for i, o := range orders {
			select {
			case queue <- o:
			case <-ctx.Done():
				d.w.brokenf(goodAnswers, "%d orders could not be repeated within %s", len(orders)-i, repeatedWithin)

				return
			}
		}
	}()

	var all sync.WaitGroup

	for i := range verifiers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(d.w.options.Seed, uint64(i)<<32))

			for o := range queue {
				ctx, cancel := context.WithTimeout(ctx, answeredWithin)
				d.repeat(ctx, r, o)
				cancel()
			}
		})
	}

	all.Wait()
}

func (d *deployment) repeat(ctx context.Context, r *rand.Rand, o *order) {
	l := d.load

	if o.key != "" {
		l.create(ctx, r, o)

		for !l.tryOther(ctx, r, o) && ctx.Err() == nil {
			pause(ctx, r)
		}
	}

	if o.captured != nil {
		l.capture(ctx, r, o)
		d.otherCapture(ctx, r, o)
	}

	for _, g := range o.given() {
		l.refund(ctx, r, o, g)
		d.otherRefund(ctx, r, o, g)
	}

	var got shown

	answer := l.call(ctx, r, http.MethodGet, "/payments/"+o.answer().ID, "", "")
	_ = json.Unmarshal(answer.body, &got)

	right := answer.status == http.StatusOK && got.Intent == o.answer().Intent && got.Amount == o.answer().Amount &&
		(o.key == "") == (got.Key == nil) && (got.Key == nil || *got.Key == o.key) && sameEntries(got.Metadata, o.wants())
	d.w.holdsf(wholeReads, right, "%s: %s", o.name, answer)
	d.w.holdsf(neverGone, answer.status != http.StatusNotFound, "%s (%s)", o.answer().ID, o.name)
}

// sameEntries compares metadata. Stripe keeps no entries without a value.
func sameEntries(got, want map[string]string) bool {
	for name, value := range want {
		if got[name] != value {
			return false
		}
	}

	for name := range got {
		if _, ok := want[name]; !ok {
			return false
		}
	}

	return true
}

// otherCapture asks for another amount under a capture's key.
func (d *deployment) otherCapture(ctx context.Context, r *rand.Rand, o *order) {
	for ctx.Err() == nil {
		answer := d.load.call(ctx, r, http.MethodPost, "/payments/"+o.answer().ID+"/capture", o.captureKey, `{"amount":1}`)
		if answer.decided() {
			d.w.holdsf(captureKeys, answer.reused(), "%s: another amount: %s", o.name, answer)

			return
		}

		pause(ctx, r)
	}
}

// row is a payment in the database.
type row struct {
	ID, Intent, Key, Status, Amount, Captured, Currency string
	Refunded, Pending, Disputed, Overdrawn              string
}

// compare holds the records against each other.
func (d *deployment) compare(ctx context.Context) error {
	rows, err := query(ctx, d.url(), pgx.RowToStructByPos[row], `SELECT id::text, stripe_payment_intent_id,
		COALESCE(idempotency_key, ''), status, amount::text,
		COALESCE(amount_captured, CASE WHEN status = 'succeeded' THEN amount ELSE 0 END)::text, currency,
		COALESCE(amount_refunded, 0)::text, COALESCE(amount_refund_pending, 0)::text, COALESCE(amount_disputed, 0)::text,
		COALESCE(overdrawn, 0)::text
		FROM payments`) // NULL: from the release before, which captured all
	if err != nil {
		return err
	}

	here := map[string]row{}
	for _, r := range rows {
		d.w.holdsf(homeSoon, here[r.Intent] == row{}, "intent %s has two payments", r.Intent)
		d.w.looked(onlyOurs)

		here[r.Intent] = r
	}

	orders := map[string]*order{}
	for _, o := range d.load.all() {
		orders[o.name] = o
	}

	made, givenBack := map[string][]string{}, d.w.refundsAtStripe()

	refunds, err := d.refundRows(ctx)
	if err != nil {
		return err
	}

	for _, i := range d.intents() {
		name := i.Metadata["order"]
		made[name] = append(made[name], i.ID)

		d.compareOne(i, here[i.ID], orders[name])

		if p, o := here[i.ID], orders[name]; p != (row{}) && o != nil {
			d.compareRefunds(i, p, o, givenBack[i.ID], refunds)
		}

		delete(here, i.ID)
	}

	for _, r := range refunds {
		d.w.brokenf(asAtStripe, "%s: refund %+v is not at Stripe", d.name, r)
	}

	for name, ids := range made {
		d.w.holdsf(oneIntent, len(ids) == 1, "%s has %d intents: %v", name, len(ids), ids)
	}

	for _, r := range here {
		d.w.brokenf(onlyOurs, "%s: payment %s has intent %s, which is not its own", d.name, r.ID, r.Intent)
	}

	parked, err := query(ctx, d.url(), pgx.RowTo[string],
		"SELECT concat_ws(' ', id, type, object_id, parked_reason) FROM stripe_events WHERE outcome = 'parked'")
	for _, event := range parked {
		d.w.brokenf(allEnd, "%s: an event is parked: %s", d.name, event)
	}

	return err
}

func (d *deployment) compareOne(i intent, r row, o *order) {
	about := fmt.Sprintf("%s (%s)", i.ID, i.Metadata["order"])

	if o == nil {
		d.w.brokenf(onlyOurs, "%s was ordered by nobody", about)

		return
	}

	received := int64(0)

	switch {
	case !o.paid:
	case o.manual && o.captured != nil:
		received = o.captureMinor
	case !o.manual:
		received = o.minor
	}

	asked := i.Received == received || o.manual && o.captured == nil && (i.Received == 0 || i.Received == o.captureMinor)
	d.w.holdsf(oneCharge, i.charges <= 1 && i.Amount == o.minor && asked,
		"%s: %d charges, %d of %d received; asked for %d of %d", about, i.charges, i.Received, i.Amount, received, o.minor)

	if r == (row{}) {
		d.w.brokenf(homeSoon, "%s has no payment in the end", about)

		return
	}

	first := o.answer()
	d.w.holdsf(sameAnswer, first == nil || first.ID == r.ID && first.Intent == i.ID, "%s: answered as %+v, is %+v", about, first, r)
	d.w.holdsf(asAtStripe, r.Status == i.status() && minor(r.Amount, r.Currency) == i.Amount &&
		minor(r.Captured, r.Currency) == i.Received, "%s: %+v here, at Stripe %s, %d of %d received", about, r,
		i.Status, i.Received, i.Amount)
}

// minor converts a stored amount to the currency's smallest unit; -1 if that is no whole
// number.
func minor(amount, currency string) int64 {
	value, ok := new(big.Rat).SetString(amount)
	if !ok {
		return -1
	}

	if strings.EqualFold(currency, "USD") {
		value.Mul(value, big.NewRat(100, 1))
	}

	if !value.IsInt() {
		return -1
	}

	return value.Num().Int64()
}

// reconcile lets a person's reconciliation look at everything.
func (d *deployment) reconcile(ctx context.Context, attention int) {
	out, code := d.run(ctx, "reconcile", "--since", "2h")

	want := 0
	if attention > 0 {
		want = 2
	}

	d.w.holdsf(cleanRun, code == want, "%s: exit code %d: %s", d.name, code, out)
}
