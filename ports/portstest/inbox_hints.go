package portstest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func hintsLongestWaiting(t *testing.T, b StoreBed) {
	t.Helper()

	require.Empty(t, b.hints(t, 10))

	const events = 5

	first, second := b.mustPay(t, "order_1"), b.mustPay(t, "order_2")
	b.mustApply(t, eventOf(t, first, payment.Failed))
	b.mustApply(t, eventOf(t, second, payment.Failed))
	b.mustApply(t, eventOf(t, payment.Payment{IntentID: "pi_unknown"}, payment.Failed))

	want := make([]string, 0, events)

	for n := range events {
		p := first
		if n%2 == 1 {
			p = second
		}

		e := eventOf(t, p, "")
		require.Equal(t, ports.EventHint, b.mustApply(t, e).Outcome)
		b.Elapse(t, time.Minute)

		want = append(want, e.ID)
	}

	for limit := 1; limit <= events+1; limit++ {
		hints := b.hints(t, limit)
		require.Equal(t, want[:min(limit, events)], eventIDs(hints))

		for _, hint := range hints {
			stored := b.event(t, hint.ID)
			require.NotEmpty(t, stored.Raw)

			stored.Raw = nil
			require.Equal(t, stored, hint, "as it is stored, without its body")
		}
	}

	for n, hint := range b.hints(t, events) {
		behind, err := b.Hints(t.Context(), ports.InboxPosition{ReceivedAt: hint.ReceivedAt, ID: hint.ID}, events)
		require.NoError(t, err)
		require.Equal(t, want[n+1:], eventIDs(behind))
	}
}

func (b StoreBed) hints(tb testing.TB, limit int) []ports.StoredEvent {
	tb.Helper()

	hints, err := b.Twin.Hints(tb.Context(), ports.InboxPosition{}, limit)
	require.NoError(tb, err)

	return hints
}

func parkHints(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustDecline(t, "order_1")
	hints := []ports.Event{b.mustHint(t, p), b.mustHint(t, p)}
	other := b.mustHint(t, b.mustDecline(t, "order_2"))

	for range 2 {
		require.NoError(t, b.ParkHints(t.Context(), p.IntentID))

		for _, hint := range hints {
			stored := b.event(t, hint.ID)
			require.Equal(t, ports.EventParked, stored.Outcome)
			require.Equal(t, ports.ParkedContradiction, stored.Reason)
		}

		require.Equal(t, []string{other.ID}, eventIDs(b.hints(t, 10)))
	}

	require.Equal(t, p.Status, b.paymentNow(t, p.ID).Status)
}
