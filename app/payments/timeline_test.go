package payments_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestTimeline_Do(t *testing.T) {
	t.Parallel()

	timeline := func(t *testing.T, w *apptest.World, id uuid.UUID) []payments.TimelineEntry {
		t.Helper()

		entries, cut, err := w.Timeline().Do(t.Context(), operation.DefaultTenant, id)
		require.NoError(t, err)
		require.False(t, cut)
		require.True(t, slices.IsSortedFunc(entries, func(a, b payments.TimelineEntry) int { return a.At.Compare(b.At) }))

		return entries
	}
	// lines are kind, title and actor.
	lines := func(entries []payments.TimelineEntry) []string {
		all := make([]string, 0, len(entries))
		for _, e := range entries {
			all = append(all, fmt.Sprintf("%s | %s | %s", e.Kind, e.Title, e.Actor))
		}

		return all
	}

	// A payment that was declined, authorised, captured, and decided about by a person.
	t.Run("ALife", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		p := w.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))
		apply := func(e ports.Event) ports.Event {
			_, err := w.Apply().Do(t.Context(), e)
			require.NoError(t, err)

			return e
		}

		w.Confirm(p.IntentID, "pm_card_chargeDeclined")
		declined := apply(w.Event(p.IntentID, "payment_intent.payment_failed"))
		held := apply(w.Authorize(p))
		_, _, err := w.Refresh().Do(t.Context(), p.ID, "hint")
		require.NoError(t, err)

		_, err = payments.NewCapture(w.Change()).Do(t.Context(), payments.CaptureCommand{
			ChangeCommand: payments.ChangeCommand{
				Tenant: operation.DefaultTenant, PaymentID: p.ID, Key: "capture_1", RequestID: "request-9",
			}, Amount: "4",
		})
		require.NoError(t, err)

		paid := apply(w.Event(p.IntentID, "payment_intent.succeeded"))
		entry, err := decision.Entry(ports.AuditPaymentAccepted, "payment", p.ID.String())
		require.NoError(t, err)
		w.Exec(`INSERT INTO audit (id, actor, action, object_type, object_id, reason)
			VALUES ($1, $2, $3, $4, $5, $6)`, entry.ID, entry.Actor, entry.Action, entry.ObjectType, entry.ObjectID, entry.Reason)

		entries := timeline(t, w, p.ID)
		require.ElementsMatch(t, []string{
			"operation | create asked for | request", "operation | create finished | ", "transition | payment pending | request",
			"stripe_event | payment_intent.payment_failed | stripe",
			"transition | pending → failed | webhook " + declined.ID,
			"stripe_event | payment_intent.amount_capturable_updated | stripe", "transition | failed → pending | hint",
			"operation | capture asked for | request", "operation | capture finished | ",
			"transition | pending → succeeded | request", "stripe_event | payment_intent.succeeded | stripe",
			"audit | payment.accept | " + decision.Actor,
		}, lines(entries))
		require.Equal(t, "operation | create asked for | request", lines(entries)[0])
		require.Equal(t, "audit | payment.accept | "+decision.Actor, lines(entries)[len(entries)-1])

		byLine := map[string]payments.TimelineEntry{}
		for _, e := range entries {
			byLine[e.Title] = e
		}

		create := w.Operation(p.ID)
		begun := byLine["create asked for"]
		require.Equal(t, apptest.RequestID, begun.RequestID)
		require.Equal(t, "0123456789abcdef0123456789abcdef", begun.TraceID)
		require.Equal(t, map[string]any{
			"id": p.ID.String(), "kind": "create", "state": "finished", "attempts": create.Attempts, "amount": "10.00",
			"currency": "USD", "stripe_key": create.Call.Key, payments.OptionCaptureMethod: "manual",
		}, begun.Data)
		require.Equal(t, 201, byLine["create finished"].Data["response_status"])

		require.Equal(t, apptest.RequestID, byLine["payment pending"].RequestID)
		require.Equal(t, "request-9", byLine["pending → succeeded"].RequestID, "the capture's")
		require.Equal(t, "request-9", byLine["capture asked for"].RequestID)
		require.Equal(t, "4.00", byLine["capture asked for"].Data["amount"])
		require.Empty(t, byLine["pending → failed"].RequestID)

		for event, outcome := range map[string]ports.EventOutcome{
			declined.ID: ports.EventApplied, held.ID: ports.EventApplied, paid.ID: ports.EventStale,
		} {
			at := slices.IndexFunc(entries, func(e payments.TimelineEntry) bool { return e.Data["id"] == event })
			require.Equal(t, string(outcome), entries[at].Data["outcome"], entries[at].Title)
		}

		form, err := json.Marshal(entries)
		require.NoError(t, err)
		require.NotContains(t, string(form), "_secret_", "no client secret")
	})

	t.Run("DecisionsAboutItsOperationsAndEvents", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		p := w.Held("order_1")
		op := w.BeginOne(w.NewCancel("cancel_1", p))
		w.GiveUp(op)

		event := w.Event(p.IntentID, "payment_intent.amount_capturable_updated")
		w.Park(event)

		for _, object := range []string{op.ID.String(), event.ID} {
			w.Exec(`INSERT INTO audit (id, actor, action, object_type, object_id, reason)
				VALUES (gen_random_uuid(), 'cli:ann', 'inbox.dismiss', 'x', $1, 'judged')`, object)
		}

		entries := timeline(t, w, p.ID)
		all := lines(entries)
		require.Equal(t, 2, len(all)-len(slices.DeleteFunc(slices.Clone(all), func(l string) bool {
			return l == "audit | inbox.dismiss | cli:ann"
		})))

		at := slices.Index(all, "operation | cancel needs attention | ")
		require.Equal(t, ports.ErrContradiction.Error(), entries[at].Data["last_error"])
	})

	t.Run("Parked", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		p := w.Create("order_1")
		w.Park(w.Pay(p.IntentID))

		entries := timeline(t, w, p.ID)
		at := slices.IndexFunc(entries, func(e payments.TimelineEntry) bool { return e.Kind == payments.TimelineStripeEvent })
		require.Equal(t, "parked", entries[at].Data["outcome"])
		require.NotEmpty(t, entries[at].Data["parked_reason"])
	})

	t.Run("Long", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		p := w.Create("order_1")
		w.Exec(`INSERT INTO payment_transitions (payment_id, from_status, to_status, cause, at)
			SELECT $1, 'pending', 'failed', 'evt_' || n, now() + n * interval '1 second' FROM generate_series(1, 600) n`, p.ID)

		entries, cut, err := w.Timeline().Do(t.Context(), operation.DefaultTenant, p.ID)
		require.NoError(t, err)
		require.True(t, cut)
		require.Equal(t, "webhook evt_600", entries[len(entries)-1].Actor, "the newest is there")
		require.LessOrEqual(t, len(entries), ports.MaxHistory+2)
	})

	t.Run("None", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		op := w.Begin("order_1")

		for _, id := range []uuid.UUID{uuid.New(), op.ID} {
			_, _, err := w.Timeline().Do(t.Context(), operation.DefaultTenant, id)
			apptest.RequireFault(t, fault.NotFound, err)
		}

		w.InLife(operation.Standing{})

		_, _, err := w.Timeline().Do(t.Context(), operation.DefaultTenant, uuid.New())
		apptest.RequireFault(t, fault.Unavailable, err)
	})

	t.Run("OfAnOperationOnIt", func(t *testing.T) {
		t.Parallel()

		w := apptest.New(t)
		p := w.Held("order_1")
		op := w.BeginOne(w.NewCancel("cancel_1", p))

		_, _, err := w.Timeline().Do(t.Context(), operation.DefaultTenant, op.ID)
		apptest.RequireFault(t, fault.NotFound, err)
		require.Equal(t, payment.Pending, w.Payment(p.ID).Status)
	})
}
