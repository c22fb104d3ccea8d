package v76_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	clients "github.com/marketflow/marketflow/sandbox/clients/go"
)

func (s *shop) customer(t *testing.T) *stripe.Customer {
	t.Helper()

	email := uuid.NewString() + "@shop.example"

	customer, err := s.Customers.New(&stripe.CustomerParams{Email: &email, Name: new("Ada")})
	require.NoError(t, err)

	return customer
}

func setUp(customer *stripe.Customer, method string) *stripe.SetupIntentParams {
	return &stripe.SetupIntentParams{
		Customer: &customer.ID, PaymentMethod: &method, PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	}
}

func (s *shop) methods(t *testing.T, customer *stripe.Customer) []string {
	t.Helper()

	ids := []string{}
	list := s.Customers.ListPaymentMethods(&stripe.CustomerListPaymentMethodsParams{Customer: &customer.ID})

	for list.Next() {
		ids = append(ids, list.PaymentMethod().ID)
	}

	require.NoError(t, list.Err())

	return ids
}

func TestCustomers(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)
	s.received(t, stripe.EventTypeCustomerCreated, customer.ID)

	updated, err := s.Customers.Update(customer.ID, &stripe.CustomerParams{Name: new("Ada L.")})
	require.NoError(t, err)
	require.Equal(t, "Ada L.", updated.Name)

	found := s.Customers.List(&stripe.CustomerListParams{Email: &customer.Email}).CustomerList().Data
	require.Len(t, found, 1)

	deleted, err := s.Customers.Del(customer.ID, nil)
	require.NoError(t, err)
	require.True(t, deleted.Deleted)

	gone, err := s.Customers.Get(customer.ID, nil)
	require.NoError(t, err)
	require.True(t, gone.Deleted)
}

func TestSaveACardAndPayAgainWhileAway(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	params := setUp(customer, "pm_card_visa")
	params.Confirm = new(true)

	setup, err := s.SetupIntents.New(params)
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
	_, err = s.PaymentIntents.New(away)
	require.Equal(t, stripe.ErrorCodeAuthenticationRequired, failure(t, err).Code)
	require.Equal(t, stripe.ErrorTypeCard, failure(t, err).Type)

	future := card("pm_card_mastercard")
	future.Customer, future.SetupFutureUsage = &customer.ID, new("off_session")

	kept := s.pay(t, future).PaymentMethod.ID
	require.ElementsMatch(t, []string{saved, kept}, s.methods(t, customer))

	detached, err := s.PaymentMethods.Detach(saved, nil)
	require.NoError(t, err)
	require.Nil(t, detached.Customer)

	away.PaymentMethod = &saved
	_, err = s.PaymentIntents.New(away)
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)

	_, err = s.PaymentMethods.Attach(saved, &stripe.PaymentMethodAttachParams{Customer: &customer.ID})
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)
}

func TestSetupIntents(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	asks := setUp(customer, "pm_card_authenticationRequired")
	asks.Confirm, asks.ReturnURL = new(true), new("https://shop.example/back")

	asked, err := s.SetupIntents.New(asks)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresAction, asked.Status)
	clients.Authenticate(t, asked.NextAction.RedirectToURL.URL, "approve")

	approved, err := s.SetupIntents.Get(asked.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusSucceeded, approved.Status)

	declined := setUp(customer, "pm_card_chargeDeclined")
	declined.Confirm = new(true)
	_, err = s.SetupIntents.New(declined)
	require.Equal(t, stripe.ErrorCodeCardDeclined, failure(t, err).Code)
	require.Equal(t, stripe.SetupIntentStatusRequiresPaymentMethod, failure(t, err).SetupIntent.Status)

	waiting, err := s.SetupIntents.New(setUp(customer, "pm_card_visa"))
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusRequiresConfirmation, waiting.Status)

	canceled, err := s.SetupIntents.Cancel(waiting.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.SetupIntentStatusCanceled, canceled.Status)
}

func TestPaymentMethods(t *testing.T) {
	t.Parallel()

	s := open(t)
	customer := s.customer(t)

	made, err := s.PaymentMethods.New(&stripe.PaymentMethodParams{
		Type: new("card"), Card: &stripe.PaymentMethodCardParams{Token: new("tok_mastercard")},
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentMethodCardBrandMastercard, made.Card.Brand)

	attached, err := s.PaymentMethods.Attach(made.ID,
		&stripe.PaymentMethodAttachParams{Customer: &customer.ID})
	require.NoError(t, err)
	require.Equal(t, customer.ID, attached.Customer.ID)

	updated, err := s.PaymentMethods.Update(made.ID, &stripe.PaymentMethodParams{
		BillingDetails: &stripe.PaymentMethodBillingDetailsParams{Name: new("Grace")},
	})
	require.NoError(t, err)
	require.Equal(t, "Grace", updated.BillingDetails.Name)

	listed := s.PaymentMethods.List(&stripe.PaymentMethodListParams{Customer: &customer.ID}).PaymentMethodList().Data
	require.Len(t, listed, 1)

	_, err = s.PaymentIntents.New(card(made.ID))
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)
}
