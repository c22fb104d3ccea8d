package runner

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/marketflow/marketflow/sandbox"
)

// violation is a broken promise.
type violation struct {
	invariant string
	about     string
	what      string
}

// String is a line for people.
func (v violation) String() string { return fmt.Sprintf("%s: %s: %s", v.invariant, v.about, v.what) }

// evidence is all that a verdict rests on.
type evidence struct {
	stripe  stripeRecords
	service serviceRecords
	ops     []operation
	// alert is whether the metrics say that an operation needs a person.
	alert bool
}

// check holds the service's records against the sandbox's.
func check(e evidence) []violation {
	var found []violation

	for _, invariant := range []func(evidence) []violation{
		oneCharge, onePaymentForEachIntent, equalAmounts, historiesAreWhole, statusesOnlyMoveForward,
		eventsTakeEffectOnce, nothingIsUnknown, answersAreKept, sameKeySameBytes, changedPayloadsStayOut,
		rejectionsAreNotKept, unavailableWroteNothing, nothingElsewhere,
	} {
		found = append(found, invariant(e)...)
	}

	return append(found, checkHistories(e.ops)...)
}

// oneCharge is I1, in the sandbox's records alone: the order is the client's own
// name for what it wanted, so nothing here trusts an id of the service's.
func oneCharge(e evidence) []violation {
	var found []violation

	byOrder, byPayment := map[string][]stripeIntent{}, map[string][]stripeIntent{}

	for _, intent := range e.stripe.intents {
		byOrder[intent.order()] = append(byOrder[intent.order()], intent)
		byPayment[intent.paymentID()] = append(byPayment[intent.paymentID()], intent)
	}

	for name, group := range map[string]map[string][]stripeIntent{"order": byOrder, "payment": byPayment} {
		for id, intents := range group {
			charges := 0
			for _, intent := range intents {
				charges += intent.succeeded
			}

			if len(intents) > 1 || charges > 1 {
				found = append(found, violation{"I1", name + " " + id, fmt.Sprintf("%d intents at Stripe with %d succeeded charges",
					len(intents), charges)})
			}
		}
	}

	return found
}

// onePaymentForEachIntent is I2.
func onePaymentForEachIntent(e evidence) []violation {
	var found []violation

	rows, intents := map[string][]paymentRow{}, map[string]stripeIntent{}

	for _, p := range e.service.payments {
		rows[p.Intent] = append(rows[p.Intent], p)
	}

	for _, intent := range e.stripe.intents {
		intents[intent.ID] = intent

		switch here := rows[intent.ID]; {
		case len(here) != 1:
			found = append(found, violation{
				"I2", "intent " + intent.ID,
				fmt.Sprintf("%d payment rows; payment id %s, order %s, Stripe key %s",
					len(here), intent.paymentID(), intent.order(), intent.key),
			})
		case here[0].ID != intent.paymentID():
			found = append(found, violation{
				"I2", "intent " + intent.ID,
				"belongs to payment " + intent.paymentID() + " at Stripe and to " + here[0].ID + " here",
			})
		case here[0].Key != "" && here[0].Key != intent.order():
			found = append(found, violation{
				"I2", "intent " + intent.ID,
				"was ordered as " + intent.order() + " and is filed under key " + here[0].Key,
			})
		}
	}

	for _, p := range e.service.payments {
		if _, there := intents[p.Intent]; !there {
			found = append(found, violation{"I2", "payment " + p.ID, "its intent " + p.Intent + " is not at Stripe"})
		}
	}

	return found
}

// nothingElsewhere is I7: only a service with the wrong key could write into another
// account's records.
func nothingElsewhere(e evidence) []violation {
	var found []violation

	for _, intent := range e.stripe.intents {
		if intent.account != sandbox.DefaultAccount {
			found = append(found, violation{
				"I7", "payment " + intent.paymentID(),
				fmt.Sprintf("order %s was sent to another account, %s, as %s", intent.order(), intent.account, intent.ID),
			})
		}
	}

	return found
}

// equalAmounts is I3.
func equalAmounts(e evidence) []violation {
	var found []violation

	rows, sums := map[string]paymentRow{}, map[string]int64{}

	for _, p := range e.service.payments {
		rows[p.Intent] = p

		minor, err := minorUnits(p.Amount, p.Currency)
		if err != nil {
			found = append(found, violation{"I3", "payment " + p.ID, err.Error()})
		}

		sums[p.Currency] += minor
	}

	for _, intent := range e.stripe.intents {
		currency := strings.ToUpper(intent.Currency)
		sums[currency] -= intent.Amount

		p, here := rows[intent.ID]
		if minor, err := minorUnits(p.Amount, p.Currency); here && (err != nil || minor != intent.Amount || p.Currency != currency) {
			found = append(found, violation{
				"I3", "payment " + p.ID,
				fmt.Sprintf("%s %s here, %d %s at Stripe", p.Amount, p.Currency, intent.Amount, currency),
			})
		}
	}

	for currency, difference := range sums {
		if difference != 0 {
			found = append(found, violation{"I3", currency, fmt.Sprintf("the sums differ by %d minor units", difference)})
		}
	}

	return found
}

// follows is the state machine, told once more: nothing is shared with what is
// being checked.
func follows(from, to string) bool {
	switch from {
	case "":
		return true
	case "pending":
		return to == "succeeded" || to == "failed" || to == "cancelled"
	case "failed":
		return to == "succeeded" || to == "cancelled"
	default:
		return false
	}
}

// historiesAreWhole is I4 in the records: each history begins once, has no gap,
// goes forward and ends where the payment stands, which is where Stripe is.
func historiesAreWhole(e evidence) []violation {
	var found []violation

	last := map[string]string{}

	for _, t := range e.service.transitions {
		was, begun := last[t.PaymentID]
		if was != t.From || begun && t.From == "" {
			found = append(found, violation{
				"I4", "payment " + t.PaymentID,
				fmt.Sprintf("its history says from %q, but it was %q (%s)", t.From, was, t.Cause),
			})
		}

		if !follows(t.From, t.To) {
			found = append(found, violation{"I4", "payment " + t.PaymentID, fmt.Sprintf("went from %q to %q (%s)", t.From, t.To, t.Cause)})
		}

		last[t.PaymentID] = t.To
	}

	there := map[string]string{}
	for _, intent := range e.stripe.intents {
		there[intent.ID] = intent.status()
	}

	for _, p := range e.service.payments {
		if last[p.ID] != p.Status {
			found = append(found, violation{
				"I4", "payment " + p.ID,
				fmt.Sprintf("is %s, and its history ends in %q", p.Status, last[p.ID]),
			})
		}

		if at, known := there[p.Intent]; known && at != p.Status {
			found = append(found, violation{"I4", "payment " + p.ID, fmt.Sprintf("is %s, and %s at Stripe", p.Status, at)})
		}
	}

	return found
}

// statusesOnlyMoveForward is I4 as clients saw it: a read that began after
// another had ended never shows an earlier status.
func statusesOnlyMoveForward(e evidence) []violation {
	var found []violation

	reads := map[string][]operation{}

	for _, op := range e.ops {
		if op.kind == opRead && op.result.status == http.StatusOK {
			reads[op.key] = append(reads[op.key], op)
		}
	}

	for id, ops := range reads {
		slices.SortFunc(ops, func(a, b operation) int { return int(a.call - b.call) })

		for i, earlier := range ops {
			for _, later := range ops[i+1:] {
				from, to := statusOf(earlier), statusOf(later)
				if later.call > earlier.ret && from != to && !follows(from, to) {
					found = append(found, violation{
						"I4", "payment " + id,
						fmt.Sprintf("was read as %s at %s and as %s at %s", from, earlier.ret, to, later.call),
					})
				}
			}
		}
	}

	return found
}

func statusOf(op operation) string {
	var body struct {
		Status string `json:"status"`
	}

	if err := json.Unmarshal(op.result.body, &body); err != nil {
		return err.Error()
	}

	return body.Status
}

// eventsTakeEffectOnce is I6: an event that was accepted is stored, none waits,
// and the inbox and the histories agree on what each did.
func eventsTakeEffectOnce(e evidence) []violation {
	var found []violation

	stored, effects := map[string]eventRow{}, map[string]int{}

	for _, event := range e.service.events {
		stored[event.ID] = event

		if event.Outcome == "parked" {
			found = append(found, violation{
				"I6", "event " + event.ID,
				fmt.Sprintf("%s for %s is still parked (%s)", event.Type, event.Object, event.Reason),
			})
		}
	}

	for _, t := range e.service.transitions {
		if strings.HasPrefix(t.Cause, "evt_") {
			effects[t.Cause]++
		}
	}

	for _, d := range e.stripe.deliveries {
		if _, here := stored[d.Event]; d.Delivered && !here {
			found = append(found, violation{"I6", "event " + d.Event, d.Type + " was answered 200 and is not stored"})
		}

		if !d.Delivered && !d.Lost {
			found = append(found, violation{
				"I6", "event " + d.Event,
				fmt.Sprintf("%s is never accepted: %d attempts, last %d %s", d.Type, d.Attempts, d.LastStatus, d.LastError),
			})
		}
	}

	for _, event := range e.service.events {
		want := 0
		if event.Outcome == "applied" {
			want = 1
		}

		if effects[event.ID] != want {
			found = append(found, violation{
				"I6", "event " + event.ID,
				fmt.Sprintf("is filed as %s and has taken effect %d times", event.Outcome, effects[event.ID]),
			})
		}
	}

	return found
}

// nothingIsUnknown is I8: whatever has no answer is in recovery's hands or has
// raised an alert, and only what nobody can know has.
func nothingIsUnknown(e evidence) []violation {
	const keysForgotten = 23 * 60 * 60

	var found []violation

	there := map[string]bool{}
	for _, intent := range e.stripe.intents {
		there[intent.paymentID()] = true
	}

	for _, c := range e.service.ops {
		about := fmt.Sprintf("operation %s (key %q)", c.PaymentID, c.Key)

		switch {
		case c.State == "needs_attention" && !e.alert:
			found = append(found, violation{"I8", about, "needs a person, and no metric says so"})
		case c.State == "needs_attention" && (there[c.PaymentID] || c.AgeSeconds < keysForgotten):
			found = append(found, violation{"I8", about, "was given up although it could be finished: " + c.LastError})
		case c.State == "pending" && !c.unprovable():
			found = append(found, violation{"I8", about, fmt.Sprintf("is still pending after %d attempts, due in %.1f s: %s",
				c.Attempts, c.DueSeconds, c.LastError)})
		}
	}

	return found
}

// unprovable: Stripe refuses the amount, but the answer to the first send was
// lost, and a refusal of a copy does not speak for the original. Recovery keeps
// the operation until it may be given to a person.
func (c operationRow) unprovable() bool {
	const longestPause = 8 * 60

	minor, err := minorUnits(c.Amount, c.Currency)

	return err == nil && c.Currency == "USD" && minor < 50 && c.DueSeconds < longestPause
}

// answersAreKept: what was answered 201 exists on both sides for ever, and is
// found by its id from then on.
func answersAreKept(e evidence) []violation {
	var found []violation

	payments, intents := map[string]paymentRow{}, map[string]stripeIntent{}
	for _, p := range e.service.payments {
		payments[p.ID] = p
	}

	for _, intent := range e.stripe.intents {
		intents[intent.ID] = intent
	}

	for _, op := range e.ops {
		if op.kind == opRead && op.result.status == http.StatusNotFound {
			found = append(found, violation{"lost", "payment " + op.key, fmt.Sprintf("was answered 201 and is 404 at %s", op.ret)})
		}

		if op.kind != opCreate || op.result.status != http.StatusCreated {
			continue
		}

		var answer struct {
			ID     string `json:"id"`
			Intent string `json:"stripe_payment_intent_id"`
			Secret string `json:"client_secret"`
		}

		if err := json.Unmarshal(op.result.body, &answer); err != nil {
			found = append(found, violation{"lost", "key " + op.key, "its 201 is no JSON: " + err.Error()})

			continue
		}

		p, here := payments[answer.ID]
		intent, there := intents[answer.Intent]

		switch {
		case !here || !there || p.Intent != answer.Intent || !strings.HasPrefix(answer.Secret, answer.Intent+"_secret_"):
			found = append(found, violation{
				"lost", "payment " + answer.ID,
				fmt.Sprintf("was answered 201 for intent %s; row here %t, intent at Stripe %t", answer.Intent, here, there),
			})
		case intent.Amount != op.payload.minor || !strings.EqualFold(intent.Currency, op.payload.currency):
			found = append(found, violation{"I3", "payment " + answer.ID, fmt.Sprintf("%d %s was asked for, %d %s is at Stripe",
				op.payload.minor, op.payload.currency, intent.Amount, intent.Currency)})
		}
	}

	return found
}

// sameKeySameBytes is I5's first half.
func sameKeySameBytes(e evidence) []violation {
	var found []violation

	first := map[string]result{}

	for _, op := range e.ops {
		if op.kind != opCreate || op.key == "" || op.result.status != http.StatusCreated {
			continue
		}

		if earlier, ok := first[op.key]; !ok {
			first[op.key] = op.result
		} else if string(earlier.body) != string(op.result.body) {
			found = append(found, violation{"I5", "key " + op.key, fmt.Sprintf("answered\n      %s\n      and\n      %s",
				earlier.body, op.result.body)})
		}
	}

	return found
}

// changedPayloadsStayOut is I5's second half: a payload that was answered 422
// never reached Stripe.
func changedPayloadsStayOut(e evidence) []violation {
	var found []violation

	refused := map[string]string{} // order and note → key

	for _, op := range e.ops {
		if op.kind == opCreate && op.result.status == http.StatusUnprocessableEntity && !op.result.isRejection() {
			refused[op.payload.id()] = op.key
		}
	}

	for _, intent := range e.stripe.intents {
		id := payload{
			minor: intent.Amount, currency: strings.ToUpper(intent.Currency), order: intent.order(), note: intent.Metadata["note"],
		}.id()

		if key, was := refused[id]; was {
			found = append(found, violation{"I5", "key " + key, "a payload that was answered 422 is at Stripe as " + intent.ID})
		}
	}

	return found
}

// rejectionsAreNotKept: Stripe takes every order of these clients but those that are
// too small for it, so that no other refusal may be a key's answer for ever.
func rejectionsAreNotKept(e evidence) []violation {
	var found []violation

	for _, op := range e.ops {
		switch {
		case op.kind != opCreate:
		case op.result.status == http.StatusBadGateway && op.result.replayed:
			found = append(found, violation{
				"I5", "key " + op.key, "is answered for ever that the deployment is wrong: " + op.result.String(),
			})
		case op.result.isRejection() && !op.payload.tiny:
			found = append(found, violation{"I5", "key " + op.key, "is refused although its amount is good: " + op.result.String()})
		}
	}

	return found
}

// unavailableWroteNothing: whoever was told that nothing was done may order again, so
// that no operation may stand under that request.
func unavailableWroteNothing(e evidence) []violation {
	var found []violation

	begun := map[string]operationRow{}
	for _, c := range e.service.ops {
		begun[c.Origin] = c
	}

	for _, op := range e.ops {
		kind, requestID := op.result.problem()
		if op.kind != opCreate || kind != "unavailable" {
			continue
		}

		if c, written := begun[requestID]; written {
			found = append(found, violation{
				"I2", "key " + op.key,
				fmt.Sprintf("was told at %s that nothing was done, and its operation %s is %s", op.ret, c.PaymentID, c.State),
			})
		}
	}

	return found
}

// summary counts violations by invariant.
func summary(found []violation) string {
	counts := map[string]int{}
	for _, v := range found {
		counts[v.invariant]++
	}

	parts := make([]string, 0, len(counts))
	for _, invariant := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", invariant, counts[invariant]))
	}

	return strings.Join(parts, ", ")
}
