package sandbox

import (
	"bytes"
	"net/http"
	"slices"
	"time"
)

const (
	defaultReorderDelay = 2 * time.Second
	// staleness is how far off an old or future signature is: twice what
	// Stripe's libraries tolerate.
	staleness = 10 * time.Minute
)

// forEvent decides which rules act on a new event. A reordering rule keeps the
// event and returns those it lets go, last first.
func (f *faults) forEvent(e *event) (acting []*rule, reordered []*event) {
	f.mu.Lock()
	defer f.mu.Unlock()

	for _, r := range f.rules {
		if r.Action == WebhookSignature || !r.meetsEvent(e) || !r.due() {
			continue
		}

		r.fired++
		acting = append(acting, r)

		if r.Action != WebhookReorder {
			continue
		}

		r.gathered = append(r.gathered, e)
		if len(r.gathered) >= r.Window {
			reordered = append(reordered, r.takeReversed()...)
		}
	}

	if acting != nil {
		f.announce()
	}

	return acting, reordered
}

func (r *rule) meetsEvent(e *event) bool {
	return slices.Contains(webhookActions, r.Action) && matches(r.Event, e.kind) && e.metadata.matches(r.Metadata)
}

// takeReversed empties a reordering rule. The caller holds faults.mu.
func (r *rule) takeReversed() []*event {
	kept := r.gathered
	r.gathered = nil

	slices.Reverse(kept)

	return kept
}

// forAttempt decides whether one attempt's signature is spoilt, and how.
func (f *faults) forAttempt(e *event) string {
	f.mu.Lock()
	defer f.mu.Unlock()

	variant := ""

	for _, r := range f.rules {
		if r.Action != WebhookSignature || !r.meetsEvent(e) || !r.due() || variant != "" {
			continue
		}

		r.fired++
		variant = r.Variant

		f.announce()
	}

	return variant
}

// meddle does to a new event's deliveries what the rules say. It tells whether
// the event was dealt with.
func (h *webhooks) meddle(e *event) bool {
	acting, reordered := h.account.faults.forEvent(e)
	dealtWith := false

	for _, r := range acting {
		switch r.Action {
		case WebhookLose:
			h.lose(e)

			dealtWith = true
		case WebhookDelay:
			h.account.schedule.after(r.Delay, func() { h.sendNow(e) })

			dealtWith = true
		case WebhookDuplicate:
			for n := range r.Copies {
				h.account.schedule.after(time.Duration(n+1)*r.Delay, func() { h.sendNow(e) })
			}
		case WebhookTwin:
			h.account.twin(e)
		case WebhookReorder:
			h.flushLater(r, e)

			dealtWith = true
		default: // the others meet attempts and requests
		}
	}

	h.sendInTurn(reordered)

	return dealtWith
}

// lose writes down that an event will never be sent.
func (h *webhooks) lose(e *event) {
	e.lost.Store(true)

	for _, d := range e.sendings() {
		h.account.saveDelivery(d)
	}
}

// flushLater lets go of the events that a reordering rule has gathered, should
// this one still wait for more among them.
func (h *webhooks) flushLater(r *rule, waiting *event) {
	delay := r.Delay
	if delay == 0 {
		delay = defaultReorderDelay
	}

	h.account.schedule.after(delay, func() {
		var kept []*event

		h.account.faults.mu.Lock()

		if slices.Contains(r.gathered, waiting) {
			kept = r.takeReversed()
		}

		h.account.faults.mu.Unlock()

		h.sendInTurn(kept)
	})
}

// sendInTurn delivers events one after the other, so that their order is seen.
func (h *webhooks) sendInTurn(events []*event) {
	if len(events) == 0 {
		return
	}

	h.goUnlessClosed(func() {
		for _, e := range events {
			for _, d := range e.sendings() {
				h.attempt(d)
			}
		}
	})
}

// twin makes and sends a second event of one change: Stripe says that two event
// ids may describe the same.
func (s *account) twin(e *event) {
	second := &event{
		account: s, id: newID("evt_3"), seq: s.books.sequence.Add(1), kind: e.kind, created: e.created, object: e.object,
		previous:  e.previous,
		requestID: e.requestID, idempotencyKey: e.idempotencyKey, intent: e.intent, metadata: e.metadata,
	}

	s.enter(second)
	s.saveOne(keyEvent+second.id, second.stored(), 0)
	s.webhooks.sendNow(second)
}

// forge is a delivery's body and signature, spoilt as the variant says.
func forge(variant string, e *event, to *webhookEndpoint, now time.Time) (body []byte, signature string) {
	body, secret := to.render(e), to.Secret

	switch variant {
	case SignatureMissing:
		return body, ""
	case SignatureTampered:
		mode, other := []byte(`"livemode": false`), []byte(`"livemode": true`)
		if e.account.live {
			mode, other = other, mode
		}

		return bytes.Replace(body, mode, other, 1), Sign(body, secret, now)
	case SignatureWrongSecret:
		return body, Sign(body, NewWebhookSecret(), now)
	case SignatureOld:
		return body, Sign(body, secret, now.Add(-staleness))
	case SignatureFuture:
		return body, Sign(body, secret, now.Add(staleness))
	case SignatureTwoV1:
		return body, Sign(body, NewWebhookSecret(), now, secret)
	case SignatureWrongScheme:
		return body, string(bytes.ReplaceAll([]byte(Sign(body, secret, now)), []byte("v1="), []byte("v0=")))
	case SignatureThin:
		thin := thinEvent(e)

		return thin, Sign(thin, secret, now)
	case SignatureAPIVersion:
		other := bytes.Replace(body, []byte(`"`+orDefault(to.APIVersion, apiVersion)+`"`), []byte(`"2020-08-27"`), 1)

		return other, Sign(other, secret, now)
	default:
		return body, Sign(body, secret, now)
	}
}

// thinEvent is a v2 event: it names what it is about and holds no data.
func thinEvent(e *event) []byte {
	w := jsonWriter{}
	w.beginObject()
	w.str("id", e.id)
	w.str("object", "v2.core.event")
	w.str("type", "v1."+e.kind)
	w.boolean("livemode", e.account.live)
	w.str("created", time.Unix(e.created, 0).UTC().Format(time.RFC3339))
	w.endObject()

	return append(w.buf, '\n')
}

// setDeliveryHeaders sets what a delivery carries.
func setDeliveryHeaders(header http.Header, signature string) {
	header.Set("Content-Type", "application/json; charset=utf-8")
	header.Set("User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)")

	if signature != "" {
		header.Set("Stripe-Signature", signature)
	}
}
