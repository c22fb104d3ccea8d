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

// violations collects them.
type violations []violation

func (v *violations) addf(invariant, about, format string, args ...any) {
	*v = append(*v, violation{invariant, about, fmt.Sprintf(format, args...)})
}

// evidence is all that a verdict rests on.
type evidence struct {
	stripe   stripeRecords
	service  serviceRecords
	requests []request
	// alerts are what the metrics say that waits for a person.
	alerts alerts
	// sent are the calls that the processes have sent to Stripe.
	sent []call
	// shown are the captured and cancelled payments as they are read when all is quiet.
	shown map[string]result
	// drawn are the events that the runner has made up to contradict the records, and
	// whether they were accepted.
	drawn map[string]bool
	// saved are the payment methods that customers have saved, by their ids.
	saved map[string]savedMethod
	// logs are the processes'.
	logs [][]byte
}

// check compares the service's records with the sandbox's.
func check(e evidence, found *violations) {
	for _, invariant := range []func(evidence, *violations){
		oneCharge, onePaymentForEachIntent, equalAmounts, historiesAreWhole, statusesOnlyMoveForward,
		eventsTakeEffectOnce, nothingIsUnknown, answersAreKept, sameKeySameBytes, changedPayloadsStayOut,
		rejectionsAreNotKept, unavailableWroteNothing, nothingElsewhere, answersFitAnOrder,
		oneCapture, captureAsAskedFor, noKeyDeniesItself, cancelledAsTold, oneWinner, refusalsAreTrue,
		confirmedAsTold, detailsAreEqual, callsAreSentAsWritten, lastAnswersStand, versionsGrow,
		contradictionsAreOnlyDrawn, foreignIsLeftAlone,
		noMoreThanCaptured, oneRefund, refundsAreEqual, disputesAreEqual, answeredAsTold,
		oneCustomer, customersAreEqual, referencesAreUnique, deletedIsGone, detachedAsTold, payersAreRight, othersMethodsAreRefused,
	} {
		invariant(e, found)
	}
}

// intents are Stripe's, by their ids.
func (e evidence) intents() map[string]stripeIntent {
	return by(e.stripe.intents, func(i stripeIntent) string { return i.ID })
}

// by indexes a list; of several with one key the last counts.
func by[T any](list []T, key func(T) string) map[string]T {
	index := make(map[string]T, len(list))
	for _, item := range list {
		index[key(item)] = item
	}

	return index
}

// oneCharge is I1. It looks at the sandbox's records alone and counts by the name
// that the client gave to its order, so it trusts no id of the service's.
func oneCharge(e evidence, found *violations) {
	for name, key := range map[string]func(stripeIntent) string{"order": stripeIntent.order, "payment": stripeIntent.paymentID} {
		intents, charges := map[string]int{}, map[string]int{}

		for _, intent := range e.stripe.intents {
			intents[key(intent)]++
			charges[key(intent)] += intent.succeededCharges
		}

		for id, n := range intents {
			if n > 1 || charges[id] > 1 {
				found.addf("I1", name+" "+id, "%d intents at Stripe with %d succeeded charges", n, charges[id])
			}
		}
	}
}

// onePaymentForEachIntent is I2.
func onePaymentForEachIntent(e evidence, found *violations) {
	rows, intents := map[string][]paymentRow{}, e.intents()

	for _, p := range e.service.payments {
		rows[p.Intent] = append(rows[p.Intent], p)

		if _, there := intents[p.Intent]; !there {
			found.addf("I2", "payment "+p.ID, "its intent %s is not at Stripe", p.Intent)
		}
	}

	for _, intent := range e.stripe.intents {
		about := "intent " + intent.ID

		switch here := rows[intent.ID]; {
		case len(here) != 1:
			found.addf("I2", about, "%d payment rows; payment id %s, order %s, Stripe key %s",
				len(here), intent.paymentID(), intent.order(), intent.key)
		case here[0].ID != intent.paymentID():
			found.addf("I2", about, "belongs to payment %s at Stripe and to %s here", intent.paymentID(), here[0].ID)
		case here[0].Key != "" && here[0].Key != intent.order():
			found.addf("I2", about, "was ordered as %s and is stored under key %s", intent.order(), here[0].Key)
		}
	}
}

// nothingElsewhere is I7: only a service with the wrong key could write into
// another account's records.
func nothingElsewhere(e evidence, found *violations) {
	for _, intent := range e.stripe.intents {
		if intent.account != sandbox.DefaultAccount {
			found.addf("I7", "payment "+intent.paymentID(), "order %s was sent to another account, %s, as %s",
				intent.order(), intent.account, intent.ID)
		}
	}
}

// equalAmounts is I3.
func equalAmounts(e evidence, found *violations) {
	rows, sums := map[string]paymentRow{}, map[string]int64{}

	for _, p := range e.service.payments {
		rows[p.Intent] = p

		minor, err := minorUnits(p.Amount, p.Currency)
		if err != nil {
			found.addf("I3", "payment "+p.ID, "%v", err)
		}

		sums[p.Currency] += minor
	}

	for _, intent := range e.stripe.intents {
		currency := strings.ToUpper(intent.Currency)
		sums[currency] -= intent.Amount

		p, here := rows[intent.ID]
		if minor, err := minorUnits(p.Amount, p.Currency); here && (err != nil || minor != intent.Amount || p.Currency != currency) {
			found.addf("I3", "payment "+p.ID, "%s %s here, %d %s at Stripe", p.Amount, p.Currency, intent.Amount, currency)
		}

		if here {
			equalSums(p, intent, found)
		}
	}

	for currency, difference := range sums {
		if difference != 0 {
			found.addf("I3", currency, "the sums differ by %d minor units", difference)
		}
	}
}

// equalSums: what is held and what was received are what Stripe says.
func equalSums(p paymentRow, intent stripeIntent, found *violations) {
	capturable, err := minorUnits(p.Capturable, p.Currency)
	captured, err2 := minorUnits(p.Captured, p.Currency)
	until := intent.captureBefore

	if intent.Status != "requires_capture" {
		until = 0 // its charge goes on saying when the hold would have lapsed
	}

	switch {
	case err != nil || err2 != nil || capturable != intent.Capturable || captured != intent.Received:
		found.addf("I3", "payment "+p.ID, "%s held and %s received here, %d and %d at Stripe",
			p.Capturable, p.Captured, intent.Capturable, intent.Received)
	case p.CaptureMethod != intent.CaptureMethod:
		found.addf("I3", "payment "+p.ID, "is captured by %s here and by %s at Stripe", p.CaptureMethod, intent.CaptureMethod)
	case p.CaptureBefore != until:
		found.addf("I3", "payment "+p.ID, "its hold lapses at %d here and at %d at Stripe", p.CaptureBefore, until)
	}
}

// follows is the table of the payment's statuses. It is written down a second time
// on purpose: the checker shares no code with what it checks.
func follows(from, to string) bool {
	switch from {
	case "":
		return true
	case "pending":
		return to == "succeeded" || to == "failed" || to == "cancelled"
	case "failed":
		return to == "pending" || to == "succeeded" || to == "cancelled"
	default:
		return false
	}
}

// historiesAreWhole is I4 in the records: each history begins once, has no gap,
// goes forward and ends at the payment's status, which is also Stripe's.
func historiesAreWhole(e evidence, found *violations) {
	last := map[string]string{}

	for _, t := range e.service.transitions {
		was, begun := last[t.PaymentID]
		if was != t.From || begun && t.From == "" {
			found.addf("I4", "payment "+t.PaymentID, "its history says from %q, but it was %q (%s)", t.From, was, t.Cause)
		}

		if !follows(t.From, t.To) {
			found.addf("I4", "payment "+t.PaymentID, "went from %q to %q (%s)", t.From, t.To, t.Cause)
		}

		last[t.PaymentID] = t.To
	}

	intents := e.intents()

	for _, p := range e.service.payments {
		if last[p.ID] != p.Status {
			found.addf("I4", "payment "+p.ID, "is %s, and its history ends in %q", p.Status, last[p.ID])
		}

		if intent, known := intents[p.Intent]; known && (intent.status() != p.Status || intent.Status != p.IntentStatus) {
			found.addf("I4", "payment "+p.ID, "is %s (%s), and %s (%s) at Stripe",
				p.Status, p.IntentStatus, intent.status(), intent.Status)
		}
	}
}

// statusesOnlyMoveForward is I4 as clients saw it: after a final status no other is read.
func statusesOnlyMoveForward(e evidence, found *violations) {
	reads := map[string][]request{}

	for _, r := range e.requests {
		if r.kind == kindRead && r.result.status == http.StatusOK {
			reads[r.key] = append(reads[r.key], r)
		}
	}

	for id, all := range reads {
		slices.SortFunc(all, func(a, b request) int { return int(a.call - b.call) })

		for i, earlier := range all {
			for _, later := range all[i+1:] {
				from, err := earlier.result.payment()
				to, err2 := later.result.payment()

				if err != nil || err2 != nil || later.call > earlier.ret && from.Status != to.Status && !follows(from.Status, to.Status) {
					found.addf("I4", "payment "+id, "was read as %s at %s and as %s at %s",
						earlier.result, earlier.ret, later.result, later.call)
				}
			}
		}
	}
}

// eventsTakeEffectOnce is I6: an event that was accepted is stored, none waits any more, and
// the inbox and the histories agree on what each event did.
func eventsTakeEffectOnce(e evidence, found *violations) {
	stored := by(e.service.events, func(event eventRow) string { return event.ID })
	effects := map[string]int{}

	for _, t := range e.service.transitions {
		if strings.HasPrefix(t.Cause, "evt_") {
			effects[t.Cause]++
		}
	}

	for _, d := range e.stripe.deliveries {
		if _, here := stored[d.Event]; d.Delivered && !here {
			found.addf("I6", "event "+d.Event, "%s was answered 200 and is not stored", d.Type)
		}

		if !d.Delivered && !d.Lost {
			found.addf("I6", "event "+d.Event, "%s is never accepted: %d attempts, last %d %s",
				d.Type, d.Attempts, d.LastStatus, d.LastError)
		}
	}

	for _, event := range e.service.events {
		if _, drawn := e.drawn[event.ID]; (event.Outcome == "parked" || event.Outcome == "hint") && !drawn {
			found.addf("I6", "event "+event.ID, "%s for %s is still %s %s", event.Type, event.Object, event.Outcome, event.Reason)
		}

		if least, most := event.effects(); effects[event.ID] < least || effects[event.ID] > most {
			found.addf("I6", "event "+event.ID, "%s is stored as %s and has taken effect %d times",
				event.Type, event.Outcome, effects[event.ID])
		}
	}
}

// effects are how many changes of a status an event may have made. A decline may have been
// a hint, and then what was read is the cause.
func (e eventRow) effects() (least, most int) {
	switch {
	case e.Outcome != "applied":
		return 0, 0
	case e.Type == "payment_intent.succeeded" || e.Type == "payment_intent.canceled":
		return 1, 1
	case e.Type == "payment_intent.payment_failed":
		return 0, 1
	default:
		return 0, 0
	}
}

// nothingIsUnknown is I8: recovery has finished every operation, or an alert tells
// of it, and that only where nobody can know the outcome.
func nothingIsUnknown(e evidence, found *violations) {
	const keysForgotten = 23 * 60 * 60

	for _, op := range e.service.operations {
		about := fmt.Sprintf("%s %s (key %q)", op.Kind, op.ID, op.Key)

		switch {
		case op.State == "needs_attention" && !e.alerts.operations:
			found.addf("I8", about, "needs a person, and no metric says so")
		case op.State == "needs_attention" && (e.executed(op) || op.AgeSeconds < keysForgotten):
			found.addf("I8", about, "was given up although it could be finished: %s", op.LastError)
		case op.unfinished():
			found.addf("I8", about, "is still pending after %d attempts, due in %.1f s: %s", op.Attempts, op.DueSeconds, op.LastError)
		}
	}
}

// executed tells whether Stripe's records show what became of an operation.
func (e evidence) executed(o operationRow) bool {
	if (ask{kind: o.Kind}).isPerson() {
		return e.executedOnPerson(o)
	}

	if (ask{kind: o.Kind}).isBelonging() {
		return e.executedOnBelonging(o)
	}

	intent, there := by(e.stripe.intents, stripeIntent.paymentID)[o.Payment]

	switch {
	case !there:
		return false
	case o.Kind == kindRefund:
		return slices.ContainsFunc(e.stripe.refunds[intent.ID], func(r stripeRefund) bool { return r.madeBy() == o.ID })
	case o.Kind == kindUpdate:
		return o.asked("metadata[tag]") == intent.Metadata["tag"]
	default:
		return o.Kind == kindCreate || intent.Status == "succeeded" || intent.Status == "canceled"
	}
}

// answersAreKept: what was answered 201 exists on both sides for ever, and is
// found by its id from then on.
func answersAreKept(e evidence, found *violations) {
	payments := by(e.service.payments, func(p paymentRow) string { return p.ID })
	intents, gone := e.intents(), e.mayBeGone()

	for _, r := range e.requests {
		// A fault may meet a browser at Stripe too.
		ofService := r.isOperation() || r.kind == kindRead || r.kind == kindReadPerson
		if ofService && r.result.status == http.StatusNotFound && !gone[r.person.id+r.payload.person.id] && !gone[r.card] {
			found.addf("lost", r.String()+" of "+r.key, "was answered 201 and is 404 at %s", r.ret)
		}

		if r.kind != kindCreate || r.result.status != http.StatusCreated {
			continue
		}

		var answer struct {
			ID     string `json:"id"`
			Intent string `json:"stripe_payment_intent_id"`
			Secret string `json:"client_secret"`
		}

		if err := json.Unmarshal(r.result.body, &answer); err != nil {
			found.addf("lost", "key "+r.key, "its 201 is not JSON: %v", err)

			continue
		}

		p, here := payments[answer.ID]
		intent, there := intents[answer.Intent]

		switch {
		case !here || !there || p.Intent != answer.Intent || !strings.HasPrefix(answer.Secret, answer.Intent+"_secret_"):
			found.addf("lost", "payment "+answer.ID, "was answered 201 for intent %s; row here %t, intent at Stripe %t",
				answer.Intent, here, there)
		case intent.Amount != r.payload.minor || !strings.EqualFold(intent.Currency, r.payload.currency):
			found.addf("I3", "payment "+answer.ID, "%d %s was asked for, %d %s is at Stripe",
				r.payload.minor, r.payload.currency, intent.Amount, intent.Currency)
		}
	}
}

// sameKeySameBytes is I5's first half.
func sameKeySameBytes(e evidence, found *violations) {
	first := map[string]result{}

	for _, r := range e.requests {
		if r.kind != kindCreate || r.key == "" || r.result.status != http.StatusCreated {
			continue
		}

		if earlier, ok := first[r.key]; !ok {
			first[r.key] = r.result
		} else if string(earlier.body) != string(r.result.body) {
			found.addf("I5", "key "+r.key, "answered\n      %s\n      and\n      %s", earlier.body, r.result.body)
		}
	}
}

// changedPayloadsStayOut is I5's second half: a payload that was answered 422
// because its key belongs to another one never reached Stripe.
func changedPayloadsStayOut(e evidence, found *violations) {
	turnedAway := map[string]string{} // payload → key

	for _, r := range e.requests {
		if r.kind == kindCreate && r.result.status == http.StatusUnprocessableEntity && !r.result.isRejection() {
			turnedAway[r.payload.atStripe()] = r.key
		}
	}

	for _, intent := range e.stripe.intents {
		id := payload{
			minor: intent.Amount, currency: strings.ToUpper(intent.Currency), order: intent.order(), note: intent.Metadata["note"],
			manual: intent.CaptureMethod == "manual",
		}.atStripe()

		if key, was := turnedAway[id]; was {
			found.addf("I5", "key "+key, "a payload that was answered 422 is at Stripe as %s", intent.ID)
		}
	}
}

// rejectionsAreNotKept: of these clients' orders Stripe rejects only those whose
// amount is too small, or who pays with what cannot be used. No other rejection may be a key's
// answer for ever. A setup session that is too old to be begun is none: it does no harm. Nor is a
// refund of more than was left when Stripe was asked: an earlier one may have failed since.
func rejectionsAreNotKept(e evidence, found *violations) {
	for _, r := range e.requests {
		switch {
		case !r.isOperation():
		case r.result.status == http.StatusBadGateway && r.result.replayed && !isTooOld(r.kind, string(r.result.body)):
			found.addf("I5", "key "+r.key, "is answered for ever that the deployment is wrong: %s", r.result)
		case r.kind == kindRefund && r.result.foundTooLittle():
		case r.result.isRejection() && !r.payload.tiny && !e.mayBeUnusable(r):
			found.addf("I5", "key "+r.key, "is rejected although its amount is good: %s", r.result)
		}
	}

	for _, op := range e.service.operations {
		if op.State == "finished" && op.Status == http.StatusBadGateway && !isTooOld(op.Kind, op.Body) {
			found.addf("I5", op.Kind+" "+op.ID, "is answered for ever that the deployment is wrong: %s", op.Body)
		}
	}
}

func isTooOld(kind, body string) bool {
	return kind == kindSetup && strings.Contains(body, "too old to be sent")
}

// unavailableWroteNothing: a client that was told that nothing was done may order
// again, so no operation may exist for its first request.
func unavailableWroteNothing(e evidence, found *violations) {
	begun := by(e.service.operations, func(op operationRow) string { return op.Origin })

	for _, r := range e.requests {
		kind, requestID := r.result.problem()
		if !r.isOperation() || kind != problemNothing {
			continue
		}

		if op, written := begun[requestID]; written {
			found.addf("I2", "key "+r.key, "was told at %s that nothing was done, and its %s %s is %s",
				r.ret, op.Kind, op.ID, op.State)
		}
	}
}

func (v *violations) lines() []string {
	lines := make([]string, len(*v))
	for i, one := range *v {
		lines[i] = one.String()
	}

	return lines
}

// summary counts violations by invariant.
func (v *violations) summary() string {
	counts := map[string]int{}
	for _, one := range *v {
		counts[one.invariant]++
	}

	parts := make([]string, 0, len(counts))
	for _, invariant := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", invariant, counts[invariant]))
	}

	return strings.Join(parts, ", ")
}
