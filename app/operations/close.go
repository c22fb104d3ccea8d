package operations

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// Close lets a person end an operation that the provider has not done.
type Close struct {
	decisions ports.Decisions
	payments  ports.Payments
	provider  ports.Provider
	renderer  ports.Renderer
	engine    *Engine
	observer  Observer
}

// NewClose returns the use case.
func NewClose(
	decisions ports.Decisions, payments ports.Payments, provider ports.Provider, renderer ports.Renderer,
	engine *Engine, observer Observer,
) *Close {
	return &Close{
		decisions: decisions, payments: payments, provider: provider, renderer: renderer, engine: engine, observer: observer,
	}
}

// Do freezes the answer that this was never done. The operation must need attention or be
// too old to be sent again, and the provider must not show that it was done.
// If anything speaks against it, the error is fault.Invalid and says what. If there is no
// such operation, it is fault.NotFound.
func (uc *Close) Do(ctx context.Context, id uuid.UUID, decision Decision) (ports.OperationDetails, error) {
	return ports.InSpan(ctx, uc.observer, "app.CloseOperation", func(ctx context.Context) (ports.OperationDetails, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *Close) do(ctx context.Context, id uuid.UUID, decision Decision) (ports.OperationDetails, error) {
	op, entry, err := decision.about(ctx, uc.decisions, ports.AuditOperationClosed, id)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	definition, err := uc.engine.definition(op.Operation)
	if err != nil {
		return ports.OperationDetails{}, err
	}

	if definition.Recover == nil {
		err = uc.nothingWasMade(ctx, op)
	} else {
		err = notDone(ctx, definition, op)
	}

	if err != nil {
		return ports.OperationDetails{}, err
	}

	answer := uc.renderer.Rejected(definition.Rejected(op.Operation, nil), op.Origin.RequestID)
	entry.After = map[string]any{stateKey: string(operation.Finished), "response_status": answer.Status}

	closed, err := uc.decisions.Close(ctx, id, op.State, answer, entry)
	if err != nil {
		return ports.OperationDetails{}, Moved(err, "Operation "+id.String())
	}

	uc.observer.OperationFinished(ctx, closed, operation.ByPerson, operation.OutcomeRejected, nil)
	uc.observer.Decided(ctx, entry)
	uc.engine.remember(ctx, closed)

	return uc.decisions.Operation(ctx, id)
}

// notDone checks that an operation on a payment was not done.
func notDone(ctx context.Context, definition Definition, op ports.OperationDetails) error {
	found, err := definition.Recover(ctx, op.Operation, nil)

	switch {
	case errors.Is(err, ports.ErrContradiction):
		return nil // it was not this operation that was done
	case err != nil:
		return fmt.Errorf("looking for what became of operation %s: %w", op.ID, err)
	case found.Object != nil:
		return errAdoptInstead(op, "done what it asked for")
	default:
		return nil
	}
}

// nothingWasMade checks our records and the provider. The operation is never sent again,
// so if nothing is there now, nothing will come.
func (uc *Close) nothingWasMade(ctx context.Context, op ports.OperationDetails) error {
	p, err := uc.payments.Payment(ctx, op.ID)

	switch {
	case err == nil:
		return errAdoptInstead(op, "made "+p.IntentID+" for it")
	case fault.KindOf(err) != fault.NotFound:
		return err
	}

	intents, err := intentsOf(ctx, uc.provider, op)
	if err != nil {
		return err
	}

	if len(intents) > 0 {
		return errAdoptInstead(op, "made "+intentIDs(intents)+" for it")
	}

	return nil
}

func errAdoptInstead(op ports.OperationDetails, what string) error {
	return fault.Newf(fault.Invalid, "Operation %s cannot be closed: the payment provider has %s. "+
		"Adopt that instead: marketflow operations adopt %s", op.ID, what, op.ID)
}

// intentsOf looks for an operation's intents by the payment id in their metadata. It reads
// the list up to now, because the provider may have completed a call some time after it
// answered with an error.
func intentsOf(ctx context.Context, provider ports.Provider, op ports.OperationDetails) ([]ports.Intent, error) {
	var found []ports.Intent

	for intent, err := range provider.Intents(ctx, op.CreatedAt.Add(-clockSkew), time.Now().Add(clockSkew)) {
		if err != nil {
			return nil, fmt.Errorf("looking for the operation's intent: %w", err)
		}

		if intent.PaymentID == op.ID {
			found = append(found, intent)
		}
	}

	return found, nil
}

func intentIDs(intents []ports.Intent) string {
	ids := make([]string, 0, len(intents))
	for _, intent := range intents {
		ids = append(ids, intent.ID)
	}

	return strings.Join(ids, ", ")
}
