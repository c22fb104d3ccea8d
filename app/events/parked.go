package events

import (
	"context"
	"errors"

	"github.com/marketflow/marketflow/ports"
)

// Ours knows which of the provider's objects and events are ours.
type Ours interface {
	// Foreign tells whether an event or an object is from the provider's other mode or
	// from an account that is not ours. live is nil and account is empty if the event or
	// object does not name them.
	Foreign(live *bool, account string) bool
	// ForeignMark tells whether an intent carries the mark of another installation.
	ForeignMark(intent ports.Intent) bool
}

// Parked applies events that are stored already.
type Parked struct {
	inbox    ports.Inbox
	webhooks ports.Webhooks
	ours     Ours
	observer Observer
}

// NewParked returns a Parked.
func NewParked(inbox ports.Inbox, webhooks ports.Webhooks, ours Ours, observer Observer) *Parked {
	return &Parked{inbox: inbox, webhooks: webhooks, ours: ours, observer: observer}
}

// ApplyFor implements operations.ParkedEvents.
func (p *Parked) ApplyFor(ctx context.Context, intentID string) {
	events, err := p.inbox.ReadyFor(ctx, intentID)
	if err == nil {
		err = p.applyStored(ctx, events...)
	}

	if err != nil {
		p.observer.ParkedLeft(ctx, intentID, err)
	}
}

// applyStored applies events from the inbox, each in its own span.
func (p *Parked) applyStored(ctx context.Context, events ...ports.StoredEvent) error {
	var failed error

	for _, stored := range events {
		_, err := ports.InSpan(ctx, p.observer, "app.ApplyParkedEvent", func(ctx context.Context) (ports.Applied, error) {
			event, err := p.webhooks.Parse(stored.Raw)
			if err != nil {
				return ports.Applied{}, err
			}

			applied, err := p.storeOrApply(ctx, event)
			if err == nil {
				p.observer.EventHandled(ctx, event, applied)
			}

			return applied, err
		})
		failed = errors.Join(failed, err)
	}

	return failed
}

func (p *Parked) foreign(e ports.Event) bool {
	marks := e.Intent
	if e.IsCustomer {
		marks.Mark, marks.Marked = e.Customer.Mark, e.Customer.Marked
	}

	return p.ours.Foreign(e.Live, e.Account) || p.ours.Foreign(e.Intent.Live, "") || p.ours.ForeignMark(marks)
}

// storeOrApply stores an event, and applies it if it is ours.
func (p *Parked) storeOrApply(ctx context.Context, e ports.Event) (ports.Applied, error) {
	if p.foreign(e) {
		outcome, err := p.inbox.StoreForeign(ctx, e)

		return ports.Applied{Outcome: outcome}, err
	}

	return p.inbox.Apply(ctx, e)
}
