package payments

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Get reads a payment.
type Get struct {
	payments ports.Payments
	spans    ports.Spans
}

// NewGet returns the use case.
func NewGet(payments ports.Payments, spans ports.Spans) *Get {
	return &Get{payments: payments, spans: spans}
}

// Do returns the payment as it is now. If there is none, the error is fault.NotFound.
func (uc *Get) Do(ctx context.Context, id uuid.UUID) (payment.Payment, error) {
	return ports.InSpan(ctx, uc.spans, "app.GetPayment", func(ctx context.Context) (payment.Payment, error) {
		return uc.payments.Payment(ctx, id)
	})
}
