package customers

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Setup begins a session in which a customer saves a payment method for payments at which it
// is not there.
type Setup struct{ *Change }

// NewSetup returns the use case.
func NewSetup(change *Change) *Setup { return &Setup{change} }

// Do begins a session; see operations.Engine.Do. If there is no such customer, the error is
// fault.NotFound.
func (uc *Setup) Do(ctx context.Context, cmd ChangeCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreateSetup", func(ctx context.Context) (operations.Answer, error) {
		return uc.do(ctx, operation.CreateSetup, cmd, operation.Order{}, uc.calls.CreateSetup,
			func(customer.Customer) (ports.Precondition, *ports.FrozenResponse, error) {
				return ports.Precondition{}, nil, nil
			})
	})
}

// SetupDefinition is what a setup session adds to the engine.
func SetupDefinition(
	renderer ports.Renderer, customers ports.Customers, provider ports.Provider,
) operations.Definition {
	return operations.Definition{
		Kind: operation.CreateSetup,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return operations.Result{Customer: &ports.CustomerChange{
				Decide: unchanged,
				Answer: func(c customer.Customer) ports.FrozenResponse {
					return renderer.SetupMade(op.ID, c.ID, object.Setup)
				},
			}}, nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op, "") },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findSetup(ctx, customers, provider, op, rejected)
		},
	}
}

// findSetup ends a session that can never be told. Nobody has its secret, so nothing can be
// saved by it, and a new one does no harm.
func findSetup(
	ctx context.Context, customers ports.Customers, provider ports.Provider, op ports.Operation,
	rejected *ports.RejectedError,
) (operations.Found, error) {
	switch {
	case rejected == nil && op.Age <= operation.SendFor:
		return operations.Found{}, nil
	case rejected == nil:
		return operations.Found{Rejected: notDone(op, ", because it is too old to be sent")}, nil
	}

	object, err := readOf(ctx, customers, provider, op)

	switch {
	case err != nil:
		return operations.Found{}, err
	case object.Deleted:
		return operations.Found{Rejected: errGone(op)}, nil
	default:
		return operations.Found{Rejected: notDone(op, "")}, nil
	}
}
