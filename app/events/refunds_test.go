package events_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// readRefundHints reads what events only hint at.
func readRefundHints(t *testing.T, b *apptest.World) {
	t.Helper()

	_, err := events.NewReadHints(
		b.Inbox, b.Store, b.Provider, b.Webhooks, b.Refresh(), b.CustomerRefresh(), b.Engine(), b.Binding(), b.Observer).
		Do(t.Context())
	require.NoError(t, err)
}

// Stripe tells of a refund in its Dashboard by charge.refunded alone.
func TestRefunds_FromTheDashboard(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)
	id := b.DashboardRefund(p, 4_00)

	before, err := b.Store.FullPayment(t.Context(), p.ID)
	require.NoError(t, err)

	event := b.Event(p.IntentID, "charge.refunded")
	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	require.Equal(t, p, b.Payment(p.ID), "an event alone changes nothing")
	requireUnwritten(t, b, before)

	readRefundHints(t, b)
	require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
	require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())

	refunds := b.RefundsOf(p)
	require.Len(t, refunds, 1)
	require.Equal(t, id, refunds[0].ProviderID)
	require.Equal(t, refund.FromStripe, refunds[0].Origin)
	require.Equal(t, b.Installation.ObjectID(id), refunds[0].ID)
	require.Empty(t, refunds[0].Key)

	// It fails later.
	b.MoveRefund(id, "failed")
	applied, err = b.Apply().Do(t.Context(), b.Event(p.IntentID, "charge.refund.updated"))
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	readRefundHints(t, b)
	require.Equal(t, refund.Failed, b.RefundOf(refunds[0].ID).Status)
	require.Equal(t, int64(10_00), b.Payment(p.ID).Refundable().Minor())
}

// requireUnwritten requires that what was read since a payment was loaded is not written.
func requireUnwritten(t *testing.T, b *apptest.World, loaded ports.FullPayment) {
	t.Helper()

	written, err := b.Facts.Write(t.Context(), loaded, nil, ports.EventStale, "hint")
	require.NoError(t, err)
	require.False(t, written)
}

// What Stripe tells of our own refunds is what we have written: there is nothing to read, and the
// payment keeps its version.
func TestRefunds_OurOwn(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)
	first := b.Refund(p, "refund_1", "4.00")
	earlier := b.Event(p.IntentID, "charge.refunded")
	b.Refund(p, "refund_2", "3.00")
	p = b.Payment(p.ID)

	for _, event := range []ports.Event{earlier, b.Event(p.IntentID, "charge.refunded")} {
		before, err := b.Store.FullPayment(t.Context(), p.ID)
		require.NoError(t, err)

		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventStale, applied.Outcome)
		requireUnwritten(t, b, before)
	}

	require.Equal(t, p, b.Payment(p.ID))

	b.MoveRefund(first.ProviderID, "failed")
	applied, err := b.Apply().Do(t.Context(), b.Event(p.IntentID, "charge.refund.updated"))
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	readRefundHints(t, b)
	require.Equal(t, refund.Failed, b.RefundOf(first.ID).Status)
}

// Stripe tells of our refund before it answers our call. Once the answer is written, there is nothing
// to read.
func TestRefunds_OurOwnBeforeTheAnswer(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)

	fault, err := b.Stripe.AddFault(sandbox.Fault{Action: sandbox.Hold, Method: http.MethodPost, Path: "/v1/refunds"})
	require.NoError(t, err)

	done := make(chan error, 1)

	go func() {
		_, err := payments.NewRefund(b.Change()).Do(t.Context(), b.RefundCommand(p, "refund_1", "4.00"))
		done <- err
	}()

	require.NoError(t, b.Stripe.WaitFault(t.Context(), fault.ID, 1))

	event := b.Event(p.IntentID, "charge.refunded")
	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	require.NoError(t, b.Stripe.ReleaseFault(fault.ID))
	require.NoError(t, <-done)

	p = b.Payment(p.ID)
	b.Provider = unread{b.Provider}
	readRefundHints(t, b)
	require.Equal(t, ports.EventStale, b.Stored(event.ID).Outcome)
	require.Equal(t, p, b.Payment(p.ID))
}

// unread is a provider that answers no read.
type unread struct{ ports.Provider }

func (unread) Intent(context.Context, string) (ports.Intent, error) {
	return ports.Intent{}, ports.ErrUnavailable
}

// meanwhile does something before the first write.
type meanwhile struct {
	ports.Facts

	do func()
}

func (m *meanwhile) Write(
	ctx context.Context, f ports.FullPayment, lost []ports.NewOperation, outcome ports.EventOutcome, cause string,
) (bool, error) {
	if do := m.do; do != nil {
		m.do = nil

		do()
	}

	return m.Facts.Write(ctx, f, lost, outcome, cause)
}

// Our refund has failed, and somebody has given as much back in the Dashboard, after Stripe was
// read and before that is written. No event tells more than is known then: the first one tells the
// old sum, and the second one a failure that is just being written.
func TestRefunds_TheSameSumIsAnothers(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)
	ours := b.Refund(p, "refund_1", "4.00")
	b.MoveRefund(ours.ProviderID, "failed")

	b.Facts = &meanwhile{Facts: b.Facts, do: func() {
		b.DashboardRefund(p, 4_00)

		applied, err := b.Apply().Do(t.Context(), b.Event(p.IntentID, "charge.refunded"))
		require.NoError(t, err)
		require.Equal(t, ports.EventStale, applied.Outcome, "as much is given back as we know of")
	}}

	_, err := b.Refresh().Full(t.Context(), p.ID, "reconciliation")
	require.NoError(t, err)

	applied, err := b.Apply().Do(t.Context(), b.Event(p.IntentID, "charge.refund.updated"))
	require.NoError(t, err)
	require.Equal(t, ports.EventStale, applied.Outcome)

	require.Len(t, b.RefundsOf(p), 2, "it was read once more")
	require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())
}

func TestRefunds_PaymentIsNotHere(t *testing.T) {
	t.Parallel()

	// Its create is still open: the event waits for it.
	t.Run("Open", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		op := b.Begin("order_1")
		intent := b.Send(op)
		b.Confirm(intent.ID, apptest.GoodCard)

		p := payment.Payment{ID: op.ID, IntentID: intent.ID}
		b.DashboardRefund(p, 4_00)

		event := b.Event(intent.ID, "charge.refunded")
		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventParked, applied.Outcome)
		require.Equal(t, ports.ParkedUnknown, applied.Reason)

		_, err = b.Apply().Do(t.Context(), b.Event(intent.ID, "payment_intent.succeeded"))
		require.NoError(t, err)
		_, err = events.NewApplyParked(b.Inbox, b.Parked()).Do(t.Context())
		require.NoError(t, err)
		readRefundHints(t, b)

		require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())
		require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
	})

	// The database has lost payment, refund and operations: they come home.
	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		p := b.Paid("order_1", apptest.GoodCard)
		r := b.Refund(p, "refund_1", "4.00")
		b.LoseEverything()

		applied, err := b.Apply().Do(t.Context(), b.Event(p.IntentID, "charge.refunded"))
		require.NoError(t, err)
		require.Equal(t, ports.EventHint, applied.Outcome)
		readRefundHints(t, b)

		require.Equal(t, int64(4_00), b.Payment(p.ID).Refunded.Minor())
		require.Equal(t, r.ProviderID, b.RefundOf(r.ID).ProviderID)
		require.True(t, b.Operation(r.ID).Finished())
	})

	// Another program's.
	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		intent := b.StrangeIntent("amount=1000&currency=usd&payment_method=pm_card_visa&confirm=true&return_url=https://x.example/")
		b.DashboardRefund(payment.Payment{IntentID: intent}, 4_00)

		event := b.Event(intent, "charge.refunded")
		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventForeign, applied.Outcome)
		require.Empty(t, b.Stored(event.ID).Raw)
	})
}
