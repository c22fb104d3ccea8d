// Package events stores the provider's events and applies them to payments. An event whose
// payment does not exist yet is parked.
package events

import (
	"context"

	"github.com/marketflow/marketflow/ports"
)

// Observer is told what happens to events.
type Observer interface {
	ports.Spans

	// EventTaken: an event from the provider was stored. The provider need not send it
	// again.
	EventTaken(e ports.Event, outcome ports.EventOutcome)
	// EventHandled: an event was stored and perhaps applied, however it came to us.
	EventHandled(ctx context.Context, e ports.Event, applied ports.Applied)
	// EventContradicts: an event does not fit the operation that it names, or the intent
	// that was read because of it does not fit its payment. It is parked for a person.
	EventContradicts(ctx context.Context, e ports.Event, cause error)
	// ParkedLeft: the parked events of an intent could not be applied. They are tried
	// again later.
	ParkedLeft(ctx context.Context, intentID string, cause error)
	// Decided: a person has decided something.
	Decided(ctx context.Context, entry ports.AuditEntry)
}

// Receive takes a provider's signed event.
type Receive struct {
	webhooks ports.Webhooks
	apply    *Apply
	spans    ports.Spans
}

// NewReceive returns the use case.
func NewReceive(webhooks ports.Webhooks, apply *Apply, spans ports.Spans) *Receive {
	return &Receive{webhooks: webhooks, apply: apply, spans: spans}
}

// Check looks at the signature without the payload, to turn bad requests away early. Its
// error is fault.Unauthenticated.
func (uc *Receive) Check(signature string) error { return uc.webhooks.Check(signature) }

// SignedEvent is a payload whose signature was verified. Only Verify makes one.
type SignedEvent struct{ payload []byte }

// Verify checks who signed payload. Its errors are fault.Unauthenticated and fault.Unavailable.
func (uc *Receive) Verify(payload []byte, signature string) (SignedEvent, error) {
	if err := uc.webhooks.Verify(payload, signature); err != nil {
		return SignedEvent{}, err
	}

	return SignedEvent{payload}, nil
}

// Do stores and applies an event. If it returns no error, the event is durable. Its errors
// are fault.Invalid, fault.Unavailable (nothing was stored) and fault.Unknown (it may have
// been stored). After an error the provider sends the event again.
func (uc *Receive) Do(ctx context.Context, signed SignedEvent) (ports.Applied, error) {
	return ports.InSpan(ctx, uc.spans, "app.HandleEvent", func(ctx context.Context) (ports.Applied, error) {
		event, err := uc.webhooks.Parse(signed.payload)
		if err != nil {
			return ports.Applied{}, err
		}

		return uc.apply.Take(ctx, event)
	})
}
