package postgres

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// Events are applied in two round trips: the first locks their payments and reads
// what is known of them, Go decides (payment.Judge), and the second writes what was
// decided and commits. One event takes the same road as sixty.

// maxGroupedEvent is the largest body, in bytes, of an event in a group. Stripe's
// have some kilobytes. A larger one goes alone.
const maxGroupedEvent = 32 << 10

// namesOfEvent: deliveries of one event, and events about one payment, never share
// a group. The names need no prefixes: two kinds of id have different forms.
func namesOfEvent(e ports.Event) []string {
	names := []string{e.ID, "", ""}
	if ofPayment(e) {
		names[1] = e.ObjectID
	}

	if e.Intent.PaymentID != uuid.Nil {
		names[2] = e.Intent.PaymentID.String()
	}

	return names
}

// ofPayment tells whether an event is about the payment of an intent.
func ofPayment(e ports.Event) bool { return e.IsIntent || e.AboutMoney }

// knownEvent is what the first trip has found about an event.
type knownEvent struct {
	payment.Known

	// refund is our record of the refund that the event is about; nil if there is none.
	refund *refund.Refund
	// customer is the customer that the event is about; nil if there is none.
	customer *customer.Customer
	// stored is the outcome that the event is stored with; empty if it is new.
	stored ports.EventOutcome
	origin ports.Origin
	// now is the database's clock, if there is a payment.
	now time.Time
}

// decidedEvent is what the second trip writes.
type decidedEvent struct {
	event   ports.Event
	applied ports.Applied
	// again: the event is stored already, parked or unhandled.
	again bool
}

// errMovedOn: what was decided about has changed since it was read. Look again.
var errMovedOn = errors.New("something else was written meanwhile")

// applyAll applies events that arrived together; nil stands for one that has to go
// alone.
func (s *Store) applyAll(ctx context.Context, events []ports.Event) ([]*ports.Applied, error) {
	var answers []*ports.Applied

	err := s.hot.run(ctx, "applying events", func(ctx context.Context, conn *pgxpool.Conn) error {
		return s.inTrips(ctx, "ApplyEvents", conn, func(ctx context.Context, tx *trips) (err error) {
			answers, err = applyKnown(ctx, tx, events)

			return err
		})
	})

	return answers, err
}

// applyOne applies one event, and waits for whoever has locked its payment.
func (s *Store) applyOne(ctx context.Context, e ports.Event) (ports.Applied, error) {
	var applied ports.Applied

	err := s.hot.run(ctx, "applying an event", func(ctx context.Context, conn *pgxpool.Conn) error {
		return lookAgain(func() error {
			return s.inTrips(ctx, "ApplyEvents", conn, func(ctx context.Context, tx *trips) (err error) {
				applied, err = applyAlone(ctx, tx, e)

				return err
			})
		})
	})

	return applied, err
}

// lookAgain repeats what found something changed since it was read. Each time
// somebody else has committed, so that it ends.
func lookAgain(do func() error) (err error) {
	for range maxAttempts {
		if err = do(); !errors.Is(err, errMovedOn) && !hasCode(err, pgerrcode.UniqueViolation) {
			return err
		}
	}

	return err
}

// applyKnown applies those of events that are new and whose payment nobody else has
// locked. It waits for nobody.
func applyKnown(ctx context.Context, tx *trips, events []ports.Event) ([]*ports.Applied, error) {
	known, err := lookUp(ctx, tx, sqlc.LockFreePaymentsByIntent, events)
	if err != nil {
		return nil, err
	}

	answers := make([]*ports.Applied, len(events))
	decided := make([]*decidedEvent, 0, len(events))

	for i, e := range events {
		k := known[i]
		// Somebody may have locked its payment. A dispute, or a refund from the Dashboard, has no mark
		// of ours, and is of our payment all the same.
		may := e.AboutMoney || e.IsIntent && !e.Intent.Unmarked
		if tryAgain(k.stored) || k.stored == "" && may && k.Payment == nil {
			continue
		}

		d := decide(e, k)
		answers[i] = &d.applied

		if d.applied.Outcome != ports.EventDuplicate {
			decided = append(decided, d)
		}
	}

	return answers, store(ctx, tx, decided)
}

// tryAgain tells whether an event that is stored with this outcome is processed once more.
func tryAgain(stored ports.EventOutcome) bool {
	return stored == ports.EventParked || stored == ports.EventUnhandled
}

// applyAlone applies one event, whatever is known of it.
func applyAlone(ctx context.Context, tx *trips, e ports.Event) (ports.Applied, error) {
	all, err := lookUp(ctx, tx, sqlc.LockPaymentsByIntent, []ports.Event{e})
	if err != nil {
		return ports.Applied{}, err
	}

	known := all[0]

	if ofPayment(e) && known.Payment == nil && e.Intent.PaymentID != uuid.Nil {
		if err := lookUpOperation(ctx, tx, e, &known); err != nil {
			return ports.Applied{}, err
		}
	}

	d := decide(e, known)
	if d.applied.Outcome == ports.EventDuplicate || d.applied.Outcome == ports.EventUnfinished {
		return d.applied, nil
	}

	return d.applied, store(ctx, tx, []*decidedEvent{d})
}

// lookUp is the first trip: it locks the payments of events and reads how the events
// are stored, in a statement of its own, whose snapshot is younger than the locks.
func lookUp(ctx context.Context, tx *trips, lock string, events []ports.Event) ([]knownEvent, error) {
	intents, ids := make([]string, 0, len(events)), make([]string, 0, len(events))

	for _, e := range events {
		ids = append(ids, e.ID)

		if ofPayment(e) {
			intents = append(intents, e.ObjectID)
		}
	}

	payments := make(map[string]sqlc.LockPaymentsByIntentRow, len(events))
	stored := make(map[string]string)

	err := tx.send(ctx,
		scanRows(lock, func(rows pgx.Rows) error {
			var r sqlc.LockPaymentsByIntentRow

			err := rows.Scan(&r.ID, &r.Tenant, &r.StripePaymentIntentID, &r.Amount, &r.Currency, &r.Status, &r.IntentStatus,
				&r.CaptureMethod, &r.AmountCapturable, &r.AmountCaptured, &r.CaptureBefore, &r.Declined, &r.PaymentMethod,
				&r.Decline, &r.Version, &r.AmountRefundPending, &r.AmountRefunded, &r.AmountDisputed, &r.Overdrawn,
				&r.DisputeStatus, &r.BlockingDispute, &r.Now, &r.OriginRequestID, &r.OriginTrace)
			payments[r.StripePaymentIntentID] = r

			return err //nolint:wrapcheck // send wraps it
		}, intents),
		selectRows(sqlc.ListEventOutcomes, func(r sqlc.ListEventOutcomesRow) { stored[r.ID] = r.Outcome }, ids))
	if err != nil {
		return nil, err
	}

	customers, err := customersOf(ctx, tx, events)
	if err != nil {
		return nil, err
	}

	refunds, err := refundsOf(ctx, tx, events)
	if err != nil {
		return nil, err
	}

	known := make([]knownEvent, len(events))

	for i, e := range events {
		known[i].stored, known[i].customer = ports.EventOutcome(stored[e.ID]), customers[e.ObjectID]

		if told := e.Money.Refund; told != nil {
			known[i].refund = refunds[told.ID]
		}

		row, ok := payments[e.ObjectID]
		if !ok || !ofPayment(e) {
			continue
		}

		p, err := paymentFromDB(sqlc.Payment{
			ID: row.ID, Tenant: row.Tenant, StripePaymentIntentID: row.StripePaymentIntentID, Amount: row.Amount, Currency: row.Currency,
			Status: row.Status, IntentStatus: row.IntentStatus, CaptureMethod: row.CaptureMethod,
			AmountCapturable: row.AmountCapturable, AmountCaptured: row.AmountCaptured, CaptureBefore: row.CaptureBefore,
			Declined: row.Declined, PaymentMethod: row.PaymentMethod, Decline: row.Decline, Version: row.Version,
			AmountRefundPending: row.AmountRefundPending, AmountRefunded: row.AmountRefunded, AmountDisputed: row.AmountDisputed,
			Overdrawn: row.Overdrawn, DisputeStatus: row.DisputeStatus, BlockingDispute: row.BlockingDispute,
		})
		if err != nil {
			return nil, err
		}

		known[i].Payment, known[i].now = &p, row.Now
		known[i].origin = ports.Origin{RequestID: row.OriginRequestID, TraceParent: row.OriginTrace}
	}

	return known, nil
}

// LetGo implements ports.Inbox.
func (s *Store) LetGo(ctx context.Context, e ports.Event) (gone bool, err error) {
	err = s.hot.run(ctx, "judging a hint again", func(ctx context.Context, conn *pgxpool.Conn) error {
		return s.inTrips(ctx, "LetHintGo", conn, func(ctx context.Context, tx *trips) error {
			known, err := lookUp(ctx, tx, sqlc.LockPaymentsByIntent, []ports.Event{e})
			if err != nil {
				return err
			}

			if gone = known[0].stored != ports.EventHint; gone || known[0].Payment == nil {
				return nil
			}

			if d := decide(e, knownEvent{Known: known[0].Known, refund: known[0].refund}); d.applied.Outcome != ports.EventStale {
				return nil
			}

			gone = true

			return tx.commit(ctx, execute(sqlc.LetHintGo, e.ID))
		})
	})

	return gone, err
}

// lookUpOperation reads the operation that an event without a payment names.
func lookUpOperation(ctx context.Context, tx *trips, e ports.Event, known *knownEvent) error {
	var appeared bool

	err := tx.send(ctx, selectRows(sqlc.GetNamedOperation, func(r sqlc.GetNamedOperationRow) {
		appeared = r.IntentID == e.ObjectID
		known.Operation = &payment.KnownOperation{Ended: r.Ended, InHand: r.InHand}
		known.origin = ports.Origin{RequestID: r.OriginRequestID, TraceParent: r.OriginTrace}
	}, e.Intent.PaymentID))
	if err == nil && appeared {
		err = errMovedOn // its payment was written since the first statement
	}

	return err
}

// decide is what the rules make of an event.
func decide(e ports.Event, known knownEvent) *decidedEvent {
	d := &decidedEvent{event: e, again: tryAgain(known.stored)}
	d.applied.Origin = known.origin

	if known.Payment != nil {
		d.applied.PaymentID = known.Payment.ID
	}

	switch {
	case known.stored != "" && !d.again, known.stored == ports.EventUnhandled && !e.Handled:
		d.applied.Outcome = ports.EventDuplicate
	case !e.Handled:
		d.applied.Outcome = ports.EventUnhandled
	case e.IsCustomer:
		d.judgeCustomer(known)
	case e.AboutMoney:
		d.judgeMoney(known)
	case !e.IsIntent:
		d.applied.Outcome = ports.EventIgnored
	default:
		d.judge(known)
	}

	return d
}

// refundsOf reads the refunds that events are about, by Stripe's ids. Their payments are locked,
// so that nobody changes them.
func refundsOf(ctx context.Context, tx *trips, events []ports.Event) (map[string]*refund.Refund, error) {
	var ids []string

	for _, e := range events {
		if e.Money.Refund != nil {
			ids = append(ids, e.Money.Refund.ID)
		}
	}

	if len(ids) == 0 {
		return nil, nil
	}

	var rows []sqlc.Refund

	err := tx.send(ctx, selectRows(sqlc.ListRefundsByStripeID, func(r sqlc.Refund) { rows = append(rows, r) }, ids))
	if err != nil {
		return nil, err
	}

	known := make(map[string]*refund.Refund, len(rows))

	for _, row := range rows {
		r, err := refundFromDB(row)
		if err != nil {
			return nil, err
		}

		known[r.ProviderID] = &r
	}

	return known, nil
}

// judgeMoney decides about an event of a payment's refunds or disputes. That it is stored is enough
// to keep whoever has read before it from writing (ports.Facts).
func (d *decidedEvent) judgeMoney(known knownEvent) {
	told := d.event.Money
	told.Known = known.refund

	verdict, _ := payment.DecideMoney(told, known.Known)
	d.conclude(verdict)
}

// customersOf reads the customers that events are about. They are not locked: nothing is
// written of what an event says about a customer.
func customersOf(ctx context.Context, tx *trips, events []ports.Event) (map[string]*customer.Customer, error) {
	var ids []string

	for _, e := range events {
		if e.IsCustomer {
			ids = append(ids, e.ObjectID)
		}
	}

	if len(ids) == 0 {
		return nil, nil
	}

	var rows []sqlc.Customer

	err := tx.send(ctx, selectRows(sqlc.ListCustomersByStripeID, func(r sqlc.Customer) { rows = append(rows, r) }, ids))
	if err != nil {
		return nil, err
	}

	known := make(map[string]*customer.Customer, len(rows))

	for _, row := range rows {
		c, err := customerFromDB(row)
		if err != nil {
			return nil, err
		}

		known[row.StripeCustomerID] = &c
	}

	return known, nil
}

// judgeCustomer decides about an event of a customer.
func (d *decidedEvent) judgeCustomer(known knownEvent) {
	told := d.event.Customer

	switch customer.Judge(told.Snapshot, told.Marked, known.customer) {
	case customer.Stale:
		d.applied.Outcome = ports.EventStale
	case customer.Hints:
		d.applied.Outcome = ports.EventHint
	case customer.Foreign:
		d.applied.Outcome, d.event.ObjectID = ports.EventForeign, ""
	}
}

// judge decides about an event of an intent.
func (d *decidedEvent) judge(known knownEvent) {
	e := &d.event
	told := payment.Told{
		Snapshot: e.Intent.Snapshot(), Asks: e.Change, Unmarked: e.Intent.Unmarked, Marked: e.Intent.Marked,
	}

	verdict, after := payment.Decide(told, known.Known)
	if verdict == payment.Applies || verdict == payment.Hints {
		d.applied.Before, d.applied.After = *known.Payment, stamped(after, known.now)
	}

	d.conclude(verdict)
}

// conclude sets what becomes of an event.
func (d *decidedEvent) conclude(verdict payment.Verdict) {
	switch verdict {
	case payment.Applies:
		d.applied.Outcome = ports.EventApplied
	case payment.Hints, payment.Lost:
		d.applied.Outcome = ports.EventHint
	case payment.Stale:
		d.applied.Outcome = ports.EventStale
	case payment.Ignored:
		d.applied.Outcome = ports.EventIgnored
	case payment.Foreign:
		d.applied.Outcome = ports.EventForeign
		d.event.ObjectID, d.event.Raw = "", []byte{} // only the id, the type and the time are kept
	case payment.Contradicts:
		d.applied.Outcome, d.applied.Reason = ports.EventParked, ports.ParkedContradiction
	case payment.Early:
		d.applied.Outcome, d.applied.Reason = ports.EventParked, ports.ParkedUnknown
	case payment.Finishes:
		d.applied.Outcome = ports.EventUnfinished
	}
}

// store is the second trip: it writes what was decided. Rows go in the order of their
// keys, so that two batches never wait for each other.
func store(ctx context.Context, tx *trips, decided []*decidedEvent) error {
	slices.SortFunc(decided, func(a, b *decidedEvent) int { return cmp.Compare(a.event.ID, b.event.ID) })

	var (
		w      eventColumns
		again  int64
		writes []statement
	)

	for _, d := range decided {
		w.add(d)
	}

	if len(w.ids) > 0 {
		writes = append(writes, execute(sqlc.InsertEvents, w.ids, w.types, w.objects, w.payloads, w.outcomes, w.reasons, w.created))
	}

	for _, d := range decided {
		if d.again {
			update := execute(sqlc.ReprocessEvent, string(d.applied.Outcome), optional(string(d.applied.Reason)), d.event.ObjectID,
				d.event.ID)
			update.affected = &again
			writes = append(writes, update)
		}
	}

	slices.SortFunc(w.changes, func(a, b change) int { return bytes.Compare(a.after.ID[:], b.after.ID[:]) })
	writes = append(writes, writeChanges(w.changes)...)

	if w.again == 0 {
		return tx.commit(ctx, writes...)
	}

	// A person may have dismissed one of them meanwhile.
	if err := tx.send(ctx, writes...); err != nil {
		return err
	}

	if again != w.again {
		return errMovedOn
	}

	return tx.commit(ctx)
}

// eventColumns are the columns of what is written.
type eventColumns struct {
	ids, types, objects, outcomes []string
	payloads                      [][]byte
	reasons                       []*string
	created                       []*time.Time

	changes []change
	again   int64
}

func (w *eventColumns) add(d *decidedEvent) {
	e := &d.event

	if d.again {
		w.again++
	} else {
		w.ids, w.types, w.objects = append(w.ids, e.ID), append(w.types, e.Type), append(w.objects, e.ObjectID)
		w.payloads, w.outcomes = append(w.payloads, e.Raw), append(w.outcomes, string(d.applied.Outcome))
		w.reasons = append(w.reasons, optional(string(d.applied.Reason)))
		w.created = append(w.created, optional(e.CreatedAt))
	}

	if d.applied.After.ID != uuid.Nil {
		w.changes = append(w.changes, change{before: d.applied.Before, after: d.applied.After, cause: e.ID})
	}
}
