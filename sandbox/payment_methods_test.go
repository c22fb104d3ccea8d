package sandbox_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

func attached(t *testing.T, api *client.API, method, customer string) *stripe.PaymentMethod {
	t.Helper()

	made, err := api.PaymentMethods.Attach(method, &stripe.PaymentMethodAttachParams{Customer: new(customer)})
	require.NoError(t, err)
	require.Equal(t, customer, made.Customer.ID)

	return made
}

// methodsOf are the ids of a customer's payment methods, newest first.
func methodsOf(t *testing.T, api *client.API, customer string) []string {
	t.Helper()

	var ids []string

	list := api.Customers.ListPaymentMethods(&stripe.CustomerListPaymentMethodsParams{Customer: new(customer)})
	for list.Next() {
		ids = append(ids, list.PaymentMethod().ID)
	}

	require.NoError(t, list.Err())

	return ids
}

func newMethod(t *testing.T, api *client.API, token string) *stripe.PaymentMethod {
	t.Helper()

	made, err := api.PaymentMethods.New(&stripe.PaymentMethodParams{
		Type: new("card"), Card: &stripe.PaymentMethodCardParams{Token: new(token)},
		BillingDetails: &stripe.PaymentMethodBillingDetailsParams{
			Name: new("Jenny"), Address: &stripe.AddressParams{City: new("Berlin")},
		},
	})
	require.NoError(t, err)

	return made
}

func TestMethods_AttachListDetach(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, inOrder(box)).URL)
	customer, other := newCustomer(t, api), newCustomer(t, api)

	made := newMethod(t, api, "tok_mastercard")
	require.Equal(t, "Berlin", made.BillingDetails.Address.City)
	require.Nil(t, made.Customer)

	// A test card's name makes a new payment method each time.
	first, second := attached(t, api, "pm_card_visa", customer.ID), attached(t, api, "pm_card_visa", customer.ID)
	require.NotEqual(t, first.ID, second.ID)
	require.Equal(t, first.Card.Fingerprint, second.Card.Fingerprint)
	attached(t, api, made.ID, customer.ID)
	require.Equal(t, first.ID, box.next(t, "payment_method.attached").Data.Object["id"])

	// As they were made, not as they were attached.
	require.Equal(t, []string{second.ID, first.ID, made.ID}, methodsOf(t, api, customer.ID))
	require.Empty(t, methodsOf(t, api, other.ID))

	// Again to the same customer is fine, to another one is not.
	attached(t, api, made.ID, customer.ID)
	_, err := api.PaymentMethods.Attach(made.ID, &stripe.PaymentMethodAttachParams{Customer: new(other.ID)})
	require.ErrorContains(t, err, "has already been attached to a customer")

	found, err := api.Customers.RetrievePaymentMethod(made.ID, &stripe.CustomerRetrievePaymentMethodParams{
		Customer: new(customer.ID),
	})
	require.NoError(t, err)
	require.Equal(t, made.ID, found.ID)

	_, err = api.Customers.RetrievePaymentMethod(made.ID, &stripe.CustomerRetrievePaymentMethodParams{Customer: new(other.ID)})
	requireCode(t, err, stripe.ErrorCodeResourceMissing)

	detached, err := api.PaymentMethods.Detach(first.ID, nil)
	require.NoError(t, err)
	require.Nil(t, detached.Customer)
	require.Equal(t, map[string]any{"customer": customer.ID}, box.next(t, "payment_method.detached").Data.PreviousAttributes)
	require.Equal(t, []string{second.ID, made.ID}, methodsOf(t, api, customer.ID))

	// For good: neither detachable, attachable nor usable again.
	_, err = api.PaymentMethods.Detach(first.ID, nil)
	require.ErrorContains(t, err, "is not attached to a customer so detachment is impossible")

	_, err = api.PaymentMethods.Attach(first.ID, &stripe.PaymentMethodAttachParams{Customer: new(customer.ID)})
	require.ErrorContains(t, err, "It may not be used again")

	for _, owner := range []*string{nil, new(customer.ID)} {
		params := cardIntent(2000)
		params.PaymentMethod, params.Customer = new(first.ID), owner
		_, err = api.PaymentIntents.New(params)
		require.ErrorContains(t, err, "It may not be used again")
	}
}

func TestMethods_Lists(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api, c := newClient(server.URL), caller{t, server.URL, testKey, ""}
	customer := newCustomer(t, api).ID
	first, second := attached(t, api, "pm_card_visa", customer).ID, attached(t, api, "pm_usBankAccount_success", customer).ID

	ids := func(path string) []string {
		got := c.call("GET", path, "")
		require.Equal(t, http.StatusOK, got.status, path)

		data, _ := got.body["data"].([]any)
		found := make([]string, 0, len(data))

		for _, each := range data {
			object, _ := each.(map[string]any)
			id, _ := object["id"].(string)
			found = append(found, id)
		}

		return found
	}

	require.Equal(t, []string{second, first}, ids("/v1/payment_methods?customer="+customer))
	require.Equal(t, []string{first}, ids("/v1/payment_methods?type=card&customer="+customer))
	require.Equal(t, []string{second}, ids("/v1/customers/"+customer+"/payment_methods?type=us_bank_account"))
	require.Equal(t, []string{first}, ids("/v1/customers/"+customer+"/payment_methods?starting_after="+second))
	require.Equal(t, []string{second}, ids("/v1/customers/"+customer+"/payment_methods?ending_before="+first))
	require.Empty(t, ids("/v1/payment_methods?type=card"))

	require.Equal(t, "customer", c.call("GET", "/v1/payment_methods?customer=cus_none", "").text("param"))
	require.Equal(t, http.StatusNotFound, c.call("GET", "/v1/customers/cus_none/payment_methods", "").status)
	require.Equal(t, http.StatusBadRequest,
		c.call("GET", "/v1/customers/"+customer+"/payment_methods?starting_after=pm_none", "").status)
}

func TestMethods_UpdateAndRenew(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, inOrder(box))
	api := newClient(server.URL)

	params := &stripe.PaymentMethodParams{
		BillingDetails: &stripe.PaymentMethodBillingDetailsParams{Email: new("jenny@example.com")},
		Card:           &stripe.PaymentMethodCardParams{ExpMonth: new(int64(3)), ExpYear: new(int64(2044))},
	}
	params.AddMetadata("k", "v")

	_, err := api.PaymentMethods.Update(newMethod(t, api, "tok_visa").ID, params)
	require.ErrorContains(t, err, "You must save this PaymentMethod to a customer before you can update it.")

	customer := newCustomer(t, api)
	made := attached(t, api, newMethod(t, api, "tok_visa").ID, customer.ID)

	changed, err := api.PaymentMethods.Update(made.ID, params)
	require.NoError(t, err)
	require.Equal(t, "Jenny", changed.BillingDetails.Name)
	require.Equal(t, "jenny@example.com", changed.BillingDetails.Email)
	require.EqualValues(t, 2044, changed.Card.ExpYear)
	require.Equal(t, map[string]any{
		"billing_details": map[string]any{"email": nil}, "metadata": map[string]any{"k": nil},
		"card": map[string]any{"exp_month": 12.0, "exp_year": 2042.0},
	}, box.next(t, "payment_method.updated").Data.PreviousAttributes)

	// The bank issues a new card, and the network tells of it.
	status, _ := control(t, server, "POST", "/payment_methods/"+made.ID+"/renew", `{"last4":"1881"}`)
	require.Equal(t, http.StatusOK, status)

	renewed := box.next(t, "payment_method.automatically_updated")
	require.Equal(t, map[string]any{"card": map[string]any{"exp_year": 2044.0, "last4": "4242"}},
		renewed.Data.PreviousAttributes)

	require.Error(t, server.RenewCard("pm_none", ""))
	require.Error(t, server.RenewCard(made.ID, "12"))
	require.Error(t, server.RenewCard(newMethod(t, api, "tok_visa").ID, ""))

	// It pays as before, and the charge says which card it was then.
	intent := cardIntent(2000)
	intent.Customer, intent.PaymentMethod, intent.Confirm = new(customer.ID), new(made.ID), new(true)
	intent.AddExpand("latest_charge")

	paid, err := api.PaymentIntents.New(intent)
	require.NoError(t, err)
	require.Equal(t, "1881", paid.LatestCharge.PaymentMethodDetails.Card.Last4)
	require.Equal(t, "jenny@example.com", paid.LatestCharge.BillingDetails.Email)
	require.Equal(t, customer.ID, paid.LatestCharge.Customer.ID)
}

func TestMethods_RefusesWhatStripeRefuses(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}
	customer := c.call("POST", "/v1/customers", "").text("id")
	method := c.call("POST", "/v1/payment_methods/pm_card_visa/attach", "customer="+customer).text("id")

	for _, each := range []struct {
		path, form, code, says string
		status                 int
	}{
		{"payment_methods", "", "parameter_missing", "Missing required param: type", 400},
		{"payment_methods", "type=card", "parameter_missing", "Missing required param: card", 400},
		{"payment_methods", "type=sepa_debit", "", "makes no payment methods of the type sepa_debit", 400},
		{"payment_methods", "type=card&card[token]=tok_none", "resource_missing", "No such token: 'tok_none'", 400},
		{"payment_methods", "type=card&card[token]=pm_card_visa", "resource_missing", "No such token", 400},
		{"payment_methods", "type=card&card[number]=4242424242424242", "", "generally unsafe", 402},
		{"payment_methods", "type=card&card[token]=tok_visa&customer=" + customer, "", "during PaymentMethod creation", 400},
		{"payment_methods/pm_none/attach", "customer=" + customer, "resource_missing", "No such PaymentMethod: 'pm_none'", 404},
		{"payment_methods/pm_card_visa/attach", "", "parameter_missing", "Missing required param: customer", 400},
		{"payment_methods/pm_card_visa/attach", "customer=cus_none", "resource_missing", "No such customer: 'cus_none'", 400},
		{"payment_methods/tok_visa/attach", "customer=" + customer, "resource_missing", "No such PaymentMethod", 404},
		{"payment_methods/pm_card_chargeDeclined/attach", "customer=" + customer, "card_declined", "Your card was declined.", 402},
		{"payment_methods/pm_card_visa/detach", "", "resource_missing", "No such PaymentMethod: 'pm_card_visa'", 404},
		{"payment_methods/" + method, "card[exp_month]=13", "invalid_expiry_month", "expiration month is invalid", 402},
		{"payment_methods/" + method, "billing_details[email]=jenny", "email_invalid", "Invalid email address", 400},
		{"payment_methods/" + method, "type=card", "parameter_unknown", "unknown parameter: type", 400},
		{"customers/" + customer + "/payment_methods", "type=card", "", "does not cover POST", 404},
	} {
		got := c.call("POST", "/v1/"+each.path, each.form)
		require.Equal(t, each.status, got.status, "%s %s", each.path, each.form)
		require.Equal(t, each.code, got.text("code"), "%s %s", each.path, each.form)
		require.Contains(t, got.text("message"), each.says, "%s %s", each.path, each.form)
	}

	require.Equal(t, []string{method}, methodsOf(t, newClient(server.URL), customer))

	// The card that can be had and not charged.
	saved := c.call("POST", "/v1/payment_methods/pm_card_chargeCustomerFail/attach", "customer="+customer)
	require.Equal(t, http.StatusOK, saved.status)
	require.Equal(t, http.StatusPaymentRequired, c.call("POST", "/v1/payment_intents",
		"amount=2000&currency=usd&payment_method_types[]=card&confirm=true&customer="+customer+"&payment_method="+
			saved.text("id")).status)
}

// Whose payment method may be used for whose intent.
func TestMethods_AreUsedByTheirCustomerAlone(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	c := caller{t, server.URL, testKey, ""}
	owner, other := c.call("POST", "/v1/customers", "").text("id"), c.call("POST", "/v1/customers", "").text("id")
	method := c.call("POST", "/v1/payment_methods/pm_card_visa/attach", "customer="+owner).text("id")

	const without, wrong = "belongs to the Customer ", "does not belong to the Customer you supplied "

	for _, kind := range []string{"payment_intents", "setup_intents"} {
		base := "payment_method_types[]=card&"
		if kind == "payment_intents" {
			base += "amount=2000&currency=usd&"
		}

		for who, says := range map[string]string{
			"": without + owner, "customer=" + other: wrong + other, "customer=" + owner: "",
			"customer=cus_none": "No such customer: 'cus_none'",
		} {
			for _, confirm := range []string{"", "&confirm=true"} {
				got := c.call("POST", "/v1/"+kind, base+"payment_method="+method+confirm+"&"+who)
				require.Contains(t, got.text("message"), says, "%s %s", kind, who)
				require.Equal(t, says == "", got.status == http.StatusOK, "%s %s", kind, who)
			}

			if who == "customer=cus_none" {
				continue
			}

			// The same where the method comes later.
			made := c.call("POST", "/v1/"+kind, base+who).text("id")
			confirmed := c.call("POST", "/v1/"+kind+"/"+made+"/confirm", "payment_method="+method)
			require.Contains(t, confirmed.text("message"), says, "%s %s", kind, who)
			require.Equal(t, says == "", confirmed.status == http.StatusOK, "%s %s", kind, who)

			made = c.call("POST", "/v1/"+kind, base+who).text("id")
			updated := c.call("POST", "/v1/"+kind+"/"+made, "payment_method="+method)
			require.Contains(t, updated.text("message"), says, "%s %s", kind, who)
			require.Equal(t, says == "", updated.status == http.StatusOK, "%s %s", kind, who)
		}

		// Nor does an update of the customer take a method along.
		made := c.call("POST", "/v1/"+kind, base+"payment_method="+method+"&customer="+owner).text("id")
		require.Contains(t, c.call("POST", "/v1/"+kind+"/"+made, "customer="+other).text("message"), wrong+other)
		require.Equal(t, owner, c.call("GET", "/v1/"+kind+"/"+made, "").text("customer"))

		// One that was detached since is refused at the confirmation.
		last := c.call("POST", "/v1/payment_methods/pm_card_visa/attach", "customer="+owner).text("id")
		made = c.call("POST", "/v1/"+kind, base+"payment_method="+last+"&customer="+owner).text("id")
		c.call("POST", "/v1/payment_methods/"+last+"/detach", "")
		require.Contains(t, c.call("POST", "/v1/"+kind+"/"+made+"/confirm", "").text("message"), "It may not be used again")
	}
}

// Without a customer a payment method pays once. A decline does not use it up.
func TestMethods_WithoutACustomerPayOnce(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	made := newMethod(t, api, "tok_visa")
	pay := func(method string) error {
		params := cardIntent(2000)
		params.PaymentMethod, params.Confirm = new(method), new(true)
		_, err := api.PaymentIntents.New(params)

		return err
	}

	require.NoError(t, pay(made.ID))
	require.ErrorContains(t, pay(made.ID), "It may not be used again")

	_, err := api.PaymentMethods.Attach(made.ID, &stripe.PaymentMethodAttachParams{Customer: new(newCustomer(t, api).ID)})
	require.ErrorContains(t, err, "It may not be used again")

	declined := newMethod(t, api, "tok_chargeDeclined")
	requireCode(t, pay(declined.ID), stripe.ErrorCodeCardDeclined)
	requireCode(t, pay(declined.ID), stripe.ErrorCodeCardDeclined)
}

func TestIntents_SaveTheMethodForLater(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, inOrder(box))
	api := newClient(server.URL)
	customer := newCustomer(t, api)

	params := cardIntent(2000)
	params.Customer, params.SetupFutureUsage = new(customer.ID), new("off_session")
	params.PaymentMethod, params.Confirm = new("pm_card_authenticationRequiredOnSetup"), new(true)
	params.ReturnURL = new("https://shop.example/")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresAction, intent.Status)
	require.Empty(t, methodsOf(t, api, customer.ID)) // not before it went through

	require.NoError(t, server.Authenticate(intent.ID, true))
	require.Equal(t, customer.ID, box.next(t, "payment_method.attached").Data.Object["customer"])
	box.next(t, "payment_intent.succeeded")
	require.Equal(t, []string{intent.PaymentMethod.ID}, methodsOf(t, api, customer.ID))

	// Set up, it pays while the customer is away; on session it still asks.
	again := cardIntent(900)
	again.Customer, again.PaymentMethod = new(customer.ID), new(intent.PaymentMethod.ID)
	again.Confirm, again.OffSession = new(true), new(true)

	paid, err := api.PaymentIntents.New(again)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, paid.Status)

	again.OffSession = nil
	paid, err = api.PaymentIntents.New(again)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresAction, paid.Status)

	// A bare attach sets nothing up.
	bare := attached(t, api, "pm_card_authenticationRequiredOnSetup", customer.ID)
	again.PaymentMethod, again.OffSession = new(bare.ID), new(true)
	_, err = api.PaymentIntents.New(again)
	requireCode(t, err, stripe.ErrorCodeAuthenticationRequired)

	// on_session attaches and promises nothing for later.
	params.SetupFutureUsage = new("on_session")
	intent, err = api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.NoError(t, server.Authenticate(intent.ID, true))
	require.Len(t, methodsOf(t, api, customer.ID), 3)

	again.PaymentMethod = new(intent.PaymentMethod.ID)
	_, err = api.PaymentIntents.New(again)
	requireCode(t, err, stripe.ErrorCodeAuthenticationRequired)

	// Without setup_future_usage nothing is saved; without a customer it is for whoever comes.
	params = cardIntent(2000)
	params.Customer, params.PaymentMethod, params.Confirm = new(customer.ID), new("pm_card_visa"), new(true)
	_, err = api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Len(t, methodsOf(t, api, customer.ID), 3)

	params.Customer, params.SetupFutureUsage = nil, new("off_session")
	params.CaptureMethod = new("manual") // an authorization saves it as well
	intent, err = api.PaymentIntents.New(params)
	require.NoError(t, err)
	attached(t, api, intent.PaymentMethod.ID, customer.ID)
}

// However many customers want one payment method at once, one gets it.
func TestMethods_AreAttachedToOneCustomer(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	method := newMethod(t, api, "tok_visa")

	var (
		clients sync.WaitGroup
		won     atomic.Int64
	)

	for range 20 {
		customer := newCustomer(t, api)

		clients.Go(func() {
			params := &stripe.PaymentMethodAttachParams{Customer: new(customer.ID)}
			if _, err := api.PaymentMethods.Attach(method.ID, params); err == nil {
				won.Add(1)
			}
		})
	}

	clients.Wait()
	require.EqualValues(t, 1, won.Load())
}

// What a new method of payment_method_data says of its holder is in the charge.
func TestIntents_NewMethodWithDetails(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	customer := newCustomer(t, api)

	// The client's structure has no card of a token: it is for pages that have keys
	// of their own.
	params := cardIntent(2000)
	params.Customer, params.Confirm, params.SetupFutureUsage = new(customer.ID), new(true), new("on_session")
	params.AddExtra("payment_method_data[type]", "card")
	params.AddExtra("payment_method_data[card][token]", "tok_visa")
	params.AddExtra("payment_method_data[billing_details][name]", "Jenny Rosen")
	params.AddExtra("payment_method_data[billing_details][address][postal_code]", "10115")
	params.AddExtra("payment_method_data[metadata][k]", "v")
	params.AddExpand("latest_charge")
	params.AddExpand("payment_method")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, "Jenny Rosen", intent.LatestCharge.BillingDetails.Name)
	require.Equal(t, "10115", intent.LatestCharge.BillingDetails.Address.PostalCode)
	require.Equal(t, "v", intent.PaymentMethod.Metadata["k"])
	require.Equal(t, customer.ID, intent.PaymentMethod.Customer.ID)
	require.Equal(t, []string{intent.PaymentMethod.ID}, methodsOf(t, api, customer.ID))

	params.AddExtra("payment_method_data[billing_details][email]", "jenny")
	_, err = api.PaymentIntents.New(params)
	requireCode(t, err, stripe.ErrorCodeEmailInvalid)
}

// Refusals that depend on what a payment method has been through are kept under
// the key; those of a request that could never be carried out are not.
func TestMethods_KeptRefusals(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}
	customer := c.call("POST", "/v1/customers", "").text("id")
	method := c.call("POST", "/v1/payment_methods/pm_card_visa/attach", "customer="+customer).text("id")
	pay := "amount=2000&currency=usd&payment_method=" + method

	for _, each := range []struct {
		path, form string
		status     int
		kept       string
	}{
		{"payment_intents", pay, 400, "true"},
		{"payment_methods/pm_card_chargeDeclined/attach", "customer=" + customer, 402, "true"},
		{"payment_methods/pm_card_visa/attach", "customer=cus_none", 400, ""},
		{"customers", "email=jenny", 400, ""},
	} {
		for range 2 {
			c.call("POST", "/v1/"+each.path, each.form, "Idempotency-Key", each.path)
		}

		got := c.call("POST", "/v1/"+each.path, each.form, "Idempotency-Key", each.path)
		require.Equal(t, each.status, got.status, each.path)
		require.Equal(t, each.kept, got.header.Get("Idempotent-Replayed"), each.path)
	}
}

func TestIntents_OfACustomer(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	customer, other := newCustomer(t, api), newCustomer(t, api)

	params := cardIntent(2000)
	params.Customer = new(customer.ID)
	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	require.Equal(t, customer.ID, intent.Customer.ID)

	paid := cardIntent(2000)
	paid.Customer, paid.PaymentMethod, paid.Confirm = new(other.ID), new("pm_card_visa"), new(true)
	_, err = api.PaymentIntents.New(paid)
	require.NoError(t, err)

	// A customer may be named later.
	bare, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	bare, err = api.PaymentIntents.Update(bare.ID, &stripe.PaymentIntentParams{Customer: new(customer.ID)})
	require.NoError(t, err)
	require.Equal(t, customer.ID, bare.Customer.ID)

	var ids []string

	list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{Customer: new(customer.ID)})
	for list.Next() {
		ids = append(ids, list.PaymentIntent().ID)
	}

	require.NoError(t, list.Err())
	require.Equal(t, []string{bare.ID, intent.ID}, ids)

	charges := api.Charges.List(&stripe.ChargeListParams{Customer: new(other.ID)})
	require.True(t, charges.Next())
	require.False(t, charges.Next())
	require.False(t, api.Charges.List(&stripe.ChargeListParams{Customer: new(customer.ID)}).Next())
}
