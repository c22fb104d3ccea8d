package events_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

const (
	customerUpdated = "customer.updated"
	customerDeleted = "customer.deleted"
)

// changeAtStripe is what somebody does to a customer in the Dashboard; it returns the event.
func changeAtStripe(t *testing.T, b *apptest.World, c customer.Customer, form url.Values) ports.Event {
	t.Helper()

	_, err := b.Stripe.Dashboard("/v1/customers/"+c.ProviderID, form)
	require.NoError(t, err)

	return b.Event(c.ProviderID, customerUpdated)
}

func deleteAtStripe(t *testing.T, b *apptest.World, c customer.Customer) ports.Event {
	t.Helper()

	client := sandbox.Client{URL: b.Stripe.URL, Key: apptest.SecretKey}
	status, answer, err := client.Call(t.Context(), http.MethodDelete, "/v1/customers/"+c.ProviderID, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%v", answer)

	return b.Event(c.ProviderID, customerDeleted)
}

func readHints(t *testing.T, b *apptest.World) int {
	t.Helper()

	hints := events.NewReadHints(
		b.Inbox, b.Store, b.Provider, b.Webhooks, b.Refresh(), b.CustomerRefresh(), b.Engine(), b.Binding(), b.Observer)
	read, err := hints.Do(t.Context())
	require.NoError(t, err)

	return read
}

func requireOutcome(t *testing.T, b *apptest.World, event ports.Event, want ports.EventOutcome) {
	t.Helper()

	stored := b.Stored(event.ID)
	require.Equal(t, want, stored.Outcome)
	require.Empty(t, stored.Raw, "nobody's data is kept twice")
}

// take stores an event, and requires its outcome.
func take(t *testing.T, b *apptest.World, event ports.Event, want ports.EventOutcome) {
	t.Helper()

	applied, err := b.Apply().Take(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, want, applied.Outcome)
	requireOutcome(t, b, event, want)
}

func TestApply_Do_Customers(t *testing.T) {
	t.Parallel()

	t.Run("OurOwnChange", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		event := b.Event(c.ProviderID, "customer.created")
		take(t, b, event, ports.EventStale)

		again, err := b.Apply().Do(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventDuplicate, again.Outcome)
		require.Zero(t, readHints(t, b))
		require.Equal(t, c, b.Customer(c.ID))
	})

	t.Run("ChangedInTheDashboard", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		first := changeAtStripe(t, b, c, url.Values{"email": {"new@example.com"}, "metadata[plan]": {"tin"}})
		take(t, b, first, ports.EventHint)
		require.Equal(t, c, b.Customer(c.ID), "the event may be late: it is read")

		require.Equal(t, 1, readHints(t, b))

		after := b.Customer(c.ID)
		require.Equal(t, "new@example.com", after.Email)
		require.Equal(t, map[string]string{"plan": "tin"}, after.Metadata)
		require.Equal(t, c.Reference, after.Reference)
		require.Greater(t, after.Version, c.Version)
		requireOutcome(t, b, first, ports.EventApplied)
		require.Zero(t, readHints(t, b))
	})

	t.Run("ALateEvent", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		late := changeAtStripe(t, b, c, url.Values{"email": {"old@example.com"}})
		changeAtStripe(t, b, c, url.Values{"email": {"jenny@example.com"}})
		take(t, b, late, ports.EventHint)
		readHints(t, b)
		require.Equal(t, c, b.Customer(c.ID))
		requireOutcome(t, b, late, ports.EventStale)
	})

	t.Run("DeletedInTheDashboard", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		event := deleteAtStripe(t, b, c)
		take(t, b, event, ports.EventHint)
		readHints(t, b)
		require.True(t, b.Customer(c.ID).Deleted())
		require.Empty(t, b.Customer(c.ID).Email)
		requireOutcome(t, b, event, ports.EventApplied)

		// What comes late brings nobody back.
		take(t, b, b.Event(c.ProviderID, "customer.created"), ports.EventStale)
	})

	t.Run("LostByTheDatabase", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		event := b.Event(c.ProviderID, "customer.created")
		b.LoseEverything()
		take(t, b, event, ports.EventHint)
		require.Equal(t, 1, readHints(t, b))
		require.True(t, c.SameAs(b.Customer(c.ID)))
		require.Equal(t, operation.Finished, b.Operation(c.ID).State)
		requireOutcome(t, b, event, ports.EventStale)
	})

	t.Run("LostAndDeleted", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		c := b.CreateCustomer("customer_1", apptest.Jenny())
		created := b.Event(c.ProviderID, "customer.created")
		deleted := deleteAtStripe(t, b, c)
		b.LoseEverything()
		take(t, b, deleted, ports.EventStale)
		take(t, b, created, ports.EventHint)
		readHints(t, b)
		requireOutcome(t, b, created, ports.EventStale)

		_, err := b.Store.Customer(t.Context(), c.ID)
		apptest.RequireFault(t, fault.NotFound, err)
	})

	// The answer was lost, and the event is faster than recovery.
	t.Run("FinishesItsOperation", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		id, order := apptest.NewID(t), operation.Order{Options: apptest.Jenny()}
		call, err := b.Calls.CreateCustomer(b.Mark(operation.CreateCustomer, id, uuid.Nil, order), "", order)
		require.NoError(t, err)

		op := b.BeginOne(ports.NewOperation{
			Tenant: operation.DefaultTenant, ID: id, Kind: operation.CreateCustomer, Order: order, Call: call,
		})
		object, err := b.Provider.Send(t.Context(), op.Call, false)
		require.NoError(t, err)
		take(t, b, b.Event(object.Customer.ID, "customer.created"), ports.EventHint)
		readHints(t, b)
		require.Equal(t, "user-42", b.Customer(id).Reference)
		require.Equal(t, operation.Finished, b.Operation(id).State)
	})

	t.Run("Foreign", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		another := operation.Installation{ID: uuid.New()}.Mark(
			operation.DefaultTenant, operation.CreateCustomer, uuid.New(), operation.Fingerprint{1})

		for _, form := range []string{"email=x@example.com", "metadata[marketflow]=" + another.String()} {
			client := sandbox.Client{URL: b.Stripe.URL, Key: apptest.SecretKey}
			_, answer, err := client.Call(t.Context(), http.MethodPost, "/v1/customers", form)
			require.NoError(t, err)

			id, _ := answer["id"].(string)
			event := b.Event(id, "customer.created")
			take(t, b, event, ports.EventForeign)
			require.Empty(t, b.Stored(event.ID).ObjectID)
		}

		require.Zero(t, readHints(t, b))
	})

	t.Run("OfPaymentMethods", func(t *testing.T) {
		t.Parallel()

		b := apptest.New(t)
		event := b.Retyped(b.Event(b.Create("order_1").IntentID, "payment_intent.created"), "payment_method.detached")
		applied, err := b.Apply().Take(t.Context(), event)
		require.NoError(t, err)
		require.Equal(t, ports.EventUnhandled, applied.Outcome)
	})
}

func TestReprocess_Do_WithoutABody(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	c := b.CreateCustomer("customer_1", apptest.Jenny())
	event := b.Event(c.ProviderID, "customer.created")
	take(t, b, event, ports.EventStale)

	_, err := events.NewReprocess(b.Inbox, b.Webhooks, b.Store, b.Apply()).Do(t.Context(), event.ID, decision)
	apptest.RequireFault(t, fault.Invalid, err)
}

// A payment that comes home by its event brings its customer with it.
func TestReadHints_Do_APaymentOfALostCustomer(t *testing.T) {
	t.Parallel()

	b := apptest.New(t)
	c := b.CreateCustomer("customer_1", apptest.Jenny())
	order := apptest.Order(t, 10_00)
	order.Customer = c.ProviderID
	order.Options = map[string]string{payments.OptionCustomer: c.ID.String()}

	p := b.CreateFor("order_1", order)
	require.Equal(t, c.ID, p.CustomerID)

	event := b.Pay(p.IntentID)
	b.LoseEverything()

	applied, err := b.Apply().Do(t.Context(), event)
	require.NoError(t, err)
	require.Equal(t, ports.EventHint, applied.Outcome)
	require.Equal(t, 1, readHints(t, b))
	require.Equal(t, c.ID, b.Payment(p.ID).CustomerID)
	require.True(t, c.SameAs(b.Customer(c.ID)))
}
