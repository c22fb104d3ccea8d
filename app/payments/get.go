package payments

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Get reads a payment.
type Get struct {
	payments ports.Payments
	lives    ports.Incarnations
	spans    ports.Spans
}

// NewGet returns the use case.
func NewGet(payments ports.Payments, lives ports.Incarnations, spans ports.Spans) *Get {
	return &Get{payments: payments, lives: lives, spans: spans}
}

// Do returns a tenant's payment as it is now. If there is none, the error is fault.NotFound; while
// the database may lack payments that it had, fault.Unavailable.
func (uc *Get) Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (payment.Payment, error) {
	return ports.InSpan(ctx, uc.spans, "app.GetPayment", func(ctx context.Context) (payment.Payment, error) {
		return load(ctx, uc.payments, uc.lives, tenant, id)
	})
}

// load reads a tenant's payment. That there is none is believed only once reconciliation is through
// in the database's present life.
func load(
	ctx context.Context, payments ports.Payments, lives ports.Incarnations, tenant operation.Tenant, id uuid.UUID,
) (payment.Payment, error) {
	p, err := payments.Payment(ctx, id)
	if err := believed(ctx, lives, tenant, p, err); err != nil {
		return payment.Payment{}, err
	}

	return p, nil
}

// believed is what a tenant is told that asked for p, or for what was not found.
func believed(ctx context.Context, lives ports.Incarnations, tenant operation.Tenant, p payment.Payment, err error) error {
	switch {
	case err == nil && p.Tenant == tenant:
		return nil
	case err == nil: // as if it were not there, also in how long the answer takes
		err = errNone()
	case fault.KindOf(err) != fault.NotFound:
		return err
	}

	return believeNone(ctx, lives, err)
}

func errNone() error { return fault.New(fault.NotFound, "There is no such payment.") }

// believeNone is none, the error of whoever has found nothing, once reconciliation is through
// in the database's present life.
func believeNone(ctx context.Context, lives ports.Incarnations, none error) error {
	reconciled, failed := lives.Reconciled(ctx)

	switch {
	case failed != nil:
		return failed
	case !reconciled:
		return fault.Wrap(fault.Unavailable, none,
			"The database has started anew, and what it has is being compared with what the payment provider has. "+
				"What you ask for is not here, or not yet. Try again.").After(comparingRetryAfter)
	default:
		return none
	}
}

// comparingRetryAfter is how long a client is told to wait for reconciliation.
const comparingRetryAfter = 2 * time.Second
