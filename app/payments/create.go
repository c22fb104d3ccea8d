// Package payments has the use cases of payments: each is one file.
package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// OptionCaptureMethod is the name of an order's option: a payment.CaptureMethod.
const OptionCaptureMethod = "capture_method"

// Create creates a payment at most once for each idempotency key.
type Create struct {
	engine       *operations.Engine
	calls        ports.Calls
	installation operation.Installation
	spans        ports.Spans
}

// NewCreate returns the use case.
func NewCreate(
	engine *operations.Engine, calls ports.Calls, installation operation.Installation, spans ports.Spans,
) *Create {
	return &Create{engine: engine, calls: calls, installation: installation, spans: spans}
}

// CreateCommand asks for a payment.
type CreateCommand struct {
	// Key is empty if the client sent none. Then each request is a new payment.
	Key       operation.Key
	Order     operation.Order
	RequestID string
}

// Do answers a command; see operations.Engine.Do.
func (uc *Create) Do(ctx context.Context, cmd CreateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreatePayment", func(ctx context.Context) (operations.Answer, error) {
		return uc.engine.Do(ctx, operations.Request{
			Key:         cmd.Key,
			Fingerprint: cmd.Order.Fingerprint(operation.Create, uuid.Nil),
			New:         func(context.Context) (ports.NewOperation, error) { return uc.operation(cmd) },
		})
	})
}

// operation is what is written down before anything is sent to the provider.
func (uc *Create) operation(cmd CreateCommand) (ports.NewOperation, error) {
	id, err := newID()
	if err != nil {
		return ports.NewOperation{}, err
	}

	mark := uc.installation.Mark(operation.Create, id, cmd.Order.Fingerprint(operation.Create, uuid.Nil))

	call, err := uc.calls.CreatePayment(mark, cmd.Key, cmd.Order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: id, Kind: operation.Create, Key: cmd.Key, Order: cmd.Order, Call: call,
		Origin: ports.Origin{RequestID: cmd.RequestID},
	}, nil
}

func newID() (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return id, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return id, nil
}

// CreateDefinition is what a create adds to the engine. Its intents are found by their
// marks in the provider's list.
func CreateDefinition(renderer ports.Renderer) operations.Definition {
	return operations.Definition{
		Kind: operation.Create,
		Done: func(op ports.Operation, object ports.Object, by operation.Finisher) (operations.Result, error) {
			return created(renderer, op, object.Intent, by)
		},
		Rejected: createRejected,
	}
}

// created is the payment that a create became. An event may lack the amount and the
// client's secret. Without the secret there is no response yet.
func created(
	renderer ports.Renderer, op ports.Operation, intent ports.Intent, by operation.Finisher,
) (operations.Result, error) {
	untold := by == operation.ByWebhook && intent.Amount.IsZero()
	if !untold && intent.Amount != op.Order.Amount {
		return operations.Result{}, fmt.Errorf("intent %s is for %s, operation %s for %s: %w",
			intent.ID, intent.Amount, op.ID, op.Order.Amount, ports.ErrContradiction)
	}

	p := payment.Payment{
		ID:            op.ID,
		IntentID:      intent.ID,
		Key:           op.Key,
		Amount:        op.Order.Amount,
		Metadata:      op.Order.Metadata,
		CaptureMethod: payment.CaptureMethod(op.Order.Options[OptionCaptureMethod]),
		CreatedAt:     op.CreatedAt,
	}.Begun(intent.Snapshot(), time.Now())
	made := &ports.Completion{Payment: p, Cause: string(by)}

	if by != operation.ByWebhook || intent.ClientSecret != "" {
		made.Response = new(renderer.Created(p, intent.ClientSecret))
	}

	return operations.Result{Made: made}, nil
}

// createRejected is the answer to an order that the provider does not take.
func createRejected(op ports.Operation, rejected *ports.RejectedError) *fault.Error {
	if rejected == nil {
		return fault.New(fault.Rejected,
			"This payment was never made: nothing was charged, and nothing will be under this idempotency key. "+
				"To order it again, use a new key: that is safe.")
	}

	kind := fault.Rejected
	if rejected.Amount {
		kind = fault.AmountRejected
	}

	return fault.Wrap(kind, rejected, "The payment provider rejected this payment: "+rejected.Message)
}
