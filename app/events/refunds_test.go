package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/domain/refund"
	"github.com/marketflow/marketflow/ports"
)

// readRefundHints reads what events only hint at.
func readRefundHints(t *testing.T, b *apptest.World) {
	t.Helper()

	_, err := events.NewReadHints(
		b.Inbox, b.Store, b.Provider, b.Refresh(), b.CustomerRefresh(), b.Engine(), b.Binding(), b.Observer).
		Do(t.Context())
	require.NoError(t, err)
}

// Stripe tells of a refund in its Dashboard by charge.refunded alone.
func TestRefunds_FromTheDashboard(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)
	id := b.DashboardRefund(p, 4_00)

	event := b.Event(p.IntentID, "charge.refunded")
	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	require.Greater(t, b.Payment(p.ID).Version, p.Version, "so that a reader of before does not write")
	require.Zero(t, b.Payment(p.ID).Refunded.Minor(), "an event alone changes no sum")

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

// Also what we have asked for ourselves is read when Stripe tells of it: the same sum may be
// another refund's (model/refunds has the story). Nothing changes by it.
func TestRefunds_OurOwn(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	p := b.Paid("order_1", apptest.GoodCard)
	b.Refund(p, "refund_1", "4.00")
	p = b.Payment(p.ID)

	event := b.Event(p.IntentID, "charge.refunded")
	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)

	readRefundHints(t, b)
	require.Equal(t, ports.EventStale, b.Stored(event.ID).Outcome)
	require.True(t, b.Payment(p.ID).SameMoney(p))
	require.Len(t, b.RefundsOf(p), 1)
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
