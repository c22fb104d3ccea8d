package portstest

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Decisions is the contract of ports.Decisions. Each call of newBed gives an
// empty store.
func Decisions(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"Operation/as people see it":                 operationShown,
		"Operation/none is NotFound":                 operationNotFound,
		"Operations/unfinished first, oldest first":  operationsListed,
		"Operations/filtered and limited":            operationsFiltered,
		"Close/freezes the answer, with its audit":   closeFreezes,
		"Close/once for one entry":                   closeRepeated,
		"Close/only as it was decided about":         closeMoved,
		"Close/not while somebody works on it":       closeInHand,
		"Close/not where a payment exists":           closePaid,
		"Close/none is NotFound":                     closeNotFound,
		"Close/against Finish, one wins":             closeAgainstFinish,
		"Close/many at once, one is written":         closeByMany,
		"Adopt/finishes, with its audit":             adoptFinishes,
		"Adopt/gives an open payment its answer":     adoptOpenPayment,
		"Adopt/once for one entry":                   adoptRepeated,
		"Adopt/a finished one has moved":             adoptFinished,
		"Adopt/another payment's intent contradicts": adoptTakenIntent,
		"Adopt/none is NotFound":                     adoptNotFound,
		"Adopt/against Finish, one payment":          adoptAgainstFinish,
		"Adopt/against Close, one wins":              adoptAgainstClose,
		"Dismiss/neither applied nor counted again":  dismissEnds,
		"Dismiss/once for one entry":                 dismissRepeated,
		"Dismiss/only a parked one":                  dismissMoved,
		"Dismiss/none is NotFound":                   dismissNotFound,
		"Dismiss/against Apply, one wins":            dismissAgainstApply,
		"Undismiss/parked again, and applied":        undismissParks,
		"Undismiss/only a dismissed one":             undismissMoved,
		"Undismiss/dismissed again":                  undismissAndDismiss,
	})
}

// Audit is the contract of ports.Audit.
func Audit(t *testing.T, newBed func(tb testing.TB) StoreBed) {
	t.Helper()

	runStore(t, newBed, map[string]func(*testing.T, StoreBed){
		"AuditOf/every field, oldest first":         auditFields,
		"AuditOf/of the objects that are asked for": auditOfSome,
	})
}

func entryFor(tb testing.TB, action ports.AuditAction, objectID string) ports.AuditEntry {
	tb.Helper()

	id, err := uuid.NewV7()
	require.NoError(tb, err)

	return ports.AuditEntry{
		ID: id, Actor: "cli:me@here", Action: action, ObjectType: "operation", ObjectID: objectID, Reason: "judged",
		Before: map[string]any{"state": "before"}, After: map[string]any{"state": "after"},
	}
}

// mustGiveUp makes an operation that needs attention and that nobody works on.
func (b StoreBed) mustGiveUp(tb testing.TB, key operation.Key) ports.Operation {
	tb.Helper()

	op := b.mustBegin(tb, newOperation(tb, key))
	require.NoError(tb, b.GiveUp(tb.Context(), op.PaymentID, errors.New("not to be found")))
	b.Elapse(tb, lease+time.Second)

	return b.operationNow(tb, op.PaymentID)
}

func (b StoreBed) details(tb testing.TB, id uuid.UUID) ports.OperationDetails {
	tb.Helper()

	op, err := b.Operation(tb.Context(), id)
	require.NoError(tb, err)

	return op
}

// requireAudit: exactly the entries were written about the object.
func (b StoreBed) requireAudit(tb testing.TB, objectID string, want ...ports.AuditEntry) {
	tb.Helper()

	entries, err := b.Twin.AuditOf(tb.Context(), objectID)
	require.NoError(tb, err)
	require.Len(tb, entries, len(want))

	for i, entry := range entries {
		require.WithinDuration(tb, time.Now(), entry.At, time.Minute)
		require.Equal(tb, time.UTC, entry.At.Location())

		want[i].At = entry.At
		require.Equal(tb, want[i], entry)
	}
}

func (b StoreBed) close(
	tb testing.TB, id uuid.UUID, state operation.State, entry ports.AuditEntry,
) (ports.Operation, error) {
	tb.Helper()

	return b.Close(tb.Context(), id, state, rejection(), entry)
}

func operationShown(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustBegin(t, newOperation(t, "order_1"))

	shown := b.details(t, held.PaymentID)
	require.True(t, shown.InHand)
	require.Empty(t, shown.LastError)
	require.True(t, shown.RetryAt.After(held.CreatedAt))

	want := b.operationNow(t, held.PaymentID)
	want.Age, shown.Age = 0, 0
	require.Equal(t, want, shown.Operation)

	require.NoError(t, b.Release(t.Context(), held, time.Hour, errors.New("no answer")))

	shown = b.details(t, held.PaymentID)
	require.False(t, shown.InHand)
	require.Equal(t, "no answer", shown.LastError)

	given := b.mustGiveUp(t, "order_2")
	require.False(t, b.details(t, given.PaymentID).InHand)
	require.Zero(t, b.details(t, given.PaymentID).RetryAt, "nobody tries it again")

	byKey, err := b.Twin.OperationByKey(t.Context(), "order_2")
	require.NoError(t, err)
	require.Equal(t, given.PaymentID, byKey.PaymentID)
	require.Equal(t, "not to be found", byKey.LastError)

	paid := b.mustPay(t, "order_3")
	require.True(t, b.details(t, paid.ID).Finished())
	require.False(t, b.details(t, paid.ID).InHand)
}

func operationNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Operation(t.Context(), uuid.New())
	requireNotFound(t, err)

	_, err = b.OperationByKey(t.Context(), "order_1")
	requireNotFound(t, err)
}

var everyState = []operation.State{
	operation.Pending, operation.NeedsAttention, operation.Finished,
}

func operationsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Operations(t.Context(), everyState, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	want := make([]uuid.UUID, 0, 5)

	// Each is a while older than the next.
	for _, key := range []operation.Key{"first", "second", "third"} {
		want = append(want, b.mustBegin(t, newOperation(t, key)).PaymentID)
		b.Elapse(t, time.Minute)
	}

	require.NoError(t, b.GiveUp(t.Context(), want[1], errors.New("given up")))

	older, newer := b.mustPay(t, "paid first"), b.mustPay(t, "paid then")
	want = append(want, newer.ID, older.ID)

	listed, err := b.Operations(t.Context(), everyState, 10)
	require.NoError(t, err)
	require.Equal(t, want, operationIDs(listed))
}

func operationsFiltered(t *testing.T, b StoreBed) {
	t.Helper()

	pending := b.mustBegin(t, newOperation(t, "pending")).PaymentID
	given := b.mustGiveUp(t, "given up").PaymentID
	paid := b.mustPay(t, "paid").ID
	turnedDown := b.mustBegin(t, newOperation(t, "rejected order")).PaymentID
	_, err := b.FinishRejected(t.Context(), turnedDown, rejection())
	require.NoError(t, err)

	for state, want := range map[operation.State][]uuid.UUID{
		operation.Pending:        {pending},
		operation.NeedsAttention: {given},
		operation.Finished:       {turnedDown, paid},
	} {
		listed, err := b.Operations(t.Context(), []operation.State{state}, 10)
		require.NoError(t, err)
		require.Equal(t, want, operationIDs(listed), state)
	}

	for limit := 1; limit <= 5; limit++ {
		listed, err := b.Operations(t.Context(), everyState, limit)
		require.NoError(t, err)
		require.Len(t, listed, min(limit, 4))
	}
}

func operationIDs(operations []ports.OperationDetails) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(operations))
	for _, op := range operations {
		ids = append(ids, op.PaymentID)
	}

	return ids
}

func closeFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	for key, state := range map[operation.Key]operation.State{
		"given up": operation.NeedsAttention, "pending": operation.Pending,
	} {
		op := b.mustBegin(t, newOperation(t, key))
		if state == operation.NeedsAttention {
			require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("given up")))
		}

		b.Elapse(t, lease+time.Second)

		entry := entryFor(t, ports.AuditOperationClosed, op.PaymentID.String())
		closed, err := b.close(t, op.PaymentID, state, entry)
		require.NoError(t, err)
		require.Equal(t, operation.Finished, closed.State)
		require.Equal(t, rejection(), closed.Response)
		requireSameOperation(t, closed, b.operationNow(t, op.PaymentID))
		b.requireAudit(t, op.PaymentID.String(), entry)
		b.requireNoPayment(t, op.PaymentID)

		// A late answer finds that a person has decided.
		_, err = b.Finish(t.Context(), completionOf(op))
		require.ErrorIs(t, err, ports.ErrContradiction)
	}

	backlog, err := b.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog.Operations[operation.NeedsAttention]+backlog.Operations[operation.Pending])
}

func closeRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationClosed, op.PaymentID.String())

	first, err := b.close(t, op.PaymentID, op.State, entry)
	require.NoError(t, err)

	again, err := b.close(t, op.PaymentID, op.State, entry)
	require.NoError(t, err)
	requireSameOperation(t, first, again)
	b.requireAudit(t, op.PaymentID.String(), entry)

	_, err = b.close(t, op.PaymentID, op.State, entryFor(t, ports.AuditOperationClosed, op.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrMoved, "another decision comes too late")
	b.requireAudit(t, op.PaymentID.String(), entry)
}

func closeMoved(t *testing.T, b StoreBed) {
	t.Helper()

	given := b.mustGiveUp(t, "given up")
	paid := b.mustPay(t, "paid")

	for id, state := range map[uuid.UUID]operation.State{
		given.PaymentID: operation.Pending, paid.ID: operation.NeedsAttention,
	} {
		before := b.operationNow(t, id)

		_, err := b.close(t, id, state, entryFor(t, ports.AuditOperationClosed, id.String()))
		require.ErrorIs(t, err, ports.ErrMoved)
		requireSameOperation(t, before, b.operationNow(t, id))
		b.requireAudit(t, id.String())
	}
}

func closeInHand(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	entry := entryFor(t, ports.AuditOperationClosed, op.PaymentID.String())

	_, err := b.close(t, op.PaymentID, operation.Pending, entry)
	require.ErrorIs(t, err, ports.ErrMoved)

	// Whoever held it when it was given up may still be calling.
	require.NoError(t, b.GiveUp(t.Context(), op.PaymentID, errors.New("given up")))

	_, err = b.close(t, op.PaymentID, operation.NeedsAttention, entry)
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.operationNow(t, op.PaymentID).Finished())
	b.requireAudit(t, op.PaymentID.String())
}

func closePaid(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	open := completionOf(op)
	open.Response = nil
	b.mustFinish(t, open)

	_, err := b.close(t, op.PaymentID, operation.NeedsAttention,
		entryFor(t, ports.AuditOperationClosed, op.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.operationNow(t, op.PaymentID).Finished())
}

func closeNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	id := uuid.New()
	_, err := b.close(t, id, operation.NeedsAttention, entryFor(t, ports.AuditOperationClosed, id.String()))
	requireNotFound(t, err)
	b.requireAudit(t, id.String())
}

// Recovery finds the intent while a person closes the operation: the payment is
// there or the answer says that there is none, never both and never neither.
func closeAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	for i := range 10 {
		op := b.mustGiveUp(t, operation.Key(rune('a'+i)))
		entry := entryFor(t, ports.AuditOperationClosed, op.PaymentID.String())

		_, errs := atOnce(2, func(caller int) (struct{}, error) {
			if caller == 0 {
				_, err := b.close(t, op.PaymentID, op.State, entry)

				return struct{}{}, err
			}

			_, err := b.Twin.Finish(t.Context(), completionOf(op))

			return struct{}{}, err
		})

		now := b.operationNow(t, op.PaymentID)

		if errs[0] == nil {
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			require.Equal(t, operation.Finished, now.State)
			b.requireNoPayment(t, op.PaymentID)
			b.requireAudit(t, op.PaymentID.String(), entry)
		} else {
			require.ErrorIs(t, errs[0], ports.ErrMoved)
			require.NoError(t, errs[1])
			require.Equal(t, operation.Finished, now.State)
			b.requireTrueHistory(t, op.PaymentID)
			b.requireAudit(t, op.PaymentID.String())
		}
	}
}

func closeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const people = 8

	op := b.mustGiveUp(t, "order_1")
	_, errs := atOnce(people, func(i int) (ports.Operation, error) {
		return b.either(i).Close(t.Context(), op.PaymentID, op.State, rejection(),
			entryFor(t, ports.AuditOperationClosed, op.PaymentID.String()))
	})

	require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }))
	require.Equal(t, people-1, count(errs, func(err error) bool { return errors.Is(err, ports.ErrMoved) }))

	entries, err := b.AuditOf(t.Context(), op.PaymentID.String())
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func adoptFinishes(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	completion := completionOf(op)
	completion.Cause = "person"
	entry := entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String())

	done, err := b.Adopt(t.Context(), completion, entry)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, operation.Finished, done.Operation.State)
	require.Equal(t, *completion.Response, done.Operation.Response)
	b.requireTrueHistory(t, op.PaymentID)
	require.Equal(t, "person", b.history(t, op.PaymentID)[0].Cause)
	b.requireAudit(t, op.PaymentID.String(), entry)
}

func adoptOpenPayment(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	open := completionOf(op)
	open.Response = nil
	b.mustFinish(t, open)

	done, err := b.Adopt(t.Context(), completionOf(op), entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String()))
	require.NoError(t, err)
	require.False(t, done.Created)
	require.True(t, done.Operation.Finished())
	require.Len(t, b.history(t, op.PaymentID), 1)
}

func adoptRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String())

	for range 2 {
		done, err := b.Adopt(t.Context(), completionOf(op), entry)
		require.NoError(t, err)
		require.True(t, done.Operation.Finished())
	}

	require.Len(t, b.history(t, op.PaymentID), 1)
	b.requireAudit(t, op.PaymentID.String(), entry)
}

func adoptFinished(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	_, err := b.Adopt(t.Context(), completionOf(b.operationNow(t, paid.ID)),
		entryFor(t, ports.AuditOperationAdopted, paid.ID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	b.requireAudit(t, paid.ID.String())
}

func adoptTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	op := b.mustGiveUp(t, "order_2")

	_, err := b.Adopt(t.Context(), completionWith(op, paid.IntentID),
		entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, operation.NeedsAttention, b.operationNow(t, op.PaymentID).State)
	b.requireNoPayment(t, op.PaymentID)
	b.requireAudit(t, op.PaymentID.String())
}

func adoptNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(ports.Operation{PaymentID: uuid.New(), Order: newOperation(t, "").Order, CreatedAt: time.Now()})
	_, err := b.Adopt(t.Context(), completion, entryFor(t, ports.AuditOperationAdopted, completion.Payment.ID.String()))
	requireNotFound(t, err)
}

func adoptAgainstFinish(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String())

	_, errs := atOnce(2, func(caller int) (ports.Finished, error) {
		if caller == 0 {
			return b.Adopt(t.Context(), completionOf(op), entry)
		}

		return b.Twin.Finish(t.Context(), completionOf(op))
	})

	require.NoError(t, errs[1], "recovery finds the same payment")
	require.True(t, b.operationNow(t, op.PaymentID).Finished())
	require.Len(t, b.history(t, op.PaymentID), 1)

	if errs[0] == nil {
		b.requireAudit(t, op.PaymentID.String(), entry)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		b.requireAudit(t, op.PaymentID.String())
	}
}

func adoptAgainstClose(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustGiveUp(t, "order_1")
	adopting := entryFor(t, ports.AuditOperationAdopted, op.PaymentID.String())
	closing := entryFor(t, ports.AuditOperationClosed, op.PaymentID.String())

	_, errs := atOnce(2, func(caller int) (struct{}, error) {
		if caller == 0 {
			_, err := b.Adopt(t.Context(), completionOf(op), adopting)

			return struct{}{}, err
		}

		_, err := b.Twin.Close(t.Context(), op.PaymentID, op.State, rejection(), closing)

		return struct{}{}, err
	})

	if errs[0] == nil {
		require.ErrorIs(t, errs[1], ports.ErrMoved)
		b.requireAudit(t, op.PaymentID.String(), adopting)
		require.Equal(t, http.StatusCreated, b.operationNow(t, op.PaymentID).Response.Status)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		require.NoError(t, errs[1])
		b.requireAudit(t, op.PaymentID.String(), closing)
		b.requireNoPayment(t, op.PaymentID)
	}
}

// mustPark parks an event of a payment that is not there yet.
func (b StoreBed) mustPark(tb testing.TB, p payment.Payment) ports.Event {
	tb.Helper()

	e := eventOf(tb, payment.Payment{IntentID: p.IntentID, Amount: p.Amount}, payment.Succeeded)
	require.Equal(tb, ports.EventParked, b.mustApply(tb, e).Outcome)

	return e
}

func dismissEnds(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := b.mustPark(t, completionOf(op).Payment)
	entry := entryFor(t, ports.AuditEventDismissed, e.ID)

	require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))
	b.requireStored(t, e, ports.EventDismissed, "")
	b.requireAudit(t, e.ID, entry)

	// Its payment appears, and Stripe sends it again.
	b.mustFinish(t, completionOf(op))

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
	b.requireStored(t, e, ports.EventDismissed, "")
	require.Equal(t, payment.Pending, b.paymentNow(t, op.PaymentID).Status)

	backlog, err := b.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog.Parked)

	unknown, err := b.UnknownEvents(t.Context(), []string{e.ID})
	require.NoError(t, err)
	require.Empty(t, unknown)
}

func dismissRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	e := b.mustPark(t, payment.Payment{IntentID: "pi_unknown"})
	entry := entryFor(t, ports.AuditEventDismissed, e.ID)

	require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))
	require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))
	require.ErrorIs(t, b.Dismiss(t.Context(), e.ID, entryFor(t, ports.AuditEventDismissed, e.ID)), ports.ErrMoved)
	b.requireAudit(t, e.ID, entry)
}

func dismissMoved(t *testing.T, b StoreBed) {
	t.Helper()

	e := eventOf(t, b.mustPay(t, "order_1"), payment.Succeeded)
	b.mustApply(t, e)

	require.ErrorIs(t, b.Dismiss(t.Context(), e.ID, entryFor(t, ports.AuditEventDismissed, e.ID)), ports.ErrMoved)
	b.requireStored(t, e, ports.EventApplied, "")
	b.requireAudit(t, e.ID)
}

func dismissNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	requireNotFound(t, b.Dismiss(t.Context(), "evt_none", entryFor(t, ports.AuditEventDismissed, "evt_none")))
	requireNotFound(t, b.Undismiss(t.Context(), "evt_none", entryFor(t, ports.AuditEventReopened, "evt_none")))
	b.requireAudit(t, "evt_none")
}

// A person dismisses an event at the moment that its payment appears: it has taken
// effect, or it is dismissed and has none.
func dismissAgainstApply(t *testing.T, b StoreBed) {
	t.Helper()

	for i := range 10 {
		op := b.mustBegin(t, newOperation(t, operation.Key(rune('a'+i))))
		e := b.mustPark(t, completionOf(op).Payment)
		b.mustFinish(t, completionOf(op))

		entry := entryFor(t, ports.AuditEventDismissed, e.ID)
		applied, errs := atOnce(2, func(caller int) (ports.Applied, error) {
			if caller == 0 {
				return ports.Applied{}, b.Dismiss(t.Context(), e.ID, entry)
			}

			return b.Twin.Apply(t.Context(), e)
		})
		require.NoError(t, errs[1])
		b.requireOneWinner(t, e, op.PaymentID, entry, applied[1], errs[0])
	}
}

func (b StoreBed) requireOneWinner(
	tb testing.TB, e ports.Event, id uuid.UUID, entry ports.AuditEntry, applied ports.Applied, dismissed error,
) {
	tb.Helper()

	if dismissed == nil {
		require.Equal(tb, ports.EventDuplicate, applied.Outcome)
		require.Equal(tb, ports.EventDismissed, b.event(tb, e.ID).Outcome)
		require.Equal(tb, payment.Pending, b.paymentNow(tb, id).Status)
		require.Len(tb, b.history(tb, id), 1)
		b.requireAudit(tb, e.ID, entry)

		return
	}

	require.ErrorIs(tb, dismissed, ports.ErrMoved)
	require.Equal(tb, ports.EventApplied, applied.Outcome)
	require.Equal(tb, ports.EventApplied, b.event(tb, e.ID).Outcome)
	require.Equal(tb, payment.Succeeded, b.paymentNow(tb, id).Status)
	b.requireAudit(tb, e.ID)
}

func undismissParks(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := b.mustPark(t, completionOf(op).Payment)
	dismissing, reopening := entryFor(t, ports.AuditEventDismissed, e.ID), entryFor(t, ports.AuditEventReopened, e.ID)
	require.NoError(t, b.Dismiss(t.Context(), e.ID, dismissing))

	require.NoError(t, b.Undismiss(t.Context(), e.ID, reopening))
	require.NoError(t, b.Undismiss(t.Context(), e.ID, reopening))
	b.requireStored(t, e, ports.EventParked, ports.ParkedUnknown)
	b.requireAudit(t, e.ID, dismissing, reopening)

	b.mustFinish(t, completionOf(op))
	require.Equal(t, ports.EventApplied, b.mustApply(t, e).Outcome)
	b.requireStored(t, e, ports.EventApplied, "")
}

func undismissMoved(t *testing.T, b StoreBed) {
	t.Helper()

	e := b.mustPark(t, payment.Payment{IntentID: "pi_unknown"})
	require.ErrorIs(t, b.Undismiss(t.Context(), e.ID, entryFor(t, ports.AuditEventReopened, e.ID)), ports.ErrMoved)
	b.requireStored(t, e, ports.EventParked, ports.ParkedUnknown)
	b.requireAudit(t, e.ID)
}

func undismissAndDismiss(t *testing.T, b StoreBed) {
	t.Helper()

	e := eventOf(t, payment.Payment{IntentID: "pi_unknown"}, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))

	for range 2 {
		require.NoError(t, b.Dismiss(t.Context(), e.ID, entryFor(t, ports.AuditEventDismissed, e.ID)))
		require.NoError(t, b.Undismiss(t.Context(), e.ID, entryFor(t, ports.AuditEventReopened, e.ID)))
	}

	entries, err := b.AuditOf(t.Context(), e.ID)
	require.NoError(t, err)
	require.Len(t, entries, 4)
}

func auditFields(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.AuditOf(t.Context(), "evt_none")
	require.NoError(t, err)
	require.Empty(t, none)

	e := b.mustPark(t, payment.Payment{IntentID: "pi_unknown"})

	full := entryFor(t, ports.AuditEventDismissed, e.ID)
	full.OnBehalfOf, full.RequestID, full.Reason = "support@example.com", "req_1", `quotes " ' and Ω`
	full.Before = map[string]any{"outcome": "parked", "parked_reason": nil, "count": 2.0}
	require.NoError(t, b.Dismiss(t.Context(), e.ID, full))

	bare := entryFor(t, ports.AuditEventReopened, e.ID)
	bare.Before, bare.After = nil, nil
	require.NoError(t, b.Undismiss(t.Context(), e.ID, bare))

	b.requireAudit(t, e.ID, full, bare)
}

func auditOfSome(t *testing.T, b StoreBed) {
	t.Helper()

	entries := make([]ports.AuditEntry, 0, 3)

	for _, intent := range []string{"pi_1", "pi_2", "pi_3"} {
		e := b.mustPark(t, payment.Payment{IntentID: intent})
		entry := entryFor(t, ports.AuditEventDismissed, e.ID)
		require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))

		entries = append(entries, entry)
	}

	some, err := b.AuditOf(t.Context(), entries[2].ObjectID, entries[0].ObjectID)
	require.NoError(t, err)
	require.Len(t, some, 2)
	require.Equal(t, entries[0].ID, some[0].ID)
	require.Equal(t, entries[2].ID, some[1].ID)
}
