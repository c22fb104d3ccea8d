package sandbox

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// apiVersion is the version whose shapes the sandbox speaks.
const apiVersion = "2023-10-16"

// event is one Event: what happened to an object, with the object as it was.
type event struct {
	account *account // where it happened
	id      string
	seq     int64
	kind    string
	created int64
	// object is the snapshot, previous the changed fields' earlier values
	// (nil where Stripe sends none).
	object   document
	previous rawDocument
	// requestID and idempotencyKey name the API request that caused the
	// event; empty for what happened by itself.
	requestID      string
	idempotencyKey string
	// intent and metadata are those of the payment it belongs to.
	intent   string
	metadata metadata
	// deliveries has one entry for each receiver that the event is for;
	// pending counts those that have not acknowledged it.
	mu         sync.Mutex
	deliveries []*delivery
	pending    atomic.Int64
	// lost is true where a fault keeps the event from ever being sent.
	lost atomic.Bool
}

// refundEventsSince is the first API version in which refunds of charges have
// events of their own, refund.created and so on. Before, only charge.refunded and
// charge.refund.updated told of them (Stripe, changelog of 2024-10-28.acacia).
const refundEventsSince = "2024-10-28"

// isNewer tells whether the sandbox's API version has no such event.
func (e *event) isNewer() bool {
	return strings.HasPrefix(e.kind, "refund.") && !e.account.options.RefundEvents
}

// sendings returns the deliveries so far.
func (e *event) sendings() []*delivery {
	e.mu.Lock()
	defer e.mu.Unlock()

	return slices.Clip(e.deliveries)
}

func (e *event) writeJSON(w *jsonWriter) { e.write(w, apiVersion, false) }

// write labels the event with an API version and, for a platform that hears of
// its connected accounts, names the account.
func (e *event) write(w *jsonWriter, version string, connected bool) {
	w.beginObject()
	w.str("id", e.id)
	w.str("object", "event")

	if connected {
		w.str("account", e.account.id)
	}

	w.str("api_version", version)
	w.num("created", e.created)
	w.object("data")
	w.doc("object", e.object)

	if e.previous != nil {
		w.doc("previous_attributes", e.previous)
	}

	w.endObject()
	w.boolean("livemode", e.account.live)
	w.num("pending_webhooks", e.pending.Load())
	w.object("request")
	w.strOrNull("id", e.requestID)
	w.strOrNull("idempotency_key", e.idempotencyKey)
	w.endObject()
	w.str("type", e.kind)
	w.endObject()
}

// getEvent is GET /v1/events/:id.
func (s *account) getEvent(rq *request) *refusal {
	if r := rq.finish(); r != nil {
		return r
	}

	e, ok := s.books.events.get(rq.objectID)
	if !ok {
		return missing("event", rq.objectID, "id")
	}

	rq.body = e

	return nil
}

// listEvents is GET /v1/events. A type may end in .* (Stripe: "a * as a
// wildcard").
func (s *account) listEvents(rq *request) *refusal {
	p := rq.params
	kinds := p.list("types")

	if kind := p.text("type"); kind != "" {
		if kinds != nil {
			p.refuse(invalid("You may only specify one of these parameters: type, types.", "types",
				codeParametersExclusive))
		}

		kinds = []string{kind}
	}

	delivered, filtered := p.boolean("delivery_success")

	return list(rq, listing[*event]{
		kind: "event", url: "/v1/events", items: s.books.events.all(), position: s.books.events.position,
		keep: func(e *event) bool {
			return !e.isNewer() && (kinds == nil || e.isOneOf(kinds)) && (!filtered || delivered == (e.pending.Load() == 0))
		},
		show: func(w *jsonWriter, e *event, _ expansion) { e.writeJSON(w) },
	})
}

// isOneOf tells whether one of the types fits.
func (e *event) isOneOf(kinds []string) bool {
	return slices.ContainsFunc(kinds, func(kind string) bool {
		group, isGroup := strings.CutSuffix(kind, ".*")

		return kind == e.kind || kind == "*" || (isGroup && strings.HasPrefix(e.kind, group+"."))
	})
}
