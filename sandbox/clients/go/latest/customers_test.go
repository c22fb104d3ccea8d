package latest_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"

	clients "github.com/marketflow/marketflow/sandbox/clients/go"
)

func (s *shop) customer(t *testing.T) *stripe.Customer {
	t.Helper()

	email := uuid.NewString() + "@shop.example"

	customer, err := s.V1Customers.Create(t.Context(), &stripe.CustomerCreateParams{Email: &email, Name: new("Ada")})
	require.NoError(t, err)

	return customer
}

func setUp(customer *stripe.Customer, method string) *stripe.SetupIntentCreateParams {
	return &stripe.SetupIntentCreateParams{
		Customer: &customer.ID, PaymentMethod: &method, PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	}
}

func (s *shop) methods(t *testing.T, customer *stripe.Customer) []string {
	t.Helper()

	ids := []string{}
	list := s.V1Customers.ListPaymentMethods(t.Context(), &stripe.CustomerListPaymentMethodsParams{Customer: &customer.ID})

	for method, err := range list.All(t.Context()) {
		require.NoError(t, err)

		ids = append(ids, method.ID)
	}

	return ids
}

func TestCustomers(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)
	s.received(t, stripe.EventTypeCustomerCreated, customer.ID)

	updated, err := s.V1Customers.Update(t.Context(), customer.ID, &stripe.CustomerUpdateParams{Name: new("Ada L.")})
	require.NoError(t, err)
	require.Equal(t, "Ada L.", updated.Name)

	found := s.V1Customers.List(t.Context(), &stripe.CustomerListParams{Email: &customer.Email}).Data()
	require.Len(t, found, 1)

	deleted, err := s.V1Customers.Delete(t.Context(), customer.ID, nil)
	require.NoError(t, err)
	require.True(t, deleted.Deleted)

	gone, err := s.V1Customers.Retrieve(t.Context(), customer.ID, nil)
	require.NoError(t, err)
	require.True(t, gone.Deleted)
}

func TestSaveACardAndPayAgainWhileAway(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	params := setUp(customer, "pm_card_visa")
	params.Confirm = new(true)

	setup, err := s.V1SetupIntents.Create(t.Context(), params)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusSucceeded, setup.Status)
	s.received(t, stripe.EventTypeSetupIntentSucceeded, setup.ID)

	saved := setup.PaymentMethod.ID
	s.received(t, stripe.EventTypePaymentMethodAttached, saved)
	require.Equal(t, []string{saved}, s.methods(t, customer))

	away := card(saved)
	away.Customer, away.OffSession = &customer.ID, new(true)
	away.AddExpand("customer")
	require.Equal(t, customer.Email, s.pay(t, away).Customer.Email)

	away.PaymentMethod = new("pm_card_authenticationRequired")
	_, err = s.V1PaymentIntents.Create(t.Context(), away)
	require.Equal(t, stripe.ErrorCodeAuthenticationRequired, failure(t, err).Code)
	require.Equal(t, stripe.ErrorTypeCard, failure(t, err).Type)

	future := card("pm_card_mastercard")
	future.Customer, future.SetupFutureUsage = &customer.ID, new("off_session")

	kept := s.pay(t, future).PaymentMethod.ID
	require.ElementsMatch(t, []string{saved, kept}, s.methods(t, customer))

	detached, err := s.V1PaymentMethods.Detach(t.Context(), saved, nil)
	require.NoError(t, err)
	require.Nil(t, detached.Customer)

	away.PaymentMethod = &saved
	_, err = s.V1PaymentIntents.Create(t.Context(), away)
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)

	_, err = s.V1PaymentMethods.Attach(t.Context(), saved, &stripe.PaymentMethodAttachParams{Customer: &customer.ID})
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)
}

func TestSetupIntents(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	asks := setUp(customer, "pm_card_authenticationRequired")
	asks.Confirm, asks.ReturnURL = new(true), new("https://shop.example/back")

	asked, err := s.V1SetupIntents.Create(t.Context(), asks)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresAction, asked.Status)
	clients.Authenticate(t, asked.NextAction.RedirectToURL.URL, "approve")

	approved, err := s.V1SetupIntents.Retrieve(t.Context(), asked.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusSucceeded, approved.Status)

	declined := setUp(customer, "pm_card_chargeDeclined")
	declined.Confirm = new(true)
	_, err = s.V1SetupIntents.Create(t.Context(), declined)
	require.Equal(t, stripe.ErrorCodeCardDeclined, failure(t, err).Code)
	require.Equal(t, stripe.SetupIntentStatusRequiresPaymentMethod, failure(t, err).SetupIntent.Status)

	waiting, err := s.V1SetupIntents.Create(t.Context(), setUp(customer, "pm_card_visa"))
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresConfirmation, waiting.Status)

	canceled, err := s.V1SetupIntents.Cancel(t.Context(), waiting.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusCanceled, canceled.Status)
}

func TestPaymentMethods(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	made, err := s.V1PaymentMethods.Create(t.Context(), &stripe.PaymentMethodCreateParams{
		Type: new("card"), Card: &stripe.PaymentMethodCreateCardParams{Token: new("tok_mastercard")},
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentMethodCardBrandMastercard, made.Card.Brand)

	attached, err := s.V1PaymentMethods.Attach(t.Context(), made.ID,
		&stripe.PaymentMethodAttachParams{Customer: &customer.ID})
	require.NoError(t, err)
	require.Equal(t, customer.ID, attached.Customer.ID)

	updated, err := s.V1PaymentMethods.Update(t.Context(), made.ID, &stripe.PaymentMethodUpdateParams{
		BillingDetails: &stripe.PaymentMethodUpdateBillingDetailsParams{Name: new("Grace")},
	})
	require.NoError(t, err)
	require.Equal(t, "Grace", updated.BillingDetails.Name)

	listed := s.V1PaymentMethods.List(t.Context(), &stripe.PaymentMethodListParams{Customer: &customer.ID}).Data()
	require.Len(t, listed, 1)

	_, err = s.V1PaymentIntents.Create(t.Context(), card(made.ID))
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)
}
