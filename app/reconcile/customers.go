package reconcile

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Known finds what is written down.
type Known interface {
	KnownDisputes

	// CustomersByProviderID finds customers by the provider's ids.
	CustomersByProviderID(ctx context.Context, ids []string) (map[string]customer.Customer, error)
	// FullPayment is a payment with its refunds and disputes.
	FullPayment(ctx context.Context, id uuid.UUID) (ports.FullPayment, error)
	// RefundsMade are refunds of a time that the provider has made.
	RefundsMade(ctx context.Context, from, to time.Time, limit int) ([]refund.Refund, error)
}

// customers brings home the customers of ours that the provider has and the database has lost.
// What has changed of the others, events tell.
func (run *reconciliation) customers(ctx context.Context, found listed[ports.CustomerObject]) error {
	ours := slices.DeleteFunc(found.things, func(c ports.CustomerObject) bool {
		return !c.Marked || run.ours.Foreign(c.Live, "") || run.ours.ForeignMark(ports.Intent{Mark: c.Mark, Marked: true})
	})

	for batch := range slices.Chunk(ours, reconcileBatch) {
		ids := make([]string, 0, len(batch))
		for _, c := range batch {
			ids = append(ids, c.ID)
		}

		known, err := run.known.CustomersByProviderID(ctx, ids)
		if err != nil {
			return err
		}

		missing := slices.DeleteFunc(slices.Clone(batch), func(c ports.CustomerObject) bool {
			_, here := known[c.ID]

			return here
		})
		id := func(c ports.CustomerObject) string { return c.ID }

		if err := together(ctx, missing, id, run.missingCustomer); err != nil {
			return err
		}
	}

	return nil
}

func (run *reconciliation) missingCustomer(ctx context.Context, c ports.CustomerObject) error {
	d := ports.Discrepancy{Kind: ports.DiscrepancyMissingCustomer, CustomerID: c.Mark.Operation}

	return run.discrepancy(ctx, d, func() error {
		return run.engine.AdoptLost(ctx, ports.Object{Customer: c}, operation.ByReconciliation)
	})
}
