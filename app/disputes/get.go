// Package disputes has the use cases of disputes: each is one file. Disputes themselves are read
// and written with their payments (app/payments, refresh.go).
package disputes

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// retryAfter is how long a client is told to wait for the provider or for reconciliation.
const retryAfter = 2 * time.Second

// Get reads a dispute.
type Get struct {
	disputes ports.Disputes
	lives    ports.Incarnations
	spans    ports.Spans
}

// NewGet returns the use case.
func NewGet(disputes ports.Disputes, lives ports.Incarnations, spans ports.Spans) *Get {
	return &Get{disputes: disputes, lives: lives, spans: spans}
}

// Do returns a tenant's dispute as it is now. If there is none, the error is fault.NotFound; while the
// database may lack disputes that it had, fault.Unavailable.
func (uc *Get) Do(ctx context.Context, tenant operation.Tenant, id uuid.UUID) (dispute.Dispute, error) {
	return ports.InSpan(ctx, uc.spans, "app.GetDispute", func(ctx context.Context) (dispute.Dispute, error) {
		return load(ctx, uc.disputes, uc.lives, tenant, id)
	})
}

// load reads a tenant's dispute.
func load(
	ctx context.Context, disputes ports.Disputes, lives ports.Incarnations, tenant operation.Tenant, id uuid.UUID,
) (dispute.Dispute, error) {
	d, err := disputes.Dispute(ctx, id)

	switch {
	case err == nil && d.Tenant == tenant:
		return d, nil
	case err == nil: // as if it were not there, also in how long the answer takes
		err = errNone()
	case fault.KindOf(err) != fault.NotFound:
		return d, err
	}

	return dispute.Dispute{}, believeNone(ctx, lives, err)
}

func errNone() error { return fault.New(fault.NotFound, "There is no such dispute.") }

// believeNone is none, the error of whoever has found nothing, once reconciliation is through in
// the database's present life.
func believeNone(ctx context.Context, lives ports.Incarnations, none error) error {
	reconciled, err := lives.Reconciled(ctx)

	switch {
	case err != nil:
		return err
	case !reconciled:
		return fault.Wrap(fault.Unavailable, none, "The database has started anew, and is being compared with the payment "+
			"provider. What you ask for is not here, or not yet. Try again.").After(retryAfter)
	default:
		return none
	}
}
