package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/sandbox"
)

// webhookFaults: events come late, twice, shuffled, spoiled or never.
func webhookFaults() []fault {
	rules := map[string]sandbox.Fault{
		"webhook: late":                   {Action: sandbox.WebhookDelay, Delay: 700 * time.Millisecond, Count: 10},
		"webhook: comes six times":        {Action: sandbox.WebhookDuplicate, Copies: 5, Delay: 20 * time.Millisecond, Count: 10},
		"webhook: out of order":           {Action: sandbox.WebhookReorder, Window: 4, Delay: 500 * time.Millisecond, Count: 20},
		faultNeverDelivered:               {Action: sandbox.WebhookLose, Count: 3},
		"webhook: two ids for one change": {Action: sandbox.WebhookTwin, Count: 10},
	}

	for _, variant := range []string{
		sandbox.SignatureMissing, sandbox.SignatureTampered, sandbox.SignatureWrongSecret, sandbox.SignatureOld,
		sandbox.SignatureFuture, sandbox.SignatureTwoV1, sandbox.SignatureWrongScheme, sandbox.SignatureThin,
		sandbox.SignatureAPIVersion,
	} {
		rules["webhook: signature "+variant] = sandbox.Fault{Action: sandbox.WebhookSignature, Variant: variant, Count: 4}
	}

	faults := make([]fault, 0, len(rules)+1)
	for name, rule := range rules {
		faults = append(faults, fault{name: name, play: playWebhookRule(name, rule)})
	}

	return append(faults, again(faultStorm, playStorm), again(faultContradiction, contradict))
}

const (
	faultStorm          = "webhook: each again and again at once"
	faultNeverDelivered = "webhook: never delivered"
	faultContradiction  = "webhook: another final status"
)

// contradict sends an event that says that a payment that has succeeded was cancelled, or
// the reverse. Stripe never does that, so nobody may believe it, and somebody must hear of it.
func contradict(ctx context.Context, w *world, r *rand.Rand) {
	wait(ctx, between(r, 300*time.Millisecond, 900*time.Millisecond))

	final := map[string]string{}

	rows, err := w.db.Query(ctx, `SELECT stripe_payment_intent_id, status FROM payments WHERE status IN ('succeeded', 'cancelled')`)
	if err != nil {
		return // the database is away
	}

	var intent, status string

	if _, err := pgx.ForEachRow(rows, []any{&intent, &status}, func() error { final[intent] = status; return nil }); err != nil {
		return
	}

	for entry := range intents(w.stripe) {
		status, other := final[entry.ID], map[string]string{"succeeded": "canceled", "cancelled": "succeeded"}
		if status == "" {
			continue
		}

		if w.sendOther(ctx, entry, other[status]) {
			w.count(faultContradiction, 1)
		}

		return
	}
}

// sendOther sends an event of an intent with another status than its own.
func (w *world) sendOther(ctx context.Context, entry sandbox.BookEntry, status string) bool {
	var object map[string]any
	if err := json.Unmarshal(entry.Object, &object); err != nil {
		panic(err) // the sandbox made it
	}

	object["status"], object["amount_received"] = status, 0
	id := "evt_another_" + entry.ID

	body, err := json.Marshal(map[string]any{
		"id": id, "object": "event", "type": "payment_intent." + status, "created": w.stripe.Now().Unix(), "livemode": false,
		"data": map[string]any{"object": object},
	})
	if err != nil {
		panic(err)
	}

	w.draw(id, false)
	w.line.addf("stripe", "%s says that %s is %s", id, entry.ID, status)

	for ctx.Err() == nil { // as Stripe does
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.hooks, bytes.NewReader(body))
		if err != nil {
			return false
		}

		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Stripe-Signature", sandbox.Sign(body, webhookSecret, time.Now()))

		if resp, err := w.client.Do(req); err == nil {
			_ = resp.Body.Close()

			if resp.StatusCode == http.StatusOK {
				w.draw(id, true)

				return true
			}
		}

		wait(ctx, 100*time.Millisecond)
	}

	return false
}

func playWebhookRule(name string, rule sandbox.Fault) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		rule := rule
		rule.Nth, rule.Event = r.IntN(3)+1, []string{"payment_intent.*", "payment_intent.*", "customer.*", "charge.*"}[r.IntN(4)]

		// Of several rules that spoil signatures only the first would ever fire.
		if rule.Action == sandbox.WebhookSignature {
			w.signature.Lock()
			defer w.signature.Unlock()

			var enough context.CancelFunc

			ctx, enough = context.WithCancel(ctx)
			defer enough()

			go w.enough(ctx, name, 1, enough)
		}

		w.line.addf("stripe", "%s: %d %s from the %d. on", name, rule.Count, rule.Event, rule.Nth)

		id, fired := w.inForce(ctx, rule)
		if fired {
			w.count(name, 1)
		}

		w.countRule(ctx, name, id)
	}
}

// playStorm sends what there is twenty times, all at once.
func playStorm(ctx context.Context, w *world, r *rand.Rand) {
	const copies = 20

	wait(ctx, between(r, 500*time.Millisecond, 1200*time.Millisecond))

	events := eventIDs(w.stripe)
	if len(events) > 10 {
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		events = events[:10]
	}

	for range copies {
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

		for _, id := range events {
			if w.stripe.Resend(id) == nil {
				w.count(faultStorm, 1)
			}
		}
	}

	w.line.addf("stripe", "sent %d events %d times over", len(events), copies)
}

// enough ends a rule's time once it has fired n times.
func (w *world) enough(ctx context.Context, name string, n int, end context.CancelFunc) {
	_ = until(ctx, name, func() bool { return w.times(name) >= n })

	end()
}

func eventIDs(s *sandbox.Sandbox) []string {
	var ids []string

	for delivery := range deliveries(s) {
		ids = append(ids, delivery.Event)
	}

	return ids
}
