package payments_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
)

func TestCancel_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		// payment is not paid.
		payment payment.Payment
		command payments.CancelCommand
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		b := testBundle{World: apptest.New(t)}
		b.payment = b.Create("order_1")
		b.command.Tenant = operation.DefaultTenant
		b.command.PaymentID, b.command.Key, b.command.RequestID = b.payment.ID, "cancel_1", "request-9"

		return b
	}
	cancel := func(t *testing.T, b testBundle) (operations.Answer, error) {
		t.Helper()

		return payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), b.command)
	}
	cancelled := func(t *testing.T, b testBundle) operations.Answer {
		t.Helper()

		answer, err := cancel(t, b)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status, "%s", answer.Response.Body)

		p := b.Payment(b.command.PaymentID)
		require.Equal(t, payment.Cancelled, p.Status)
		require.Equal(t, payment.IntentCanceled, p.IntentStatus)
		require.Zero(t, p.Captured.Minor()+p.Capturable.Minor())

		return answer
	}
	operationsOn := func(t *testing.T, b testBundle) []ports.OperationDetails {
		t.Helper()

		all, err := b.Store.OperationsOn(t.Context(), b.command.PaymentID)
		require.NoError(t, err)

		return all
	}

	t.Run("NotPaid", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.command.Reason = "requested_by_customer"
		answer := cancelled(t, b)
		require.False(t, answer.Replayed)
		require.Equal(t, b.Renderer.Payment(b.Payment(b.payment.ID)), answer.Response, "as it is read")
		require.Equal(t, []string{"request: pending", "request: cancelled"}, b.History(b.payment.ID))

		books := b.AtStripe(b.payment.IntentID)
		require.Equal(t, "canceled", books.Status)
		require.Equal(t, "requested_by_customer", books.CancelReason)

		op := operationsOn(t, b)[0]
		order := operation.Order{Options: map[string]string{payments.OptionReason: "requested_by_customer"}}
		call, err := b.Calls.CancelPayment(b.Mark(operation.Cancel, op.ID, b.payment.ID, order), b.payment.IntentID, order)
		require.NoError(t, err)
		require.Equal(t, call, op.Call, "what is sent is what was written down")
		require.Equal(t, operation.Cancel, op.Kind)
		require.Equal(t, order.Options, op.Order.Options)

		told := b.Observer.Told(b.payment.ID)
		require.Equal(t, []string{"changed: pending → cancelled", "cancel finished by request: done", "answered"},
			told[len(told)-3:])
		require.Contains(t, b.Observer.Spans(), "app.CancelPayment")

		b.ForgetReplays()

		again := cancelled(t, b)
		require.Equal(t, operations.Answer{PaymentID: b.payment.ID, Response: answer.Response, Replayed: true}, again)

		b.command.Reason = "duplicate"
		_, err = cancel(t, b)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("Held", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.payment = b.Held("order_2")
		b.command.PaymentID = b.payment.ID
		cancelled(t, b)
		require.Zero(t, b.AtStripe(b.payment.IntentID).Received)
		require.True(t, b.Payment(b.payment.ID).CaptureBefore.IsZero())
	})

	t.Run("Declined", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Confirm(b.payment.IntentID, "pm_card_chargeDeclined")
		_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.payment_failed"))
		require.NoError(t, err)
		require.Equal(t, payment.Failed, b.Payment(b.payment.ID).Status)

		cancelled(t, b)
	})

	t.Run("AlreadyCancelled", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		cancelled(t, b)

		p := b.Payment(b.payment.ID)

		for _, key := range []operation.Key{"cancel_2", ""} {
			b.command.Key = key
			again := cancelled(t, b)
			require.False(t, again.Replayed)
			require.Equal(t, b.Renderer.Payment(p), again.Response)
		}

		require.Equal(t, p, b.Payment(b.payment.ID))

		all := operationsOn(t, b)
		require.Len(t, all, 2, "there was nothing to do, so without a key nothing is kept")

		told := b.Observer.Told(b.payment.ID)
		require.Equal(t, []string{"cancel finished by request: done", "answered", "answered"}, told[len(told)-3:])

		op := all[slices.IndexFunc(all, func(op ports.OperationDetails) bool { return op.Key == "cancel_2" })]
		require.Equal(t, operation.Finished, op.State)
		require.Equal(t, b.Renderer.Payment(p), op.Response)
	})

	// A key belongs to one operation, also where there was nothing to do.
	t.Run("AlreadyCancelledUsesItsKey", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		other := b.Create("order_2")
		cancelled(t, b)

		b.command.Key = "cancel_2"
		first := cancelled(t, b)

		for range 2 { // from memory, and from the database
			again := cancelled(t, b)
			require.Equal(t, operations.Answer{PaymentID: b.payment.ID, Response: first.Response, Replayed: true}, again)

			another := b.command
			another.Reason = "duplicate"
			_, err := payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), another)
			apptest.RequireFault(t, fault.KeyReused, err)

			another = b.command
			another.PaymentID = other.ID
			_, err = payments.NewCancel(b.Change(), b.Renderer).Do(t.Context(), another)
			apptest.RequireFault(t, fault.KeyReused, err)

			b.ForgetReplays()
		}

		b.command.Key = "order_1"
		_, err := cancel(t, b)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	// A lost cancel of a payment whose event came waits for recovery. Nobody has to wait for it.
	t.Run("AlreadyCancelledBesideAPendingOne", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.BeginOne(b.NewCancel("lost", b.payment))
		b.Dashboard(b.payment.IntentID, "cancel", nil)
		_, err := b.Apply().Do(t.Context(), b.Event(b.payment.IntentID, "payment_intent.canceled"))
		require.NoError(t, err)

		cancelled(t, b)
	})

	// No event of it is here: Stripe says that there is nothing to cancel.
	t.Run("CancelledInTheDashboard", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Dashboard(b.payment.IntentID, "cancel", url.Values{"cancellation_reason": {"fraudulent"}})

		answer := cancelled(t, b)
		require.Contains(t, b.Observer.Told(b.payment.ID), "cancel finished by request: done")

		b.ForgetReplays()
		require.Equal(t, answer.Response, cancelled(t, b).Response)
	})

	t.Run("Paid", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.Apply().Do(t.Context(), b.Pay(b.payment.IntentID))
		require.NoError(t, err)

		_, err = cancel(t, b)
		apptest.RequireFault(t, fault.InvalidState, err)
		require.Equal(t, fault.About{PaymentID: b.payment.ID, IntentStatus: "succeeded", Allowed: []string{"refund"}},
			fault.From(err).About)
		require.Empty(t, operationsOn(t, b))
	})

	t.Run("PaidAndWeDoNotKnow", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Pay(b.payment.IntentID)

		answer, err := cancel(t, b)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, answer.Response.Status)
		require.Contains(t, string(answer.Response.Body), `"intent_status":"succeeded","allowed":["refund"]`)
		require.Equal(t, payment.Succeeded, b.Payment(b.payment.ID).Status)
		require.Contains(t, b.Observer.Told(b.payment.ID), "cancel finished by request: rejected")

		again, err := cancel(t, b)
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: b.payment.ID, Response: answer.Response, Replayed: true}, again, "it is frozen")
	})

	// What has just been refused is not offered.
	t.Run("StripeDoesNotAllowIt", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		refusal := apptest.AccountIncomplete()
		refusal.Path, refusal.Code = apptest.CancelPath, "payment_intent_unexpected_state"
		b.Fault(refusal)

		answer, err := cancel(t, b)
		require.NoError(t, err)
		require.Equal(t, http.StatusConflict, answer.Response.Status)
		require.Contains(t, string(answer.Response.Body), `"intent_status":"requires_payment_method","allowed":["confirm"]`)
		require.Contains(t, string(answer.Response.Body), "use a new one")
		require.Equal(t, payment.Pending, b.Payment(b.payment.ID).Status)
	})

	t.Run("NoSuchPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.command.PaymentID = uuid.New()
		_, err := cancel(t, b)
		apptest.RequireFault(t, fault.NotFound, err)
	})
}
