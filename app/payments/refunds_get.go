package payments

import (
	"context"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// GetRefund reads refunds.
type GetRefund struct {
	refunds ports.Refunds
	lives   ports.Incarnations
	spans   ports.Spans
}

// NewGetRefund returns the use case.
func NewGetRefund(refunds ports.Refunds, lives ports.Incarnations, spans ports.Spans) *GetRefund {
	return &GetRefund{refunds: refunds, lives: lives, spans: spans}
}

// Do returns a tenant's refund as it is written down. None: fault.NotFound, or fault.Unavailable while the
// database may have lost it.
func (uc *GetRefund) Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (refund.Refund, error) {
	return ports.InSpan(ctx, uc.spans, "app.GetRefund", func(ctx context.Context) (refund.Refund, error) {
		return findRefundByID(ctx, uc.refunds, uc.lives, tenant, id)
	})
}

// Of returns all refunds of a payment, the newest first. No payment: the errors of Do.
func (uc *GetRefund) Of(ctx context.Context, tenant operation.Tenant, paymentID uuid.UUID) ([]refund.Refund, error) {
	return ports.InSpan(ctx, uc.spans, "app.ListRefundsOfPayment", func(ctx context.Context) ([]refund.Refund, error) {
		f, err := uc.refunds.FullPayment(ctx, paymentID)
		if err == nil && f.Payment.Tenant != tenant {
			f, err = ports.FullPayment{}, errNone()
		}

		if err != nil && fault.KindOf(err) == fault.NotFound {
			err = believeNone(ctx, uc.lives, err)
		}

		newest := make([]refund.Refund, 0, len(f.Refunds))
		for i := range f.Refunds {
			newest = append(newest, f.Refunds[len(f.Refunds)-1-i])
		}

		return newest, err
	})
}

func findRefundByID(
	ctx context.Context, refunds ports.Refunds, lives ports.Incarnations, tenant operation.Tenant, id uuid.UUID,
) (refund.Refund, error) {
	r, err := refunds.Refund(ctx, id)
	if err == nil && r.Tenant != tenant { // as if it were not there
		r, err = refund.Refund{}, fault.New(fault.NotFound, "There is no such refund.")
	}

	if err != nil && fault.KindOf(err) == fault.NotFound {
		err = believeNone(ctx, lives, err)
	}

	return r, err
}
