package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func eventAsItCame(t *testing.T, b StoreBed) {
	t.Helper()

	began := time.Now()

	for name, change := range map[string]func(*ports.Event){
		"whole":        func(*ports.Event) {},
		"without time": func(e *ports.Event) { e.CreatedAt = time.Time{} },
		"from a hash":  func(e *ports.Event) { e.ID = "sha256:" + e.ID },
		"any bytes":    func(e *ports.Event) { e.Raw = []byte{0, 0xff, '{', '\\', 'x', '4', '1', '\r', '\n'} },
		"no object":    func(e *ports.Event) { e.ObjectID, e.IsIntent = "", false },
	} {
		e := eventOf(t, payment.Payment{IntentID: intentOf(uuid.New())}, payment.Succeeded)
		change(&e)
		applied := b.mustApply(t, e)

		got := b.requireStored(t, e, applied.Outcome, applied.Reason)
		require.WithinDuration(t, began, got.ReceivedAt, time.Minute, name)
		require.False(t, got.ProcessedAt.Before(got.ReceivedAt), name)
		require.Equal(t, time.UTC, got.ReceivedAt.Location(), name)
		require.Equal(t, time.UTC, got.ProcessedAt.Location(), name)
	}
}

func eventNotFound(t *testing.T, b StoreBed) {
	t.Helper()

	_, err := b.Event(t.Context(), "evt_none")
	requireNotFound(t, err)
}

func eventsListed(t *testing.T, b StoreBed) {
	t.Helper()

	none, err := b.Events(t.Context(), ports.EventFilter{}, 10)
	require.NoError(t, err)
	require.Empty(t, none)

	p := b.mustPay(t, "order_1")
	unknown := payment.Payment{IntentID: "pi_unknown"}

	ids := make([]string, 0, 5)

	for _, e := range []ports.Event{
		eventOf(t, p, payment.Failed), eventOf(t, unknown, payment.Failed), eventOf(t, p, payment.Failed),
		eventOf(t, p, payment.Succeeded), eventOf(t, unknown, payment.Succeeded),
	} {
		b.mustApply(t, e)
		b.Elapse(t, time.Minute)

		ids = append(ids, e.ID)
	}

	for _, want := range []struct {
		filter ports.EventFilter
		limit  int
		ids    []string
	}{
		{ports.EventFilter{}, 10, []string{ids[4], ids[3], ids[2], ids[1], ids[0]}},
		{ports.EventFilter{}, 2, []string{ids[4], ids[3]}},
		{ports.EventFilter{Outcome: ports.EventParked}, 10, []string{ids[4], ids[1]}},
		{ports.EventFilter{Outcome: ports.EventParked}, 1, []string{ids[4]}},
		{ports.EventFilter{Outcome: ports.EventApplied}, 10, []string{ids[3], ids[0]}},
		{ports.EventFilter{Outcome: ports.EventIgnored}, 10, []string{}},
		{ports.EventFilter{Outcome: ports.EventHint}, 10, []string{ids[2]}},
		{ports.EventFilter{Type: "payment_intent.succeeded"}, 10, []string{ids[4], ids[3]}},
		{ports.EventFilter{Type: "payment_intent.failed", Outcome: ports.EventParked}, 10, []string{ids[1]}},
		{ports.EventFilter{ObjectID: p.IntentID}, 10, []string{ids[3], ids[2], ids[0]}},
		{ports.EventFilter{ObjectID: p.IntentID, Outcome: ports.EventApplied, Type: "payment_intent.failed"}, 10, []string{ids[0]}},
	} {
		events, err := b.Events(t.Context(), want.filter, want.limit)
		require.NoError(t, err)
		require.Equal(t, want.ids, eventIDs(events), "%+v, %d", want.filter, want.limit)
	}
}
