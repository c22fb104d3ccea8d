package operations

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Adopt lets a person finish an operation with what the provider has made or done for it.
type Adopt struct {
	decisions ports.Decisions
	provider  ports.Provider
	engine    *Engine
	observer  Observer
}

// NewAdopt returns the use case.
func NewAdopt(
	decisions ports.Decisions, provider ports.Provider, engine *Engine, observer Observer,
) *Adopt {
	return &Adopt{decisions: decisions, provider: provider, engine: engine, observer: observer}
}

// Do finishes a create with intentID and writes its payment. If intentID is empty, it is
// the one intent that the provider lists for the operation. The intent must carry the
// operation's payment id and have its amount and currency. An operation on a payment is
// finished if the payment's intent shows that it was done. If anything speaks against it, the error is fault.Invalid
// and says what. If there is no such operation, it is fault.NotFound.
func (uc *Adopt) Do(
	ctx context.Context, id uuid.UUID, intentID string, decision Decision,
) (ports.OperationDetails, error) {
	return ports.InSpan(ctx, uc.observer, "app.AdoptOperation", func(ctx context.Context) (ports.OperationDetails, error) {
		return uc.do(ctx, id, intentID, decision)
	})
}

func (uc *Adopt) do(
	ctx context.Context, id uuid.UUID, intentID string, decision Decision,
) (ports.OperationDetails, error) {
	op, entry, err := decision.about(ctx, uc.decisions, ports.AuditOperationAdopted, id)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	object, err := uc.object(ctx, op, intentID)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	result, err := uc.engine.Result(op.Operation, object, operation.ByPerson)
	if err != nil {
		return ports.OperationDetails{}, contradicts(err, op, object.Intent)
	}

	entry.After = map[string]any{stateKey: string(operation.Finished)}

	if object.Intent.ID != "" {
		entry.After["stripe_payment_intent_id"] = object.Intent.ID
		entry.After["payment_status"] = string(object.Intent.Status)
	}

	var done ports.Finished

	switch {
	case result.Made != nil:
		entry.After["response_status"] = result.Made.Response.Status
		done, err = uc.decisions.Adopt(ctx, *result.Made, entry)
	case result.Customer != nil:
		done, err = uc.decisions.AdoptOnCustomer(ctx, id, *result.Customer, entry)
	default:
		done, err = uc.decisions.AdoptOn(ctx, id, *result.On, entry)
	}

	if err != nil {
		return ports.OperationDetails{}, Moved(contradicts(err, op, object.Intent), "Operation "+id.String())
	}

	uc.observer.Decided(ctx, entry)
	uc.engine.Finished(ctx, result, done, operation.ByPerson)

	return uc.decisions.Operation(ctx, id)
}

// object is what the provider has made or done for the operation.
func (uc *Adopt) object(ctx context.Context, op ports.OperationDetails, intentID string) (ports.Object, error) {
	definition, err := uc.engine.definition(op.Operation)
	if err != nil {
		return ports.Object{}, err
	}

	if definition.Recover == nil {
		intent, err := uc.intent(ctx, op, intentID)

		return ports.Object{Intent: intent}, err
	}

	found, err := definition.Recover(ctx, op.Operation, nil)

	switch {
	case err != nil:
		return ports.Object{}, contradicts(err, op, ports.Intent{Amount: op.Order.Amount})
	case found.Object == nil:
		return ports.Object{}, fault.Newf(fault.Invalid, "The payment provider does not show that operation %s was done. "+
			"If it is not to be expected any more: marketflow operations close %s", op.ID, op.ID)
	default:
		return *found.Object, nil
	}
}

// intent reads the intent to adopt. It reads it by its id even if a list has found it,
// because lists leave out the client's secret.
func (uc *Adopt) intent(ctx context.Context, op ports.OperationDetails, intentID string) (ports.Intent, error) {
	if intentID == "" {
		found, err := intentsOf(ctx, uc.provider, op)

		switch {
		case err != nil:
			return ports.Intent{}, err
		case len(found) == 0:
			return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider lists no intent for operation %s. "+
				"If none is to be expected any more: marketflow operations close %s", op.ID, op.ID)
		case len(found) > 1:
			return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider has several intents for operation %s: %s. "+
				"Choose one.", op.ID, intentIDs(found))
		}

		intentID = found[0].ID
	}

	intent, err := uc.provider.Intent(ctx, intentID)

	switch {
	case fault.KindOf(err) == fault.NotFound:
		return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider has no intent %s.", intentID)
	case err != nil:
		return ports.Intent{}, fmt.Errorf("reading intent %s: %w", intentID, err)
	case intent.PaymentID == uuid.Nil:
		return ports.Intent{}, fault.Newf(fault.Invalid, "Intent %s is not ours: its metadata has no payment_id.", intentID)
	case intent.PaymentID != op.ID:
		return ports.Intent{}, fault.Newf(fault.Invalid, "Intent %s is of payment %s, not of %s.",
			intentID, intent.PaymentID, op.ID)
	}

	return intent, nil
}

// contradicts explains to a person why an intent cannot be the operation's.
func contradicts(err error, op ports.OperationDetails, intent ports.Intent) error {
	switch {
	case !errors.Is(err, ports.ErrContradiction):
		return err
	case op.Kind.OnCustomer():
		return fault.Newf(fault.Invalid, "What the payment provider has belongs to another customer than operation %s.", op.ID)
	case intent.ID == "":
		return fault.Newf(fault.Invalid, "What the payment provider has does not fit operation %s.", op.ID)
	case intent.Amount != op.Order.Amount:
		return fault.Newf(fault.Invalid, "Intent %s is for %s and operation %s asked for %s: adopting it would make our records wrong.",
			intent.ID, intent.Amount, op.ID, op.Order.Amount)
	default:
		return fault.Newf(fault.Invalid, "Intent %s or operation %s belongs to another payment already.",
			intent.ID, op.ID)
	}
}
