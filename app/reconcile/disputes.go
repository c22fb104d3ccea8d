package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// openDisputesMost is how many open disputes a scheduled run reads from the provider, one by one.
// Events report changes anyway.
const openDisputesMost = 500

// KnownDisputes finds disputes that are written down.
type KnownDisputes interface {
	DisputesByProviderID(ctx context.Context, ids []string) (map[string]dispute.Dispute, error)
	OpenDisputes(ctx context.Context, after uuid.UUID, limit int) ([]dispute.Dispute, error)
}

// disputes compares the provider's disputes of our payments with ours. One of a payment that is
// not here is another program's, or its payment could not be adopted.
func (run *reconciliation) disputes(ctx context.Context, found listed[ports.DisputeObject]) error {
	for _, odd := range found.odd {
		if err := run.discrepancy(ctx, ports.Discrepancy{Kind: ports.DiscrepancyDispute}, func() error { return odd }); err != nil {
			return err
		}
	}

	ours := slices.DeleteFunc(found.things, func(d ports.DisputeObject) bool {
		return d.IntentID == "" || run.ours.Foreign(d.Live, "")
	})

	for batch := range slices.Chunk(ours, reconcileBatch) {
		ids, intents := make([]string, 0, len(batch)), make([]string, 0, len(batch))
		for _, d := range batch {
			ids, intents = append(ids, d.ProviderID), append(intents, d.IntentID)
		}

		payments, err := run.records.PaymentsByIntent(ctx, intents)
		if err != nil {
			return err
		}

		known, err := run.known.DisputesByProviderID(ctx, ids)
		if err != nil {
			return err
		}

		for _, d := range batch {
			p, ours := payments[d.IntentID]
			if !ours {
				continue
			}

			if err := run.compareDispute(ctx, p, known[d.ProviderID], d); err != nil {
				return err
			}
		}
	}

	return nil
}

// compareDispute reads the payment of a dispute that differs from what is written down.
func (run *reconciliation) compareDispute(
	ctx context.Context, p payment.Payment, known dispute.Dispute, d ports.DisputeObject,
) error {
	if known.Snapshot.SameAs(d.Snapshot) {
		return nil
	}

	differs := ports.Discrepancy{Kind: ports.DiscrepancyDispute, PaymentID: p.ID, IntentID: d.IntentID}

	return run.discrepancy(ctx, differs, func() error {
		_, _, err := run.refresh.Do(ctx, p.ID, string(operation.ByReconciliation))

		return err
	})
}

// sweepDisputes reads the open disputes from the provider: what became of one that is older than
// the lists of this run. A scheduled run begins anywhere, so that it is everybody's turn.
func (run *reconciliation) sweepDisputes(ctx context.Context) error {
	if !run.options.scheduled {
		_, err := run.readDisputes(ctx, uuid.Nil, math.MaxInt)

		return err
	}

	read, err := run.readDisputes(ctx, uuid.New(), openDisputesMost)
	if err == nil && read < openDisputesMost {
		_, err = run.readDisputes(ctx, uuid.Nil, openDisputesMost-read)
	}

	return err
}

// readDisputes reads up to most open disputes with greater ids, and returns how many there were.
func (run *reconciliation) readDisputes(ctx context.Context, after uuid.UUID, most int) (int, error) {
	read := 0

	for read < most {
		open, err := run.known.OpenDisputes(ctx, after, min(reconcileBatch, most-read))
		if err != nil || len(open) == 0 {
			return read, err
		}

		for _, d := range open {
			if err := run.readDispute(ctx, d); err != nil {
				return read, err
			}
		}

		read, after = read+len(open), open[len(open)-1].ID
	}

	return read, nil
}

// readDispute compares one dispute. If the provider gives no answer about it, the run goes on and
// returns the error at its end.
func (run *reconciliation) readDispute(ctx context.Context, d dispute.Dispute) error {
	object, err := again(ctx, func() (ports.DisputeObject, error) { return run.provider.Dispute(ctx, d.ProviderID) })

	switch {
	case errors.Is(err, ports.ErrUnavailable), err != nil && ctx.Err() != nil:
		return fmt.Errorf("reading dispute %s: %w", d.ProviderID, err)
	case err != nil && fault.KindOf(err) == fault.NotFound:
		unknown := ports.Discrepancy{Kind: ports.DiscrepancyContradiction, PaymentID: d.PaymentID}

		return run.discrepancy(ctx, unknown, func() error {
			return fmt.Errorf("the provider does not know dispute %s: %w", d.ProviderID, ports.ErrContradiction)
		})
	case err != nil:
		run.unanswered = errors.Join(run.unanswered, fmt.Errorf("reading dispute %s: %w", d.ProviderID, err))

		return nil
	default:
		return run.compareDispute(ctx, payment.Payment{ID: d.PaymentID}, d, object)
	}
}
