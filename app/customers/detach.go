package customers

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// OptionMethod is the name of an order's option: the payment method that is detached.
const OptionMethod = "payment_method"

// Detach takes a payment method from its customer, for good.
type Detach struct{ *Change }

// NewDetach returns the use case.
func NewDetach(change *Change) *Detach { return &Detach{change} }

// DetachCommand asks for a payment method to be detached.
type DetachCommand struct {
	Tenant operation.Tenant
	// MethodID is the provider's.
	MethodID string
	// Key is empty if the client sent none.
	Key       operation.Key
	RequestID string
}

// Do detaches a payment method; see operations.Engine.Do. If it was detached by us before,
// the answer is the same, and nothing is sent. If it belongs to no customer of ours, the error
// is fault.NotFound.
func (uc *Detach) Do(ctx context.Context, cmd DetachCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.DetachMethod", func(ctx context.Context) (operations.Answer, error) {
		order := operation.Order{Options: map[string]string{OptionMethod: cmd.MethodID}}
		// Whose method this is gets read later, and cannot be told any more once it is detached.
		fingerprint := order.Fingerprint(operation.DetachMethod, uuid.Nil)

		return uc.engine.Do(ctx, operations.Request{
			Tenant: cmd.Tenant, Key: cmd.Key, Fingerprint: fingerprint, LookFirst: true,
			New: func(ctx context.Context) (ports.NewOperation, error) {
				owner, answer, err := uc.owner(ctx, cmd.Tenant, cmd.MethodID)
				if err != nil {
					return ports.NewOperation{}, err
				}

				id, err := operations.NewID(uc.installation, cmd.Tenant, cmd.Key)
				if err != nil {
					return ports.NewOperation{}, err
				}

				mark := uc.installation.Mark(cmd.Tenant, operation.DetachMethod, id, fingerprint)

				call, err := uc.calls.DetachMethod(mark, cmd.MethodID, order)
				if err != nil {
					return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
				}

				return ports.NewOperation{
					ID: id, Tenant: cmd.Tenant, Kind: operation.DetachMethod, Subject: owner, Key: cmd.Key, Order: order, Call: call,
					Origin: ports.Origin{RequestID: cmd.RequestID}, Copied: fingerprint, Response: answer,
				}, nil
			},
		})
	})
}

// owner is the tenant's customer that has a payment method, or had it until we detached it,
// which is answered, also if our detachment is not finished: Stripe has it done.
func (uc *Detach) owner(
	ctx context.Context, tenant operation.Tenant, methodID string,
) (uuid.UUID, *ports.FrozenResponse, error) {
	none := fault.New(fault.NotFound, "There is no such payment method.") // the same for another tenant's
	method, err := uc.provider.Method(ctx, methodID)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return uuid.Nil, nil, none
	case err != nil:
		return uuid.Nil, nil, errAway(err)
	case method.CustomerID == "":
		id, err := uc.customers.DetachedFrom(ctx, tenant, methodID)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			err = notYet(ctx, uc.lives, err)
		}

		return id, new(uc.renderer.Nothing()), err
	}

	known, err := uc.customers.CustomersByProviderID(ctx, []string{method.CustomerID})
	if err != nil {
		return uuid.Nil, nil, err
	}

	c, ok := known[method.CustomerID]
	if !ok || c.Deleted() || c.Tenant != tenant {
		return uuid.Nil, nil, notYet(ctx, uc.lives, none)
	}

	return c.ID, nil, nil
}

// DetachDefinition is what a detachment adds to the engine.
func DetachDefinition(renderer ports.Renderer, provider ports.Provider) operations.Definition {
	return operations.Definition{
		Kind: operation.DetachMethod,
		Done: func(op ports.Operation, object ports.Object, _ operation.Finisher) (operations.Result, error) {
			if m := object.Method; m.ID != op.Order.Options[OptionMethod] || m.CustomerID != "" {
				return operations.Result{}, contradicts(op, m.ID+" has the customer "+m.CustomerID)
			}

			return operations.Result{Customer: &ports.CustomerChange{
				Decide: unchanged,
				Answer: func(customer.Customer) ports.FrozenResponse { return renderer.Nothing() },
			}}, nil
		},
		Rejected: func(op ports.Operation, _ *ports.RejectedError) *fault.Error { return notDone(op, "") },
		Recover: func(
			ctx context.Context, op ports.Operation, rejected *ports.RejectedError,
		) (operations.Found, error) {
			return findDetach(ctx, provider, op, rejected)
		},
	}
}

// findDetach reads what became of a detachment. It does not matter who has detached it.
func findDetach(
	ctx context.Context, provider ports.Provider, op ports.Operation, rejected *ports.RejectedError,
) (operations.Found, error) {
	id := op.Order.Options[OptionMethod]
	method, err := provider.Method(ctx, id)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return operations.Found{Rejected: notDone(op, "")}, nil
	case err != nil:
		return operations.Found{}, fmt.Errorf("reading %s: %w", id, err)
	case method.CustomerID == "":
		return operations.Found{Object: &ports.Object{Method: method}}, nil
	case rejected != nil:
		return operations.Found{Rejected: notDone(op, "")}, nil //nolint:nilerr // it is the answer
	default:
		return operations.Found{}, nil
	}
}
