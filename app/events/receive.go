// Package events stores what the provider tells and applies it to the payments. An
// event whose payment is not there yet is parked.
package events

import (
	"context"

	"github.com/marketflow/marketflow/ports"
)

// Observer is told what happens to events.
type Observer interface {
	ports.Spans

	// EventTaken: an event was taken from the provider, which will not send it again.
	EventTaken(e ports.Event, outcome ports.EventOutcome)
	// EventHandled: an event was stored and perhaps applied, by whatever way it came.
	EventHandled(ctx context.Context, e ports.Event, applied ports.Applied)
	// EventContradicts: an event does not fit the operation that it names, and is
	// parked for a person.
	EventContradicts(ctx context.Context, e ports.Event, cause error)
	// ParkedLeft: the parked events of an intent could not be applied now and are tried
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

// Check tells from the signature alone whether an event could come with it. Its
// fault is Unauthenticated.
func (uc *Receive) Check(signature string) error { return uc.webhooks.Check(signature) }

// SignedEvent is a payload whose signature was verified: only Verify makes one.
type SignedEvent struct{ payload []byte }

// Verify checks who signed payload. Its fault is Unauthenticated.
func (uc *Receive) Verify(payload []byte, signature string) (SignedEvent, error) {
	if err := uc.webhooks.Verify(payload, signature); err != nil {
		return SignedEvent{}, err
	}

	return SignedEvent{payload}, nil
}

// Do stores and applies an event. Once it returns without an error the event is
// durable. Its faults are Invalid, Unavailable (nothing was stored) and Unknown
// (perhaps it was): the provider sends it again.
func (uc *Receive) Do(ctx context.Context, signed SignedEvent) (ports.Applied, error) {
	return ports.InSpan(ctx, uc.spans, "app.HandleEvent", func(ctx context.Context) (ports.Applied, error) {
		event, err := uc.webhooks.Parse(signed.payload)
		if err != nil {
			return ports.Applied{}, err
		}

		return uc.apply.Take(ctx, event)
	})
}
