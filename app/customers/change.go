// Package customers has the use cases of customers and their saved payment methods: each is
// one file.
package customers

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// retryAfter is how long a client is told to wait for the provider or for reconciliation.
const retryAfter = 2 * time.Second

// Change is what the operations on customers have in common.
type Change struct {
	engine       *operations.Engine
	customers    ports.Customers
	provider     ports.Provider
	calls        ports.Calls
	renderer     ports.Renderer
	installation operation.Installation
	lives        ports.Incarnations
	spans        ports.Spans
}

// NewChange returns what the use cases share.
func NewChange(
	engine *operations.Engine, customers ports.Customers, provider ports.Provider, calls ports.Calls,
	renderer ports.Renderer, installation operation.Installation, lives ports.Incarnations, spans ports.Spans,
) *Change {
	return &Change{
		engine: engine, customers: customers, provider: provider, calls: calls, renderer: renderer,
		installation: installation, lives: lives, spans: spans,
	}
}

// ChangeCommand asks for an operation on a customer.
type ChangeCommand struct {
	Tenant     operation.Tenant
	CustomerID uuid.UUID
	// Key is empty if the client sent none.
	Key operation.Key
	// Version is the one that the customer must have; 0: any.
	Version   int64
	RequestID string
}

// build makes the call of an operation on the provider's customer.
type build func(mark operation.Mark, customerID string, order operation.Order) (ports.Call, error)

// do answers a command. check refuses what cannot be done to the customer, says what must
// hold, and knows the answer if there is nothing to do.
func (c *Change) do(
	ctx context.Context, kind operation.Kind, cmd ChangeCommand, order operation.Order, build build,
	check func(customer.Customer) (ports.Precondition, *ports.FrozenResponse, error),
) (operations.Answer, error) {
	fingerprint := order.Fingerprint(kind, cmd.CustomerID)

	return c.engine.Do(ctx, operations.Request{
		Tenant: cmd.Tenant, Key: cmd.Key, Fingerprint: fingerprint, LookFirst: true,
		New: func(ctx context.Context) (ports.NewOperation, error) {
			found, err := load(ctx, c.customers, c.lives, cmd.Tenant, cmd.CustomerID)
			if err != nil {
				return ports.NewOperation{}, err
			}

			if cmd.Version != 0 && cmd.Version != found.Version {
				return ports.NewOperation{}, errVersion(found)
			}

			precondition, answer, err := check(found)
			if err != nil {
				return ports.NewOperation{}, err
			}

			id, err := operations.NewID(c.installation, cmd.Tenant, cmd.Key)
			if err != nil {
				return ports.NewOperation{}, err
			}

			call, err := build(c.installation.Mark(cmd.Tenant, kind, id, fingerprint), found.ProviderID, order)
			if err != nil {
				return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
			}

			return ports.NewOperation{
				ID: id, Tenant: cmd.Tenant, Kind: kind, Subject: found.ID, If: precondition, Key: cmd.Key, Order: order, Call: call,
				Origin: ports.Origin{RequestID: cmd.RequestID}, Response: answer,
			}, nil
		},
	})
}

// load reads a tenant's customer that is not deleted. That there is none is believed only once
// reconciliation is through in the database's present life.
func load(
	ctx context.Context, customers ports.Customers, lives ports.Incarnations, tenant operation.Tenant, id uuid.UUID,
) (customer.Customer, error) {
	c, err := customers.Customer(ctx, id)

	switch {
	case err == nil && c.Tenant == tenant && c.Deleted():
		return c, fault.New(fault.NotFound, "There is no such customer.")
	case err == nil && c.Tenant == tenant:
		return c, nil
	case err == nil: // as if it were not there
		err = fault.New(fault.NotFound, "There is no such customer.")
	case fault.KindOf(err) != fault.NotFound:
		return c, err
	}

	return customer.Customer{}, notYet(ctx, lives, err)
}

// notYet is the answer where something is not here: missing, or, while the database may lack
// what it had, fault.Unavailable.
func notYet(ctx context.Context, lives ports.Incarnations, missing error) error {
	reconciled, err := lives.Reconciled(ctx)

	switch {
	case err != nil:
		return err
	case !reconciled:
		return fault.Wrap(fault.Unavailable, missing, "The database has started anew, and is being compared with the payment "+
			"provider. What you ask for is not here, or not yet. Try again.").After(retryAfter)
	default:
		return missing
	}
}

// errAway is the answer where the provider has to be read, and does not answer.
func errAway(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}

	return fault.Wrap(fault.Unavailable, err,
		"The payment provider does not say how it stands. Nothing was done. Send the same request again.").After(retryAfter)
}

func errVersion(c customer.Customer) error {
	f := fault.New(fault.PreconditionFailed, "The customer has changed since you read it: it has another version.")
	f.CustomerID, f.Version = c.ID, c.Version

	return f
}

// notDone is the answer to an operation that was not done and never will be.
func notDone(op ports.Operation, because string) *fault.Error {
	f := fault.Newf(fault.Rejected, "This request (%s) was never done, and nothing will be done under its idempotency key"+
		"%s. To ask for it again, use a new key: that is safe.", op.Kind, because)
	f.CustomerID = op.CustomerID()

	return f
}

// errGone is the answer, for ever, to an operation on a customer that the provider has no more.
func errGone(op ports.Operation) *fault.Error {
	f := fault.New(fault.NotFound, "The customer was deleted at the payment provider.")
	f.CustomerID = op.CustomerID()

	return f
}

// errValue is the answer to values that the provider does not take. It does not quote them.
func errValue(op ports.Operation, rejected *ports.RejectedError) *fault.Error {
	f := fault.Wrap(fault.OrderRejected, rejected,
		"The payment provider does not take one of the values ("+rejected.Code+"). Change it, and use a new key.")
	f.CustomerID = op.CustomerID()

	return f
}

// contradicts is the error where what the provider has is not what was asked for.
func contradicts(op ports.Operation, what string) error {
	return fmt.Errorf("%s of %s: %s: %w", op.Kind, op.CustomerID(), what, ports.ErrContradiction)
}

// unchanged is what becomes of a customer to whom nothing happens.
func unchanged(c customer.Customer) (customer.Customer, error) { return c, nil }
