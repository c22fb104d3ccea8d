package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// AdoptOperation finishes an operation with the intent that the provider has of
// it, by a person's decision.
type AdoptOperation struct {
	deps   Deps
	finish *finisher
}

// NewAdoptOperation returns the use case.
func NewAdoptOperation(deps Deps) *AdoptOperation {
	return &AdoptOperation{deps: deps, finish: newFinisher(deps)}
}

// Do writes the payment of intentID, or of the one intent that the provider lists
// for the operation. The intent must carry the operation's payment id and be for
// its amount and currency. Whatever speaks against it is fault.Invalid, with its
// reason; no such operation is fault.NotFound.
func (uc *AdoptOperation) Do(
	ctx context.Context, id uuid.UUID, intentID string, decision Decision,
) (ports.OperationDetails, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.AdoptOperation", func(ctx context.Context) (ports.OperationDetails, error) {
		return uc.do(ctx, id, intentID, decision)
	})
}

func (uc *AdoptOperation) do(
	ctx context.Context, id uuid.UUID, intentID string, decision Decision,
) (ports.OperationDetails, error) {
	entry, err := decision.entry(ports.AuditOperationAdopted, objectOperation, id.String())
	if err != nil {
		return ports.OperationDetails{}, err
	}

	op, err := uc.deps.Decisions.Operation(ctx, id)
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

	completion, err := uc.finish.completion(op.Operation, intent, ports.ByPerson)
	if err != nil {
		return ports.OperationDetails{}, contradicts(err, op, intent)
	}

	entry.Before = unfinished(op)
	entry.After = map[string]any{
		stateKey: string(operation.Finished), "response_status": completion.Response.Status,
		"stripe_payment_intent_id": intent.ID, "payment_status": string(intent.Status),
	}

	done, err := uc.deps.Decisions.Adopt(ctx, completion, entry)
	if err != nil {
		return ports.OperationDetails{}, moved(contradicts(err, op, intent), "Operation "+id.String())
	}

	uc.deps.Log.Warn("intent adopted by a person", logctx.Field(ctx), zap.Stringer("payment_id", id),
		zap.String("intent_id", intent.ID), zap.String("actor", entry.Actor), zap.String("reason", entry.Reason))
	uc.finish.finished(ctx, completion, done, ports.ByPerson)

	return uc.deps.Decisions.Operation(ctx, id)
}

// intent reads the one that is meant, whole: lists leave out the client's secret.
func (uc *AdoptOperation) intent(ctx context.Context, op ports.OperationDetails, intentID string) (ports.Intent, error) {
	if intentID == "" {
		found, err := intentsOf(ctx, uc.deps.Gateway, op)

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

	intent, err := uc.deps.Gateway.Intent(ctx, intentID)

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

// contradicts says in a person's words why an intent cannot be the operation's.
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
