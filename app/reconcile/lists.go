package reconcile

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

const (
	// reconcileBatch is how many events, intents or payments are compared at once.
	reconcileBatch = 100
	// windowMost is how many events, or intents, one window of time may have. A run that
	// is stopped loses at most that much work.
	windowMost = 10 * reconcileBatch
	// firstWindow is the length of the first window. leastWindow is the shortest: the
	// provider's times are whole seconds. A window that was nearly empty or too full
	// makes the next one longer or shorter, by the factor windowStep.
	firstWindow, leastWindow = time.Hour, time.Second
	windowStep               = 4
)

var (
	errTooMany = errors.New("the window of time has too many entries")
	// errStored: an event was parked, for a person or until its payment appears.
	errStored = errors.New("stored, but not applied")
)

// lists compares the provider's events and intents with ours, in windows of time, the
// oldest first. The provider lists the newest first, so a run that was stopped within a
// list could not go on from there. The cursor moves after each window.
func (run *reconciliation) lists(ctx context.Context) error {
	w := window{run: run}

	for from, width := run.report.Since, firstWindow; !from.After(run.until); {
		to := from.Add(width - time.Second)
		if to.After(run.until) {
			to = run.until
		}

		most := windowMost
		if width == leastWindow {
			most = math.MaxInt
		}

		last := to
		if run.anew && to.Equal(run.until) {
			last = to.Add(clockSkew)
		}

		seen, err := w.look(ctx, from, last, most)

		switch {
		case errors.Is(err, errTooMany):
			width = max(to.Sub(from)/windowStep, leastWindow).Truncate(time.Second)

			continue
		case err != nil:
			return err
		}

		if w.whole() {
			run.report.Until = to

			if err := run.moveCursor(ctx, to); err != nil {
				return err
			}
		}

		run.progress()

		if from = to.Add(time.Second); seen < windowMost/(2*windowStep) {
			width *= windowStep
		}
	}

	return w.without()
}

// window reads one window of time after the other.
type window struct {
	run *reconciliation
	// These say why a list cannot be read. The other lists are still read: a key may lack the
	// permission for one of them.
	noEvents, noIntents, noRefunds, noCustomers, noDisputes error
}

// without says which lists cannot be read; nil: none.
func (w *window) without() error {
	return errors.Join(w.noEvents, w.noIntents, w.noRefunds, w.noCustomers, w.noDisputes)
}

// whole tells whether all lists could be read so far.
func (w *window) whole() bool { return w.without() == nil }

// look compares everything between from and to, both included. It returns how many entries the
// longest list has. If a list has more than most, it does nothing
// and returns errTooMany.
func (w *window) look(ctx context.Context, from, to time.Time, most int) (int, error) {
	run := w.run

	var (
		events    listed[ports.Event]
		intents   listed[ports.Intent]
		refunds   listed[refund.Snapshot]
		customers listed[ports.CustomerObject]
		disputes  listed[ports.DisputeObject]
	)

	if w.noEvents == nil {
		events, w.noEvents = list(ctx, "events", most, run.provider.Events(ctx, from, to))
	}

	if w.noIntents == nil {
		intents, w.noIntents = list(ctx, "intents", most, run.provider.Intents(ctx, from, to))
	}

	if w.noRefunds == nil {
		refunds, w.noRefunds = list(ctx, "refunds", most, run.provider.Refunds(ctx, from, to))
	}

	if w.noCustomers == nil {
		customers, w.noCustomers = list(ctx, "customers", most, run.provider.Customers(ctx, from, to))
	}

	if w.noDisputes == nil {
		disputes, w.noDisputes = list(ctx, "disputes", most, run.provider.DisputesBetween(ctx, from, to))
	}

	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx) //nolint:wrapcheck // it says enough
	case errors.Is(w.without(), errTooMany):
		w.forgive()

		return 0, errTooMany
	case w.noEvents != nil && w.noIntents != nil:
		return 0, errors.Join(w.noEvents, w.noIntents)
	}

	seen := max(len(events.things), len(intents.things), len(refunds.things), len(customers.things), len(disputes.things))

	// Customers come first: payments point to them.
	if err := run.customers(ctx, customers); err != nil {
		return 0, err
	}

	if err := run.events(ctx, events); err != nil {
		return 0, err
	}

	if err := run.intents(ctx, intents); err != nil {
		return 0, err
	}

	// Refunds and disputes come last: their payments are home by then.
	if w.noRefunds == nil {
		if err := run.refunds(ctx, refunds, from, to); err != nil {
			return 0, err
		}
	}

	if err := run.disputes(ctx, disputes); err != nil {
		return 0, err
	}

	return seen, run.recount(ctx)
}

// forgive forgets that a list was too long, so that it is read again.
func (w *window) forgive() {
	for _, err := range []*error{&w.noEvents, &w.noIntents, &w.noRefunds, &w.noCustomers, &w.noDisputes} {
		if errors.Is(*err, errTooMany) {
			*err = nil
		}
	}
}

// listed is what a list had, oldest first, and the errors about single entries.
type listed[T any] struct {
	things []T
	odd    []error
}

func list[T any](ctx context.Context, what string, most int, all iter.Seq2[T, error]) (listed[T], error) {
	return again(ctx, func() (listed[T], error) {
		var found listed[T]

		for thing, err := range all {
			// An entry that cannot be read must not block those after it for ever.
			switch {
			case fault.KindOf(err) == fault.Invalid:
				found.odd = append(found.odd, err)
			case err != nil:
				return listed[T]{}, fmt.Errorf("listing the provider's %s: %w", what, err)
			default:
				found.things = append(found.things, thing)
			}

			if len(found.things) > most {
				return listed[T]{}, errTooMany
			}
		}

		slices.Reverse(found.things)

		return found, nil
	})
}

// events applies the provider's events that the inbox does not have.
func (run *reconciliation) events(ctx context.Context, found listed[ports.Event]) error {
	for _, odd := range found.odd {
		if err := run.discrepancy(ctx, ports.Discrepancy{Kind: ports.DiscrepancyMissedEvent}, func() error { return odd }); err != nil {
			return err
		}
	}

	for batch := range slices.Chunk(found.things, reconcileBatch) {
		run.report.Events += len(batch)

		if err := run.applyMissed(ctx, batch); err != nil {
			return err
		}

		// Also of events that are here: they say nothing about operations that are not.
		for _, event := range batch {
			if !event.IsIntent || run.apply.Foreign(event) {
				continue
			}

			if err := run.captured(ctx, event.Intent); err != nil {
				return err
			}
		}

		run.progress()
	}

	return nil
}

func (run *reconciliation) applyMissed(ctx context.Context, batch []ports.Event) error {
	missed, err := run.unknown(ctx, batch)
	if err != nil || len(missed) == 0 {
		return err
	}

	payments, err := run.paymentsOf(ctx, missed)
	if err != nil {
		return err
	}

	object := func(event ports.Event) string { return event.ObjectID }

	return together(ctx, missed, object, func(ctx context.Context, event ports.Event) error {
		p, known := payments[event.ObjectID]

		switch {
		case run.apply.Foreign(event), event.Intent.Unmarked && !known, event.IsCustomer:
			return run.take(ctx, event)
		case event.AboutMoney && known:
			return run.money(ctx, event, p)
		case event.AboutMoney:
			return run.missedEvent(ctx, event)
		case event.Change != "":
			return run.missedEvent(ctx, event)
		case known:
			return run.step(ctx, event, p)
		default:
			return nil
		}
	})
}

// unknown are those events that the inbox does not have.
func (run *reconciliation) unknown(ctx context.Context, batch []ports.Event) ([]ports.Event, error) {
	ids := make([]string, 0, len(batch))
	for _, event := range batch {
		ids = append(ids, event.ID)
	}

	unknown, err := run.records.UnknownEvents(ctx, ids)

	return slices.DeleteFunc(slices.Clone(batch), func(event ports.Event) bool {
		return !slices.Contains(unknown, event.ID)
	}), err
}

func (run *reconciliation) paymentsOf(ctx context.Context, events []ports.Event) (map[string]payment.Payment, error) {
	intents := make([]string, 0, len(events))
	for _, event := range events {
		intents = append(intents, event.ObjectID)
	}

	return run.records.PaymentsByIntent(ctx, intents)
}

func (run *reconciliation) missedEvent(ctx context.Context, event ports.Event) error {
	missed := ports.Discrepancy{Kind: ports.DiscrepancyMissedEvent, EventID: event.ID, EventType: event.Type}

	return run.discrepancy(ctx, missed, func() error {
		applied, err := run.apply.Do(ctx, event)
		if err == nil && applied.Outcome == ports.EventParked {
			run.counting.Lock()
			run.stored = append(run.stored, event.ID)
			run.counting.Unlock()

			err = errStored
		}

		return err
	})
}

// step applies an event of a step on the way, if it says something new about its payment.
// An endpoint need not listen to such events, so it is no discrepancy.
func (run *reconciliation) step(ctx context.Context, event ports.Event, p payment.Payment) error {
	told := payment.Told{Snapshot: event.Intent.Snapshot(), Unmarked: event.Intent.Unmarked}

	verdict, _ := payment.Decide(told, payment.Known{Payment: &p})
	if verdict == payment.Stale || run.options.DryRun {
		return nil
	}

	_, err := run.apply.Do(ctx, event)

	return err
}

// take stores an event that says nothing about our payments, so that it is no discrepancy: it
// is foreign, or hints at a customer, of which an endpoint need not hear.
func (run *reconciliation) take(ctx context.Context, event ports.Event) error {
	if run.options.DryRun {
		return nil
	}

	_, err := run.apply.Take(ctx, event)

	return err
}

// recount finds out which of the stored events were applied after all, because their
// payment has been written in the meantime.
func (run *reconciliation) recount(ctx context.Context) error {
	for _, id := range run.stored {
		event, err := run.inbox.Event(ctx, id)
		if err != nil {
			return fmt.Errorf("event %s: %w", id, err)
		}

		repaired := event.Outcome != ports.EventParked
		if repaired {
			run.report.Repaired[ports.DiscrepancyMissedEvent]++
		}

		d := ports.Discrepancy{
			Kind: ports.DiscrepancyMissedEvent, EventID: id, EventType: event.Type, Repaired: repaired,
		}
		if !repaired {
			d.Cause = errStored
		}

		run.observer.DiscrepancyFound(ctx, d, false)
	}

	run.stored = nil

	return nil
}

// intents compares our intents with their payments.
func (run *reconciliation) intents(ctx context.Context, found listed[ports.Intent]) error {
	ours := slices.DeleteFunc(found.things, func(intent ports.Intent) bool {
		return intent.PaymentID == uuid.Nil || run.ours.Foreign(intent.Live, "") || run.ours.ForeignMark(intent)
	})

	for batch := range slices.Chunk(ours, reconcileBatch) {
		run.report.Intents += len(batch)

		if err := run.compare(ctx, batch); err != nil {
			return err
		}

		run.progress()
	}

	return nil
}

func (run *reconciliation) compare(ctx context.Context, batch []ports.Intent) error {
	ids := make([]string, 0, len(batch))
	for _, intent := range batch {
		ids = append(ids, intent.ID)
	}

	known, err := run.records.PaymentsByIntent(ctx, ids)
	if err != nil {
		return err
	}

	id := func(intent ports.Intent) string { return intent.ID }

	return together(ctx, batch, id, func(ctx context.Context, intent ports.Intent) (err error) {
		if p, ok := known[intent.ID]; ok {
			err = run.compareOne(ctx, p, intent)
		} else {
			err = run.missing(ctx, intent)
		}

		if err == nil {
			err = run.captured(ctx, intent)
		}

		return err
	})
}

// missing adopts an intent of ours that has no payment. Anybody may choose the name
// payment_id for something of their own. So an intent without our mark, which is from an
// older release or from another program, is ours only if we have its operation.
func (run *reconciliation) missing(ctx context.Context, intent ports.Intent) error {
	if !intent.Marked {
		switch _, err := run.operations.FindByID(ctx, intent.PaymentID); {
		case fault.KindOf(err) == fault.NotFound:
			return nil
		case err != nil:
			return err
		}
	}

	d := ports.Discrepancy{Kind: ports.DiscrepancyMissingPayment, IntentID: intent.ID, PaymentID: intent.PaymentID}

	return run.discrepancy(ctx, d, func() error { return run.adopt(ctx, intent) })
}

// captured brings home the operation that has captured an intent. One that is pending is
// recovery's.
func (run *reconciliation) captured(ctx context.Context, intent ports.Intent) error {
	mark := intent.Capture
	if !run.lossy || mark.Kind != operation.Capture || mark.Installation != intent.Mark.Installation {
		return nil
	}

	op, err := run.operations.FindByID(ctx, mark.Operation)

	switch {
	case err != nil && fault.KindOf(err) != fault.NotFound:
		return err
	case err == nil && (op.State == operation.Pending || op.Row().Ends(mark.Fingerprint) != operation.Finishes):
		return nil
	}

	// Its payment may not be home yet. Then it comes by its intent, and this with it.
	known, err := run.records.PaymentsByIntent(ctx, []string{intent.ID})
	p, ok := known[intent.ID]

	if err != nil || !ok {
		return err
	}

	d := ports.Discrepancy{Kind: ports.DiscrepancyMissingOperation, IntentID: intent.ID, PaymentID: p.ID}

	return run.discrepancy(ctx, d, func() error {
		p, fresh, err := run.refresh.Do(ctx, p.ID, string(operation.ByReconciliation))
		if err != nil {
			return err
		}

		return run.engine.AdoptDone(ctx, operation.Capture, p, ports.Object{Intent: fresh}, operation.ByReconciliation)
	})
}

// compareOne compares a payment with what a list, or a read, said of its intent. The
// payment may have changed since, so what differs is read once more.
func (run *reconciliation) compareOne(ctx context.Context, p payment.Payment, intent ports.Intent) error {
	if run.ours.Foreign(intent.Live, "") {
		return run.discrepancy(ctx, differ(ports.DiscrepancyContradiction, p, intent), func() error {
			return fmt.Errorf("intent %s is of another mode: %w", intent.ID, ports.ErrContradiction)
		})
	}

	if verdict, _ := payment.Read(p, intent.Snapshot()); verdict == payment.Stale {
		return nil
	}

	fresh, err := again(ctx, func() (ports.Intent, error) { return run.provider.Intent(ctx, p.IntentID) })

	switch {
	case errors.Is(err, ports.ErrUnavailable), err != nil && ctx.Err() != nil:
		return fmt.Errorf("reading intent %s: %w", p.IntentID, err)
	case err != nil:
		run.lookAgain()

		return run.judge(ctx, p, fresh, err)
	}

	kind := ports.DiscrepancyStatus

	switch verdict, after := payment.Read(p, fresh.Snapshot()); {
	case verdict == payment.Stale:
		return nil
	case verdict == payment.Contradicts:
		kind = ports.DiscrepancyContradiction
	case p.Status == after.Status && p.Captured == after.Captured:
		return run.follow(ctx, p)
	}

	return run.discrepancy(ctx, differ(kind, p, fresh), func() error {
		_, _, err := run.refresh.Do(ctx, p.ID, string(operation.ByReconciliation))

		return err
	})
}

// follow takes over a step on the way to be paid. It is no discrepancy: an endpoint need
// not listen to the events of such steps.
func (run *reconciliation) follow(ctx context.Context, p payment.Payment) error {
	if run.options.DryRun {
		return nil
	}

	_, _, err := run.refresh.Do(ctx, p.ID, string(operation.ByReconciliation))
	if errors.Is(err, ports.ErrContradiction) || fault.KindOf(err) == fault.NotFound {
		return nil // the next run compares again
	}

	return err
}

func differ(kind ports.DiscrepancyKind, p payment.Payment, intent ports.Intent) ports.Discrepancy {
	return ports.Discrepancy{
		Kind: kind, PaymentID: p.ID, IntentID: intent.ID, Status: p.Status, ProviderStatus: intent.Status,
	}
}

// adopt writes the payment of an intent that has none. Its operation is there, unless the
// database has lost it.
func (run *reconciliation) adopt(ctx context.Context, intent ports.Intent) error {
	if intent.ClientSecret == "" {
		whole, err := run.provider.Intent(ctx, intent.ID)
		if err != nil {
			return fmt.Errorf("reading intent: %w", err)
		}

		intent = whole
	}

	object := ports.Object{Intent: intent}

	op, err := run.operations.FindByID(ctx, intent.PaymentID)

	switch {
	case err == nil:
		run.observer.Link(ctx, op.Origin)

		_, err = run.engine.Finish(ctx, op, object, operation.ByReconciliation)
	case fault.KindOf(err) == fault.NotFound:
		err = run.engine.AdoptLost(ctx, object, operation.ByReconciliation)
	}

	return err
}
