package customers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// clockSkew is how far our clock and the provider's may differ when customers are searched by
// their creation time.
const clockSkew = 15 * time.Minute

// Create makes a customer at most once for each idempotency key, and for each reference.
type Create struct{ *Change }

// NewCreate returns the use case.
func NewCreate(change *Change) *Create { return &Create{change} }

// CreateCommand asks for a customer.
type CreateCommand struct {
	Tenant operation.Tenant
	// Key is empty if the client sent none. Then each request is a new customer.
	Key operation.Key
	// Values are by the names customer.Reference, customer.Email and customer.Name.
	Values    map[string]string
	Metadata  map[string]string
	RequestID string
}

// Do answers a command; see operations.Engine.Do. Its errors are also fault.Invalid, and
// fault.ReferenceTaken, which names the customer that has the reference.
func (uc *Create) Do(ctx context.Context, cmd CreateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreateCustomer", func(ctx context.Context) (operations.Answer, error) {
		for name, value := range cmd.Values {
			if err := customer.CheckValue(name, value); err != nil {
				return operations.Answer{}, err
			}
		}

		if err := customer.CheckMetadata(cmd.Metadata); err != nil {
			return operations.Answer{}, err
		}

		order := operation.Order{Metadata: cmd.Metadata, Options: cmd.Values}

		return uc.engine.Do(ctx, operations.Request{
			Tenant:      cmd.Tenant,
			Key:         cmd.Key,
			Fingerprint: order.Fingerprint(operation.CreateCustomer, uuid.Nil),
			LookFirst:   true,
			New: func(ctx context.Context) (ports.NewOperation, error) {
				return uc.operation(ctx, cmd, order)
			},
		})
	})
}

// operation is what is written down before anything is sent to the provider.
func (uc *Create) operation(
	ctx context.Context, cmd CreateCommand, order operation.Order,
) (ports.NewOperation, error) {
	// Who has the reference may be among what the database has lost.
	if reference := order.Options[customer.Reference]; reference != "" {
		if err := notYet(ctx, uc.lives, nil); err != nil {
			return ports.NewOperation{}, err
		}
	}

	id, err := operations.NewID(uc.installation, cmd.Tenant, cmd.Key)
	if err != nil {
		return ports.NewOperation{}, err
	}

	mark := uc.installation.Mark(cmd.Tenant, operation.CreateCustomer, id, order.Fingerprint(operation.CreateCustomer, uuid.Nil))

	call, err := uc.calls.CreateCustomer(mark, cmd.Key, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: id, Tenant: cmd.Tenant, Kind: operation.CreateCustomer,
		If:  ports.Precondition{Reference: order.Options[customer.Reference]},
		Key: cmd.Key, Order: order, Call: call, Origin: ports.Origin{RequestID: cmd.RequestID},
	}, nil
}

// CreateDefinition is what the create of a customer adds to the engine.
func CreateDefinition(renderer ports.Renderer, calls ports.Calls, provider ports.Provider) operations.Definition {
	return operations.Definition{
		Kind: operation.CreateCustomer,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			return created(renderer, op, object.Customer)
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op, "") },
		Lost: func(object ports.Object) (ports.NewOperation, error) {
			return lostCreate(calls, object.Customer)
		},
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findCreate(ctx, provider, op, rejected)
		},
	}
}

var errUnmarked = errors.New("the provider's customer does not carry our mark")

// lostCreate is the create of a provider's customer, as that says.
func lostCreate(calls ports.Calls, object ports.CustomerObject) (ports.NewOperation, error) {
	if !object.Marked {
		return ports.NewOperation{}, fmt.Errorf("%s: %w", object.ID, errUnmarked)
	}

	order := orderOf(object)

	call, err := calls.CreateCustomer(object.Mark, object.Key, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: object.Mark.Operation, Tenant: object.Mark.Tenant, Kind: operation.CreateCustomer,
		Key: object.Key, Order: order, Call: call,
		CreatedAt: object.CreatedAt, Copied: object.Mark.Fingerprint,
	}, nil
}

// orderOf is what was asked for, as far as the provider's customer says it: it may have been
// changed since.
func orderOf(object ports.CustomerObject) operation.Order {
	order := operation.Order{Metadata: object.Metadata, Options: make(map[string]string)}

	for name, value := range map[string]string{
		customer.Reference: object.Reference, customer.Email: object.Email, customer.Name: object.Name,
	} {
		if value != "" {
			order.Options[name] = value
		}
	}

	return order
}

// created is the customer that a create became.
func created(renderer ports.Renderer, op ports.Operation, object ports.CustomerObject) (operations.Result, error) {
	if object.Marked && object.Mark.Operation != op.ID {
		return operations.Result{}, contradicts(op, object.ID+" was made by another operation")
	}

	change := &ports.CustomerChange{Answer: renderer.CustomerMade}
	order := op.Order

	if object.Marked && object.Mark.Fingerprint != op.Fingerprint { // it was made for a request that is lost
		order = orderOf(object)
		change.Fingerprint, change.Order = object.Mark.Fingerprint, order
	}

	change.Decide = func(c customer.Customer) (customer.Customer, error) {
		switch c.ProviderID {
		case object.ID:
			return c, nil
		case "":
			c.ProviderID, c.CreatedAt = object.ID, object.CreatedAt
			c.Reference = order.Options[customer.Reference]

			return c.Following(object.Snapshot, c.UpdatedAt), nil
		default:
			return c, contradicts(op, "it is "+c.ProviderID+" already, and not "+object.ID)
		}
	}

	return operations.Result{Customer: change}, nil
}

// findCreate looks for the customer that a create has made, by its mark, in the provider's
// list. It may exist although sending again did not show it: Stripe may have kept a 500
// although the call had its effect.
func findCreate(
	ctx context.Context, provider ports.Provider, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	if rejected != nil && rejected.Order {
		return operations.Found{Rejected: errValue(op, rejected)}, nil
	}

	for object, err := range provider.Customers(ctx, op.CreatedAt.Add(-clockSkew), time.Now().Add(clockSkew)) {
		if err != nil {
			return operations.Found{}, fmt.Errorf("looking for the operation's customer: %w", err)
		}

		if object.Marked && object.Mark.Operation == op.ID {
			return operations.Found{Object: &ports.Object{Customer: object}}, nil
		}
	}

	if rejected != nil { // the key was used for something else, of which nothing is there
		return operations.Found{Rejected: notDone(op, "")}, nil
	}

	return operations.Found{}, nil
}
