package app

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/payment"
)

// GetPayment reads a payment.
type GetPayment struct{ deps Deps }

// NewGetPayment returns the use case.
func NewGetPayment(deps Deps) *GetPayment { return &GetPayment{deps: deps} }

// Do returns the payment now. None: fault.NotFound.
func (uc *GetPayment) Do(ctx context.Context, id uuid.UUID) (payment.Payment, error) {
	return inSpan(ctx, uc.deps.Tracer, "app.GetPayment", func(ctx context.Context) (payment.Payment, error) {
		return uc.deps.Payments.Payment(ctx, id)
	})
}
