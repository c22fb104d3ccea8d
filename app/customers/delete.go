package customers

import (
	"context"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Delete deletes a customer, here and at the provider, with all its payment methods.
type Delete struct{ *Change }

// NewDelete returns the use case.
func NewDelete(change *Change) *Delete { return &Delete{change} }

// Do deletes a customer; see operations.Engine.Do. Its payments stay, and go on pointing to it.
// Its errors are also
//   - fault.NotFound: there is no such customer;
//   - fault.PreconditionFailed: it has another version;
//   - fault.InProgress: a change is not finished.
func (uc *Delete) Do(ctx context.Context, cmd ChangeCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.DeleteCustomer", func(ctx context.Context) (operations.Answer, error) {
		return uc.do(ctx, operation.DeleteCustomer, cmd, operation.Order{}, uc.calls.DeleteCustomer,
			func(customer.Customer) (ports.Precondition, *ports.FrozenResponse, error) {
				return ports.Precondition{Version: cmd.Version}, nil, nil
			})
	})
}

// DeleteDefinition is what a deletion adds to the engine.
func DeleteDefinition(
	renderer ports.Renderer, customers ports.Customers, provider ports.Provider,
) operations.Definition {
	return operations.Definition{
		Kind: operation.DeleteCustomer,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return deleted(renderer, op, object.Customer)
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op, "") },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findDelete(ctx, customers, provider, op, rejected)
		},
	}
}

func deleted(renderer ports.Renderer, op ports.Operation, object ports.CustomerObject) (operations.Result, error) {
	return operations.Result{Customer: &ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) {
			if c.ProviderID != object.ID || !object.Deleted {
				return c, contradicts(op, "it is "+c.ProviderID+", and "+object.ID+" was deleted")
			}

			return c.Gone(c.UpdatedAt), nil
		},
		Answer: func(customer.Customer) ports.FrozenResponse { return renderer.Nothing() },
	}}, nil
}

// findDelete reads what became of a deletion. It does not matter who has deleted the customer.
func findDelete(
	ctx context.Context, customers ports.Customers, provider ports.Provider, op ports.Operation,
	rejected *ports.RejectedError,
) (operations.Found, error) {
	object, err := readOf(ctx, customers, provider, op)

	switch {
	case err != nil:
		return operations.Found{}, err
	case object.Deleted:
		return operations.Found{Object: &ports.Object{Customer: object}}, nil
	case rejected != nil:
		return operations.Found{Rejected: notDone(op, "")}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}
