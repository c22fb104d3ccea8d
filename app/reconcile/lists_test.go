package reconcile_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/reconcile"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestReconcile_Do_MissedEvent(t *testing.T) {
	t.Parallel()

	t.Run("Applied", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		event := b.Pay(p.IntentID)

		report := b.look(t)
		require.NotZero(t, report.Found[ports.DiscrepancyMissedEvent])
		require.Equal(t, report.Found, report.Repaired)
		require.True(t, report.Clean())
		require.Equal(t, []string{"request: pending", event.ID + ": succeeded"}, b.History(p.ID))
		require.Equal(t, []string{"handled: applied", "missed_event: repaired"}, b.Observer.Told(event.ID))
		require.Empty(t, b.look(t).Found)
	})

	t.Run("ForAPerson", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.Create("order_1")
		event := b.Pay(p.IntentID)
		b.Exec("UPDATE payments SET amount = amount + 1")

		report := b.look(t)
		require.Equal(t, ports.ParkedContradiction, b.Stored(event.ID).Reason)
		require.Equal(t, []string{"handled: parked", "missed_event: left"}, b.Observer.Told(event.ID))
		require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
		require.False(t, report.Clean())
	})
}

// An endpoint need not listen to the steps on the way, so it is no discrepancy that their
// events are not here.
func TestReconcile_Do_StepsOnTheWay(t *testing.T) {
	t.Parallel()

	t.Run("Held", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))
		event := b.Authorize(p)

		dry, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, DryRun: true})
		require.NoError(t, err)
		require.Empty(t, dry.Found)
		b.RequireNotStored(event.ID)
		require.Equal(t, payment.IntentRequiresPaymentMethod, b.Payment(p.ID).IntentStatus)

		report := b.look(t)
		require.Empty(t, report.Found)
		require.True(t, report.Clean())

		held := b.Payment(p.ID)
		require.Equal(t, payment.IntentRequiresCapture, held.IntentStatus)
		require.EqualValues(t, 10_00, held.Capturable.Minor())
		require.Equal(t, ports.EventHint, b.Stored(event.ID).Outcome, "when the hold lapses is still to be read")
		b.RequireNotStored(b.Event(p.IntentID, "payment_intent.created").ID) // it says nothing new
	})

	t.Run("TheIntentTells", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))
		b.known(b.Authorize(p))

		report := b.look(t)
		require.Empty(t, report.Found)
		require.True(t, report.Clean())

		held := b.Payment(p.ID)
		require.Equal(t, payment.IntentRequiresCapture, held.IntentStatus)
		require.False(t, held.CaptureBefore.IsZero())
		require.Contains(t, b.Observer.Told(p.ID), "changed: requires_capture")
	})

	// The payment is older than what the lists of intents show, so that its intent is read
	// with the open ones.
	t.Run("OfAnOldPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Stripe.Advance(-48 * time.Hour)
		p := b.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))
		b.Stripe.Advance(48 * time.Hour)

		event := b.Authorize(p)

		require.Empty(t, b.look(t).Found)
		require.Equal(t, payment.IntentRequiresCapture, b.Payment(p.ID).IntentStatus)
		require.Equal(t, ports.EventApplied, b.Stored(event.ID).Outcome)
	})
}

func TestReconcile_Do_MissingPayment(t *testing.T) {
	t.Parallel()

	t.Run("ItsOperationIsThere", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1")
		intent := b.Send(op)

		report := b.look(t)
		require.Equal(t, 1, report.Repaired[ports.DiscrepancyMissingPayment])
		require.True(t, report.Clean())
		require.Equal(t, intent.ID, b.Payment(op.ID).IntentID)
		require.Equal(t, []string{"reconciliation: pending"}, b.History(op.ID))

		done := b.Operation(op.ID)
		require.Equal(t, http.StatusCreated, done.Response.Status)
		require.Contains(t, string(done.Response.Body), intent.ClientSecret)
		require.Contains(t, b.Observer.Told(op.ID), "missing_payment: repaired")
		require.Contains(t, b.Observer.Told(apptest.RequestID), "linked")
	})

	t.Run("ItsOperationIsGone", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		p := b.CreateFor("order_1", apptest.Manual(apptest.Order(t, 10_00)))

		for _, table := range []string{"payments", "operations", "payment_transitions"} {
			b.Exec("DELETE FROM " + table)
		}

		require.True(t, b.look(t).Clean())

		back := b.Payment(p.ID)
		require.Equal(t, p.IntentID, back.IntentID)
		require.Equal(t, p.Amount, back.Amount)
		require.Equal(t, payment.CaptureManual, back.CaptureMethod)

		intent, err := b.Provider.Intent(t.Context(), p.IntentID)
		require.NoError(t, err)
		require.True(t, intent.CreatedAt.Equal(b.Operation(p.ID).CreatedAt), "the key at Stripe is as old as the intent")
		b.RequireIntents(p.IntentID)
	})

	// Anybody may call something of their own payment_id. Without our mark only our own
	// record of the operation shows that it is ours.
	t.Run("WithoutOurMark", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1") // from a release that wrote no marks
		b.Elapse(time.Hour)
		ours := b.StrangeIntent("amount=1000&currency=usd&metadata[payment_id]=" + op.ID.String())
		theirs := b.StrangeIntent("amount=1000&currency=usd&metadata[payment_id]=" + apptest.NewID(t).String())

		report := b.look(t)
		require.Equal(t, counts{ports.DiscrepancyMissingPayment: 1}, report.Repaired)
		require.Equal(t, report.Found, report.Repaired)
		require.Equal(t, ours, b.Payment(op.ID).IntentID)

		known, err := b.Store.PaymentsByIntent(t.Context(), []string{theirs})
		require.NoError(t, err)
		require.Empty(t, known)
		b.RequireIntents(ours, theirs)
	})

	t.Run("RejectedBefore", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.Begin("order_1")
		b.Send(op)
		_, err := b.Store.FinishRejected(t.Context(), op, ports.FrozenResponse{Status: http.StatusBadGateway})
		require.NoError(t, err)

		report := b.look(t)
		require.Equal(t, 1, report.Found[ports.DiscrepancyMissingPayment])
		require.Zero(t, report.Repaired[ports.DiscrepancyMissingPayment])
		require.Equal(t, http.StatusBadGateway, b.Operation(op.ID).Response.Status, "a finished answer never changes")
		b.RequireNoPayment(op.ID)
		require.Contains(t, b.Observer.Told(op.ID), "missing_payment: left")
	})
}

// Intents that are not ours are neither adopted nor counted, whatever becomes of them.
func TestReconcile_Do_Foreign(t *testing.T) {
	t.Parallel()

	id := uuid.New()
	another := operation.Installation{ID: uuid.New()}.Mark(
		operation.DefaultTenant, operation.Create, id, operation.Fingerprint{1}).String()

	for name, metadata := range map[string]string{
		"NoMetadata":            "",
		"TheirOwnMetadata":      "&metadata[order]=42",
		"OfAnotherInstallation": "&metadata[payment_id]=" + id.String() + "&metadata[marketflow]=" + another,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			intent := b.StrangeIntent("amount=1000&currency=usd" + metadata)
			paid := b.Pay(intent)

			dry, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: time.Hour, DryRun: true})
			require.NoError(t, err)
			require.Empty(t, dry.Found)
			b.RequireNotStored(paid.ID)

			report := b.look(t)
			require.Empty(t, report.Found)
			require.Zero(t, report.Intents)
			require.True(t, report.Clean())
			require.Equal(t, ports.EventForeign, b.Stored(paid.ID).Outcome)
			require.Empty(t, b.Stored(paid.ID).Raw)
			require.Equal(t, []string{"handled: foreign", "taken: foreign"}, b.Observer.Told(paid.ID))

			all, err := b.Store.Operations(t.Context(), 0, nil, 10)
			require.NoError(t, err)
			require.Empty(t, all)
			b.RequireNoPayment(id)
		})
	}
}

// The payment follows its intent, also back: a declined attempt is not the end.
func TestReconcile_Do_PendingAndFailed(t *testing.T) {
	t.Parallel()

	b := setup(t)
	p := b.Create("order_1")
	b.Confirm(p.IntentID, "pm_card_chargeDeclined")
	b.known(b.Event(p.IntentID, "payment_intent.payment_failed"))
	require.Equal(t, counts{ports.DiscrepancyStatus: 1}, b.look(t).Repaired)
	require.Equal(t, payment.Failed, b.Payment(p.ID).Status)

	b.Confirm(p.IntentID, "pm_card_authenticationRequired")
	b.known(b.Event(p.IntentID, "payment_intent.requires_action"))
	require.Equal(t, counts{ports.DiscrepancyStatus: 1}, b.look(t).Repaired)
	require.Equal(t, payment.Pending, b.Payment(p.ID).Status)
	require.Empty(t, b.look(t).Found)
	require.Equal(t, []string{
		"request: pending", "reconciliation: failed", "reconciliation: pending",
	}, b.History(p.ID))

	// It is paid while it is being read: what was read is older.
	b.Confirm(p.IntentID, "pm_card_chargeDeclined")
	b.known(b.Event(p.IntentID, "payment_intent.payment_failed"))

	b.Provider = &during{Provider: b.Provider, do: func() {
		_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
		require.NoError(t, err)
	}}
	b.look(t)
	require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	require.NotContains(t, b.History(p.ID)[3:], "reconciliation: failed")
}

// during lets something happen after the first intent was read and before it is used.
type during struct {
	ports.Provider

	once sync.Once
	do   func()
}

func (d *during) Intent(ctx context.Context, id string) (ports.Intent, error) {
	intent, err := d.Provider.Intent(ctx, id)
	d.once.Do(d.do)

	return intent, err
}

// A capture of less that we do not know of is repaired, one of more is a person's.
func TestReconcile_Do_Captured(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		ours string
		kind ports.DiscrepancyKind
		left int
	}{
		"Less": {"10", ports.DiscrepancyStatus, 0},
		"More": {"3", ports.DiscrepancyContradiction, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			p := b.Held("order_1")
			b.Dashboard(p.IntentID, "capture", url.Values{"amount_to_capture": {"400"}})
			_, err := b.Apply().Do(t.Context(), b.Event(p.IntentID, "payment_intent.succeeded"))
			require.NoError(t, err)
			b.look(t)
			b.Exec("UPDATE payments SET amount_captured = " + c.ours)

			report := b.look(t)
			require.Equal(t, counts{c.kind: 1}, report.Found)
			require.Equal(t, c.left, report.Left())

			if c.left == 0 {
				require.EqualValues(t, 4_00, b.Payment(p.ID).Captured.Minor())
			} else {
				require.EqualValues(t, 3_00, b.Payment(p.ID).Captured.Minor())
			}
		})
	}
}

// An intent that cannot be read does not hide the others, and is looked at again.
func TestReconcile_Do_OneCannotBeRead(t *testing.T) {
	t.Parallel()

	b := setup(t)
	p, other := b.Create("order_1"), b.Create("order_2")

	for _, one := range []payment.Payment{p, other} {
		_, err := b.Apply().Do(t.Context(), b.Pay(one.IntentID))
		require.NoError(t, err)
	}

	b.look(t)
	b.Exec("UPDATE payments SET status = 'pending'")
	b.Provider = mute{b.Provider, p.IntentID}

	report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: 48 * time.Hour})
	require.ErrorContains(t, err, p.IntentID)
	require.Equal(t, counts{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, payment.Succeeded, b.Payment(other.ID).Status)
	require.Less(t, b.cursor(t), p.CreatedAt.Add(-30*time.Minute), "the next run looks at it again")
}

func TestReconcile_Do_Status(t *testing.T) {
	t.Parallel()

	b := setup(t)
	p := b.Create("order_1")
	_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
	require.NoError(t, err)
	b.look(t)
	b.Exec("UPDATE payments SET status = 'pending'") // its events are all here

	report := b.look(t)
	require.Equal(t, counts{ports.DiscrepancyStatus: 1}, report.Repaired)
	require.Equal(t, payment.Succeeded, b.Payment(p.ID).Status)
	require.Contains(t, b.History(p.ID), string(operation.ByReconciliation)+": succeeded")
	require.Equal(t, []string{"changed: pending → succeeded", "status: repaired"}, lastTwo(b.Observer.Told(p.ID)))
}

func lastTwo(all []string) []string { return all[max(len(all)-2, 0):] }

// What only a person can resolve is found by each run, and does not stop the cursor.
func TestReconcile_Do_Contradiction(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]struct {
		statement string
		args      []any
	}{
		"Amount":         {"UPDATE payments SET amount = amount + 1", nil},
		"Final":          {"UPDATE payments SET status = 'cancelled'", nil},
		"AnotherPayment": {"UPDATE payments SET id = $1", []any{uuid.New()}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			p := b.Create("order_1")
			_, err := b.Apply().Do(t.Context(), b.Pay(p.IntentID))
			require.NoError(t, err)
			b.look(t)
			b.Exec(change.statement, change.args...)

			for range 2 {
				report, err := b.reconcile().Do(t.Context(), reconcile.Options{Back: 48 * time.Hour})
				require.NoError(t, err)
				require.Equal(t, counts{ports.DiscrepancyContradiction: 1}, report.Found)
				require.Empty(t, report.Repaired)
				require.WithinDuration(t, time.Now().Add(-time.Minute), b.cursor(t), 30*time.Second)
			}

			b.RequireIntents(p.IntentID)
		})
	}
}
