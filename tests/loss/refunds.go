package loss

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
)

// givenBack is a refund that a client asks for, and what it was told.
type givenBack struct {
	// name is the client's own. It is in the metadata, as an order's is.
	name, key string
	minor     int64
	amount    string

	// answered is the answer of 201; it is guarded by the order's mu.
	answered *shownRefund
}

// shownRefund is a refund as the service shows it.
type shownRefund struct {
	ID      string            `json:"id"`
	Payment string            `json:"payment_id"`
	Stripe  string            `json:"stripe_refund_id"`
	Key     string            `json:"idempotency_key"`
	Amount  json.Number       `json:"amount"`
	Meta    map[string]string `json:"metadata"`
}

// same tells whether two answers are about the same refund.
func (s shownRefund) same(other shownRefund) bool {
	return s.ID == other.ID && s.Payment == other.Payment && s.Stripe == other.Stripe && s.Key == other.Key &&
		s.Amount == other.Amount
}

// received is how much the client knows to have got; mu is held.
func (o *order) received() int64 {
	switch {
	case o.manual && o.captured != nil:
		return o.captureMinor
	case o.manual || !o.paid || o.cancelled:
		return 0
	default:
		return o.minor
	}
}

// drawRefund draws a refund of all that is left, or of a part; false if nothing is.
func (o *order) drawRefund(r *rand.Rand) (*givenBack, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()

	left := o.received()
	for _, g := range o.refunds {
		left -= g.minor
	}

	if o.disputed || left <= 1 || o.key == "" {
		return nil, false
	}

	name := fmt.Sprintf("%s/refund-%d", o.name, len(o.refunds))
	g := &givenBack{name: name, key: "refund-" + name, minor: left}

	if r.IntN(2) == 0 {
		g.minor = left / 2
	}

	g.amount = o.inMajorUnits(g.minor)
	o.refunds = append(o.refunds, g)

	return g, true
}

func (o *order) inMajorUnits(minor int64) string {
	if o.currency == "USD" {
		return fmt.Sprintf("%d.%02d", minor/100, minor%100)
	}

	return strconv.FormatInt(minor, 10)
}

// given are the refunds that were answered.
func (o *order) given() []*givenBack {
	o.mu.Lock()
	defer o.mu.Unlock()

	return slices.DeleteFunc(slices.Clone(o.refunds), func(g *givenBack) bool { return g.answered == nil })
}

func (g *givenBack) body(amount string) string {
	return fmt.Sprintf(`{"amount":%s,"metadata":{"refund":%q}}`, amount, g.name)
}

// givesBack refunds some of an order that was paid for, sometimes twice over, as a client does that
// has forgotten the answer.
func (l *load) givesBack(ctx context.Context, r *rand.Rand, o *order) {
	if g, some := o.drawRefund(r); some && l.refund(ctx, r, o, g) && r.IntN(3) == 0 {
		l.refund(ctx, r, o, g)
	}
}

// givesBackOld refunds some of an older order, which may be kept by what is restored when the refund is
// not.
func (l *load) givesBackOld(ctx context.Context, r *rand.Rand) {
	if o, ok := l.any(r); ok {
		l.givesBack(ctx, r, o)
	}
}

// complains is a customer who goes to the bank.
func (l *load) complains(o *order) {
	o.mu.Lock()
	defer o.mu.Unlock()

	if len(o.refunds) > 0 {
		return
	}

	if _, err := l.d.w.stripe.OpenDispute(o.first.Intent, sandbox.Complaint{}); err != nil {
		l.d.w.brokenf(goodAnswers, "disputing %s at Stripe: %v", o.name, err)
	}

	o.disputed = true
}

// refund refunds until it is answered, or compares the answer with the one before.
func (l *load) refund(ctx context.Context, r *rand.Rand, o *order, g *givenBack) bool {
	for ctx.Err() == nil {
		answer := l.call(ctx, r, http.MethodPost, "/payments/"+o.answer().ID+"/refunds", g.key, g.body(g.amount))

		switch {
		case answer.status == http.StatusCreated:
			return l.rememberRefund(o, g, answer)
		case answer.decided():
			l.d.w.holdsf(refundKeys, false, "%s: %s", g.name, answer)

			return false
		}

		pause(ctx, r)
	}

	l.d.w.brokenf(goodAnswers, "%s got no answer within %s", g.name, answeredWithin)

	return false
}

func (l *load) rememberRefund(o *order, g *givenBack, answer answer) bool {
	var got shownRefund
	if err := json.Unmarshal(answer.body, &got); err != nil || got.ID == "" || got.Stripe == "" {
		l.d.w.brokenf(goodAnswers, "%s: a 201 that is no refund: %s", g.name, answer)

		return false
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	if g.answered == nil {
		g.answered = &got
	}

	right := g.answered.same(got) && got.Payment == o.first.ID && got.Key == g.key && got.Amount.String() == g.amount &&
		got.Meta["refund"] == g.name
	l.d.w.holdsf(refundKeys, right, "%s: was %+v, is %+v", g.name, *g.answered, got)

	return true
}

// otherRefund asks for another amount under a refund's key.
func (d *deployment) otherRefund(ctx context.Context, r *rand.Rand, o *order, g *givenBack) {
	for ctx.Err() == nil {
		answer := d.load.call(ctx, r, http.MethodPost, "/payments/"+o.answer().ID+"/refunds", g.key, g.body("1"))
		if answer.decided() {
			d.w.holdsf(refundKeys, answer.reused() || g.minor == o.one(), "%s: another amount: %s", g.name, answer)

			return
		}

		pause(ctx, r)
	}
}

// one is one major unit.
func (o *order) one() int64 {
	if o.currency == "USD" {
		return 100
	}

	return 1
}

// stripeRefund is a Refund as the sandbox knows it.
type stripeRefund struct {
	ID       string            `json:"id"`
	Amount   int64             `json:"amount"`
	Status   string            `json:"status"`
	Metadata map[string]string `json:"metadata"`
}

// refundsAtStripe are those of an intent.
func (w *world) refundsAtStripe() map[string][]stripeRefund {
	all := map[string][]stripeRefund{}

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		var r stripeRefund
		if err := json.Unmarshal(entry.Object, &r); err != nil {
			panic(err) // the sandbox's own
		}

		if r.Metadata["refund"] != "" { // not the rest of a hold that was let go
			all[entry.Intent] = append(all[entry.Intent], r)
		}
	}

	return all
}

// refundRow is a refund in the database.
type refundRow struct{ ID, Payment, Stripe, Key, Amount, Currency, Status string }

func (d *deployment) refundRows(ctx context.Context) (map[string]refundRow, error) {
	rows, err := query(ctx, d.url(), pgx.RowToStructByPos[refundRow], `SELECT id::text, payment_id::text,
		COALESCE(stripe_refund_id, id::text), COALESCE(idempotency_key, ''), amount::text, currency, status FROM refunds`)

	byStripe := make(map[string]refundRow, len(rows))
	for _, r := range rows {
		byStripe[r.Stripe] = r
	}

	return byStripe, err
}

// compareRefunds holds the refunds of an intent against ours: no more than was captured goes back, by a
// key at most once, and our sums and refunds are Stripe's. It takes them out of ours.
func (d *deployment) compareRefunds(i intent, p row, o *order, theirs []stripeRefund, ours map[string]refundRow) {
	given, seen := int64(0), map[string]string{}

	for _, r := range theirs {
		given += r.Amount
		name := r.Metadata["refund"]

		d.w.holdsf(refundKeys, seen[name] == "", "%s was given back as %s and as %s", name, seen[name], r.ID)
		seen[name] = r.ID

		row := ours[r.ID]
		delete(ours, r.ID)

		d.w.holdsf(asAtStripe, row.Payment == p.ID && minor(row.Amount, row.Currency) == r.Amount && row.Status == r.Status &&
			row.Key == "refund-"+name, "%s of %s: %+v here, %+v at Stripe", name, o.name, row, r)
	}

	o.mu.Lock()
	defer o.mu.Unlock()

	for _, g := range o.refunds {
		d.w.holdsf(refundKeys, g.answered == nil || seen[g.name] == g.answered.Stripe,
			"%s was told as %+v, and at Stripe it is %q", g.name, g.answered, seen[g.name])
	}

	disputed := int64(0)
	if o.disputed {
		disputed = i.Received
	}

	d.w.holdsf(noMoreBack, given <= i.Received, "%s: %d were received, and %d are given back", o.name, i.Received, given)
	d.w.holdsf(asAtStripe, minor(p.Refunded, p.Currency) == given && minor(p.Pending, p.Currency) == 0 &&
		minor(p.Disputed, p.Currency) == disputed && minor(p.Overdrawn, p.Currency) == 0,
		"%s: %+v here, %d given back and %d disputed at Stripe", o.name, p, given, disputed)
}
