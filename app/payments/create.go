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
	id, err := newID(uc.installation, cmd.Key)
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

// newID is the id of a new operation. The same key always gives the same one.
func newID(installation operation.Installation, key operation.Key) (uuid.UUID, error) {
	if key != "" {
		return installation.OperationID(operation.DefaultTenant, key), nil
	}

	id, err := uuid.NewV7()
	if err != nil {
		return id, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return id, nil
}

// CreateDefinition is what a create adds to the engine. Its intents are found by their
// marks in the provider's list.
func CreateDefinition(renderer ports.Renderer, calls ports.Calls) operations.Definition {
	return operations.Definition{
		Kind: operation.Create,
		Done: func(op ports.Operation, object ports.Object, by operation.Finisher) (operations.Result, error) {
			return created(renderer, op, object.Intent, by)
		},
		Rejected: createRejected,
		Lost:     func(object ports.Object) (ports.NewOperation, error) { return lostCreate(calls, object.Intent) },
	}
}

// lostCreate is the create of an intent, as the intent says.
func lostCreate(calls ports.Calls, intent ports.Intent) (ports.NewOperation, error) {
	order := orderOf(intent)

	call, err := calls.CreatePayment(intent.Mark, intent.Key, order)
	if err != nil {
		return ports.NewOperation{}, fmt.Errorf("making the call: %w", err)
	}

	return ports.NewOperation{
		ID: intent.Mark.Operation, Kind: operation.Create, Key: intent.Key, Order: order, Call: call,
		CreatedAt: intent.CreatedAt, Copied: intent.Mark.Fingerprint,
	}, nil
}

// orderOf is what was asked for, as far as the intent says it: the provider keeps no
// entries of metadata that are empty.
func orderOf(intent ports.Intent) operation.Order {
	order := operation.Order{Amount: intent.Amount, Metadata: intent.Metadata}
	if intent.CaptureMethod == payment.CaptureManual {
		order.Options = map[string]string{OptionCaptureMethod: string(payment.CaptureManual)}
	}

	return order
}

// created is the payment that a create became. An event may lack the amount and the
// client's secret. Without the secret there is no response yet.
func created(
	renderer ports.Renderer, op ports.Operation, intent ports.Intent, by operation.Finisher,
) (operations.Result, error) {
	fingerprint, order := op.Fingerprint, op.Order
	if intent.Marked && intent.Mark.Fingerprint != fingerprint { // it was made for a request that is lost
		fingerprint, order = intent.Mark.Fingerprint, orderOf(intent)
	}

	untold := by == operation.ByWebhook && intent.Amount.IsZero()
	if intent.Marked && intent.Mark.Operation != op.ID || !untold && intent.Amount != order.Amount {
		return operations.Result{}, fmt.Errorf("intent %s is for %s, operation %s for %s: %w",
			intent.ID, intent.Amount, op.ID, order.Amount, ports.ErrContradiction)
	}

	at := intent.CreatedAt
	if at.IsZero() {
		at = op.CreatedAt
	}

	p := payment.Payment{
		ID:            op.ID,
		IntentID:      intent.ID,
		Key:           op.Key,
		Amount:        order.Amount,
		Metadata:      order.Metadata,
		CaptureMethod: payment.CaptureMethod(order.Options[OptionCaptureMethod]),
		CreatedAt:     at,
	}.Begun(intent.Snapshot(), time.Now())
	made := &ports.Completion{Payment: p, Fingerprint: fingerprint, Order: order, Cause: string(by)}

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
