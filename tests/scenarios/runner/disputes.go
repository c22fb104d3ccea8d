package runner

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

// disputesPath is where Stripe keeps disputes.
const disputesPath = "/v1/disputes"

// waitingRefundCard is a card whose refunds wait for the customer, so that they can be cancelled.
const waitingRefundCard = "pm_card_refundRequiresAction"

// belonging is a refund or a dispute that some client was told of, and Stripe's id of it.
type belonging struct {
	id, stripe string
	on         known
}

// takesBack is a payment whose refunds wait for the customer, and a shop that changes its mind.
func (c *client) takesBack(ctx context.Context) {
	p, paid := c.isPaid(ctx, waitingRefundCard)
	if !paid {
		return
	}

	for range c.r.IntN(3) + 1 {
		key := c.newKey("waits")
		a := c.drawRefund(p)

		if r, told := refundOf(a, c.twice(ctx, key, a)); told {
			c.cancels(ctx, r)
		}
	}
}

// cancels ends a refund before the customer has got it, in one of many ways, or leaves it.
func (c *client) cancels(ctx context.Context, r belonging) {
	a := ask{kind: kindCancelRefund, on: r.on, object: r.id}

	switch c.r.IntN(8) {
	case 0, 1, 2:
		c.twice(ctx, c.newKey("cancel-refund"), a)
	case 3:
		key := c.newKey("cancel-refund-together")
		c.together(key, c.l.addAsk(key, a))
	case 4:
		acts := []func(*client){
			func(c *client) { c.drawn(r.on, a) },
			func(c *client) { c.drawn(r.on, a) },
			func(c *client) { c.drawn(r.on, c.drawRefund(r.on)) },
			func(c *client) { c.bankMoves(r) },
		}
		c.r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
		c.atOnce(3, acts...)
	case 5:
		c.send("", a, c.patience())
	case 6:
		c.cancelsAtStripe(r)
	default:
	}
}

// bankMoves is a customer who has answered, so that the refund goes its way.
func (c *client) bankMoves(r belonging) {
	err := c.w.stripe.MoveRefund(r.stripe, sandbox.RefundMove{Status: []string{"succeeded", "failed"}[c.r.IntN(2)]})
	c.w.line.addf("stripe", "the bank moves refund %s: %v", r.stripe, err)
}

// cancelsAtStripe is somebody in the Dashboard.
func (c *client) cancelsAtStripe(r belonging) {
	c.record(request{ask: ask{kind: kindCancelRefundAtStripe, on: r.on, object: r.id}, key: r.stripe}, func() result {
		return resultOf(c.w.stripe.Dashboard(strings.TrimPrefix(refundsPath, "/")+"/"+r.stripe+"/cancel", nil))
	})
}

// refundOf is the refund that an answer tells of.
func refundOf(a ask, answer result) (belonging, bool) {
	var made struct {
		ID     string `json:"id"`
		Stripe string `json:"stripe_refund_id"`
	}

	if a.kind != kindRefund || answer.status != http.StatusCreated || json.Unmarshal(answer.body, &made) != nil {
		return belonging{}, false
	}

	return belonging{made.ID, made.Stripe, a.on}, true
}

// goesToTheBank is a payment whose customer asks the bank for the money, once or twice, and a shop
// that answers, or does not.
func (c *client) goesToTheBank(ctx context.Context) {
	p, paid := c.isPaid(ctx, paysCard)
	if !paid {
		return
	}

	if c.r.IntN(4) == 0 {
		c.refundsOf(ctx, p)
	}

	for range c.r.IntN(2) + 1 {
		if d, told := c.complains(ctx, p); told {
			c.answers(ctx, d)
		}
	}

	if c.r.IntN(2) == 0 {
		c.refundsOf(ctx, p)
	}
}

// complains opens a dispute of all or of a part, and waits until the service tells of it.
func (c *client) complains(ctx context.Context, p known) (belonging, bool) {
	const step = 10 // amounts of KWD end in 0

	complaint := sandbox.Complaint{Reason: "product_not_received", Inquiry: c.r.IntN(3) == 0}
	if c.r.IntN(2) == 0 {
		complaint.Amount = max(step, p.payload.minor/int64(c.r.IntN(3)+2)/step*step)
	}

	id, err := c.w.stripe.OpenDispute(p.intent, complaint)
	c.w.line.addf("stripe", "the bank disputes %d of %s (inquiry %t): %s, %v",
		complaint.Amount, p.intent, complaint.Inquiry, id, err)

	if err != nil {
		return belonging{}, false
	}

	return c.hearsOf(ctx, p, id)
}

// hearsOf asks for a payment's disputes until the one with Stripe's id is among them. It does not
// ask for ever: the event may be lost.
func (c *client) hearsOf(ctx context.Context, p known, stripeID string) (d belonging, told bool) {
	const tries, pause = 20, 100 * time.Millisecond

	for range tries {
		var page struct {
			Data []struct {
				ID     string `json:"id"`
				Stripe string `json:"stripe_dispute_id"`
			} `json:"data"`
		}

		answer := c.list("/disputes", url.Values{"payment_id": {p.id}}, c.r.IntN(processes))
		if answer.status == http.StatusOK && json.Unmarshal(answer.body, &page) == nil {
			for _, one := range page.Data {
				if one.Stripe == stripeID {
					d = belonging{one.ID, one.Stripe, p}

					c.l.mu.Lock()
					c.l.disputes = append(c.l.disputes, d)
					c.l.mu.Unlock()

					return d, true
				}
			}
		}

		if ctx.Err() != nil {
			break
		}

		wait(ctx, pause)
	}

	return d, false
}

// answers is what shop and bank do about a dispute.
func (c *client) answers(ctx context.Context, d belonging) {
	if c.r.IntN(2) == 0 {
		c.twice(ctx, c.newKey("stage"), c.drawEvidence(d, false))
	}

	accept, submit := ask{kind: kindAccept, on: d.on, object: d.id}, c.drawEvidence(d, true)

	switch c.r.IntN(8) {
	case 0, 1:
		c.twice(ctx, c.newKey("accept"), accept)
	case 2:
		key := c.newKey("accept-together")
		c.together(key, c.l.addAsk(key, accept))
	case 3, 4:
		c.twice(ctx, c.newKey("submit"), submit)
	case 5:
		key := c.newKey("submit-together")
		c.together(key, c.l.addAsk(key, submit))
	case 6:
		acts := []func(*client){
			func(c *client) { c.drawn(d.on, submit) },
			func(c *client) { c.drawn(d.on, c.drawEvidence(d, true)) },
			func(c *client) { c.drawn(d.on, accept) },
			func(c *client) { c.drawn(d.on, c.drawRefund(d.on)) },
			func(c *client) { c.bankDecides(d) },
		}
		c.r.Shuffle(len(acts), func(i, j int) { acts[i], acts[j] = acts[j], acts[i] })
		c.atOnce(3, acts...)
	default: // the shop says nothing
	}

	for range c.r.IntN(3) {
		c.bankDecides(d)
	}
}

// aDispute does something about any dispute, however it stands.
func (c *client) aDispute(ctx context.Context) {
	c.l.mu.Lock()
	all := c.l.disputes
	c.l.mu.Unlock()

	if len(all) > 0 {
		c.answers(ctx, all[c.r.IntN(len(all))])
	}
}

// drawEvidence gives a text to the bank, or stages it; now and then it submits what is staged.
func (c *client) drawEvidence(d belonging, submit bool) ask {
	a := ask{kind: kindEvidence, on: d.on, object: d.id, submit: submit, tag: fmt.Sprintf("text %d", c.r.IntN(1_000_000))}

	if submit && c.r.IntN(3) == 0 {
		a.tag = ""
	}

	return a
}

// bankDecides goes one of the ways that a dispute may go. Not each is open to it.
func (c *client) bankDecides(d belonging) {
	decision := sandbox.Decision{Status: []string{"won", "lost", "lost", "warning_closed", "needs_response"}[c.r.IntN(5)]}
	if back := d.on.payload.minor / 40 * 10; decision.Status == "lost" && c.r.IntN(3) == 0 {
		decision.Reinstated = &back
	}

	c.record(request{ask: ask{kind: kindBankDecides, on: d.on, object: d.id, tag: decision.Status}, key: d.stripe}, func() result {
		return resultOf(nil, c.w.stripe.DecideDispute(d.stripe, decision))
	})
}

// disputeFields spells what is asked about a dispute.
func (a ask) disputeFields() []string {
	if a.kind == kindAccept {
		return []string{`"confirm":true`}
	}

	fields := []string{fmt.Sprintf(`"submit":%t`, a.submit)}
	if a.tag != "" {
		fields = append(fields, fmt.Sprintf(`"evidence":{"product_description":%q}`, a.tag))
	}

	return fields
}

// isBelonging: the ask is about a refund or a dispute.
func (a ask) isBelonging() bool {
	return a.kind == kindCancelRefund || a.kind == kindEvidence || a.kind == kindAccept
}

// belongingPath is where it goes.
func (a ask) belongingPath() string {
	switch a.kind {
	case kindCancelRefund:
		return "/refunds/" + a.object + "/cancel"
	case kindEvidence:
		return "/disputes/" + a.object + "/evidence"
	default:
		return "/disputes/" + a.object + "/accept"
	}
}

// belongingID tells such asks apart as the service should.
func (a ask) belongingID() string {
	return fmt.Sprintf("%s %s %q %t", a.kind, a.object, a.tag, a.submit)
}

// unknownOfBelonging cancels one refund, or answers one dispute, under a rule that lasts.
func (c *client) unknownOfBelonging(key string, kind operationKind, rule sandbox.Fault) {
	order := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
	order.payload.manual = false

	p, told := toldOf(order, c.send("", order, answerWithin))
	if !told {
		return
	}

	a := ask{kind: kind.name, on: p, submit: kind.name == kindEvidence}

	var of belonging

	if kind.name == kindCancelRefund {
		c.confirm(kindPay, p.intent, waitingRefundCard)

		first := c.newKey("waiting")
		refund := ask{kind: kindRefund, on: p, minor: p.payload.minor}
		of, told = refundOf(refund, c.pursue(context.Background(), first, c.l.addAsk(first, refund)))
	} else {
		pays(c, p.intent)

		of, told = c.complains(context.Background(), p)
		a.tag = "late"
	}

	if !told {
		return
	}

	a.object, rule.Path = of.id, strings.ReplaceAll(kind.path, "*", of.stripe)
	if kind.name == kindAccept {
		a.tag = ""
	}

	c.stays(rule)
	c.send(key, c.l.addAsk(key, a), answerWithin)
}
