package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// slowRefundCard is a card whose refunds are pending at first.
const slowRefundCard = "pm_card_pendingRefund"

// givesBack is a payment that is paid, and of which the shop gives money back, in one of many
// ways: whole, in parts, several at once at both processes, and somebody in the Dashboard.
func (c *client) givesBack(ctx context.Context) {
	p, paid := c.isPaid(ctx, []string{paysCard, paysCard, paysCard, slowRefundCard}[c.r.IntN(4)])
	if !paid {
		return
	}

	for range c.r.IntN(3) + 1 {
		c.refundsOf(ctx, p)
	}
}

// isPaid is a payment that a customer has paid with a card, and of which all or a part was captured.
func (c *client) isPaid(ctx context.Context, card string) (p known, told bool) {
	key := c.newKey("paid")
	a := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}

	if p, told = toldOf(a, c.pursue(ctx, key, c.l.addAsk(key, a))); !told {
		return p, false
	}

	c.confirm(kindPay, p.intent, card)

	if p.payload.manual {
		key := c.newKey("captured")
		c.twice(ctx, key, c.drawCapture(p))
	}

	c.l.mu.Lock()
	c.l.paid = append(c.l.paid, p)
	c.l.mu.Unlock()

	return p, true
}

// aRefund gives back some of any payment that was paid for that.
func (c *client) aRefund(ctx context.Context) {
	c.l.mu.Lock()
	all := c.l.paid
	c.l.mu.Unlock()

	if len(all) > 0 {
		c.refundsOf(ctx, all[c.r.IntN(len(all))])
	}
}

func (c *client) refundsOf(ctx context.Context, p known) {
	const several = 4

	switch c.r.IntN(8) {
	case 0, 1, 2:
		key := c.newKey("refund")
		c.twice(ctx, key, c.drawRefund(p))
	case 3:
		key := c.newKey("refund-together")
		c.together(key, c.l.addAsk(key, c.drawRefund(p)))
	case 4, 5:
		c.atOnce(several, func(c *client) { c.drawn(p, c.drawRefund(p)) })
	case 6:
		c.refundAtStripe(p)
	default:
		c.failsLater(p)
	}
}

// drawRefund gives back all, by its amount or by what the shop believes is left, or a part; now
// and then more than there is.
func (c *client) drawRefund(p known) ask {
	const step = 10 // amounts of KWD end in 0

	a := ask{kind: kindRefund, on: p, minor: p.payload.minor}

	switch draw := c.r.IntN(10); {
	case draw < 2:
	case draw < 4:
		a.expects = true
		if left := c.refundable(p); left > 0 {
			a.minor = left
		}
	case draw < 9:
		a.minor = max(step, p.payload.minor*int64(c.r.IntN(6)+1)/8/step*step)
	default:
		a.minor += step
	}

	return a
}

// refundable is what the service says that can be refunded, in minor units; 0 if it says nothing.
func (c *client) refundable(p known) int64 {
	var at struct {
		Left json.Number `json:"amount_refundable"`
	}

	if json.Unmarshal(c.readAt(p, c.r.IntN(processes)).body, &at) != nil {
		return 0
	}

	left, _ := minorUnits(at.Left.String(), p.payload.currency)

	return left
}

// refundAtStripe is a refund in the Dashboard.
func (c *client) refundAtStripe(p known) {
	a := c.drawRefund(p)
	a.kind = kindRefundAtStripe
	form := url.Values{"payment_intent": {p.intent}, "amount": {strconv.FormatInt(a.minor, 10)}}

	c.record(request{ask: a, key: p.intent}, func() result {
		return resultOf(c.w.stripe.Dashboard("v1/refunds", form))
	})
}

// failsLater is a bank that sends a refund back.
func (c *client) failsLater(p known) {
	for entry := range c.w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		if entry.Intent == p.intent {
			err := c.w.stripe.MoveRefund(entry.ID, sandbox.RefundMove{Status: "failed", FailureReason: "expired_or_canceled_card"})
			c.w.line.addf("stripe", "refund %s of %s fails: %v", entry.ID, p.intent, err)

			return
		}
	}
}

// refundFields spells a refund. The order is its own, so that Stripe's records tell it.
func (a ask) refundFields(order string) []string {
	name := "amount"
	if a.expects {
		name = "expected_refundable"
	}

	return []string{
		fmt.Sprintf("%q:%s", name, amountOf(a.minor, a.on.payload.currency)),
		fmt.Sprintf(`"metadata":{"order":%q}`, order), `"reason":"requested_by_customer"`,
	}
}

// drillRefunds asks for fifty refunds of one payment at once, at both processes, while calls and
// answers are lost: no more goes back than was captured.
func drillRefunds(ctx context.Context, w *world, _ DrillOptions, found *violations) ([]string, error) {
	const (
		refunds = 50
		parts   = 20 // so many would give all of it back
	)

	c := &client{l: w.work, w: w, number: 1, r: w.work.rand(1)}
	order := ask{kind: kindCreate, payload: payload{
		amount: "1000.00", spellings: []string{`"1000.00"`}, minor: 1000_00, currency: "USD", order: "fifty", note: firstNote,
	}}

	p, told := toldOf(order, c.send("fifty", w.work.addAsk("fifty", order), answerWithin))
	if !told {
		return nil, errNotPaid
	}

	pays(c, p.intent)

	for _, action := range []sandbox.Action{sandbox.DropAfter, sandbox.DropBefore, sandbox.Saved500} {
		rule := sandbox.Fault{Action: action, Method: http.MethodPost, Path: refundsPath, Nth: 3, Count: 4}
		if _, err := w.stripe.AddFault(rule); err != nil {
			return nil, fmt.Errorf("setting the faults up: %w", err)
		}
	}

	begun := w.line.now()
	figures := w.crowd(ctx, refunds, nil, func(i int) (string, ask) {
		key := fmt.Sprintf("%s-fifty-%d", w.name, i)

		return key, w.work.addAsk(key, ask{kind: kindRefund, on: p, minor: p.payload.minor / parts})
	})
	took := w.line.now() - begun

	given := int64(0)

	for entry := range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindRefund}}) {
		var at stripeRefund
		if err := json.Unmarshal(entry.Object, &at); err == nil {
			given += at.Amount
		}
	}

	if given != p.payload.minor {
		found.addf("J1", "payment "+p.id, "%d of %d were given back", given, p.payload.minor)
	}

	return []string{figures, fmt.Sprintf("%d of %d given back in %s", given, p.payload.minor, took.Round(time.Millisecond))}, nil
}
