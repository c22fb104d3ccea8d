package portstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func storeForeign(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)

	outcome, err := b.StoreForeign(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, outcome)

	stored, err := b.Twin.Event(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, ports.StoredEvent{
		ID: e.ID, Type: e.Type, Outcome: ports.EventForeign, Raw: []byte{}, CreatedAt: e.CreatedAt,
		ReceivedAt: stored.ReceivedAt, ProcessedAt: stored.ProcessedAt,
	}, stored)

	outcome, err = b.Twin.StoreForeign(t.Context(), e)
	require.NoError(t, err)
	require.Equal(t, ports.EventDuplicate, outcome)
	require.Equal(t, payment.Pending, b.paymentNow(t, p.ID).Status)
}

// A parked event that turns out to be foreign is parked no longer.
func storeForeignStored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	applied := eventOf(t, p, payment.Succeeded)
	b.mustApply(t, applied)

	outcome, err := b.StoreForeign(t.Context(), applied)
	require.NoError(t, err)
	require.Equal(t, ports.EventDuplicate, outcome)
	b.requireStored(t, applied, ports.EventApplied, "")

	declined := b.mustDecline(t, "order_2")
	hint := b.mustHint(t, declined)
	unhandled := eventOf(t, declined, "")
	unhandled.Handled = false
	b.mustApply(t, unhandled)

	for _, stored := range []ports.Event{hint, unhandled} {
		before := b.event(t, stored.ID)
		outcome, err = b.StoreForeign(t.Context(), stored)
		require.NoError(t, err)
		require.Equal(t, ports.EventDuplicate, outcome)
		require.Equal(t, before, b.event(t, stored.ID))
	}

	parked := eventOf(t, payment.Payment{IntentID: "pi_elsewhere", Amount: p.Amount}, payment.Succeeded)
	require.Equal(t, ports.EventParked, b.mustApply(t, parked).Outcome)

	outcome, err = b.StoreForeign(t.Context(), parked)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, outcome)

	stored, err := b.Event(t.Context(), parked.ID)
	require.NoError(t, err)
	require.Equal(t, ports.EventForeign, stored.Outcome)
	require.Empty(t, stored.Reason)
	require.Empty(t, stored.Raw)
}
