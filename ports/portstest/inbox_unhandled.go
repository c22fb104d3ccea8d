package portstest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

// unhandledEvent stores an event of a type that is not handled.
func (b StoreBed) unhandledEvent(tb testing.TB, eventType string) ports.Event {
	tb.Helper()

	e := eventOf(tb, payment.Payment{IntentID: "pi_unknown"}, "")
	e.Type, e.Handled = eventType, false
	require.Equal(tb, ports.EventUnhandled, b.mustApply(tb, e).Outcome)

	return e
}

// unhandled walks through all of a type, so many at a time.
func (b StoreBed) unhandled(tb testing.TB, eventType string, limit int) []string {
	tb.Helper()

	var (
		all []string
		at  ports.InboxPosition
	)

	for {
		ids, next, err := b.Twin.Unhandled(tb.Context(), eventType, at, limit)
		require.NoError(tb, err)
		require.LessOrEqual(tb, len(ids), limit)

		if all = append(all, ids...); next == (ports.InboxPosition{}) {
			require.Empty(tb, ids, "there are no more")

			return all
		}

		require.NotEqual(tb, at, next, "it goes on")

		at = next
	}
}

func unhandledOldestFirst(t *testing.T, b StoreBed) {
	t.Helper()

	const eventType, another = "charge.refunded", "charge.captured"

	require.Empty(t, b.unhandled(t, eventType, 10))

	const events = 7

	want := make([]string, 0, events)

	for n := range events {
		if n%3 == 0 {
			b.Elapse(t, time.Minute)
		}

		want = append(want, b.unhandledEvent(t, eventType).ID)
		b.unhandledEvent(t, another)
		b.mustApply(t, eventOf(t, payment.Payment{IntentID: fmt.Sprintf("pi_%d", n)}, payment.Succeeded)) // parked
	}

	for limit := 1; limit <= len(want)+1; limit++ {
		require.Equal(t, want, b.unhandled(t, eventType, limit), limit)
	}

	require.Len(t, b.unhandled(t, another, 3), events)
	require.Empty(t, b.unhandled(t, "charge.succeeded", 3))
}

// What is processed now is no longer there, and those behind it are.
func unhandledIsWalkedThrough(t *testing.T, b StoreBed) {
	t.Helper()

	const eventType = "payment_intent.succeeded"

	p := b.mustPay(t, "order_1")
	handled := eventOf(t, p, payment.Succeeded)
	handled.Type, handled.Handled = eventType, false
	require.Equal(t, ports.EventUnhandled, b.mustApply(t, handled).Outcome)
	b.Elapse(t, time.Minute)

	later := b.unhandledEvent(t, eventType)

	ids, next, err := b.Unhandled(t.Context(), eventType, ports.InboxPosition{}, 1)
	require.NoError(t, err)
	require.Equal(t, []string{handled.ID}, ids)

	handled.Handled = true
	require.Equal(t, ports.EventApplied, b.mustApply(t, handled).Outcome)

	ids, _, err = b.Unhandled(t.Context(), eventType, next, 1)
	require.NoError(t, err)
	require.Equal(t, []string{later.ID}, ids)
	require.Equal(t, []string{later.ID}, b.unhandled(t, eventType, 10))
}
