package payments_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestAccept_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		// payment is held.
		payment payment.Payment
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Held("order_1")

		return b
	}
	accept := func(t *testing.T, b testBundle, by operations.Decision) (payment.Payment, error) {
		t.Helper()

		return payments.NewAccept(b.Refunds, b.Facts, b.Provider, b.Observer).Do(t.Context(), b.payment.ID, by)
	}
	// refused requires that nothing is accepted.
	refused := func(t *testing.T, b testBundle, why string) {
		t.Helper()

		before := b.Payment(b.payment.ID)
		_, err := accept(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, why)
		require.Equal(t, before, b.Payment(b.payment.ID))
		require.Empty(t, b.Audit(b.payment.ID.String()))
	}
	// captured is that four dollars were captured at Stripe, parked because it contradicts us.
	captured := func(t *testing.T, b testBundle) ports.Event {
		t.Helper()
		b.Dashboard(b.payment.IntentID, "capture", url.Values{"amount_to_capture": {"400"}})

		event := b.Event(b.payment.IntentID, "payment_intent.succeeded")
		applied, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.ParkedContradiction, applied.Reason)

		return event
	}

	t.Run("AnotherFinalStatus", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET status = 'cancelled', intent_status = 'canceled', amount_captured = 0")
		event := captured(t, b)

		p, err := accept(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, p, b.Payment(b.payment.ID))
		requireCents(t, 4_00, p)
		require.Greater(t, p.Version, b.payment.Version)
		require.Contains(t, b.History(p.ID), "person: succeeded")
		require.Equal(t, ports.EventDismissed, b.Stored(event.ID).Outcome)

		entries := b.Audit(p.ID.String())
		require.Len(t, entries, 1)
		require.Equal(t, ports.AuditPaymentAccepted, entries[0].Action)
		require.Equal(t, "payment", entries[0].ObjectType)
		require.Equal(t, decision.Actor, entries[0].Actor)
		require.Equal(t, decision.Reason, entries[0].Reason)
		require.Equal(t, map[string]any{
			"status": "cancelled", "amount": "10.00 USD", "amount_captured": "0.00 USD", "intent_status": "canceled",
		}, entries[0].Before)
		require.Equal(t, map[string]any{
			"status": "succeeded", "amount": "10.00 USD", "amount_captured": "4.00 USD", "intent_status": "succeeded",
		}, entries[0].After)

		told := b.Observer.Told(p.ID)
		require.Equal(t, []string{"payment.accept by cli:ann: looked at the dashboard", "changed: cancelled → succeeded"},
			told[len(told)-2:])
		require.Contains(t, b.Observer.Spans(), "app.AcceptPayment")

		_, err = accept(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Len(t, b.Audit(p.ID.String()), 1, "there is nothing left to accept")
	})

	t.Run("AnotherAmount", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET amount = 12")
		event := captured(t, b)

		p, err := accept(t, b, decision)
		require.NoError(t, err)
		requireCents(t, 4_00, p)
		require.Equal(t, apptest.Dollars(t, 10_00), p.Amount)
		require.Equal(t, ports.EventDismissed, b.Stored(event.ID).Outcome)
		require.Equal(t, "12.00 USD", b.Audit(p.ID.String())[0].Before["amount"])
	})

	// A final status may also turn out to be none.
	t.Run("StillOpen", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET status = 'succeeded', intent_status = 'succeeded', amount_captured = 10, amount_capturable = 0")

		p, err := accept(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, payment.Pending, p.Status)
		require.Equal(t, payment.IntentRequiresCapture, p.IntentStatus)
		require.EqualValues(t, 10_00, p.Capturable.Minor())
		require.Zero(t, p.Captured.Minor())
	})

	// Only what contradicts is dismissed.
	t.Run("OtherEvents", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("order_2")
		unrelated := b.Pay(other.IntentID)
		require.NoError(t, b.Store.Park(t.Context(), unrelated, ports.ParkedContradiction))

		waiting := b.Event(b.payment.IntentID, "payment_intent.created")
		b.Park(waiting)
		b.Exec("UPDATE payments SET status = 'cancelled' WHERE id = $1", b.payment.ID)
		captured(t, b)

		_, err := accept(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, ports.EventParked, b.Stored(unrelated.ID).Outcome)
		require.Equal(t, ports.EventParked, b.Stored(waiting.ID).Outcome)
	})

	t.Run("Hints", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.payment = b.Create("order_2")
		hint := b.Hint(b.payment)
		b.Exec("UPDATE payments SET amount = 12 WHERE id = $1", b.payment.ID)

		p, err := accept(t, b, decision)
		require.NoError(t, err)
		require.Equal(t, payment.IntentRequiresAction, p.IntentStatus)
		require.Equal(t, ports.EventApplied, b.Stored(hint.ID).Outcome, "what it hinted at has been read")
	})

	t.Run("NothingToAccept", func(t *testing.T) {
		t.Parallel()
		refused(t, setup(t), "there is nothing to accept")
	})

	t.Run("AnotherPaymentsIntent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("order_2")
		b.Exec("DELETE FROM payments WHERE id = $1", other.ID)
		b.Exec("UPDATE payments SET stripe_payment_intent_id = $1", other.IntentID)
		refused(t, b, "is of payment "+other.ID.String())
	})

	t.Run("AnotherCurrency", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET currency = 'EUR'")
		refused(t, b, "is not in EUR")
	})

	t.Run("UnknownIntent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET stripe_payment_intent_id = 'pi_lost'")
		refused(t, b, "no intent pi_lost")
	})

	t.Run("WithoutAReason", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET amount = 12")
		_, err := accept(t, b, operations.Decision{Actor: "cli:ann"})
		apptest.RequireFault(t, fault.Invalid, err)
		require.EqualValues(t, 12_00, b.Payment(b.payment.ID).Amount.Minor())
	})

	t.Run("MovedMeanwhile", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Exec("UPDATE payments SET amount = 12")
		b.Provider = &interrupted{Provider: b.Provider, while: func(int) { b.Exec("UPDATE payments SET version = version + 1") }}

		_, err := accept(t, b, decision)
		apptest.RequireFault(t, fault.Invalid, err)
		require.Contains(t, fault.From(err).Detail, "has changed meanwhile")
		require.EqualValues(t, 12_00, b.Payment(b.payment.ID).Amount.Minor())
		require.Empty(t, b.Audit(b.payment.ID.String()))
	})

	t.Run("StripeDoesNotTell", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = silent{b.Provider, context.DeadlineExceeded}
		_, err := accept(t, b, decision)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.payment.ID = uuid.New()
		_, err := accept(t, b, decision)
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
