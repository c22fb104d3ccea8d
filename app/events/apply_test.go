package events_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestApply_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		// op was sent, and its answer was lost.
		op     ports.Operation
		intent ports.Intent
		// event is that it was paid.
		event ports.Event
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.op = b.Begin("order_1")
		b.intent = b.Send(b.op)
		b.event = b.Pay(b.intent.ID)

		return b
	}

	t.Run("FinishesTheOperation", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		applied, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, ports.EventApplied, applied.Outcome)

		p := b.Payment(b.op.ID)
		require.Equal(t, b.intent.ID, p.IntentID)
		require.Equal(t, payment.Succeeded, p.Status)
		require.Equal(t, []string{"webhook: pending", b.event.ID + ": succeeded"}, b.History(p.ID))
		require.Contains(t, b.Observer.Told(p.ID), "payment created by webhook")
		require.Equal(t, []string{"handled: applied"}, b.Observer.Told(b.event.ID))
	})

	t.Run("OneThatNeedsAttention", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.GiveUp(b.op)

		_, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, b.Payment(b.op.ID).Status)
	})

	t.Run("AnotherAmount", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.event.Intent.Amount = apptest.Order(t, 10_01).Amount

		applied, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, ports.Applied{
			Outcome: ports.EventParked, Reason: ports.ParkedContradiction, PaymentID: b.op.ID,
		}, applied)
		require.Equal(t, ports.ParkedContradiction, b.Stored(b.event.ID).Reason)
		b.RequireNoPayment(b.op.ID)
		require.Equal(t, operation.Pending, b.Operation(b.op.ID).State)
		require.Equal(t, []string{"contradicts: contradiction", "handled: parked"}, b.Observer.Told(b.event.ID))
	})

	// It has no metadata, so that it does not say whose it is.
	t.Run("UnknownPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("DELETE FROM operations")
		b.event.Intent.Mark, b.event.Intent.Marked, b.event.Intent.PaymentID = operation.Mark{}, false, uuid.Nil

		applied, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, ports.ParkedUnknown, applied.Reason)
		require.Equal(t, ports.EventParked, b.Stored(b.event.ID).Outcome)
	})

	// An operation is written down before its intent is made, so the database has lost it.
	t.Run("LostPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("DELETE FROM operations")

		applied, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, ports.Applied{Outcome: ports.EventHint}, applied)
		require.Equal(t, ports.EventHint, b.Stored(b.event.ID).Outcome)
	})

	// The payment is written between the look that missed it and the commit that parks.
	t.Run("ThePaymentAppearsMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Inbox = &late{Inbox: b.Inbox, between: func() {
			_, err := b.Engine().Finish(t.Context(), b.op, ports.Object{Intent: b.intent}, operation.ByRequest)
			require.NoError(t, err)
		}}

		_, err := b.Apply().Do(t.Context(), b.event)
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, b.Payment(b.op.ID).Status)
		require.Equal(t, ports.EventApplied, b.Stored(b.event.ID).Outcome)
		require.Equal(t, []string{"handled: parked", "handled: applied"}, b.Observer.Told(b.event.ID))
	})
}

// late lets something happen before the first event is parked. Whoever writes the payment
// then does not see the event, and the event has not seen the payment.
type late struct {
	ports.Inbox

	between func()
}

func (l *late) Apply(ctx context.Context, e ports.Event) (ports.Applied, error) {
	if l.between == nil {
		return l.Inbox.Apply(ctx, e)
	}

	l.between()
	l.between = nil

	return ports.Applied{Outcome: ports.EventParked, Reason: ports.ParkedUnknown}, l.Park(ctx, e, ports.ParkedUnknown)
}

func TestApply_Take(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	p := w.Create("order_1")
	event := w.Pay(p.IntentID)

	applied, err := w.Apply().Take(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventApplied, applied.Outcome)
	require.Equal(t, []string{"handled: applied", "taken: applied"}, w.Observer.Told(event.ID))

	w.Inbox = away{w.Inbox}
	_, err = w.Apply().Take(t.Context(), event)
	require.Error(t, err)
	require.Len(t, w.Observer.Told(event.ID), 2)
}
