package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// refundsOfIntent are the listed refunds of one intent.
type refundsOfIntent struct {
	intentID string
	listed   []refund.Snapshot
}

// refunds compares the provider's refunds of a window of time with ours, and ours with the
// provider's. Refunds of payments that are not here are not ours, unless they carry our mark.
func (run *reconciliation) refunds(ctx context.Context, found listed[refund.Snapshot], from, to time.Time) error {
	intentOf := func(one refundsOfIntent) string { return one.intentID }

	for batch := range slices.Chunk(run.byIntent(found.things), reconcileBatch) {
		ids := make([]string, 0, len(batch))
		for _, one := range batch {
			ids = append(ids, one.intentID)
		}

		payments, err := run.records.PaymentsByIntent(ctx, ids)
		if err != nil {
			return err
		}

		if err := together(ctx, batch, intentOf, func(ctx context.Context, one refundsOfIntent) error {
			p, known := payments[one.intentID]
			if !known {
				return run.refundsWithoutPayment(ctx, one)
			}

			return run.compareRefunds(ctx, p, one.listed)
		}); err != nil {
			return err
		}

		run.progress()
	}

	return run.unlisted(ctx, found.things, from, to)
}

func (run *reconciliation) byIntent(listed []refund.Snapshot) []refundsOfIntent {
	var (
		grouped []refundsOfIntent
		at      = make(map[string]int)
	)

	for _, s := range listed {
		if s.IntentID == "" || run.ours.Foreign(s.Live, "") {
			continue
		}

		run.report.Refunds++

		i, seen := at[s.IntentID]
		if !seen {
			i = len(grouped)
			at[s.IntentID] = i

			grouped = append(grouped, refundsOfIntent{intentID: s.IntentID})
		}

		grouped[i].listed = append(grouped[i].listed, s)
	}

	return grouped
}

// refundsWithoutPayment brings home the payment of refunds of ours. The payment's refunds come
// with it.
func (run *reconciliation) refundsWithoutPayment(ctx context.Context, one refundsOfIntent) error {
	ours := func(s refund.Snapshot) bool { return s.Ours(run.installation) }
	if !slices.ContainsFunc(one.listed, ours) {
		return nil
	}

	intent, err := again(ctx, func() (ports.Intent, error) { return run.provider.Intent(ctx, one.intentID) })

	switch {
	case err != nil:
		return fmt.Errorf("reading intent %s: %w", one.intentID, err)
	case !intent.Marked || run.ours.ForeignMark(intent):
		d := ports.Discrepancy{Kind: ports.DiscrepancyContradiction, IntentID: one.intentID}

		return run.discrepancy(ctx, d, func() error {
			return fmt.Errorf("intent %s has a refund of ours and does not carry our mark: %w", one.intentID, ports.ErrContradiction)
		})
	}

	if err := run.missing(ctx, intent); err != nil || run.options.DryRun {
		return err
	}

	known, err := run.records.PaymentsByIntent(ctx, []string{one.intentID})
	p, here := known[one.intentID]

	if err != nil || !here {
		return err
	}

	return run.compareRefunds(ctx, p, one.listed)
}

// compareRefunds compares a payment's refunds with those that were listed. What differs is read
// once more, all of the payment's: only they tell which of them give money back.
func (run *reconciliation) compareRefunds(ctx context.Context, p payment.Payment, listed []refund.Snapshot) error {
	full, err := run.known.FullPayment(ctx, p.ID)
	if err != nil {
		return err
	}

	differs := func(s refund.Snapshot) bool {
		at := slices.IndexFunc(full.Refunds, func(r refund.Refund) bool { return r.ProviderID == s.ID })

		return at < 0 || s.Tells(full.Refunds[at])
	}

	if slices.ContainsFunc(listed, differs) {
		if err := run.readRefunds(ctx, full); err != nil {
			return err
		}
	}

	return run.refundOperations(ctx, p, listed)
}

// readRefunds compares a payment's refunds with all that the provider has, and repairs what
// differs.
func (run *reconciliation) readRefunds(ctx context.Context, full ports.FullPayment) error {
	p := full.Payment

	fresh, err := again(ctx, func() ([]refund.Snapshot, error) { return run.provider.RefundsOf(ctx, p.IntentID) })

	switch {
	case errors.Is(err, ports.ErrUnavailable), err != nil && ctx.Err() != nil:
		return fmt.Errorf("reading the refunds of intent %s: %w", p.IntentID, err)
	case err != nil:
		run.lookAgain()

		return nil //nolint:nilerr // the next run looks at it again
	}

	d := ports.Discrepancy{
		Kind: ports.DiscrepancyRefund, PaymentID: p.ID, IntentID: p.IntentID, Status: p.Status, ProviderStatus: p.Status,
	}

	money := refund.OfMoney(fresh, p.Amount.Minor()-p.Received().Minor())
	read := refund.Read(full.Refunds, money, p.ID, run.installation)

	if gone := notListed(full.Refunds, fresh); gone != "" {
		d.Kind = ports.DiscrepancyContradiction

		return run.discrepancy(ctx, d, func() error {
			return fmt.Errorf("the provider does not list refund %s of payment %s: %w", gone, p.ID, ports.ErrContradiction)
		})
	}

	if slices.EqualFunc(full.Refunds, read, refund.Refund.SameAs) {
		return nil
	}

	return run.discrepancy(ctx, d, func() error {
		_, _, err := run.refresh.Do(ctx, p.ID, string(operation.ByReconciliation))

		return err
	})
}

// notListed is a refund that the provider has made, as we know, and that it does not list.
func notListed(known []refund.Refund, listed []refund.Snapshot) string {
	for _, r := range known {
		if r.Made() && !slices.ContainsFunc(listed, func(s refund.Snapshot) bool { return s.ID == r.ProviderID }) {
			return r.ProviderID
		}
	}

	return ""
}

// refundOperations brings home the operations of refunds, where our records of those are home.
// One that is pending is recovery's.
func (run *reconciliation) refundOperations(ctx context.Context, p payment.Payment, listed []refund.Snapshot) error {
	if !run.lossy || run.options.DryRun {
		return nil
	}

	for _, s := range listed {
		if !s.Ours(run.installation) {
			continue
		}

		op, err := run.operations.FindByID(ctx, s.Mark.Operation)

		switch {
		case err != nil && fault.KindOf(err) != fault.NotFound:
			return err
		case err == nil && (op.State == operation.Pending || op.Row().Ends(s.Mark.Fingerprint) != operation.Finishes):
			continue
		}

		d := ports.Discrepancy{Kind: ports.DiscrepancyMissingOperation, IntentID: p.IntentID, PaymentID: p.ID}

		if err := run.discrepancy(ctx, d, func() error {
			return run.engine.AdoptDone(ctx, operation.Refund, p, ports.Object{Refund: s}, operation.ByReconciliation)
		}); err != nil {
			return err
		}
	}

	return nil
}

// unlisted looks at our refunds of a window of time that the provider has not listed in it: the
// times of a refund differ by the time that the request took, and more if something is wrong.
func (run *reconciliation) unlisted(ctx context.Context, listed []refund.Snapshot, from, to time.Time) error {
	ours, err := run.known.RefundsMade(ctx, from, to, windowMost)
	if err != nil {
		return err
	}

	missing := slices.DeleteFunc(ours, func(r refund.Refund) bool {
		return slices.ContainsFunc(listed, func(s refund.Snapshot) bool { return s.ID == r.ProviderID })
	})

	paymentOf := func(r refund.Refund) string { return r.PaymentID.String() }

	return together(ctx, missing, paymentOf, func(ctx context.Context, r refund.Refund) error {
		full, err := run.known.FullPayment(ctx, r.PaymentID)
		if err != nil {
			return err
		}

		return run.readRefunds(ctx, full)
	})
}

// money stores an event about refunds or disputes, if it says something new about its payment.
// An endpoint need not listen to such events, so it is no discrepancy.
func (run *reconciliation) money(ctx context.Context, event ports.Event, p payment.Payment) error {
	full, err := run.known.FullPayment(ctx, p.ID)
	if err != nil {
		return err
	}

	told := event.Money

	for _, r := range full.Refunds {
		if told.Refund != nil && told.Refund.ID == r.ProviderID {
			told.Known = &r
		}
	}

	verdict, _ := payment.DecideMoney(told, payment.Known{Payment: &full.Payment})
	if verdict == payment.Stale || run.options.DryRun {
		return nil
	}

	_, err = run.apply.Do(ctx, event)

	return err
}
