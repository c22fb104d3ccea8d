package customers_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

func decision() operations.Decision {
	return operations.Decision{Actor: "ann", Reason: "request of 27 November"}
}

func (b *changing) erase(t *testing.T) (customers.Erased, error) {
	t.Helper()

	change := b.CustomerChange()

	return customers.NewErase(change, customers.NewDelete(change), b.Store, b.Store, b.Observer).
		Do(t.Context(), b.customer.ID, decision())
}

// requireNoTrace requires that no column of any table holds one of the texts.
func requireNoTrace(t *testing.T, w *apptest.World, texts ...string) {
	t.Helper()

	held := w.Search(texts...)
	require.Empty(t, held)
}

func TestErase_Do(t *testing.T) {
	t.Parallel()

	t.Run("NothingIsLeft", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.SaveCard(b.customer, "pm_card_visa")
		_, err := b.update(t, map[string]string{"name": "Jenny Miller", "email": "miller@example.com"}, nil)
		require.NoError(t, err)

		// A payment of hers, whose events name her.
		command := payments.CreateCommand{Tenant: operation.DefaultTenant, Key: "order_1", Order: apptest.Order(t, 10_00)}
		command.Order.Options = map[string]string{payments.OptionCustomer: b.customer.ID.String(), payments.OptionSave: "true"}
		made, err := payments.NewCreate(b.Engine(), b.Calls, b.Installation, b.Customers, b.Lives, b.Observer).Do(t.Context(), command)
		require.NoError(t, err)

		p := b.Payment(made.PaymentID)

		for _, event := range []ports.Event{
			b.Pay(p.IntentID), b.Event(b.customer.ProviderID, "customer.created"), b.Event(b.customer.ProviderID, "customer.updated"),
		} {
			_, err := b.Apply().Do(t.Context(), event)
			require.NoError(t, err)
		}

		// One of a type that is not handled is stored as it came.
		attached := b.Altered(b.Event(p.IntentID, "payment_intent.created"), `"type": "payment_intent.created"`,
			`"type": "payment_method.attached", "email": "jenny@example.com"`)
		_, err = b.Apply().Do(t.Context(), attached)
		require.NoError(t, err)

		texts := []string{
			"jenny@example.com", "jenny%40example.com", "miller@example.com", "miller%40example.com", "Jenny", "user-42",
		}
		require.NotEmpty(t, b.Search(texts...), "the search finds what is there")

		erased, err := b.erase(t)
		require.NoError(t, err)
		require.Positive(t, erased.Operations)
		require.Positive(t, erased.Events)
		require.Empty(t, erased.Parked)
		requireNoTrace(t, b.World, texts...)
		require.Empty(t, b.StripeCustomers())

		// The row and the payment stay.
		require.True(t, b.now().Deleted())
		require.Equal(t, b.customer.ID, b.Payment(p.ID).CustomerID)

		audit := b.Audit(b.customer.ID.String())
		require.Len(t, audit, 1)
		require.Equal(t, ports.AuditCustomerErased, audit[0].Action)
		require.Equal(t, "ann", audit[0].Actor)
		require.Contains(t, b.Observer.Told(b.customer.ID), "customer.erase by ann: request of 27 November")

		// Its keys stay used.
		b.ForgetReplays()
		answer, err := customers.NewCreate(b.CustomerChange()).Do(t.Context(), customers.CreateCommand{
			Tenant: operation.DefaultTenant, Key: key, Values: apptest.Jenny(), Metadata: map[string]string{"plan": "gold"},
		})
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, answer.Response.Status)
		require.Contains(t, string(answer.Response.Body), "erased")

		again, err := b.erase(t)
		require.NoError(t, err, "it may be repeated")
		require.Zero(t, again.Events)
	})

	t.Run("WhoseCreateWasRefused", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.Fault(sandbox.Fault{
			Action: sandbox.Reject, Path: apptest.CustomersPath, Status: http.StatusBadRequest, Type: "invalid_request_error",
			Code: "email_invalid", Message: "Invalid email address: ernie@example.com",
		})
		_, err := customers.NewCreate(b.CustomerChange()).Do(t.Context(), customers.CreateCommand{
			Tenant: operation.DefaultTenant, Key: "refused", Values: map[string]string{"email": "ernie@example.com"},
		})
		require.NoError(t, err)
		require.NotEmpty(t, b.Search("ernie"))

		b.customer.ID = b.Installation.OperationID(operation.DefaultTenant, "refused")
		_, err = b.erase(t)
		require.NoError(t, err)
		requireNoTrace(t, b.World, "ernie")
	})

	t.Run("WhileAnOperationIsOpen", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: apptest.SetupsPath})
		_, err := b.session(t)
		apptest.RequireFault(t, fault.Unknown, err)

		_, err = b.erase(t)
		apptest.RequireFault(t, fault.Invalid, err)
	})

	t.Run("ParkedEvents", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		parked := b.Event(b.Create("order_1").IntentID, "payment_intent.created")
		parked.Raw = bytes.Replace(parked.Raw, []byte(`"customer": null`), []byte(`"customer": "`+b.customer.ProviderID+`"`), 1)
		require.Contains(t, string(parked.Raw), b.customer.ProviderID)
		b.Park(parked)

		erased, err := b.erase(t)
		require.NoError(t, err)
		require.Equal(t, []string{parked.ID}, erased.Parked)
		require.NotEmpty(t, b.Stored(parked.ID).Raw)
	})

	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.customer.ID = uuid.New()
		_, err := b.erase(t)
		apptest.RequireFault(t, fault.NotFound, err)
	})

	t.Run("WithoutAReason", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		change := b.CustomerChange()
		uc := customers.NewErase(change, customers.NewDelete(change), b.Store, b.Store, b.Observer)
		_, err := uc.Do(t.Context(), b.customer.ID, operations.Decision{Actor: "ann"})
		apptest.RequireFault(t, fault.Invalid, err)
		require.Equal(t, b.customer, b.now())
	})
}
