package payments

import (
	"context"
	"fmt"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Update changes what a client keeps with a payment, here and at the provider. The provider
// announces no such change, so both sides are written by us
// (https://docs.stripe.com/api/events/types).
type Update struct{ *Change }

// NewUpdate returns the use case.
func NewUpdate(change *Change) *Update { return &Update{change} }

// UpdateCommand asks for a change.
type UpdateCommand struct {
	ChangeCommand

	// Metadata are the entries that change; an empty one is removed.
	Metadata payment.MetadataChange
	// Description is nil if it stays, and empty if it is removed.
	Description *string
}

// Do updates; see operations.Engine.Do. Its errors are also
//   - fault.NotFound: there is no such payment;
//   - fault.Invalid: there would be too many entries;
//   - fault.InvalidState: it is cancelled;
//   - fault.InProgress: another update is not finished;
//   - fault.PreconditionFailed: the payment has another version.
func (uc *Update) Do(ctx context.Context, cmd UpdateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.UpdatePayment", func(ctx context.Context) (operations.Answer, error) {
		p, err := uc.load(ctx, cmd.ChangeCommand)
		if err != nil {
			return operations.Answer{}, err
		}

		order := operation.Order{Metadata: cmd.Metadata}
		if cmd.Description != nil {
			order.Options = map[string]string{OptionDescription: *cmd.Description}
		}

		return uc.do(ctx, operation.Update, cmd.ChangeCommand, p, order, uc.calls.UpdatePayment,
			func(context.Context) (checked, error) {
				if p.Status == payment.Cancelled {
					return checked{}, errState(p, operation.Update)
				}

				return checked{payment: p}, p.Metadata.CheckWith(cmd.Metadata)
			})
	})
}

// UpdateDefinition is what an update adds to the engine.
func UpdateDefinition(renderer ports.Renderer, refresh *Refresh) operations.Definition {
	return operations.Definition{
		Kind: operation.Update,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return updated(renderer, op, object.Intent), nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op) },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findUpdate(ctx, refresh, op, rejected)
		},
	}
}

// updated is what becomes of a payment that was updated. What else the intent says is told by
// events.
func updated(renderer ports.Renderer, op ports.Operation, intent ports.Intent) operations.Result {
	decide := func(p payment.Payment) (payment.Payment, ports.FrozenResponse, error) {
		if intent.ID != p.IntentID {
			return p, ports.FrozenResponse{}, fmt.Errorf("payment %s has intent %s, not %s: %w",
				p.ID, p.IntentID, intent.ID, ports.ErrContradiction)
		}

		p.Metadata = p.Metadata.With(op.Order.Metadata)

		if description, given := op.Order.Options[OptionDescription]; given {
			p.Description = description
		}

		return p, renderer.Payment(p), nil
	}

	return operations.Result{On: &ports.Change{Decide: decide}}
}

// findUpdate reads what became of an update. It does not matter who made the intent what was
// asked for.
func findUpdate(
	ctx context.Context, refresh *Refresh, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	p, intent, err := refresh.Do(ctx, op.Subject, string(operation.ByRecovery))

	switch {
	case err != nil:
		return operations.Found{}, err
	case isAsAsked(intent, op.Order):
		return operations.Found{Object: &ports.Object{Intent: intent}}, nil
	case p.Status == payment.Cancelled, rejected != nil:
		return operations.Found{Rejected: errRefused(p, op)}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}

func isAsAsked(intent ports.Intent, order operation.Order) bool {
	for name, value := range order.Metadata {
		if intent.Metadata[name] != value { // the provider keeps no empty ones
			return false
		}
	}

	description, given := order.Options[OptionDescription]

	return !given || intent.Description == description
}
