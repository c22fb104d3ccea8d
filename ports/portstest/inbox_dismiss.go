package portstest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func dismissEnds(t *testing.T, b StoreBed) {
	t.Helper()

	op := b.mustBegin(t, newOperation(t, "order_1"))
	e := b.mustPark(t, completionOf(op).Payment)
	entry := entryFor(t, ports.AuditEventDismissed, e.ID)

	require.NoError(t, b.Dismiss(t.Context(), e.ID, entry))
	b.requireStored(t, e, ports.EventDismissed, "")
	b.requireAudit(t, e.ID, entry)

	// Its payment appears, and Stripe sends the event again.
	b.mustFinish(t, completionOf(op))

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, e.ObjectID))

	require.Equal(t, ports.EventDuplicate, b.mustApply(t, e).Outcome)
	require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
	b.requireStored(t, e, ports.EventDismissed, "")
	require.Equal(t, payment.Pending, b.paymentNow(t, op.ID).Status)

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

// A person dismisses an event at the moment at which it is applied. Either it is
// dismissed and changes nothing, or it is applied and the decision comes too late.
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
		b.requireOneWinner(t, e, op.ID, entry, applied[1], errs[0])
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
