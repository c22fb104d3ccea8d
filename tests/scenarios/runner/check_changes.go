package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// oneCapture is J3 in Stripe's records: money that was held was captured by one of the
// service's operations or behind its back, once and by the amount that was asked for.
func oneCapture(e evidence, found *violations) {
	byMark := map[string]operationRow{}

	for _, op := range e.service.operations {
		byMark[op.ID] = op
	}

	behind := map[string]int64{}

	for _, r := range e.requests {
		if r.kind == kindCaptureAtStripe && r.result.status == http.StatusOK {
			behind[r.key] = r.captures()
		}
	}

	for _, intent := range e.stripe.intents {
		about := "intent " + intent.ID
		outside, dashboard := behind[intent.ID]
		op, marked := byMark[intent.capturedBy()]

		switch {
		case intent.Metadata["marketflow_capture"] != "" && !marked:
			found.addf("J3", about, "was captured by %q, which is no operation here", intent.Metadata["marketflow_capture"])
		case intent.Status != "succeeded" || intent.CaptureMethod != "manual":
			if marked || dashboard {
				found.addf("J3", about, "is %s, and yet it was captured", intent.Status)
			}
		case marked == dashboard:
			found.addf("J3", about, "was captured by operation %t, behind the service's back %t", marked, dashboard)
		case dashboard && intent.Received != outside:
			found.addf("J3", about, "%d were received, %d captured", intent.Received, outside)
		case marked && (op.Kind != kindCapture || !op.done() || op.Payment != intent.paymentID()):
			found.addf("J3", about, "was captured by %s %s of payment %s, which is %s and answers %d %s",
				op.Kind, op.ID, op.Payment, op.State, op.Status, op.Body)
		}
	}
}

// captureAsAskedFor is J3 in the operations: one that was told as done has captured, and
// the amount that it was to capture.
func captureAsAskedFor(e evidence, found *violations) {
	intents := by(e.stripe.intents, stripeIntent.paymentID)

	for _, op := range e.service.operations {
		if op.Kind != kindCapture || !op.done() {
			continue
		}

		intent, about := intents[op.Payment], "capture "+op.ID
		asked := intent.Amount

		if op.Amount != "" {
			var err error
			if asked, err = minorUnits(op.Amount, op.Currency); err != nil {
				found.addf("J3", about, "%v", err)
			}
		}

		if intent.Status != "succeeded" || intent.capturedBy() != op.ID || intent.Received != asked {
			found.addf("J3", about, "answers %d; intent %s is %s, captured by %q, %d received of %d asked for",
				op.Status, intent.ID, intent.Status, intent.capturedBy(), intent.Received, asked)
		}
	}

	for _, r := range e.requests {
		if r.kind != kindCapture || r.result.status != http.StatusOK {
			continue
		}

		p, err := r.result.payment()
		if want := amountOf(r.captures(), r.on.payload.currency); err != nil || p.Status != "succeeded" || p.Captured.String() != want {
			found.addf("J3", "key "+r.key, "asked for %s and was told %s", want, r.result)
		}
	}
}

// noKeyDeniesItself: a key that has captured does not say that the payment is captured
// already.
func noKeyDeniesItself(e evidence, found *violations) {
	captured := map[string]bool{}

	for _, r := range e.requests {
		if r.kind == kindCapture && r.result.status == http.StatusOK {
			captured[r.key+" "+r.id()] = true
		}
	}

	for _, r := range e.requests {
		if r.key != "" && captured[r.key+" "+r.id()] && bytes.Contains(r.result.body, []byte(`"intent_status":"succeeded","allowed"`)) {
			found.addf("I5", "key "+r.key, "has captured, and was told %s", r.result)
		}
	}
}

// cancelledAsTold: a cancel that was told as done has let the customer go.
func cancelledAsTold(e evidence, found *violations) {
	intents := by(e.stripe.intents, stripeIntent.paymentID)

	for _, op := range e.service.operations {
		if intent := intents[op.Payment]; op.Kind == kindCancel && op.done() && intent.Status != "canceled" {
			found.addf("J4", "cancel "+op.ID, "answers %d, and intent %s is %s", op.Status, intent.ID, intent.Status)
		}
	}

	for _, r := range e.requests {
		if intent := intents[r.on.id]; r.kind == kindCancel && r.result.status == http.StatusOK && intent.Status != "canceled" {
			found.addf("J4", "key "+r.key, "was told %s, and intent %s is %s", r.result, intent.ID, intent.Status)
		}
	}
}

// oneWinner is J4 as clients saw it: of all that was asked of a payment one capture was
// done, or it was cancelled.
func oneWinner(e evidence, found *violations) {
	captures, cancels := map[string][]string{}, map[string]bool{}

	for i, r := range e.requests {
		if r.result.status != http.StatusOK {
			continue
		}

		switch r.kind {
		case kindCapture:
			name := r.key
			if name == "" {
				name = fmt.Sprintf("request %d", i)
			}

			if !slices.Contains(captures[r.on.id], name) {
				captures[r.on.id] = append(captures[r.on.id], name)
			}
		case kindCancel:
			cancels[r.on.id] = true
		}
	}

	for id, names := range captures {
		if len(names) > 1 || cancels[id] {
			found.addf("J4", "payment "+id, "was captured for %s; cancelled %t", strings.Join(names, " and for "), cancels[id])
		}
	}
}

// refusalsAreTrue is J5: what is held can be captured, and what is refused because the
// payment has come to its end, has.
func refusalsAreTrue(e evidence, found *violations) {
	intents, held := by(e.stripe.intents, stripeIntent.paymentID), e.heldSince()

	for _, r := range e.requests {
		kind, _ := r.result.problem()
		if kind != problemState {
			continue
		}

		var refusal struct {
			Intent string `json:"intent_status"`
		}

		err := json.Unmarshal(r.result.body, &refusal)
		final := refusal.Intent == "succeeded" || refusal.Intent == "canceled"
		since, wasHeld := held[r.on.intent]

		switch {
		case err != nil:
			found.addf("J5", "key "+r.key, "%v", err)
		case r.kind == kindCapture && !final && wasHeld && since < r.call:
			found.addf("J5", "key "+r.key, "money was held since %s, and a capture at %s was refused: %s", since, r.call, r.result)
		case r.kind == kindCapture && refusal.Intent == "requires_capture",
			r.kind == kindCancel && refusal.Intent != "succeeded" && refusal.Intent != "processing",
			r.kind == kindUpdate && refusal.Intent != "canceled",
			final && intents[r.on.id].Status != refusal.Intent:
			found.addf("J5", "key "+r.key, "a %s was refused: %s; at Stripe it ends as %s",
				r.kind, r.result, intents[r.on.id].Status)
		}
	}
}

// heldSince is since when customers know that their money is held, by intent. From there an
// intent goes only to its end.
func (e evidence) heldSince() map[string]time.Duration {
	since := map[string]time.Duration{}

	for _, r := range e.requests {
		var paid struct {
			Status string `json:"status"`
		}

		if r.kind != kindPay || json.Unmarshal(r.result.body, &paid) != nil || paid.Status != "requires_capture" {
			continue
		}

		if first, seen := since[r.key]; !seen || r.ret < first {
			since[r.key] = r.ret
		}
	}

	return since
}

// confirmedAsTold: an attempt that was told as declined has a failed charge of its own, and one
// that was told as paid has paid.
func confirmedAsTold(e evidence, found *violations) {
	intents, declines := by(e.stripe.intents, stripeIntent.paymentID), map[string]int{}

	for _, op := range e.service.operations {
		if op.Kind == kindConfirm && op.State == "finished" && op.Status == http.StatusPaymentRequired {
			declines[op.Payment]++
		}
	}

	for id, n := range declines {
		if intents[id].failedCharges < n {
			found.addf("I5", "payment "+id, "%d attempts were answered as declined, and Stripe has %d", n, intents[id].failedCharges)
		}
	}

	triedThere := e.triedThere()

	for _, r := range e.requests {
		if r.kind != kindConfirm || r.result.status != http.StatusOK {
			continue
		}

		// An attempt whose answer was lost is told as the payment stands once it is recovered. It may
		// have been cancelled since, or another attempt may have been declined.
		p, err := r.result.payment()
		if at := intents[r.on.id].Status; err != nil || p.Status == "failed" && !triedThere[r.on.intent] ||
			p.Status == "cancelled" && at != "canceled" || p.Status == "succeeded" && at != "succeeded" {
			found.addf("J4", "key "+r.key, "was told %s, and at Stripe it is %s", r.result, intents[r.on.id].Status)
		}
	}
}

// detailsAreEqual: what clients keep with a payment is the same on both sides. What waits for a
// person may be on one side alone.
func detailsAreEqual(e evidence, found *violations) {
	waits, intents := map[string]bool{}, e.intents()

	for _, op := range e.service.operations {
		if op.Kind == kindUpdate && op.State == "needs_attention" {
			waits[op.Payment] = true
		}
	}

	for _, p := range e.service.payments {
		var ours map[string]string
		if err := json.Unmarshal([]byte(p.Metadata), &ours); err != nil {
			found.addf("I3", "payment "+p.ID, "%v", err)
		}

		theirs := maps.Clone(intents[p.Intent].Metadata)
		for _, mark := range []string{"payment_id", "marketflow", "marketflow_key", "marketflow_capture"} {
			delete(theirs, mark)
		}

		if !waits[p.ID] && !maps.Equal(ours, theirs) {
			found.addf("I3", "payment "+p.ID, "has %v here and %v at Stripe", ours, theirs)
		}
	}
}

// triedThere are the intents that somebody has tried to pay at Stripe.
func (e evidence) triedThere() map[string]bool {
	tried := map[string]bool{}

	for _, r := range e.requests {
		tried[r.key] = tried[r.key] || r.kind == kindPay || r.kind == kindDecline || r.kind == kindAuthenticate
	}

	return tried
}

// callsAreSentAsWritten is I1 on the wire: whatever a process sends is written down before,
// under one key, and every attempt is the same.
func callsAreSentAsWritten(e evidence, found *violations) {
	written := by(e.service.operations, func(op operationRow) string { return op.StripeKey })

	for _, c := range e.sent {
		op, here := written[c.key]

		switch {
		case !here:
			found.addf("I1", "key "+c.key, "%s was sent, and no operation has this key", c.path)
		case op.cameHome() && op.StripePath == c.path && asTheIntentSays(c.params) == asTheIntentSays(op.StripeParams):
		case op.StripePath != c.path || op.StripeParams != c.params:
			found.addf("I1", "key "+c.key, "%s %s was sent, written is %s %s", c.path, c.params, op.StripePath, op.StripeParams)
		case c.key != "mf_"+op.Kind+"_"+op.ID:
			found.addf("I1", "key "+c.key, "does not name %s %s", op.Kind, op.ID)
		}
	}
}

// asTheIntentSays is a create's call without what its intent does not tell: how it was to be paid at once.
func asTheIntentSays(params string) string {
	values, _ := url.ParseQuery(params)
	for _, name := range []string{
		"confirm", "payment_method", "off_session", "return_url", "expand[]", "automatic_payment_methods[allow_redirects]",
		"setup_future_usage",
	} {
		values.Del(name)
	}

	return values.Encode()
}

// stamp is when a payment was last written. Of two cancels the second finds the payment
// cancelled already, and is done too; it writes the payment once more, as it is.
var stamp = regexp.MustCompile(`"updated_at":"[^"]*"|"version":\d+`)

// lastAnswersStand: captured and cancelled is for ever, so each answer that told of it shows
// the payment as it still is when all is quiet, byte for byte, unless it is updated, refunded or disputed.
func lastAnswersStand(e evidence, found *violations) {
	updated := map[string]bool{}

	for _, op := range e.service.operations {
		updated[op.Payment] = updated[op.Payment] || op.Kind == kindUpdate || op.Kind == kindRefund
	}

	for _, intent := range e.stripe.intents {
		updated[intent.paymentID()] = updated[intent.paymentID()] || len(e.stripe.disputes[intent.ID]) > 0
	}

	for _, r := range e.requests {
		updated[r.on.id] = updated[r.on.id] || r.kind == kindRefundAtStripe
	}

	for _, r := range e.requests {
		if r.kind != kindCapture && r.kind != kindCancel || r.result.status != http.StatusOK || updated[r.on.id] {
			continue
		}

		was, now := r.result.body, e.shown[r.on.id].body

		if r.kind == kindCancel {
			was, now = stamp.ReplaceAll(was, nil), stamp.ReplaceAll(now, nil)
		}

		if !bytes.Equal(was, now) {
			found.addf("I5", "key "+r.key, "%s was told\n      %s\n      and now it is\n      %s", r.kind, was, now)
		}
	}
}

// versionsGrow: what is read later has no lower version, and one version looks one way.
func versionsGrow(e evidence, found *violations) {
	reads := map[string][]request{}

	for _, r := range e.requests {
		if r.kind == kindRead && r.result.status == http.StatusOK {
			reads[r.key] = append(reads[r.key], r)
		}
	}

	for id, all := range reads {
		slices.SortFunc(all, func(a, b request) int { return int(a.call - b.call) })

		bodies := map[int64]request{}

		for i, r := range all {
			p, err := r.result.payment()
			if err != nil {
				continue // statusesOnlyMoveForward says so
			}

			if other, seen := bodies[p.Version]; seen && !bytes.Equal(other.result.body, r.result.body) {
				found.addf("I4", "payment "+id, "version %d was read as\n      %s\n      and as\n      %s",
					p.Version, other.result.body, r.result.body)
			}

			bodies[p.Version] = r

			for _, earlier := range all[:i] {
				if was, err := earlier.result.payment(); err == nil && earlier.ret < r.call && was.Version > p.Version {
					found.addf("I4", "payment "+id, "had version %d at %s and %d at %s", was.Version, earlier.ret, p.Version, r.call)
				}
			}
		}
	}
}

// contradictionsAreOnlyDrawn: an event that contradicts a final status is parked, changes
// nothing and raises an alarm.
func contradictionsAreOnlyDrawn(e evidence, found *violations) {
	stored := by(e.service.events, func(event eventRow) string { return event.ID })

	for id, accepted := range e.drawn {
		event, here := stored[id]
		if !here && !accepted {
			continue // the storm was over first
		}

		if event.Outcome != "parked" || event.Reason != "contradiction" || !e.alerts.events {
			found.addf("I6", "event "+id, "contradicts a final status and is stored as %q %q; alarm %t",
				event.Outcome, event.Reason, e.alerts.events)
		}
	}
}

// foreignIsLeftAlone is I7 about what other programs do on the same account: it is neither
// parked nor adopted, nor does anybody hear of it. And nothing of ours is foreign.
func foreignIsLeftAlone(e evidence, found *violations) {
	foreign := by(e.stripe.foreign, func(i stripeIntent) string { return i.ID })
	about := by(e.stripe.deliveries, func(d delivery) string { return d.Event })

	for _, event := range e.service.events {
		d, known := about[event.ID]
		intent, isForeign := foreign[d.intent]

		if !known || !strings.HasPrefix(event.Type, "payment_intent.") {
			continue
		}

		if isForeign != (event.Outcome == "foreign") {
			found.addf("I7", "event "+event.ID, "%s of %s is stored as %s %s; it is another program's: %t, metadata %v",
				event.Type, d.intent, event.Outcome, event.Reason, isForeign, intent.Metadata)
		}
	}

	names := map[string]string{} // of intents, payments and events, to the intent

	for _, intent := range e.stripe.foreign {
		names[intent.ID] = intent.ID

		if id := intent.paymentID(); len(id) > len("00000") {
			names[id] = intent.ID
		}
	}

	for _, d := range e.stripe.deliveries {
		if _, isForeign := foreign[d.intent]; isForeign {
			names[d.Event] = d.intent
		}
	}

	for _, p := range e.service.payments {
		if intent := names[p.Intent] + names[p.ID]; intent != "" {
			found.addf("I7", "payment "+p.ID, "was made of another program's intent %s", intent)
		}
	}

	for _, op := range e.service.operations {
		if intent := names[op.ID]; intent != "" {
			found.addf("I7", "operation "+op.ID, "was made of another program's intent %s", intent)
		}
	}

	for _, log := range e.logs {
		for line := range bytes.Lines(log) {
			loud := bytes.Contains(line, []byte(`"level":"warn"`)) || bytes.Contains(line, []byte(`"level":"error"`))

			// While the database is away a request fails, and a job says where it stopped.
			fails := bytes.Contains(line, []byte(`"msg":"request"`)) ||
				bytes.Contains(line, []byte(`"msg":"job did not finish its work"`)) && bytes.Contains(line, []byte("unavailable"))

			if loud && !fails {
				noForeignIn(string(line), names, found)
			}
		}
	}
}

// noForeignIn: a line that somebody should look at is not about another program.
func noForeignIn(line string, names map[string]string, found *violations) {
	for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(`" ,:{}/`, r) }) {
		if intent := names[word]; intent != "" {
			found.addf("I7", "intent "+intent, "is another program's, and is logged: %s", strings.TrimSpace(line))
		}
	}
}
