package events_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/domain/dispute"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// Whichever of its events arrives, and however late: the dispute is read as it is now.
func TestDisputes_EachEventIsAHint(t *testing.T) {
	t.Parallel()

	for _, eventType := range []string{
		"charge.dispute.created", "charge.dispute.updated", "charge.dispute.funds_withdrawn", "charge.dispute.closed",
		"charge.dispute.funds_reinstated",
	} {
		t.Run(eventType, func(t *testing.T) {
			t.Parallel()

			b := apptest.New(t)
			p := b.Paid("order_1", apptest.GoodCard)
			id := b.OpenDispute(p, sandbox.Complaint{Inquiry: true})
			b.DecideDispute(id, dispute.NeedsResponse)
			b.DecideDispute(id, dispute.Won)

			before, err := b.Store.FullPayment(t.Context(), p.ID)
			require.NoError(t, err)

			event := b.Event(p.IntentID, eventType)
			applied, err := b.Apply().Do(t.Context(), event)
			require.NoError(t, err)
			require.Equal(t, ports.EventHint, applied.Outcome)
			require.Equal(t, p, b.Payment(p.ID), "an event alone changes nothing")
			requireUnwritten(t, b, before)

			readRefundHints(t, b)
			require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
			require.Equal(t, "won", b.Payment(p.ID).DisputeStatus)

			again, err := b.Apply().Do(t.Context(), event)
			require.NoError(t, err)
			require.Equal(t, ports.EventDuplicate, again.Outcome)
		})
	}
}

// A dispute carries nothing of ours: only its payment tells whose it is.
func TestDisputes_OfAnotherProgram(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	strange := b.StrangeIntent("amount=1000&currency=usd")
	b.Confirm(strange, "pm_card_createDispute")

	event := b.Event(strange, "charge.dispute.created")
	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, applied.Outcome)
}
