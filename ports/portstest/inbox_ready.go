package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func readyOldestFirst(t *testing.T, b StoreBed) {
	t.Helper()

	const events = 5

	var want []string

	for n := range events {
		completion := completionOf(b.mustBegin(t, newOperation(t, "")))
		e := eventOf(t, completion.Payment, payment.Succeeded)
		e.Intent.PaymentID = uuid.Nil
		b.mustApply(t, e)
		b.Elapse(t, time.Minute)

		if n > 0 { // the payment of the oldest event never appears
			b.mustFinish(t, completion)

			want = append(want, e.ID)
		}
	}

	require.Equal(t, want, eventIDs(b.ready(t)))
}

// Many events may be received at one moment, and a slice may end between two of them.
// Each event is looked at once, even if most are not ready.
func readyBySlices(t *testing.T, b StoreBed) {
	t.Helper()

	const events, slice = 20, 3

	var want []string

	for n := range events {
		completion := completionOf(b.mustBegin(t, newOperation(t, "")))
		e := eventOf(t, completion.Payment, payment.Succeeded)
		e.Intent.PaymentID = uuid.Nil
		b.mustApply(t, e)

		if n%5 == 0 {
			b.mustFinish(t, completion)

			want = append(want, e.ID)
		}
	}

	var (
		got   []string
		calls int
		at    ports.InboxPosition
	)

	for {
		ids, next, err := b.Ready(t.Context(), at, slice)
		require.NoError(t, err)
		require.LessOrEqual(t, len(ids), slice)

		got, at = append(got, ids...), next

		if calls++; at == (ports.InboxPosition{}) {
			break
		}

		require.LessOrEqual(t, calls, events)
	}

	require.ElementsMatch(t, want, got)
	require.Equal(t, events/slice+1, calls, "each call looks at a slice, whatever is ready in it")
}

// A contradiction waits for a person. Trying it again would never help.
func readyWithoutContradictions(t *testing.T, b StoreBed) {
	t.Helper()

	p := b.mustPay(t, "order_1")
	e := eventOf(t, p, payment.Succeeded)
	e.Intent.Amount = amount(t, 1_00, "USD")
	require.Equal(t, ports.EventParked, b.mustApply(t, e).Outcome)

	require.Empty(t, b.ready(t))
	require.Empty(t, b.readyFor(t, p.IntentID))
}

func (b StoreBed) ready(tb testing.TB) []ports.StoredEvent {
	tb.Helper()

	ids, _, err := b.Ready(tb.Context(), ports.InboxPosition{}, 100)
	require.NoError(tb, err)

	events := make([]ports.StoredEvent, 0, len(ids))
	for _, id := range ids {
		events = append(events, b.event(tb, id))
	}

	return events
}

func (b StoreBed) readyFor(tb testing.TB, intentID string) []ports.StoredEvent {
	tb.Helper()

	events, err := b.ReadyFor(tb.Context(), intentID)
	require.NoError(tb, err)

	return events
}
