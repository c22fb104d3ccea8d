package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/telemetry/logctx"
	"github.com/marketflow/marketflow/ports"
)

// CloseOperation ends an operation of which nothing came, by a person's decision.
type CloseOperation struct {
	deps   Deps
	finish *finisher
}

// NewCloseOperation returns the use case.
func NewCloseOperation(deps Deps) *CloseOperation {
	return &CloseOperation{deps: deps, finish: newFinisher(deps)}
}

// Do freezes the answer that this payment was never made. The operation must need
// attention, or be so old that it is never sent again; and the provider must not
// have an intent of it. Whatever speaks against it is fault.Invalid, with its
// reason; no such operation is fault.NotFound.
func (uc *CloseOperation) Do(ctx context.Context, id uuid.UUID, decision Decision) (ports.OperationDetails, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.CloseOperation", func(ctx context.Context) (ports.OperationDetails, error) {
		return uc.do(ctx, id, decision)
	})
}

func (uc *CloseOperation) do(ctx context.Context, id uuid.UUID, decision Decision) (ports.OperationDetails, error) {
	entry, err := decision.entry(ports.AuditOperationClosed, objectOperation, id.String())
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

	if err := uc.nothingWasMade(ctx, op); err != nil {
		return ports.OperationDetails{}, err
	}

	answer := uc.deps.Renderer.Rejected(fault.New(fault.Rejected,
		"This payment was never made: nothing was charged, and nothing will be under this idempotency key. "+
			"To order it again, use a new key: that is safe."), op.Origin.RequestID)
	entry.Before = unfinished(op)
	entry.After = map[string]any{stateKey: string(operation.Finished), "response_status": answer.Status}

	closed, err := uc.deps.Decisions.Close(ctx, id, op.State, answer, entry)
	if err != nil {
		return ports.OperationDetails{}, moved(err, "Operation "+id.String())
	}

	uc.deps.Recorder.OperationFinished(ports.ByPerson, ports.FinishRejected)
	uc.deps.Log.Warn("operation closed by a person", logctx.Field(ctx), zap.Stringer("payment_id", id),
		zap.String("actor", entry.Actor), zap.String("reason", entry.Reason))
	uc.finish.remember(ctx, closed)

	return uc.deps.Decisions.Operation(ctx, id)
}

// nothingWasMade looks here and at the provider. The operation is never sent
// again, so what is not there now does not come.
func (uc *CloseOperation) nothingWasMade(ctx context.Context, op ports.OperationDetails) error {
	p, err := uc.deps.Payments.Payment(ctx, op.PaymentID)

	switch {
	case err == nil:
		return errAdoptInstead(op, p.IntentID)
	case fault.KindOf(err) != fault.NotFound:
		return err
	}

	intents, err := intentsOf(ctx, uc.deps.Gateway, op)
	if err != nil {
		return err
	}

	if len(intents) > 0 {
		return errAdoptInstead(op, intentIDs(intents))
	}

	return nil
}

func errAdoptInstead(op ports.OperationDetails, intents string) error {
	return fault.Newf(fault.Invalid, "Operation %s cannot be closed: the payment provider has made %s for it. "+
		"Adopt that instead: marketflow operations adopt %s", op.PaymentID, intents, op.PaymentID)
}

// intentsOf looks for an operation's intents by the payment id in their metadata.
// The whole time is read: the provider may bring to its end later what it answered
// with an error.
func intentsOf(ctx context.Context, gateway ports.PaymentGateway, op ports.OperationDetails) ([]ports.Intent, error) {
	var found []ports.Intent

	for intent, err := range gateway.Intents(ctx, op.CreatedAt.Add(-clockSkew), time.Now().Add(clockSkew)) {
		if err != nil {
			return nil, fmt.Errorf("looking for the operation's intent: %w", err)
		}

		if intent.PaymentID == op.PaymentID {
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
