package customers

import (
	"context"
	"fmt"
	"time"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// refreshTries is how often a customer is loaded and read. Each time in vain, somebody else
// has changed it.
const refreshTries = 5

// Refresh reads a customer at the provider and writes down what it says.
type Refresh struct {
	customers    ports.Customers
	provider     ports.Provider
	engine       *operations.Engine
	installation operation.Installation
}

// NewRefresh returns the use case.
func NewRefresh(
	customers ports.Customers, provider ports.Provider, engine *operations.Engine, installation operation.Installation,
) *Refresh {
	return &Refresh{customers: customers, provider: provider, engine: engine, installation: installation}
}

// DoHint reads the customer because of an event. It loads it first, then reads it at the
// provider, and writes what was read if the customer has not changed in between; else it begins
// again. If the database has lost the customer, it is brought home. The hints that were there before it
// was read are settled. If it does not fit our records: ports.ErrContradiction.
func (uc *Refresh) DoHint(ctx context.Context, providerID string) error {
	for range refreshTries {
		hints, err := uc.customers.CustomerHints(ctx, providerID)
		if err != nil {
			return err
		}

		known, err := uc.customers.CustomersByProviderID(ctx, []string{providerID})
		if err != nil {
			return err
		}

		object, err := uc.provider.Customer(ctx, providerID)

		switch {
		case err != nil && fault.KindOf(err) == fault.NotFound:
			object = ports.CustomerObject{ID: providerID, Snapshot: customer.Snapshot{Deleted: true}}
		case err != nil:
			return fmt.Errorf("reading %s: %w", providerID, err)
		}

		c, here := known[providerID]
		if !here {
			if done, err := uc.adopt(ctx, object, hints); done || err != nil {
				return err
			}

			continue
		}

		after, outcome := c.Following(object.Snapshot, time.Now()), ports.EventStale
		if !after.SameAs(c) {
			outcome = ports.EventApplied
		}

		if written, err := uc.customers.WriteCustomer(ctx, after, hints, outcome); written || err != nil {
			return err
		}
	}

	return fault.New(fault.Unavailable, "The customer changes at this moment.").After(time.Second)
}

// adopt brings a customer home that is not here. It is done if there is nothing to bring.
func (uc *Refresh) adopt(ctx context.Context, object ports.CustomerObject, hints []string) (done bool, err error) {
	switch {
	case object.Deleted:
		return true, uc.customers.SettleHints(ctx, hints, ports.EventStale)
	case !object.Marked || object.Mark.Installation != uc.installation.ID:
		return true, uc.customers.SettleHints(ctx, hints, ports.EventIgnored)
	default:
		return false, uc.engine.AdoptLost(ctx, ports.Object{Customer: object}, operation.ByRecovery)
	}
}
