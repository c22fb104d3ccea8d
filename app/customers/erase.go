package customers

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

const (
	// eraseBatch is how many stored events are looked at together.
	eraseBatch = 2000
	// disputeBodies is far more than all events about disputes of one customer's payments.
	disputeBodies = 10_000
)

// Erase removes a customer's personal data from everything that is kept, and deletes the
// customer at the provider.
type Erase struct {
	*Change

	remove    *Delete
	erasure   ports.Erasure
	decisions ports.Decisions
	observer  EraseObserver
}

// EraseObserver is told what people decide about customers.
type EraseObserver interface {
	// Decided: a person has decided something.
	Decided(ctx context.Context, entry ports.AuditEntry)
}

// NewErase returns the use case.
func NewErase(
	change *Change, remove *Delete, erasure ports.Erasure, decisions ports.Decisions, observer EraseObserver,
) *Erase {
	return &Erase{Change: change, remove: remove, erasure: erasure, decisions: decisions, observer: observer}
}

// Erased is what was erased.
type Erased struct {
	// Operations and Events count what has lost personal data.
	Operations, Events int
	// Parked are the events that still hold some: they wait for a person, and need their bodies.
	Parked []string
}

// Do erases a customer by a person's decision. It may be repeated, also for one that is
// deleted, and for one whose create was refused. The audit keeps who and why, and nothing of the
// customer. If an operation on the customer is not finished, the error is fault.Invalid. No
// customer: fault.NotFound.
func (uc *Erase) Do(ctx context.Context, id uuid.UUID, decision operations.Decision) (Erased, error) {
	return ports.InSpan(ctx, uc.spans, "app.EraseCustomer", func(ctx context.Context) (Erased, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *Erase) do(ctx context.Context, id uuid.UUID, decision operations.Decision) (Erased, error) {
	var erased Erased

	entry, err := decision.Entry(ports.AuditCustomerErased, "customer", id.String())
	if err != nil {
		return erased, err
	}

	owner, err := uc.owner(ctx, id)
	if err == nil {
		err = decision.Bind(&entry, owner)
	}

	if err != nil {
		return erased, err
	}

	c, err := uc.deleted(ctx, id)
	if err != nil {
		return erased, err
	}

	if c.ProviderID != "" {
		if erased.Events, erased.Parked, err = uc.bodies(ctx, c.ProviderID); err != nil {
			return erased, err
		}
	}

	disputes, parked, err := uc.erasure.EraseDisputeBodies(ctx, id, disputeBodies)
	if err != nil {
		return erased, err
	}

	erased.Events, erased.Parked = erased.Events+disputes, append(erased.Parked, parked...)

	gone := fault.New(fault.NotFound, "This customer was erased, and with it the answer to this request.")
	gone.CustomerID = id
	entry.After = map[string]any{"events": erased.Events, "parked_events": len(erased.Parked)}

	erased.Operations, err = uc.erasure.EraseCustomer(ctx, id, uc.renderer.Rejected(gone, ""), entry)

	switch {
	case errors.Is(err, ports.ErrInProgress):
		return erased, fault.Newf(fault.Invalid, "An operation on customer %s is not finished, or evidence about "+
			"one of its payments may still be sent. Look at it first: marketflow operations list", id)
	case err != nil:
		return erased, err
	}

	uc.observer.Decided(ctx, entry)

	return erased, nil
}

// owner is whose customer it is. One whose create was refused is known by its operation.
func (uc *Erase) owner(ctx context.Context, id uuid.UUID) (operation.Tenant, error) {
	c, err := uc.customers.Customer(ctx, id)
	if fault.KindOf(err) != fault.NotFound {
		return c.Tenant, err
	}

	op, err := uc.decisions.Operation(ctx, id)

	return op.Tenant, err
}

// deleted is the customer once it is deleted. One whose create was refused is not here.
func (uc *Erase) deleted(ctx context.Context, id uuid.UUID) (customer.Customer, error) {
	c, err := uc.customers.Customer(ctx, id)

	switch {
	case err != nil && fault.KindOf(err) == fault.NotFound:
		return customer.Customer{}, nil
	case err != nil || c.Deleted():
		return c, err
	}

	// A command's process has asked the provider nothing yet, and only a read finds out
	// whether the database belongs to the account.
	if _, err := uc.provider.Customer(ctx, c.ProviderID); err != nil && fault.KindOf(err) != fault.NotFound {
		return c, errAway(err)
	}

	answer, err := uc.remove.Do(ctx, ChangeCommand{Tenant: c.Tenant, CustomerID: id})

	switch {
	case err != nil:
		return c, err
	case answer.Response.Status != http.StatusNoContent:
		return c, fault.Newf(fault.Invalid, "The payment provider did not delete customer %s. Nothing was erased.", id)
	default:
		return c, nil
	}
}

// bodies empties the stored events that mention the provider's customer.
func (uc *Erase) bodies(ctx context.Context, providerID string) (erased int, parked []string, err error) {
	var at ports.InboxPosition

	for {
		n, waiting, next, err := uc.erasure.EraseBodies(ctx, providerID, at, eraseBatch)
		if err != nil {
			return erased, parked, fmt.Errorf("erasing stored events: %w", err)
		}

		erased, parked, at = erased+n, append(parked, waiting...), next
		if at == (ports.InboxPosition{}) {
			return erased, parked, nil
		}
	}
}
