package events_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

const succeeded = "payment_intent.succeeded"

func TestReprocessType_Do(t *testing.T) {
	t.Parallel()

	// An older release has stored what it did not handle.
	older := func(t *testing.T, b *apptest.World, key string) (payment.Payment, ports.Event) {
		t.Helper()

		p := b.Create(operation.Key(key))
		event := b.Pay(p.IntentID)
		b.Park(event)
		b.Exec("UPDATE stripe_events SET outcome = 'unhandled', parked_reason = NULL WHERE id = $1", event.ID)

		return p, event
	}
	reprocess := func(t *testing.T, b *apptest.World, eventType string) (events.Reprocessed, error) {
		t.Helper()

		return events.NewReprocessType(b.Inbox, b.Webhooks, b.Apply()).Do(t.Context(), eventType)
	}

	t.Run("All", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)

		paid := make([]payment.Payment, 3)
		for n := range paid {
			paid[n], _ = older(t, b, strconv.Itoa(n))
		}

		_, ahead := older(t, b, "ahead")
		b.Exec(`UPDATE payments SET status = 'succeeded', intent_status = 'succeeded', amount_captured = amount
			WHERE id = $1`, ahead.Intent.PaymentID)

		applied := b.Create("applied")
		_, err := b.Apply().Do(t.Context(), b.Pay(applied.IntentID))
		require.NoError(t, err)

		other := b.Create("of another type")
		b.Park(b.Event(other.IntentID, "payment_intent.created"))
		b.Exec("UPDATE stripe_events SET outcome = 'unhandled', parked_reason = NULL WHERE type = 'payment_intent.created'")

		done, err := reprocess(t, b, succeeded)
		require.NoError(t, err)
		require.Equal(t, events.Reprocessed{Outcomes: outcomes{ports.EventApplied: 3, ports.EventStale: 1}}, done)
		require.Equal(t, 4, done.Events())

		for _, p := range paid {
			require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
		}

		require.Equal(t, ports.EventStale, b.Stored(ahead.ID).Outcome)
		require.Equal(t, ports.EventUnhandled, b.Stored(b.Event(other.IntentID, "payment_intent.created").ID).Outcome)

		done, err = reprocess(t, b, succeeded)
		require.NoError(t, err)
		require.Zero(t, done.Events(), "none is left")
	})

	// However many others there are, and in whatever order they came.
	t.Run("AmongManyOthers", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		p, event := older(t, b, "1")
		b.Exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, received_at)
			SELECT 'evt_other_' || n, 'charge.refunded', '', '{}', 'unhandled', now() - interval '1 day' - n * interval '1 second'
			FROM generate_series(1, 12000) n`)
		b.Exec(`INSERT INTO stripe_events (id, type, object_id, payload, outcome, received_at)
			SELECT 'evt_' || n, $1, 'pi_x', $2, 'unhandled', now() - interval '2 days' FROM generate_series(1, 700) n`,
			succeeded, []byte(fmt.Sprintf(`{"id":"evt_x","type":%q,"data":{"object":{"id":"pi_unknown"}}}`, succeeded)))

		inbox := &listed{Inbox: b.Inbox}
		b.Inbox = inbox

		done, err := reprocess(t, b, succeeded)
		require.NoError(t, err)
		require.Equal(t, 701, done.Events())
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
		require.Equal(t, event.ID, inbox.ids[len(inbox.ids)-1], "the oldest first")
		require.LessOrEqual(t, inbox.most, 500, "a few at a time")
	})

	t.Run("OneCannotBeRead", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		_, odd := older(t, b, "1")
		p, _ := older(t, b, "2")
		b.Exec("UPDATE stripe_events SET payload = '{}' WHERE id = $1", odd.ID)

		done, err := reprocess(t, b, succeeded)
		apptest.RequireFault(t, fault.Invalid, err)
		require.ErrorContains(t, err, odd.ID)
		require.Equal(t, events.Reprocessed{Outcomes: outcomes{ports.EventApplied: 1}, Failed: 1}, done)
		require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
		require.Equal(t, ports.EventUnhandled, b.Stored(odd.ID).Outcome)
	})

	t.Run("Away", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		_, event := older(t, b, "1")
		older(t, b, "2")
		b.Inbox = away{b.Inbox}

		done, err := reprocess(t, b, succeeded)
		apptest.RequireFault(t, fault.Unavailable, err)
		require.Zero(t, done.Events(), "it stops")
		require.Equal(t, ports.EventUnhandled, b.Stored(event.ID).Outcome)
	})

	t.Run("NotHandledYet", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		event := b.Retyped(b.Pay(b.Create("order_1").IntentID), "payment_intent.partially_funded")
		_, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)

		_, err = reprocess(t, b, event.Type)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, event.Type)
		require.Equal(t, ports.EventUnhandled, b.Stored(event.ID).Outcome)
	})

	t.Run("ForeignOnesLoseTheirBodies", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		event := b.Pay(b.StrangeIntent("amount=1000&currency=usd"))
		b.Park(event)
		b.Exec("UPDATE stripe_events SET outcome = 'unhandled', parked_reason = NULL")

		done, err := reprocess(t, b, succeeded)
		require.NoError(t, err)
		require.Equal(t, outcomes{ports.EventForeign: 1}, done.Outcomes)
		require.Empty(t, b.Stored(event.ID).Raw)
		require.Empty(t, b.Stored(event.ID).ObjectID)
	})
}

type outcomes = map[ports.EventOutcome]int

// listed notes what was listed.
type listed struct {
	ports.Inbox

	ids  []string
	most int
}

func (l *listed) Unhandled(
	ctx context.Context, eventType string, after ports.InboxPosition, limit int,
) ([]string, ports.InboxPosition, error) {
	ids, next, err := l.Inbox.Unhandled(ctx, eventType, after, limit)
	l.ids, l.most = append(l.ids, ids...), max(l.most, len(ids))

	return ids, next, err
}
