package payments_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// A payment of a customer of ours.
func TestCreate_Do_OfACustomer(t *testing.T) {
	t.Parallel()

	type testBundle struct {
		*apptest.World

		customer customer.Customer
		command  payments.CreateCommand
	}

	setup := func(t *testing.T) *testBundle {
		t.Helper()

		b := &testBundle{World: apptest.New(t)}
		b.customer = b.CreateCustomer("customer_1", apptest.Jenny())
		b.command = payments.CreateCommand{Tenant: operation.DefaultTenant, Key: "order_1", Order: apptest.Order(t, 10_00)}
		b.command.Order.Options = map[string]string{
			payments.OptionCustomer: b.customer.ID.String(), payments.OptionSave: "true",
		}

		return b
	}
	create := func(ctx context.Context, b *testBundle) (operations.Answer, error) {
		return payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer).Do(ctx, b.command)
	}
	remove := func(t *testing.T, b *testBundle) {
		t.Helper()

		_, err := customers.NewDelete(b.CustomerChange()).Do(t.Context(), customers.ChangeCommand{
			Tenant: operation.DefaultTenant, CustomerID: b.customer.ID,
		})
		require.NoError(t, err)
	}

	t.Run("New", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := create(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, answer.Response.Status)

		p := b.Payment(answer.PaymentID)
		require.Equal(t, b.customer.ID, p.CustomerID)

		intent, err := b.Provider.Intent(t.Context(), p.IntentID)
		require.NoError(t, err)
		require.Equal(t, b.customer.ProviderID, intent.Customer)
		require.Contains(t, b.Operation(p.ID).Call.Params, "setup_future_usage=off_session")

		b.CreateFor("of_nobody", apptest.Order(t, 25_00))

		page, err := b.List().Do(t.Context(), operation.DefaultTenant, map[string][]string{"customer_id": {b.customer.ID.String()}})
		require.NoError(t, err)
		require.Len(t, page.Payments, 1)
		require.Equal(t, p.ID, page.Payments[0].ID)

		// What was answered stays, also if the customer is deleted.
		remove(t, b)
		b.ForgetReplays()

		again, err := create(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, answer.Response, again.Response)
		require.Equal(t, b.customer.ID, b.Payment(p.ID).CustomerID)
	})

	t.Run("AnotherCustomer", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := create(t.Context(), b)
		require.NoError(t, err)

		other := b.CreateCustomer("customer_2", nil)
		b.command.Order.Options[payments.OptionCustomer] = other.ID.String()
		_, err = create(t.Context(), b)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("UnknownOrDeleted", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		remove(t, b)
		_, err := create(t.Context(), b)
		apptest.RequireFault(t, fault.NotFound, err)

		b.command.Order.Options[payments.OptionCustomer] = uuid.NewString()
		_, err = create(t.Context(), b)
		apptest.RequireFault(t, fault.NotFound, err)

		b.InLife(operation.Standing{Behind: time.Hour})
		_, err = create(t.Context(), b)
		apptest.RequireFault(t, fault.Unavailable, err)
		require.Empty(t, b.Intents())
	})

	// Somebody has deleted the customer in the Dashboard, and we have not heard of it.
	t.Run("DeletedAtStripe", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		call, err := b.Calls.DeleteCustomer(b.Mark(operation.DeleteCustomer, uuid.New(), b.customer.ID, operation.Order{}),
			b.customer.ProviderID, operation.Order{})
		require.NoError(t, err)
		_, err = b.Provider.Send(t.Context(), call, false)
		require.NoError(t, err)

		answer, err := create(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status)
		require.Empty(t, b.Intents())
	})

	// The intent names Stripe's customer, by whom ours is found.
	t.Run("Lost", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := create(t.Context(), b)
		require.NoError(t, err)

		before := b.Payment(answer.PaymentID)
		object := b.StripeCustomers()[0]
		intent, err := b.Provider.Intent(t.Context(), before.IntentID)
		require.NoError(t, err)

		b.LoseEverything()
		require.NoError(t, b.Engine().AdoptLost(t.Context(), ports.Object{Customer: object}, operation.ByReconciliation))
		require.NoError(t, b.Engine().AdoptLost(t.Context(), ports.Object{Intent: intent}, operation.ByReconciliation))
		require.Equal(t, b.customer.ID, b.Payment(before.ID).CustomerID)

		again, err := create(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, answer.PaymentID, again.PaymentID)
	})
}
