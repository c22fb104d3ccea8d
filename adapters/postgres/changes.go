package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres/internal/sqlc"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// change is what becomes of a payment that is locked.
type change struct {
	before, after payment.Payment
	cause         string
}

// writeChanges writes payments as they are now, and their history. They are in the order
// of their ids.
func writeChanges(changes []change) []statement {
	if len(changes) == 0 {
		return nil
	}

	var (
		w                paymentColumns
		from, to, causes []string
		details          []statement
	)

	for _, c := range changes {
		w.add(c.after)

		if !sameDetails(c.before, c.after) {
			details = append(details, execute(sqlc.UpdateDetails, nullableJSON(c.after.Metadata), optional(c.after.Description),
				c.after.ID))
		}

		from, to = append(from, string(c.before.Status)), append(to, string(c.after.Status))
		causes = append(causes, c.cause)
	}

	details = append(details,
		execute(sqlc.UpdatePayments, w.ids, w.states, w.amounts, w.intentStatuses, w.methods, w.capturable, w.captured,
			w.before, w.declined, w.paidBy, w.declines, w.versions, w.updated, w.refundPending, w.refunded, w.disputed,
			w.overdrawn, w.disputes, w.blocking))

	if slices.Equal(from, to) { // their statuses stay
		return details
	}

	return append(details, execute(sqlc.InsertTransitions, w.ids, from, to, causes))
}

// sameDetails tells whether nothing differs that only a client changes.
func sameDetails(p, q payment.Payment) bool {
	return p.Description == q.Description && maps.Equal(p.Metadata, q.Metadata)
}

// paymentColumns are the columns of payments that may change.
type paymentColumns struct {
	ids                             []uuid.UUID
	states, intentStatuses, methods []string
	amounts, capturable, captured   []pgtype.Numeric
	before, updated                 []time.Time
	declined                        []bool
	// paidBy are the methods of the last attempts, and declines why they were declined.
	paidBy, declines []string
	versions         []int64
	// disputes are what Stripe calls their disputes, and blocking those that block refunds.
	refundPending, refunded, disputed, overdrawn []pgtype.Numeric
	disputes                                     []string
	blocking                                     []uuid.UUID
}

func (w *paymentColumns) add(p payment.Payment) {
	w.ids, w.states = append(w.ids, p.ID), append(w.states, string(p.Status))
	w.intentStatuses = append(w.intentStatuses, string(p.IntentStatus))
	w.methods, w.amounts = append(w.methods, string(p.CaptureMethod)), append(w.amounts, amountToDB(p.Amount))
	w.capturable, w.captured = append(w.capturable, moneyToDB(p.Capturable)), append(w.captured, moneyToDB(p.Captured))
	w.before, w.updated = append(w.before, p.CaptureBefore), append(w.updated, p.UpdatedAt)
	w.declined, w.versions = append(w.declined, p.Declined), append(w.versions, p.Version)
	w.paidBy, w.declines = append(w.paidBy, methodToDB(p.Method)), append(w.declines, declineToDB(p.Decline))

	sum := func(m money.Money) pgtype.Numeric { return moneyToDB(money.Of(m.Minor(), p.Amount.Currency())) }
	w.refundPending, w.refunded = append(w.refundPending, sum(p.RefundPending)), append(w.refunded, sum(p.Refunded))
	w.disputed, w.overdrawn = append(w.disputed, sum(p.Disputed)), append(w.overdrawn, sum(p.Overdrawn))
	w.disputes, w.blocking = append(w.disputes, p.DisputeStatus), append(w.blocking, p.BlockedBy)
}

// stamped is p with the version and the time of a change that is written now, by the
// database's clock.
func stamped(p payment.Payment, now time.Time) payment.Payment {
	p.Version, p.UpdatedAt = p.NextVersion(now), now.UTC()

	return p
}

// lockedPayment has the columns of sqlc.LockPayment and the like, in their order.
type lockedPayment struct {
	sqlc.Payment

	Now time.Time
}

// lockPayment waits for whoever has locked a payment. now is the database's clock.
func lockPayment(ctx context.Context, tx *trips, id uuid.UUID) (p payment.Payment, now time.Time, err error) {
	var rows []lockedPayment

	err = tx.send(ctx, selectRows(sqlc.LockPayment, func(r lockedPayment) { rows = append(rows, r) }, id))

	switch {
	case err != nil:
		return p, now, err
	case len(rows) == 0:
		return p, now, fmt.Errorf("payment %s: %w", id, pgx.ErrNoRows)
	}

	p, err = paymentFromDB(rows[0].Payment)

	return p, rows[0].Now, err
}

// finishing is an operation that is to be finished on its payment.
type finishing struct {
	id     uuid.UUID
	cause  string
	change ports.Change
}

// isOfAnother tells whether it was done for something else than the operation asks.
func (f finishing) isOfAnother() bool { return f.change.Fingerprint != (operation.Fingerprint{}) }

// namesOfFinishing: operations on one payment never share a group.
func namesOfFinishing(f finishing) []string { return []string{f.change.Subject.String()} }

// FinishOn implements ports.Operations.
func (s *Store) FinishOn(ctx context.Context, id uuid.UUID, cause string, c ports.Change) (ports.Finished, error) {
	if c.Full == nil || c.Subject == uuid.Nil || ctx.Err() != nil {
		return s.finishOn(ctx, id, cause, c, nil)
	}

	f := finishing{id, cause, c}

	return s.changes.do(ctx, f, func() (ports.Finished, error) { return s.finishLoneOn(ctx, f) })
}

// finishLoneOn does what a group does, for one. What that leaves out is looked at.
func (s *Store) finishLoneOn(ctx context.Context, f finishing) (ports.Finished, error) {
	answers, err := s.finishAllOn(ctx, []finishing{f})

	switch {
	case err == nil && answers[0] != nil:
		return *answers[0], nil
	case isInDoubt(err):
		finished, err := s.finishOn(ctx, f.id, f.cause, f.change, nil)

		return finished, stillInDoubt(err)
	case err != nil:
		return ports.Finished{}, err
	default:
		return s.finishOn(ctx, f.id, f.cause, f.change, nil)
	}
}

// finishAllOn finishes operations that are pending, each on another payment, in two round trips;
// nil stands for what is left out: what is not simple, or what somebody else has locked.
func (s *Store) finishAllOn(ctx context.Context, all []finishing) ([]*ports.Finished, error) {
	var done map[uuid.UUID]*ports.Finished

	err := s.hot.run(ctx, "finishing operations", func(ctx context.Context, conn *pgxpool.Conn) (err error) {
		var seen bool
		if done, seen, err = s.finishSeen(ctx, conn, all); seen {
			return err
		}

		return s.inTrips(ctx, "FinishOperations", conn, func(ctx context.Context, tx *trips) (err error) {
			done, err = finishFreeOn(ctx, tx, all)

			return err
		})
	})
	if err != nil {
		return nil, err
	}

	return mapped(all, func(f finishing) *ports.Finished { return done[f.id] }), nil
}

func finishFreeOn(ctx context.Context, tx *trips, all []finishing) (map[uuid.UUID]*ports.Finished, error) {
	rows := make(map[uuid.UUID]sqlc.Operation, len(all))

	locked, now, err := lockAll(ctx, tx, sqlc.LockFreePayments,
		mapped(all, func(f finishing) uuid.UUID { return f.change.Subject }),
		selectRows(sqlc.LockFreeOperations, func(r sqlc.Operation) { rows[r.ID] = r },
			mapped(all, func(f finishing) uuid.UUID { return f.id })))
	if err != nil {
		return nil, err
	}

	w := finishColumns{now: now}
	done := make(map[uuid.UUID]*ports.Finished, len(all))

	for _, f := range all {
		before, here := locked[f.change.Subject]
		row, free := rows[f.id]

		if !here || !free || row.Subject.UUID != f.change.Subject || f.isOfAnother() {
			continue
		}

		if finished, err := w.decide(f, before, row.Fingerprint); err == nil { // else alone it fails again
			done[f.id] = finished
		}
	}

	if len(done) == 0 {
		return nil, nil
	}

	return done, w.write(ctx, done, tx.commit)
}

// finishColumns are the columns of what is written.
type finishColumns struct {
	ids                  []uuid.UUID
	statuses             []int16
	bodies, fingerprints [][]byte
	afters               []string

	changes []fullChange
	// now is when, by the database's clock.
	now time.Time
}

// decide decides what becomes of a payment when an operation with that fingerprint is finished on it.
func (w *finishColumns) decide(f finishing, before ports.FullPayment, fingerprint []byte) (*ports.Finished, error) {
	finished := new(ports.Finished)

	changes, response, err := decidedFull(before, w.now, f.cause, f.change.Full, finished)
	if err != nil {
		return nil, err
	}

	w.changes = append(w.changes, changes...)
	w.afters = append(w.afters, changedToDB(finished.Before, finished.After))
	w.ids, w.statuses = append(w.ids, f.id), append(w.statuses, int16(response.Status)) //nolint:gosec // an HTTP status
	w.bodies, w.fingerprints = append(w.bodies, bodyToDB(response.Body)), append(w.fingerprints, fingerprint)

	return finished, nil
}

// write writes, and completes done. by is to commit that.
func (w *finishColumns) write(
	ctx context.Context, done map[uuid.UUID]*ports.Finished, by func(context.Context, ...statement) error,
) error {
	slices.SortFunc(w.changes, func(a, b fullChange) int { return bytes.Compare(a.after.Payment.ID[:], b.after.Payment.ID[:]) })

	rows := make([]sqlc.Operation, 0, len(w.ids))

	err := by(ctx, append(writeFull(w.changes, w.now),
		selectRows(sqlc.FinishOperations, func(r sqlc.Operation) { rows = append(rows, r) },
			w.ids, w.statuses, w.bodies, w.fingerprints, w.afters, true))...)

	for _, row := range rows {
		if err == nil {
			done[row.ID].Operation, err = operationFromDB(row, row.UpdatedAt.Sub(row.CreatedAt).Seconds(), uuid.Nil)
		}
	}

	return err
}

// finishOn finishes an operation on a payment, in one commit with a person's decision if
// there is one.
func (s *Store) finishOn(
	ctx context.Context, id uuid.UUID, cause string, c ports.Change, entry *ports.AuditEntry,
) (ports.Finished, error) {
	var finished ports.Finished

	err := s.hot.run(ctx, "finishing an operation", func(ctx context.Context, conn *pgxpool.Conn) error {
		return s.inTrips(ctx, "FinishOperation", conn, func(ctx context.Context, tx *trips) (err error) {
			finished, err = s.finishLockedOn(ctx, tx, id, cause, c, entry)

			return err
		})
	})

	return finished, errNoOperation(err)
}

func (s *Store) finishLockedOn(
	ctx context.Context, tx *trips, id uuid.UUID, cause string, c ports.Change, entry *ports.AuditEntry,
) (finished ports.Finished, err error) {
	var (
		row    sqlc.Operation
		exists bool
	)

	err = tx.send(ctx, selectRows(sqlc.LockOperations, func(r sqlc.Operation) { row, exists = r, true }, id))

	switch {
	case err != nil:
		return finished, err
	case !exists:
		return finished, pgx.ErrNoRows
	}

	if finished.Operation, err = operationFromDB(row, row.UpdatedAt.Sub(row.CreatedAt).Seconds(), uuid.Nil); err != nil {
		return finished, err
	}

	// What somebody else has finished stands, unless it was refused, and this was done for a
	// request that the database has lost.
	other := c.Fingerprint != (operation.Fingerprint{}) && finished.Operation.Row().Ends(c.Fingerprint) == operation.Finishes
	if finished.Operation.Finished() && !other {
		return finished, tx.commit(ctx)
	}

	writes, response, err := s.decideOnPayment(ctx, tx, row.Subject.UUID, cause, c, &finished)
	if err != nil {
		return finished, err
	}

	fingerprint := finished.Operation.Fingerprint
	if c.Fingerprint != (operation.Fingerprint{}) && c.Fingerprint != fingerprint {
		fingerprint = c.Fingerprint
		writes = append(writes, takeOrder(id, c.Fingerprint, c.Order))
	}

	writes = append(writes,
		selectRows(sqlc.FinishOperations, func(r sqlc.Operation) { row = r }, []uuid.UUID{id},
			[]int16{int16(response.Status)}, [][]byte{bodyToDB(response.Body)}, //nolint:gosec // an HTTP status
			[][]byte{fingerprint[:]}, []string{changedToDB(finished.Before, finished.After)}, true))

	if entry != nil {
		audit, err := insertAudit(*entry)
		if err != nil {
			return finished, err
		}

		writes = append(writes, audit)
	}

	if err := tx.commit(ctx, writes...); err != nil {
		return finished, err
	}

	finished.Operation, err = operationFromDB(row, row.UpdatedAt.Sub(row.CreatedAt).Seconds(), uuid.Nil)

	return finished, err
}

// decideOnPayment locks the payment of an operation and decides what becomes of it. It returns
// what is to be written, and the answer.
func (s *Store) decideOnPayment(
	ctx context.Context, tx *trips, paymentID uuid.UUID, cause string, c ports.Change, finished *ports.Finished,
) ([]statement, ports.FrozenResponse, error) {
	if c.Full != nil {
		return decideFull(ctx, tx, paymentID, cause, c.Full, finished)
	}

	before, now, err := lockPayment(ctx, tx, paymentID)
	if err != nil {
		return nil, ports.FrozenResponse{}, err
	}

	changes, response, err := decided(before, now, cause, c.Decide)
	if err != nil {
		return nil, response, err
	}

	finished.Before, finished.After = before, before
	for _, made := range changes {
		finished.After = made.after
	}

	writes := writeChanges(changes)

	for _, made := range changes {
		if !maps.Equal(made.before.Metadata, made.after.Metadata) {
			writes = append(writes, s.indexAnew(made.before)...)
		}
	}

	return writes, response, nil
}

// decideFull is decideOnPayment for an operation on refunds or disputes.
func decideFull(
	ctx context.Context, tx *trips, paymentID uuid.UUID, cause string, decide ports.DecideFull, finished *ports.Finished,
) ([]statement, ports.FrozenResponse, error) {
	before, now, err := lockFull(ctx, tx, paymentID)
	if err != nil {
		return nil, ports.FrozenResponse{}, err
	}

	changes, response, err := decidedFull(before, now, cause, decide, finished)

	return writeFull(changes, now), response, err
}

// decidedFull is what becomes of a payment that is locked, and of what belongs to it: one change or
// none, as with decided.
func decidedFull(
	before ports.FullPayment, now time.Time, cause string, decide ports.DecideFull, finished *ports.Finished,
) ([]fullChange, ports.FrozenResponse, error) {
	after, response, err := decide(stampedFull(before, now))
	if err != nil {
		return nil, response, err
	}

	finished.Before, finished.After = before.Payment, before.Payment
	finished.FullBefore, finished.FullAfter = before, before

	if !changesFull(before, after) {
		_, response, err = decide(before)

		return nil, response, err
	}

	finished.After, finished.FullAfter = after.Payment, after

	return []fullChange{{before: before, after: after, cause: cause}}, response, nil
}

// changesFull tells whether a payment, or what belongs to it, is to be written.
func changesFull(before, after ports.FullPayment) bool {
	return changes(before.Payment, after.Payment) || !sameBelongings(before, after)
}

// decided is what becomes of a payment that is locked: one change or none. Where nothing
// changes, the answer shows the payment as it stays, so decide is asked once more.
func decided(
	before payment.Payment, now time.Time, cause string, decide ports.Decide,
) ([]change, ports.FrozenResponse, error) {
	after, response, err := decide(stamped(before, now))
	if err != nil {
		return nil, response, err
	}

	if !changes(before, after) {
		_, response, err = decide(before)

		return nil, response, err
	}

	return []change{{before: before, after: after, cause: cause}}, response, nil
}

// changes tells whether a payment is to be written. Its version and its time are no change.
func changes(before, after payment.Payment) bool {
	return !before.SameAs(after) || before.Amount != after.Amount || !sameDetails(before, after)
}

// Write implements ports.Facts.
func (s *Store) Write(
	ctx context.Context, f ports.FullPayment, lost []ports.NewOperation, outcome ports.EventOutcome, cause string,
) (bool, error) {
	others := []statement{execute(sqlc.ResolveHints, string(outcome), f.Payment.IntentID)}
	if len(lost) > 0 {
		others = append(others, insertLost(lost))
	}

	return s.writeFacts(ctx, f, cause, uuid.Nil, others...)
}

// Accept implements ports.Facts.
func (s *Store) Accept(ctx context.Context, f ports.FullPayment, entry ports.AuditEntry) (bool, error) {
	audit, err := insertAudit(entry)
	if err != nil {
		return false, err
	}

	return s.writeFacts(ctx, f, string(operation.ByPerson), entry.ID,
		execute(sqlc.ResolveHints, string(ports.EventApplied), f.Payment.IntentID),
		execute(sqlc.DismissContradictions, f.Payment.IntentID), audit)
}

// insertLost writes operations that the database has lost. One that is there stays as it is.
func insertLost(lost []ports.NewOperation) statement {
	return executeBegin(operationsToDB(lost), func(sqlc.BeginOperationsRow) {})
}

// writeFacts writes f, if nothing has changed or was heard since it was loaded, and runs
// the other statements in the same commit. decision is the id of the person's decision that is
// one of them.
func (s *Store) writeFacts(
	ctx context.Context, f ports.FullPayment, cause string, decision uuid.UUID, others ...statement,
) (bool, error) {
	var (
		written bool
		// after is what the last attempt has sent. If its answer was lost, the next one may
		// find it.
		after payment.Payment
	)

	err := s.hot.run(ctx, "writing what was read of a payment", func(ctx context.Context, conn *pgxpool.Conn) error {
		return s.inTrips(ctx, "WriteFacts", conn, func(ctx context.Context, tx *trips) error {
			var heard int64

			before, now, err := lockFull(ctx, tx, f.Payment.ID, hears(f.Payment.IntentID, &heard))
			if err != nil {
				return err
			}

			decided, err := hasAudit(ctx, tx, decision)
			if err != nil {
				return err
			}

			if written = decided || before.Payment.Version == after.Version && before.Payment.SameAs(after); written {
				return nil
			}

			if written = before.Payment.Version == f.Payment.Version && heard == f.Heard; !written {
				return nil
			}

			writes := others

			if changesFull(before, f) {
				stampedNow := stampedFull(f, now)
				after = stampedNow.Payment
				writes = append(writeFull([]fullChange{{before: before, after: stampedNow, cause: cause}}, now), others...)
			}

			return tx.commit(ctx, writes...)
		})
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, fault.Newf(fault.NotFound, "There is no payment %s.", f.Payment.ID)
	}

	return written, err
}
