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

// Adopt lets a person finish an operation with an intent that the provider made for it.
type Adopt struct {
	decisions ports.Decisions
	gateway   ports.PaymentGateway
	engine    *Engine
	observer  Observer
}

// NewAdopt returns the use case.
func NewAdopt(
	decisions ports.Decisions, gateway ports.PaymentGateway, engine *Engine, observer Observer,
) *Adopt {
	return &Adopt{decisions: decisions, gateway: gateway, engine: engine, observer: observer}
}

// Do writes the payment of intentID. If intentID is empty, it is the one intent that the
// provider lists for the operation. The intent must carry the operation's payment id and
// have its amount and currency. If anything speaks against it, the error is fault.Invalid
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
	entry, err := decision.Entry(ports.AuditOperationAdopted, objectOperation, id.String())
	if err != nil {
		return ports.OperationDetails{}, err
	}

	op, err := uc.decisions.Operation(ctx, id)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	if err := mayDecide(op); err != nil {
		return ports.OperationDetails{}, err
	}

	intent, err := uc.intent(ctx, op, intentID)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	completion, err := uc.engine.Completion(op.Operation, intent, operation.ByPerson)
	if err != nil {
		return ports.OperationDetails{}, contradicts(err, op, intent)
	}

	entry.Before = unfinished(op)
	entry.After = map[string]any{
		stateKey: string(operation.Finished), "response_status": completion.Response.Status,
		"stripe_payment_intent_id": intent.ID, "payment_status": string(intent.Status),
	}

	done, err := uc.decisions.Adopt(ctx, completion, entry)
	if err != nil {
		return ports.OperationDetails{}, Moved(contradicts(err, op, intent), "Operation "+id.String())
	}

	uc.observer.Decided(ctx, entry)
	uc.engine.Finished(ctx, completion, done, operation.ByPerson)

	return uc.decisions.Operation(ctx, id)
}

// intent reads the intent to adopt. It reads it by its id even if a list has found it,
// because lists leave out the client's secret.
func (uc *Adopt) intent(ctx context.Context, op ports.OperationDetails, intentID string) (ports.Intent, error) {
	if intentID == "" {
		found, err := intentsOf(ctx, uc.gateway, op)

		switch {
		case err != nil:
			return ports.Intent{}, err
		case len(found) == 0:
			return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider lists no intent for operation %s. "+
				"If none is to be expected any more: marketflow operations close %s", op.PaymentID, op.PaymentID)
		case len(found) > 1:
			return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider has several intents for operation %s: %s. "+
				"Choose one.", op.PaymentID, intentIDs(found))
		}

		intentID = found[0].ID
	}

	intent, err := uc.gateway.Intent(ctx, intentID)

	switch {
	case fault.KindOf(err) == fault.NotFound:
		return ports.Intent{}, fault.Newf(fault.Invalid, "The payment provider has no intent %s.", intentID)
	case err != nil:
		return ports.Intent{}, fmt.Errorf("reading intent %s: %w", intentID, err)
	case intent.PaymentID == uuid.Nil:
		return ports.Intent{}, fault.Newf(fault.Invalid, "Intent %s is not ours: its metadata has no payment_id.", intentID)
	case intent.PaymentID != op.PaymentID:
		return ports.Intent{}, fault.Newf(fault.Invalid, "Intent %s is of payment %s, not of %s.",
			intentID, intent.PaymentID, op.PaymentID)
	}

	return intent, nil
}

// contradicts explains to a person why an intent cannot be the operation's.
func contradicts(err error, op ports.OperationDetails, intent ports.Intent) error {
	switch {
	case !errors.Is(err, ports.ErrContradiction):
		return err
	case intent.Amount != op.Order.Amount:
		return fault.Newf(fault.Invalid, "Intent %s is for %s and operation %s asked for %s: adopting it would make our records wrong.",
			intent.ID, intent.Amount, op.PaymentID, op.Order.Amount)
	default:
		return fault.Newf(fault.Invalid, "Intent %s or operation %s belongs to another payment already.",
			intent.ID, op.PaymentID)
	}
}
