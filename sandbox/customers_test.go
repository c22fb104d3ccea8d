package sandbox_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

func newCustomer(t *testing.T, api *client.API) *stripe.Customer {
	t.Helper()

	made, err := api.Customers.New(&stripe.CustomerParams{Name: new("Jenny Rosen"), Email: new("jenny@example.com")})
	require.NoError(t, err)

	return made
}

func TestCustomers_LiveAndAreDeleted(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, inOrder(box)).URL)

	params := &stripe.CustomerParams{
		Name: new("Jenny Rosen"), Email: new("jenny@example.com"), Phone: new("+49 30 1"), Description: new("the first"),
		Address:  &stripe.AddressParams{Line1: new("Main St 1"), City: new("Berlin"), Country: new("DE")},
		Shipping: &stripe.CustomerShippingParams{Name: new("Jenny"), Address: &stripe.AddressParams{City: new("Bonn")}},
		Balance:  new(int64(-500)), PreferredLocales: stripe.StringSlice([]string{"de", "en"}), TaxExempt: new("exempt"),
		InvoicePrefix: new("JENNY1"),
	}
	params.AddMetadata("user", "7")

	made, err := api.Customers.New(params)
	require.NoError(t, err)
	require.Regexp(t, `^cus_[0-9A-Za-z]{14}$`, made.ID)
	require.Equal(t, "Berlin", made.Address.City)
	require.Equal(t, "Bonn", made.Shipping.Address.City)
	require.EqualValues(t, -500, made.Balance)
	require.Equal(t, []string{"de", "en"}, made.PreferredLocales)
	require.Equal(t, "7", made.Metadata["user"])
	require.Equal(t, "JENNY1", made.InvoicePrefix)
	require.Equal(t, made.ID, box.next(t, "customer.created").Data.Object["id"])

	// An update merges: what is not named stays, an empty value unsets.
	change := &stripe.CustomerParams{
		Phone: new(""), Address: &stripe.AddressParams{PostalCode: new("10115")}, TaxExempt: new("none"),
	}
	change.AddMetadata("user", "")
	change.AddMetadata("tier", "gold")

	changed, err := api.Customers.Update(made.ID, change)
	require.NoError(t, err)
	require.Empty(t, changed.Phone)
	require.Equal(t, "Main St 1", changed.Address.Line1)
	require.Equal(t, "10115", changed.Address.PostalCode)
	require.Equal(t, map[string]string{"tier": "gold"}, changed.Metadata)
	require.Equal(t, "Jenny Rosen", changed.Name)

	updated := box.next(t, "customer.updated")
	require.Equal(t, map[string]any{
		"phone": "+49 30 1", "tax_exempt": "exempt", "address": map[string]any{"postal_code": nil},
		"metadata": map[string]any{"user": "7", "tier": nil},
	}, updated.Data.PreviousAttributes)

	deleted, err := api.Customers.Del(made.ID, nil)
	require.NoError(t, err)
	require.True(t, deleted.Deleted)
	require.Equal(t, "Jenny Rosen", box.next(t, "customer.deleted").Data.Object["name"])

	again, err := api.Customers.Get(made.ID, nil)
	require.NoError(t, err)
	require.True(t, again.Deleted)
	require.Empty(t, again.Name)

	_, err = api.Customers.Update(made.ID, change)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)

	_, err = api.Customers.Del(made.ID, nil)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)
	require.ErrorContains(t, err, "No such customer: '"+made.ID+"'")
}

func TestCustomers_AreListedAndFiltered(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)

	emails := []string{"a@example.com", "b@example.com", "a@example.com"}
	ids := make([]string, 0, len(emails))

	for _, email := range emails {
		made, err := api.Customers.New(&stripe.CustomerParams{Email: new(email)})
		require.NoError(t, err)

		ids = append(ids, made.ID)
	}

	listed := func(change func(*stripe.CustomerListParams)) []string {
		params := &stripe.CustomerListParams{}
		params.Limit = new(int64(1)) // so that it pages
		change(params)

		var found []string

		list := api.Customers.List(params)
		for list.Next() {
			found = append(found, list.Customer().ID)
		}

		require.NoError(t, list.Err())

		return found
	}

	require.Equal(t, []string{ids[2], ids[1], ids[0]}, listed(func(*stripe.CustomerListParams) {}))
	require.Equal(t, []string{ids[2], ids[0]}, listed(func(p *stripe.CustomerListParams) { p.Email = new("a@example.com") }))
	require.Empty(t, listed(func(p *stripe.CustomerListParams) { p.Created = new(int64(1)) }))

	_, err := api.Customers.Del(ids[1], nil)
	require.NoError(t, err)
	require.Equal(t, []string{ids[2], ids[0]}, listed(func(*stripe.CustomerListParams) {}))
}

func TestCustomers_RefusesWhatStripeRefuses(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	for form, want := range map[string][2]string{
		"email=jenny":                 {"email_invalid", "Invalid email address: jenny"},
		"email=jenny@":                {"email_invalid", "Invalid email address"},
		"email=Jenny <j@example.com>": {"email_invalid", "Invalid email address"},
		"tax_exempt=perhaps":          {"", "must be one of none, exempt, or reverse"},
		"invoice_prefix=a":            {"", "invoice prefix"},
		"colour=red":                  {"parameter_unknown", "Received unknown parameter: colour"},
		"test_clock=clock_1":          {"", "The sandbox does not support the parameter test_clock"},
		"balance=many":                {"parameter_invalid_integer", "Invalid integer: many"},
		"invoice_settings[default_payment_method]=pm_1":  {"resource_missing", "does not have a payment method with the ID pm_1"},
		"payment_method=pm_none":                         {"resource_missing", "No such PaymentMethod: 'pm_none'"},
		"metadata[" + strings.Repeat("k", 41) + "]=v":    {"", "Metadata keys can be at most 40"},
		"shipping[address][city]=Berlin":                 {"parameter_missing", "Missing required param: shipping[name]"},
		"invoice_settings[custom_fields][0][name]=color": {"parameter_missing", "[custom_fields][0][value]"},
	} {
		got := c.call("POST", "/v1/customers", form)
		require.Equal(t, http.StatusBadRequest, got.status, form)
		require.Equal(t, want[0], got.text("code"), form)
		require.Contains(t, got.text("message"), want[1], form)
	}

	require.Empty(t, c.call("GET", "/v1/customers", "").body["data"])
}

// A deleted customer's payments stay theirs, and the payment methods are nobody's.
func TestCustomers_DeletedOnesKeepPaymentsAndLoseMethods(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	customer := newCustomer(t, api)
	method := attached(t, api, "pm_card_visa", customer.ID)

	params := cardIntent(2000)
	params.Customer, params.PaymentMethod, params.Confirm = new(customer.ID), new(method.ID), new(true)
	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	_, err = api.Customers.Del(customer.ID, nil)
	require.NoError(t, err)

	expanded := &stripe.PaymentIntentParams{}
	expanded.AddExpand("customer")
	expanded.AddExpand("latest_charge.customer")

	intent, err = api.PaymentIntents.Get(intent.ID, expanded)
	require.NoError(t, err)
	require.True(t, intent.Customer.Deleted)
	require.Equal(t, customer.ID, intent.LatestCharge.Customer.ID)

	method, err = api.PaymentMethods.Get(method.ID, nil)
	require.NoError(t, err)
	require.Nil(t, method.Customer)

	_, err = api.PaymentMethods.Attach(method.ID, &stripe.PaymentMethodAttachParams{Customer: new(newCustomer(t, api).ID)})
	require.ErrorContains(t, err, "It may not be used again")

	_, err = api.PaymentIntents.New(params)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)
	require.ErrorContains(t, err, "No such customer")

	list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{Customer: new(customer.ID)})
	require.True(t, list.Next())
}

func TestCustomers_DefaultMethodMustBeTheirs(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, inOrder(box)).URL)
	customer, other := newCustomer(t, api), newCustomer(t, api)
	method := attached(t, api, "pm_card_visa", customer.ID)

	settings := &stripe.CustomerParams{
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: new(method.ID)},
	}
	settings.AddExpand("invoice_settings.default_payment_method.customer")

	_, err := api.Customers.Update(other.ID, settings)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)
	require.ErrorContains(t, err, "The payment method must be attached to the customer.")

	customer, err = api.Customers.Update(customer.ID, settings)
	require.NoError(t, err)
	require.Equal(t, "4242", customer.InvoiceSettings.DefaultPaymentMethod.Card.Last4)
	require.Equal(t, "Jenny Rosen", customer.InvoiceSettings.DefaultPaymentMethod.Customer.Name)
	box.next(t, "customer.updated")

	// A detached one is no default any more.
	_, err = api.PaymentMethods.Detach(method.ID, nil)
	require.NoError(t, err)

	updated := box.next(t, "customer.updated")
	require.Equal(t, map[string]any{"invoice_settings": map[string]any{"default_payment_method": method.ID}},
		updated.Data.PreviousAttributes)

	customer, err = api.Customers.Get(customer.ID, nil)
	require.NoError(t, err)
	require.Nil(t, customer.InvoiceSettings.DefaultPaymentMethod)

	// A new customer can bring one along.
	made, err := api.Customers.New(&stripe.CustomerParams{
		PaymentMethod:   new("pm_card_mastercard"),
		InvoiceSettings: &stripe.CustomerInvoiceSettingsParams{DefaultPaymentMethod: new("pm_card_mastercard")},
	})
	require.NoError(t, err)
	require.NotEqual(t, "pm_card_mastercard", made.InvoiceSettings.DefaultPaymentMethod.ID)
	require.Equal(t, []string{made.InvoiceSettings.DefaultPaymentMethod.ID}, methodsOf(t, api, made.ID))
}

// An idempotency key makes one customer, however many ask at once.
func TestCustomers_AreMadeOnceUnderAKey(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}

	var clients sync.WaitGroup

	for range 10 {
		clients.Go(func() { c.call("POST", "/v1/customers", "name=Jenny", "Idempotency-Key", "k") })
	}

	clients.Wait()

	first := c.call("POST", "/v1/customers", "name=Jenny", "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, first.status)
	require.Equal(t, "true", first.header.Get("Idempotent-Replayed"))
	require.Len(t, c.call("GET", "/v1/customers", "").body["data"], 1)
}

// Customers, payment methods and setup intents are those of one account and mode.
func TestCustomers_AreAnAccountsOwn(t *testing.T) {
	t.Parallel()

	server := twoAccounts(t, "")
	all := callers(t, server)
	made := map[string][3]string{}

	for name, c := range all {
		customer := c.call("POST", "/v1/customers", "name="+name).text("id")
		method := c.call("POST", "/v1/payment_methods/pm_card_visa/attach", "customer="+customer).text("id")
		setup := c.call("POST", "/v1/setup_intents", "customer="+customer+"&payment_method="+method).text("id")
		made[name] = [3]string{"/v1/customers/" + customer, "/v1/payment_methods/" + method, "/v1/setup_intents/" + setup}
	}

	for name, c := range all {
		for owner, paths := range made {
			for _, path := range paths {
				want := http.StatusNotFound
				if owner == name {
					want = http.StatusOK
				}

				require.Equal(t, want, c.call("GET", path, "").status, "%s reads %s of %s", name, path, owner)
			}
		}

		require.Len(t, c.call("GET", "/v1/customers", "").body["data"], 1)
		require.Len(t, c.call("GET", "/v1/setup_intents", "").body["data"], 1)
	}
}

// Everything of customers is there after a SIGKILL, and goes on as before.
func TestState_CustomersSurviveSIGKILL(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state")
	url, kill := child(t, path)
	c := caller{t, url, testKey, ""}
	attach := func(card, customer string) string {
		return c.call("POST", "/v1/payment_methods/"+card+"/attach", "customer="+customer).text("id")
	}

	customer := c.call("POST", "/v1/customers", "name=Jenny&metadata[a]=b&address[city]=Berlin").text("id")
	gone := c.call("POST", "/v1/customers", "name=Gone").text("id")
	first, second := attach("pm_card_visa", customer), attach("pm_card_authenticationRequiredOnSetup", customer)
	lost := attach("pm_card_amex", gone)

	c.call("POST", "/v1/customers/"+customer, "invoice_settings[default_payment_method]="+second)
	c.call("POST", "/v1/payment_methods/"+first, "billing_details[email]=jenny@example.com&card[exp_year]=2050")
	require.Equal(t, http.StatusOK, c.call("DELETE", "/v1/customers/"+gone, "").status)

	const card = "payment_method_types[]=card&"

	once := c.call("POST", "/v1/payment_methods", "type=card&card[token]=tok_visa").text("id")
	saved := c.call("POST", "/v1/payment_intents", card+"amount=2000&currency=usd&confirm=true&setup_future_usage=off_session"+
		"&payment_method=pm_card_mastercard&customer="+customer).text("payment_method")
	c.call("POST", "/v1/payment_intents", card+"amount=2000&currency=usd&confirm=true&payment_method="+once)

	asks := c.call("POST", "/v1/setup_intents", card+"confirm=true&customer="+customer+"&payment_method="+second).text("id")
	failed := c.call("POST", "/v1/setup_intents", card+"confirm=true&payment_method=pm_card_chargeDeclined")
	require.Equal(t, http.StatusPaymentRequired, failed.status)

	paths := []string{
		"customers", "customers/" + customer, "customers/" + gone, "customers/" + customer + "/payment_methods",
		"payment_methods/" + first, "payment_methods/" + lost, "setup_intents", "setup_intents/" + asks, "events?limit=100",
	}
	before := map[string]any{}

	for _, each := range paths {
		before[each] = c.call("GET", "/v1/"+each, "").body
	}

	kill()

	server := reopen(t, sandbox.Options{StateFile: path})
	t.Cleanup(func() { require.NoError(t, server.Close()) })

	c = caller{t, server.URL, testKey, ""}
	for _, each := range paths {
		require.Equal(t, before[each], c.call("GET", "/v1/"+each, "").body, each)
	}

	require.Equal(t, []string{saved, second, first}, methodsOf(t, newClient(server.URL), customer))

	// What a card has been through is not forgotten: used up, detached, set up.
	pay := func(form string) answered {
		return c.call("POST", "/v1/payment_intents", card+"amount=2000&currency=usd&confirm=true&"+form)
	}
	require.Contains(t, pay("payment_method="+once).text("message"), "It may not be used again")
	require.Contains(t, pay("payment_method="+lost).text("message"), "It may not be used again")
	require.NoError(t, server.Authenticate(asks, true))
	require.Equal(t, "succeeded", pay("off_session=true&customer="+customer+"&payment_method="+second).text("status"))
	require.NotEqual(t, customer, c.call("POST", "/v1/customers", "name=After").text("id"))
}

// Confirming, attaching, deleting and reading at once neither races nor blocks.
func TestCustomers_AllAtOnce(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	var clients sync.WaitGroup

	for range 4 {
		customer := newCustomer(t, api)
		method := attached(t, api, "pm_card_visa", customer.ID)

		for range 4 {
			clients.Go(func() {
				for range 10 {
					params := cardIntent(2000)
					params.Customer, params.PaymentMethod, params.Confirm = new(customer.ID), new(method.ID), new(true)
					params.SetupFutureUsage = new("off_session")
					params.AddExpand("customer")
					_, _ = api.PaymentIntents.New(params)
				}
			})
		}

		clients.Go(func() {
			for range 10 {
				_, _ = api.PaymentMethods.Attach("pm_card_amex", &stripe.PaymentMethodAttachParams{Customer: new(customer.ID)})
				list := api.Customers.ListPaymentMethods(&stripe.CustomerListPaymentMethodsParams{Customer: new(customer.ID)})
				_ = list.Next()
			}

			_, _ = api.Customers.Del(customer.ID, nil)
		})
	}

	done := make(chan struct{})

	go func() {
		clients.Wait()
		close(done)
	}()

	select {
	case <-done:
	case <-time.After(patience):
		require.FailNow(t, "blocked")
	}
}
