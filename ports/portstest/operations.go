package portstest

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// Operations is the contract of ports.Operations. Each call of newBed gives an
// empty store.
func Operations(t *testing.T, newBed func(tb testing.TB) StoreBed) {
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
		"Close/against Complete, one wins":           closeAgainstComplete,
		"Close/many at once, one is written":         closeByMany,
		"Adopt/finishes, with its audit":             adoptFinishes,
		"Adopt/gives an open payment its answer":     adoptOpenPayment,
		"Adopt/once for one entry":                   adoptRepeated,
		"Adopt/a finished one has moved":             adoptFinished,
		"Adopt/another payment's intent contradicts": adoptTakenIntent,
		"Adopt/none is NotFound":                     adoptNotFound,
		"Adopt/against Complete, one payment":        adoptAgainstComplete,
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

// mustGiveUp makes a claim that needs attention and that nobody works on.
func (b StoreBed) mustGiveUp(tb testing.TB, key payment.Key) ports.Claim {
	tb.Helper()

	claim := b.mustClaim(tb, newClaim(tb, key))
	require.NoError(tb, b.GiveUp(tb.Context(), claim.PaymentID, errors.New("not to be found")))
	b.Elapse(tb, lease+time.Second)

	return b.claimNow(tb, claim.PaymentID)
}

func (b StoreBed) operation(tb testing.TB, id uuid.UUID) ports.Operation {
	tb.Helper()

	operation, err := b.Operation(tb.Context(), id)
	require.NoError(tb, err)

	return operation
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
	tb testing.TB, id uuid.UUID, state ports.ClaimState, entry ports.AuditEntry,
) (ports.Claim, error) {
	tb.Helper()

	return b.Close(tb.Context(), id, state, refused(), entry)
}

func operationShown(t *testing.T, b StoreBed) {
	t.Helper()

	held := b.mustClaim(t, newClaim(t, "order_1"))

	shown := b.operation(t, held.PaymentID)
	require.True(t, shown.InHand)
	require.Empty(t, shown.LastError)
	require.True(t, shown.RetryAt.After(held.CreatedAt))

	want := b.claimNow(t, held.PaymentID)
	want.Age, shown.Age = 0, 0
	require.Equal(t, want, shown.Claim)

	require.NoError(t, b.Release(t.Context(), held, time.Hour, errors.New("no answer")))

	shown = b.operation(t, held.PaymentID)
	require.False(t, shown.InHand)
	require.Equal(t, "no answer", shown.LastError)

	given := b.mustGiveUp(t, "order_2")
	require.False(t, b.operation(t, given.PaymentID).InHand)
	require.Zero(t, b.operation(t, given.PaymentID).RetryAt, "nobody tries it again")

	byKey, err := b.Twin.OperationByKey(t.Context(), "order_2")
	require.NoError(t, err)
	require.Equal(t, given.PaymentID, byKey.PaymentID)
	require.Equal(t, "not to be found", byKey.LastError)

	paid := b.mustPay(t, "order_3")
	require.True(t, b.operation(t, paid.ID).Finished())
	require.False(t, b.operation(t, paid.ID).InHand)
}

func operationNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Operation(t.Context(), uuid.New())
	requireNotFound(t, err)

	_, err = b.OperationByKey(t.Context(), "order_1")
	requireNotFound(t, err)
}

var everyState = []ports.ClaimState{
	ports.ClaimPending, ports.ClaimNeedsAttention, ports.ClaimCompleted, ports.ClaimRefused,
}

func operationsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Operations(t.Context(), everyState, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	want := make([]uuid.UUID, 0, 5)

	// Each is a while older than the next.
	for _, key := range []payment.Key{"first", "second", "third"} {
		want = append(want, b.mustClaim(t, newClaim(t, key)).PaymentID)
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

	pending := b.mustClaim(t, newClaim(t, "pending")).PaymentID
	given := b.mustGiveUp(t, "given up").PaymentID
	paid := b.mustPay(t, "paid").ID
	turnedDown := b.mustClaim(t, newClaim(t, "refused")).PaymentID
	_, err := b.Refuse(t.Context(), turnedDown, refused())
	require.NoError(t, err)

	for want, states := range map[uuid.UUID][]ports.ClaimState{
		pending:    {ports.ClaimPending},
		given:      {ports.ClaimNeedsAttention},
		paid:       {ports.ClaimCompleted},
		turnedDown: {ports.ClaimRefused},
	} {
		listed, err := b.Operations(t.Context(), states, 10)
		require.NoError(t, err)
		require.Equal(t, []uuid.UUID{want}, operationIDs(listed), states)
	}

	for limit := 1; limit <= 5; limit++ {
		listed, err := b.Operations(t.Context(), everyState, limit)
		require.NoError(t, err)
		require.Len(t, listed, min(limit, 4))
	}
}

func operationIDs(operations []ports.Operation) []uuid.UUID {
	ids := make([]uuid.UUID, 0, len(operations))
	for _, operation := range operations {
		ids = append(ids, operation.PaymentID)
	}

	return ids
}

func closeFreezes(t *testing.T, b StoreBed) {
	t.Helper()

	for key, state := range map[payment.Key]ports.ClaimState{
		"given up": ports.ClaimNeedsAttention, "pending": ports.ClaimPending,
	} {
		claim := b.mustClaim(t, newClaim(t, key))
		if state == ports.ClaimNeedsAttention {
			require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("given up")))
		}

		b.Elapse(t, lease+time.Second)

		entry := entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String())
		closed, err := b.close(t, claim.PaymentID, state, entry)
		require.NoError(t, err)
		require.Equal(t, ports.ClaimRefused, closed.State)
		require.Equal(t, refused(), closed.Response)
		requireSameClaim(t, closed, b.claimNow(t, claim.PaymentID))
		b.requireAudit(t, claim.PaymentID.String(), entry)
		b.requireNoPayment(t, claim.PaymentID)

		// A late answer finds that a person has decided.
		_, err = b.Complete(t.Context(), completionOf(claim))
		require.ErrorIs(t, err, ports.ErrContradiction)
	}

	backlog, err := b.Backlog(t.Context())
	require.NoError(t, err)
	require.Zero(t, backlog.Claims[ports.ClaimNeedsAttention]+backlog.Claims[ports.ClaimPending])
}

func closeRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String())

	first, err := b.close(t, claim.PaymentID, claim.State, entry)
	require.NoError(t, err)

	again, err := b.close(t, claim.PaymentID, claim.State, entry)
	require.NoError(t, err)
	requireSameClaim(t, first, again)
	b.requireAudit(t, claim.PaymentID.String(), entry)

	_, err = b.close(t, claim.PaymentID, claim.State, entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrMoved, "another decision comes too late")
	b.requireAudit(t, claim.PaymentID.String(), entry)
}

func closeMoved(t *testing.T, b StoreBed) {
	t.Helper()

	given := b.mustGiveUp(t, "given up")
	paid := b.mustPay(t, "paid")

	for id, state := range map[uuid.UUID]ports.ClaimState{
		given.PaymentID: ports.ClaimPending, paid.ID: ports.ClaimNeedsAttention,
	} {
		before := b.claimNow(t, id)

		_, err := b.close(t, id, state, entryFor(t, ports.AuditOperationClosed, id.String()))
		require.ErrorIs(t, err, ports.ErrMoved)
		requireSameClaim(t, before, b.claimNow(t, id))
		b.requireAudit(t, id.String())
	}
}

func closeInHand(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	entry := entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String())

	_, err := b.close(t, claim.PaymentID, ports.ClaimPending, entry)
	require.ErrorIs(t, err, ports.ErrMoved)

	// Whoever held it when it was given up may still be calling.
	require.NoError(t, b.GiveUp(t.Context(), claim.PaymentID, errors.New("given up")))

	_, err = b.close(t, claim.PaymentID, ports.ClaimNeedsAttention, entry)
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.claimNow(t, claim.PaymentID).Finished())
	b.requireAudit(t, claim.PaymentID.String())
}

func closePaid(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	open := completionOf(claim)
	open.Response = nil
	b.mustComplete(t, open)

	_, err := b.close(t, claim.PaymentID, ports.ClaimNeedsAttention,
		entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	require.False(t, b.claimNow(t, claim.PaymentID).Finished())
}

func closeNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	id := uuid.New()
	_, err := b.close(t, id, ports.ClaimNeedsAttention, entryFor(t, ports.AuditOperationClosed, id.String()))
	requireNotFound(t, err)
	b.requireAudit(t, id.String())
}

// Recovery finds the intent while a person closes the operation: the payment is
// there or the answer says that there is none, never both and never neither.
func closeAgainstComplete(t *testing.T, b StoreBed) {
	t.Helper()

	for i := range 10 {
		claim := b.mustGiveUp(t, payment.Key(rune('a'+i)))
		entry := entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String())

		_, errs := atOnce(2, func(caller int) (struct{}, error) {
			if caller == 0 {
				_, err := b.close(t, claim.PaymentID, claim.State, entry)

				return struct{}{}, err
			}

			_, err := b.Twin.Complete(t.Context(), completionOf(claim))

			return struct{}{}, err
		})

		now := b.claimNow(t, claim.PaymentID)

		if errs[0] == nil {
			require.ErrorIs(t, errs[1], ports.ErrContradiction)
			require.Equal(t, ports.ClaimRefused, now.State)
			b.requireNoPayment(t, claim.PaymentID)
			b.requireAudit(t, claim.PaymentID.String(), entry)
		} else {
			require.ErrorIs(t, errs[0], ports.ErrMoved)
			require.NoError(t, errs[1])
			require.Equal(t, ports.ClaimCompleted, now.State)
			b.requireTrueHistory(t, claim.PaymentID)
			b.requireAudit(t, claim.PaymentID.String())
		}
	}
}

func closeByMany(t *testing.T, b StoreBed) {
	t.Helper()

	const people = 8

	claim := b.mustGiveUp(t, "order_1")
	_, errs := atOnce(people, func(i int) (ports.Claim, error) {
		return b.either(i).Close(t.Context(), claim.PaymentID, claim.State, refused(),
			entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String()))
	})

	require.Equal(t, 1, count(errs, func(err error) bool { return err == nil }))
	require.Equal(t, people-1, count(errs, func(err error) bool { return errors.Is(err, ports.ErrMoved) }))

	entries, err := b.AuditOf(t.Context(), claim.PaymentID.String())
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

func adoptFinishes(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	completion := completionOf(claim)
	completion.Cause = "person"
	entry := entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String())

	done, err := b.Adopt(t.Context(), completion, entry)
	require.NoError(t, err)
	require.True(t, done.Created)
	require.Equal(t, ports.ClaimCompleted, done.Claim.State)
	require.Equal(t, *completion.Response, done.Claim.Response)
	b.requireTrueHistory(t, claim.PaymentID)
	require.Equal(t, "person", b.history(t, claim.PaymentID)[0].Cause)
	b.requireAudit(t, claim.PaymentID.String(), entry)
}

func adoptOpenPayment(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	open := completionOf(claim)
	open.Response = nil
	b.mustComplete(t, open)

	done, err := b.Adopt(t.Context(), completionOf(claim), entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String()))
	require.NoError(t, err)
	require.False(t, done.Created)
	require.True(t, done.Claim.Finished())
	require.Len(t, b.history(t, claim.PaymentID), 1)
}

func adoptRepeated(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String())

	for range 2 {
		done, err := b.Adopt(t.Context(), completionOf(claim), entry)
		require.NoError(t, err)
		require.True(t, done.Claim.Finished())
	}

	require.Len(t, b.history(t, claim.PaymentID), 1)
	b.requireAudit(t, claim.PaymentID.String(), entry)
}

func adoptFinished(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	_, err := b.Adopt(t.Context(), completionOf(b.claimNow(t, paid.ID)),
		entryFor(t, ports.AuditOperationAdopted, paid.ID.String()))
	require.ErrorIs(t, err, ports.ErrMoved)
	b.requireAudit(t, paid.ID.String())
}

func adoptTakenIntent(t *testing.T, b StoreBed) {
	t.Helper()

	paid := b.mustPay(t, "order_1")
	claim := b.mustGiveUp(t, "order_2")

	_, err := b.Adopt(t.Context(), completionWith(claim, paid.IntentID),
		entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String()))
	require.ErrorIs(t, err, ports.ErrContradiction)
	require.Equal(t, ports.ClaimNeedsAttention, b.claimNow(t, claim.PaymentID).State)
	b.requireNoPayment(t, claim.PaymentID)
	b.requireAudit(t, claim.PaymentID.String())
}

func adoptNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	completion := completionOf(ports.Claim{PaymentID: uuid.New(), Order: newClaim(t, "").Order, CreatedAt: time.Now()})
	_, err := b.Adopt(t.Context(), completion, entryFor(t, ports.AuditOperationAdopted, completion.Payment.ID.String()))
	requireNotFound(t, err)
}

func adoptAgainstComplete(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	entry := entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String())

	_, errs := atOnce(2, func(caller int) (ports.Completed, error) {
		if caller == 0 {
			return b.Adopt(t.Context(), completionOf(claim), entry)
		}

		return b.Twin.Complete(t.Context(), completionOf(claim))
	})

	require.NoError(t, errs[1], "recovery finds the same payment")
	require.True(t, b.claimNow(t, claim.PaymentID).Finished())
	require.Len(t, b.history(t, claim.PaymentID), 1)

	if errs[0] == nil {
		b.requireAudit(t, claim.PaymentID.String(), entry)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		b.requireAudit(t, claim.PaymentID.String())
	}
}

func adoptAgainstClose(t *testing.T, b StoreBed) {
	t.Helper()

	claim := b.mustGiveUp(t, "order_1")
	adopting := entryFor(t, ports.AuditOperationAdopted, claim.PaymentID.String())
	closing := entryFor(t, ports.AuditOperationClosed, claim.PaymentID.String())

	_, errs := atOnce(2, func(caller int) (struct{}, error) {
		if caller == 0 {
			_, err := b.Adopt(t.Context(), completionOf(claim), adopting)

			return struct{}{}, err
		}

		_, err := b.Twin.Close(t.Context(), claim.PaymentID, claim.State, refused(), closing)

		return struct{}{}, err
	})

	if errs[0] == nil {
		require.ErrorIs(t, errs[1], ports.ErrMoved)
		b.requireAudit(t, claim.PaymentID.String(), adopting)
		require.Equal(t, http.StatusCreated, b.claimNow(t, claim.PaymentID).Response.Status)
	} else {
		require.ErrorIs(t, errs[0], ports.ErrMoved)
		require.NoError(t, errs[1])
		b.requireAudit(t, claim.PaymentID.String(), closing)
		b.requireNoPayment(t, claim.PaymentID)
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

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	e := b.mustPark(t, completionOf(claim).Payment)
	entry := entryFor(t, ports.AuditEventDismissed, e.ID)

	require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))
	b.requireStored(t, e, ports.EventDismissed, "")
	b.requireAudit(t, e.ID, entry)

	// Its payment appears, and Stripe sends it again.
	b.mustComplete(t, completionOf(claim))

	require.Empty(t, b.ripe(t))
	require.Empty(t, b.ripeFor(t, e.ObjectID))

	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
	b.requireStored(t, e, ports.EventDismissed, "")
	require.Equal(t, payment.Pending, b.paymentNow(t, claim.PaymentID).Status)

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
		claim := b.mustClaim(t, newClaim(t, payment.Key(rune('a'+i))))
		e := b.mustPark(t, completionOf(claim).Payment)
		b.mustComplete(t, completionOf(claim))

		entry := entryFor(t, ports.AuditEventDismissed, e.ID)
		applied, errs := atOnce(2, func(caller int) (ports.Applied, error) {
			if caller == 0 {
				return ports.Applied{}, b.Dismiss(t.Context(), e.ID, entry)
			}

			return b.Twin.Apply(t.Context(), e)
		})
		require.NoError(t, errs[1])
		b.requireOneWinner(t, e, claim.PaymentID, entry, applied[1], errs[0])
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

	claim := b.mustClaim(t, newClaim(t, "order_1"))
	e := b.mustPark(t, completionOf(claim).Payment)
	dismissing, reopening := entryFor(t, ports.AuditEventDismissed, e.ID), entryFor(t, ports.AuditEventReopened, e.ID)
	require.NoError(t, b.Dismiss(t.Context(), e.ID, dismissing))

	require.NoError(t, b.Undismiss(t.Context(), e.ID, reopening))
	require.NoError(t, b.Undismiss(t.Context(), e.ID, reopening))
	b.requireStored(t, e, ports.EventParked, ports.ParkedUnknown)
	b.requireAudit(t, e.ID, dismissing, reopening)

	b.mustComplete(t, completionOf(claim))
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
