package customers

import (
	"context"
	"errors"
	"fmt"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Update changes a customer.
type Update struct{ *Change }

// NewUpdate returns the use case.
func NewUpdate(change *Change) *Update { return &Update{change} }

// UpdateCommand asks for a change. What it does not name stays as it is.
type UpdateCommand struct {
	ChangeCommand

	// Values are by the names customer.Reference, customer.Email and customer.Name. An empty
	// one takes away what is there, and so does an empty entry of Metadata.
	Values   map[string]string
	Metadata map[string]string
}

// Do changes a customer; see operations.Engine.Do. If nothing is to be changed, the answer
// is the customer as it stands, and nothing is sent. Its errors are also
//   - fault.Invalid: a value cannot be one, or there would be too much metadata;
//   - fault.NotFound: there is no such customer;
//   - fault.PreconditionFailed: it has another version;
//   - fault.ReferenceTaken: another customer has the reference;
//   - fault.InProgress: another change is not finished.
func (uc *Update) Do(ctx context.Context, cmd UpdateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.UpdateCustomer", func(ctx context.Context) (operations.Answer, error) {
		for name, value := range cmd.Values {
			if err := customer.CheckValue(name, value); err != nil && value != "" {
				return operations.Answer{}, err
			}
		}

		if err := customer.CheckMetadata(cmd.Metadata); err != nil {
			return operations.Answer{}, err
		}

		order := operation.Order{Metadata: cmd.Metadata, Options: cmd.Values}

		return uc.do(ctx, operation.UpdateCustomer, cmd.ChangeCommand, order, uc.calls.UpdateCustomer,
			func(c customer.Customer) (ports.Precondition, *ports.FrozenResponse, error) {
				precondition := ports.Precondition{Version: cmd.Version}

				after, err := c.With(order.Options, order.Metadata)
				if err != nil {
					return precondition, nil, err
				}

				if len(order.Options) == 0 && len(order.Metadata) == 0 {
					return precondition, new(uc.renderer.Customer(c)), nil
				}

				if after.Reference != c.Reference {
					precondition.Reference = after.Reference
				}

				return precondition, nil, nil
			})
	})
}

// UpdateDefinition is what an update adds to the engine.
func UpdateDefinition(
	renderer ports.Renderer, customers ports.Customers, provider ports.Provider,
) operations.Definition {
	return operations.Definition{
		Kind: operation.UpdateCustomer,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return updated(renderer, op, object.Customer)
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op, "") },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findUpdate(ctx, customers, provider, op, rejected)
		},
	}
}

// updated is what becomes of a customer. Only what was asked for is taken over: the answer to
// a repeated call tells how the rest was when it was first sent.
func updated(renderer ports.Renderer, op ports.Operation, object ports.CustomerObject) (operations.Result, error) {
	return operations.Result{Customer: &ports.CustomerChange{
		Decide: func(c customer.Customer) (customer.Customer, error) {
			switch {
			case c.ProviderID != object.ID:
				return c, contradicts(op, "it is "+c.ProviderID+", and "+object.ID+" was changed")
			case c.Deleted(): // meanwhile, in the Dashboard
				return c, nil
			}

			// Too much metadata by now is the provider's to judge, which has taken it.
			c, _ = c.With(op.Order.Options, op.Order.Metadata)

			return c, nil
		},
		Answer: renderer.Customer,
	}}, nil
}

// findUpdate reads what became of an update. It does not matter who has brought it about.
func findUpdate(
	ctx context.Context, customers ports.Customers, provider ports.Provider, op ports.Operation,
	rejected *ports.RejectedError,
) (operations.Found, error) {
	if rejected != nil && rejected.Order {
		return operations.Found{Rejected: errValue(op, rejected)}, nil
	}

	object, err := readOf(ctx, customers, provider, op)
	reference, given := op.Order.Options[customer.Reference]

	switch {
	case err != nil:
		return operations.Found{}, err
	case object.Deleted:
		return operations.Found{Rejected: errGone(op)}, nil
	case object.Has(op.Order.Options, op.Order.Metadata) && (!given || reference == object.Reference):
		return operations.Found{Object: &ports.Object{Customer: object}}, nil
	case rejected != nil:
		return operations.Found{Rejected: notDone(op, "")}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}

var errNoCustomer = errors.New("its customer is not here")

// readOf reads the provider's customer of an operation. One that the provider does not know is
// deleted.
func readOf(
	ctx context.Context, customers ports.Customers, provider ports.Provider, op ports.Operation,
) (ports.CustomerObject, error) {
	c, err := customers.Customer(ctx, op.Subject)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound: // it may come home
		return ports.CustomerObject{}, fmt.Errorf("operation %s: %w", op.ID, errNoCustomer)
	case err != nil:
		return ports.CustomerObject{}, err
	}

	object, err := provider.Customer(ctx, c.ProviderID)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		object.ID, object.Deleted = c.ProviderID, true

		return object, nil
	case err != nil:
		return object, fmt.Errorf("reading %s: %w", c.ProviderID, err)
	default:
		return object, nil
	}
}
