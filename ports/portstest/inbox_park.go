package portstest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func parkStores(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")

	for _, reason := range []ports.ParkReason{ports.ParkedContradiction, ports.ParkedUnknown} {
		e := eventOf(t, p, payment.Succeeded)
		require.NoError(t, b.Park(t.Context(), e, reason))
		b.requireStored(t, e, ports.EventParked, reason)
	}

	require.Equal(t, p, b.paymentNow(t, p.ID))
}

func parkStored(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	applied := eventOf(t, p, payment.Succeeded)
	b.mustApply(t, applied)

	parked := eventOf(t, p, payment.Succeeded)
	require.NoError(t, b.Park(t.Context(), parked, ports.ParkedUnknown))

	for _, e := range []ports.Event{applied, parked} {
		before := b.event(t, e.ID)
		require.NoError(t, b.Park(t.Context(), e, ports.ParkedContradiction))
		require.Equal(t, before, b.event(t, e.ID))
	}
}
