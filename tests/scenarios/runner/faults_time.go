package runner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/marketflow/marketflow/sandbox"
)

const faultDayLater = "time: 25 h pass while an outcome is unknown"

// timeFaults: Stripe forgets the keys of outcomes that are still unknown.
func timeFaults() []fault {
	return []fault{{name: faultDayLater, play: dayLater, last: true}}
}

// dayLater leaves outcomes unknown, ends both processes, lets 25 hours pass and
// starts them again. The sandbox's clock is moved. The database's cannot be, so
// the operations in it are made older instead.
func dayLater(ctx context.Context, w *world, r *rand.Rand) {
	leaveUnknown(w, r)

	w.machine.Lock()
	defer w.machine.Unlock()

	for _, p := range w.processes {
		defer p.keepDown("a day passes")()
	}

	tag, err := w.db.Exec(ctx, `UPDATE operations SET created_at = created_at - interval '25 h',
		retry_at = least(retry_at, now()), leased_until = least(leased_until, now()) WHERE state = 'pending'`)
	if err != nil {
		w.line.addf("time", "%v", err)

		return
	}

	w.stripe.ClearFaults()
	w.stripe.Advance(25 * time.Hour)
	w.count(faultDayLater, int(tag.RowsAffected()))
	w.line.addf("time", "25 h pass; %d outcomes were unknown and their keys are forgotten", tag.RowsAffected())
}

// leaveUnknown asks for operations of every kind whose outcome stays unknown until the
// faults are cleared: Stripe has done some, and some not.
func leaveUnknown(w *world, r *rand.Rand) {
	const each = 2

	c := &client{l: w.work, w: w, number: clients + 1, r: r}

	for _, rule := range []sandbox.Fault{{Action: sandbox.DropAfter}, {Action: sandbox.Saved500}, {Action: sandbox.DropBefore}} {
		for _, kind := range operationKinds() {
			for range each {
				c.unknown(kind, rule)
			}
		}
	}
}

// unknown asks for one operation, under a rule that lasts.
func (c *client) unknown(kind operationKind, rule sandbox.Fault) {
	key := c.newKey(fmt.Sprintf("unknown-%s-%s", kind.name, rule.Action))
	rule.Method, rule.Path, rule.Count = kind.method, kind.path, -1

	if (ask{kind: kind.name}).isPerson() {
		c.unknownOfPerson(key, kind, rule)

		return
	}

	if (ask{kind: kind.name}).isBelonging() {
		c.unknownOfBelonging(key, kind, rule)

		return
	}

	rule.Metadata = map[string]string{"order": key}

	if kind.name == kindCreate {
		c.stays(rule)
		c.send(key, c.l.addOrder(c.r, key), answerWithin)

		return
	}

	order := ask{kind: kindCreate, payload: drawPayload(c.r, key, firstNote)}
	order.payload.manual = true

	p, told := toldOf(order, c.send("", order, answerWithin))
	if !told {
		return
	}

	a := ask{kind: kind.name, on: p, tag: "late", card: declinedCard, minor: 0}
	if kind.name == kindRefund {
		a.minor = p.payload.minor
	}

	if kind.name == kindConfirm { // what the intent says of this decline is not the next one's
		first := c.newKey("declined")
		c.send(first, c.l.addAsk(first, a), answerWithin)
	} else {
		pays(c, p.intent)
	}

	if kind.name == kindRefund {
		first := c.newKey("captured")
		c.send(first, c.l.addAsk(first, ask{kind: kindCapture, on: p}), answerWithin)
	}

	c.stays(rule)
	c.send(key, c.l.addAsk(key, a), answerWithin)
}

// unknownOfPerson asks for one operation about a customer. Stripe is told nothing by which to
// know a setup, so the first rule meets all of them.
func (c *client) unknownOfPerson(key string, kind operationKind, rule sandbox.Fault) {
	if kind.name == kindCreatePerson {
		rule.Metadata = map[string]string{"order": key}

		c.stays(rule)
		c.send(key, c.l.addAsk(key, ask{kind: kind.name, payload: payload{order: key, note: firstNote}}), answerWithin)

		return
	}

	order := ask{kind: kindCreatePerson, payload: payload{order: key + "-person", note: firstNote}}

	p, told := personOf(order, c.send("", order, answerWithin))
	if !told {
		return
	}

	a, of := ask{kind: kind.name, person: p}, p.stripe

	switch kind.name {
	case kindUpdatePerson:
		a.tag = "late"
	case kindDetach:
		if a.card, told = c.saves(context.Background(), p); !told {
			return
		}

		of = a.card
	}

	rule.Path = strings.ReplaceAll(kind.path, "*", of)
	c.stays(rule)
	c.send(key, c.l.addAsk(key, a), answerWithin)
}

// stays puts a rule in force until the faults are cleared.
func (c *client) stays(rule sandbox.Fault) {
	if _, err := c.w.stripe.AddFault(rule); err != nil {
		panic(err) // the rule is wrong
	}
}
