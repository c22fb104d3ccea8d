package sandbox

import "sync/atomic"

// apiVersion is the version whose shapes the sandbox speaks.
const apiVersion = "2023-10-16"

// event is one Event: what happened to an object, with the object as it was.
type event struct {
	id      string
	kind    string
	created int64
	// object is the snapshot, previous the changed fields' earlier values
	// (nil where Stripe sends none).
	object   document
	previous document
	// requestID and idempotencyKey name the API request that caused the
	// event; empty for what happened by itself.
	requestID      string
	idempotencyKey string
	// intent and metadata are those of the payment it belongs to.
	intent   string
	metadata metadata
	// deliveries has one entry for each receiver that was registered when the
	// event happened; pending counts those that have not acknowledged it.
	deliveries []*delivery
	pending    atomic.Int64
	// lost is true where a fault keeps the event from ever being sent.
	lost atomic.Bool
}

func (e *event) writeJSON(w *jsonWriter) {
	w.beginObject()
	w.str("id", e.id)
	w.str("object", "event")
	w.str("api_version", apiVersion)
	w.num("created", e.created)
	w.object("data")
	w.doc("object", e.object)

	if e.previous != nil {
		w.doc("previous_attributes", e.previous)
	}

	w.endObject()
	w.boolean("livemode", false)
	w.num("pending_webhooks", e.pending.Load())
	w.object("request")
	w.strOrNull("id", e.requestID)
	w.strOrNull("idempotency_key", e.idempotencyKey)
	w.endObject()
	w.str("type", e.kind)
	w.endObject()
}
