package payments_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
)

func TestCreate_Do(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		command payments.CreateCommand
	}

	setup := func(t *testing.T) testBundle {
		t.Helper()

		return testBundle{World: apptest.New(t), command: payments.CreateCommand{
			Tenant: operation.DefaultTenant, Key: "order_1", Order: apptest.Order(t, 123_45), RequestID: "request-9",
		}}
	}
	create := func(t *testing.T, b testBundle) (operations.Answer, error) {
		t.Helper()

		return payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer).Do(t.Context(), b.command)
	}

	t.Run("New", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := create(t, b)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, answer.Response.Status)

		p := b.Payment(answer.PaymentID)
		require.Equal(t, b.command.Key, p.Key)
		require.Equal(t, b.command.Order.Amount, p.Amount)
		require.Equal(t, payment.Metadata(b.command.Order.Metadata), p.Metadata)

		op := b.Operation(p.ID)
		require.Equal(t, "request-9", op.Origin.RequestID)

		mark := b.Mark(operation.Create, p.ID, uuid.Nil, b.command.Order)
		call, err := b.Calls.CreatePayment(mark, b.command.Key, b.command.Order)
		require.NoError(t, err)
		require.Equal(t, call, op.Call, "what is sent is what was written down")

		intent, err := b.Provider.Intent(t.Context(), p.IntentID)
		require.NoError(t, err)
		require.Equal(t, p.ID, intent.PaymentID)
		require.Equal(t, b.command.Order.Amount, intent.Amount)
		require.Equal(t, []string{"app.CreatePayment"}, b.Observer.Spans())
	})

	t.Run("TheSameKey", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		first, err := create(t, b)
		require.NoError(t, err)

		b.command.RequestID = "request-10"
		again, err := create(t, b)
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, first.Response, again.Response)
		require.Len(t, b.Intents(), 1)
	})

	t.Run("AnotherOrder", func(t *testing.T) {
		t.Parallel()

		for name, change := range map[string]func(*operation.Order){
			"Amount":   func(o *operation.Order) { o.Amount = apptest.Order(t, 123_46).Amount },
			"Metadata": func(o *operation.Order) { o.Metadata = map[string]string{"order": "43"} },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				b := setup(t)
				_, err := create(t, b)
				require.NoError(t, err)

				change(&b.command.Order)
				_, err = create(t, b)
				apptest.RequireFault(t, fault.KeyReused, err)
				require.Len(t, b.Intents(), 1)
			})
		}
	})

	t.Run("CapturedByHand", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		automatic := b.command.Order
		b.command.Order = apptest.Manual(automatic)
		answer, err := create(t, b)
		require.NoError(t, err)

		p := b.Payment(answer.PaymentID)
		require.Equal(t, payment.CaptureManual, p.CaptureMethod)
		require.Equal(t, payment.IntentRequiresPaymentMethod, p.IntentStatus)
		require.Zero(t, p.Capturable.Minor()+p.Captured.Minor())
		require.NotZero(t, p.Version)

		b.Confirm(p.IntentID, "pm_card_visa")
		require.Equal(t, "requires_capture", b.AtStripe(p.IntentID).Status)

		b.command.Order = automatic
		_, err = create(t, b)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("Marked", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := create(t, b)
		require.NoError(t, err)

		p := b.Payment(answer.PaymentID)
		require.Equal(t, payment.CaptureAutomatic, p.CaptureMethod)
		require.Equal(t, map[string]string{
			"order": "42", payment.MetadataPaymentID: p.ID.String(), payment.MetadataKey: "order_1",
			payment.MetadataMark: b.Mark(operation.Create, p.ID, uuid.Nil, b.command.Order).String(),
		}, b.AtStripe(p.IntentID).Metadata)
	})

	t.Run("WithoutKey", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.command.Key = ""
		one, err := create(t, b)
		require.NoError(t, err)
		two, err := create(t, b)
		require.NoError(t, err)

		require.NotEqual(t, one.PaymentID, two.PaymentID)
		require.Len(t, b.Intents(), 2)
	})
}
