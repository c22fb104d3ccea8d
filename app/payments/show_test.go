package payments_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestShow_Do(t *testing.T) {
	t.Parallel()

	setup := func(t *testing.T) *apptest.World {
		t.Helper()

		return apptest.New(t)
	}
	show := func(t *testing.T, b *apptest.World, name payments.Name) (payments.Story, error) {
		t.Helper()

		return payments.NewShow(b.Timeline(), b.Store, b.Store, b.Observer).Do(t.Context(), name)
	}
	titles := func(story payments.Story) []string {
		all := make([]string, 0, len(story.Timeline))
		for _, entry := range story.Timeline {
			all = append(all, string(entry.Kind)+" "+entry.Title)
		}

		return all
	}

	t.Run("TheWholeStory", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		paid := b.Pay(p.IntentID)
		b.Park(paid)

		_, err := events.NewDismiss(b.Inbox, b.Store, b.Observer).
			Do(t.Context(), paid.ID, operations.Decision{Actor: "cli:ann", Reason: "twice"})
		require.NoError(t, err)
		_, err = events.NewReprocess(b.Inbox, b.Webhooks, b.Store, b.Apply()).
			Do(t.Context(), paid.ID, operations.Decision{Actor: "cli:bob", Reason: "it was right"})
		require.NoError(t, err)

		story, err := show(t, b, payments.Name{ID: p.ID})
		require.NoError(t, err)
		require.Equal(t, payment.Succeeded, story.Payment.Status)
		require.Equal(t, operation.Finished, story.Operation.State)
		require.ElementsMatch(t, []string{
			"operation create asked for", "operation create finished", "transition payment pending",
			"stripe_event payment_intent.succeeded", "audit inbox.dismiss", "audit inbox.reopen",
			"transition pending → succeeded",
		}, titles(story))
		require.True(t, slices.IsSortedFunc(story.Timeline, func(a, b payments.TimelineEntry) int { return a.At.Compare(b.At) }))
		require.Equal(t, "operation create asked for", titles(story)[0])
		require.Equal(t, "transition pending → succeeded", titles(story)[len(story.Timeline)-1])

		begun := story.Timeline[0]
		require.Equal(t, apptest.RequestID, begun.RequestID)
		require.Equal(t, "0123456789abcdef0123456789abcdef", begun.TraceID)
		require.Equal(t, "10.00", begun.Data["amount"])

		reopened := story.Timeline[slices.Index(titles(story), "audit inbox.reopen")]
		require.Equal(t, "cli:bob", reopened.Actor)
		require.Equal(t, "it was right", reopened.Data["reason"])
	})

	t.Run("OperationsOnIt", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Held("order_1")
		_, err := payments.NewCapture(b.Change()).Do(t.Context(), payments.CaptureCommand{
			ChangeCommand: payments.ChangeCommand{Tenant: operation.DefaultTenant, PaymentID: p.ID, RequestID: "request-9"}, Amount: "4",
		})
		require.NoError(t, err)

		story, err := show(t, b, payments.Name{ID: p.ID})
		require.NoError(t, err)
		require.Equal(t, p.ID, story.Operation.ID, "the create")
		require.ElementsMatch(t, []string{
			"operation create asked for", "operation create finished", "transition payment pending",
			"operation capture asked for", "operation capture finished", "transition pending → succeeded",
		}, titles(story))

		asked := story.Timeline[slices.Index(titles(story), "operation capture asked for")]
		require.Equal(t, "request-9", asked.RequestID)
		require.Equal(t, "4.00", asked.Data["amount"])
	})

	t.Run("ByEachName", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		b.Create("order_2")

		for _, name := range []payments.Name{{ID: p.ID}, {IntentID: p.IntentID}, {Tenant: operation.DefaultTenant, Key: p.Key}} {
			story, err := show(t, b, name)
			require.NoError(t, err)
			require.Equal(t, p, *story.Payment)
		}
	})

	t.Run("NoPaymentYet", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1")

		story, err := show(t, b, payments.Name{Tenant: operation.DefaultTenant, Key: "order_1"})
		require.NoError(t, err)
		require.Nil(t, story.Payment)
		require.Equal(t, op.ID, story.Operation.ID)
		require.Equal(t, []string{"operation create asked for"}, titles(story))

		b.GiveUp(op)
		b.Elapse(time.Hour)

		story, err = show(t, b, payments.Name{ID: op.ID})
		require.NoError(t, err)
		require.Equal(t, []string{"operation create asked for", "operation create needs attention"}, titles(story))
		require.Equal(t, ports.ErrContradiction.Error(), story.Timeline[1].Data["last_error"])
	})

	t.Run("NoOperation", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		b.Exec("DELETE FROM operations")

		story, err := show(t, b, payments.Name{ID: p.ID})
		require.NoError(t, err)
		require.Nil(t, story.Operation)
		require.Equal(t, []string{"transition payment pending"}, titles(story))
	})

	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Create("order_1")

		for _, name := range []payments.Name{{ID: uuid.New()}, {IntentID: "pi_unknown"}, {Key: "order_2"}} {
			_, err := show(t, b, name)
			apptest.RequireFault(t, fault.NotFound, err)
		}
	})
}
