// Package payments creates and shows payments.
package payments

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Create creates a payment at most once for each idempotency key.
type Create struct {
	engine  *operations.Engine
	gateway ports.PaymentGateway
	spans   ports.Spans
}

// NewCreate returns the use case.
func NewCreate(engine *operations.Engine, gateway ports.PaymentGateway, spans ports.Spans) *Create {
	return &Create{engine: engine, gateway: gateway, spans: spans}
}

// CreateCommand asks for a payment.
type CreateCommand struct {
	// Key is empty if the client sent none. Then each request is a new payment.
	Key       operation.Key
	Order     payment.Order
	RequestID string
}

// Do answers a command; see operations.Engine.Do.
func (uc *Create) Do(ctx context.Context, cmd CreateCommand) (operations.Answer, error) {
	return ports.InSpan(ctx, uc.spans, "app.CreatePayment", func(ctx context.Context) (operations.Answer, error) {
		return uc.engine.Do(ctx, operations.Request{
			Key:         cmd.Key,
			Fingerprint: cmd.Order.Fingerprint(),
			New:         func() (ports.NewOperation, error) { return uc.operation(cmd) },
		})
	})
}

// operation is what is written down before anything is sent to the provider.
func (uc *Create) operation(cmd CreateCommand) (ports.NewOperation, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return ports.NewOperation{}, fault.Wrap(fault.Internal, err, "Something went wrong on our side.")
	}

	return ports.NewOperation{
		PaymentID: id,
		Key:       cmd.Key,
		Order:     cmd.Order,
		Request:   uc.gateway.Prepare(id, cmd.Order),
		Origin:    ports.Origin{RequestID: cmd.RequestID},
	}, nil
}
