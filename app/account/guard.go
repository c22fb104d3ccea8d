package account

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/marketflow/marketflow/ports"
)

// Guard returns a gateway that sends nothing until the database is known to belong to
// the account. If that is not known yet, the first call finds out.
func (b *Binding) Guard() ports.PaymentGateway { return &guard{b.gateway, b} }

type guard struct {
	ports.PaymentGateway

	binding *Binding
}

// verified returns ports.ErrUnavailable if nothing may be sent.
func (g *guard) verified(ctx context.Context) error {
	if g.binding.holds.Load() {
		return nil
	}

	if err := g.binding.Verify(ctx); err != nil {
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, err)
	}

	return nil
}

// Ready implements ports.PaymentGateway.
func (g *guard) Ready() error {
	if !g.binding.holds.Load() {
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, ErrUnverified)
	}

	return g.PaymentGateway.Ready()
}

// CreateIntent implements ports.PaymentGateway.
func (g *guard) CreateIntent(ctx context.Context, request ports.IntentRequest, resend bool) (ports.Intent, error) {
	if err := g.verified(ctx); err != nil {
		return ports.Intent{}, err
	}

	return g.PaymentGateway.CreateIntent(ctx, request, resend)
}

// Intent implements ports.PaymentGateway.
func (g *guard) Intent(ctx context.Context, id string) (ports.Intent, error) {
	if err := g.verified(ctx); err != nil {
		return ports.Intent{}, err
	}

	return g.PaymentGateway.Intent(ctx, id)
}

// Intents implements ports.PaymentGateway.
func (g *guard) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	return guarded(ctx, g, g.PaymentGateway.Intents(ctx, from, to))
}

// Events implements ports.PaymentGateway.
func (g *guard) Events(ctx context.Context, from, to time.Time) iter.Seq2[ports.Event, error] {
	return guarded(ctx, g, g.PaymentGateway.Events(ctx, from, to))
}

func guarded[T any](ctx context.Context, g *guard, list iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := g.verified(ctx); err != nil {
			var none T

			yield(none, err)

			return
		}

		list(yield)
	}
}
