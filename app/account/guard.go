package account

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Guard returns a provider that sends nothing until the database is known to belong to
// the account. If that is not known yet, the first call finds out.
func (b *Binding) Guard() ports.Provider { return &guard{b.provider, b} }

type guard struct {
	ports.Provider

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

// Ready implements ports.Provider.
func (g *guard) Ready() error {
	if !g.binding.holds.Load() {
		return fmt.Errorf("%w: %w", ports.ErrUnavailable, ErrUnverified)
	}

	return g.Provider.Ready()
}

// Send implements ports.Provider.
func (g *guard) Send(ctx context.Context, call ports.Call, resend bool) (ports.Object, error) {
	if err := g.verified(ctx); err != nil {
		return ports.Object{}, err
	}

	return g.Provider.Send(ctx, call, resend)
}

// Intent implements ports.Provider.
func (g *guard) Intent(ctx context.Context, id string) (ports.Intent, error) {
	if err := g.verified(ctx); err != nil {
		return ports.Intent{}, err
	}

	return g.Provider.Intent(ctx, id)
}

// Intents implements ports.Provider.
func (g *guard) Intents(ctx context.Context, from, to time.Time) iter.Seq2[ports.Intent, error] {
	return guarded(ctx, g, g.Provider.Intents(ctx, from, to))
}

// Events implements ports.Provider.
func (g *guard) Events(ctx context.Context, from, to time.Time) iter.Seq2[ports.Event, error] {
	return guarded(ctx, g, g.Provider.Events(ctx, from, to))
}

// Customer implements ports.CustomerReads.
func (g *guard) Customer(ctx context.Context, id string) (ports.CustomerObject, error) {
	if err := g.verified(ctx); err != nil {
		return ports.CustomerObject{}, err
	}

	return g.Provider.Customer(ctx, id)
}

// Customers implements ports.CustomerReads.
func (g *guard) Customers(ctx context.Context, from, to time.Time) iter.Seq2[ports.CustomerObject, error] {
	return guarded(ctx, g, g.Provider.Customers(ctx, from, to))
}

// Method implements ports.CustomerReads.
func (g *guard) Method(ctx context.Context, id string) (ports.Method, error) {
	if err := g.verified(ctx); err != nil {
		return ports.Method{}, err
	}

	return g.Provider.Method(ctx, id)
}

// Methods implements ports.CustomerReads.
func (g *guard) Methods(ctx context.Context, customerID, after string, limit int) ([]ports.Method, bool, error) {
	if err := g.verified(ctx); err != nil {
		return nil, false, err
	}

	return g.Provider.Methods(ctx, customerID, after, limit)
}

// RefundsOf implements ports.RefundReads.
func (g *guard) RefundsOf(ctx context.Context, intentID string) ([]refund.Snapshot, error) {
	if err := g.verified(ctx); err != nil {
		return nil, err
	}

	return g.Provider.RefundsOf(ctx, intentID)
}

// Refunds implements ports.RefundReads.
func (g *guard) Refunds(ctx context.Context, from, to time.Time) iter.Seq2[refund.Snapshot, error] {
	return guarded(ctx, g, g.Provider.Refunds(ctx, from, to))
}

// Disputes implements ports.DisputeReads.
func (g *guard) Disputes(ctx context.Context, intentID string) ([]ports.DisputeObject, error) {
	if err := g.verified(ctx); err != nil {
		return nil, err
	}

	return g.Provider.Disputes(ctx, intentID)
}

// Dispute implements ports.DisputeReads.
func (g *guard) Dispute(ctx context.Context, id string) (ports.DisputeObject, error) {
	if err := g.verified(ctx); err != nil {
		return ports.DisputeObject{}, err
	}

	return g.Provider.Dispute(ctx, id)
}

// DisputesBetween implements ports.DisputeReads.
func (g *guard) DisputesBetween(ctx context.Context, from, to time.Time) iter.Seq2[ports.DisputeObject, error] {
	return guarded(ctx, g, g.Provider.DisputesBetween(ctx, from, to))
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
