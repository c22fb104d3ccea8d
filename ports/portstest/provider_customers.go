package portstest

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// CustomersBed is a provider of which a test can steer what is about customers.
type CustomersBed struct {
	ProviderBed

	// SaveMethod saves a payment method for the provider's customer.
	SaveMethod func(tb testing.TB, customerID string) (methodID string)
}

// ProviderCustomers is the contract of ports.CustomerReads and ports.CustomerCalls. Each call of
// bed gives a fresh provider without any customer.
func ProviderCustomers(t *testing.T, bed func(tb testing.TB) CustomersBed) {
	t.Helper()

	for name, test := range map[string]func(t *testing.T, b CustomersBed){
		"Calls/on something that is none":           customerCallsOnNothing,
		"Send/makes the customer, once":             sendMakesCustomer,
		"Send/changes the customer":                 sendChangesCustomer,
		"Send/deletes the customer":                 sendDeletesCustomer,
		"Send/begins a setup session, once":         sendBeginsSetup,
		"Send/detaches a payment method":            sendDetaches,
		"Send/what is deleted rejects by its state": sendToDeletedCustomer,
		"Send/a lost answer is found by the copy":   lostCustomerIsFound,
		"Send/the deployment rejects it":            customerUntilRepaired,
		"Customer/none is NotFound":                 customerOfProviderNotFound,
		"Customers/between, to the second":          customersOfProvider,
		"Methods/page by page":                      methodsPageByPage,
		"Methods/none is NotFound":                  methodsNotFound,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, bed(t))
		})
	}
}

func jenny() operation.Order {
	return operation.Order{
		Metadata: map[string]string{"plan": "gold", "empty": ""},
		Options: map[string]string{
			customer.Reference: "user-42", customer.Email: "jenny@example.com", customer.Name: "Jenny & Söhne",
		},
	}
}

func (b CustomersBed) makeCall(tb testing.TB) ports.Call {
	tb.Helper()

	call, err := b.Calls.CreateCustomer(markOf(operation.CreateCustomer, uuid.Nil, jenny()), "customer_1", jenny())
	require.NoError(tb, err)

	return call
}

func (b CustomersBed) sent(tb testing.TB, call ports.Call, err error) ports.Object {
	tb.Helper()
	require.NoError(tb, err)

	object, err := b.Provider.Send(tb.Context(), call, false)
	require.NoError(tb, err)

	return object
}

func (b CustomersBed) make(tb testing.TB) ports.CustomerObject {
	tb.Helper()

	return b.sent(tb, b.makeCall(tb), nil).Customer
}

func (b CustomersBed) delete(tb testing.TB, id string) ports.Object {
	tb.Helper()

	call, err := b.Calls.DeleteCustomer(markOf(operation.DeleteCustomer, uuid.New(), operation.Order{}), id, operation.Order{})

	return b.sent(tb, call, err)
}

func customerCallsOnNothing(t *testing.T, b CustomersBed) {
	t.Helper()

	mark := markOf(operation.UpdateCustomer, uuid.New(), operation.Order{})

	for _, id := range []string{"", "..", "cus_1/../x", "pi_1", "cus_1?x=y", "seti_1"} {
		for name, build := range map[string]func(operation.Mark, string, operation.Order) (ports.Call, error){
			"update": b.Calls.UpdateCustomer, "delete": b.Calls.DeleteCustomer, "setup": b.Calls.CreateSetup,
			"detach": b.Calls.DetachMethod,
		} {
			_, err := build(mark, id, operation.Order{})
			require.Error(t, err, "%s of %q", name, id)
		}
	}
}

func sendMakesCustomer(t *testing.T, b CustomersBed) {
	t.Helper()

	call := b.makeCall(t)
	made := b.sent(t, call, nil).Customer

	require.NotEmpty(t, made.ID)
	require.True(t, made.Marked)
	require.Equal(t, operation.CreateCustomer, made.Mark.Kind)
	require.Equal(t, operation.Key("customer_1"), made.Key)
	require.Equal(t, "user-42", made.Reference)
	require.Equal(t, customer.Snapshot{
		Email: "jenny@example.com", Name: "Jenny & Söhne", Metadata: map[string]string{"plan": "gold"},
	}, made.Snapshot)
	require.WithinDuration(t, time.Now(), made.CreatedAt, time.Hour)

	again, err := b.Provider.Send(t.Context(), call, true)
	require.NoError(t, err)
	require.Equal(t, made, again.Customer)

	read, err := b.Provider.Customer(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, made, read)
}

func sendChangesCustomer(t *testing.T, b CustomersBed) {
	t.Helper()

	made := b.make(t)
	order := operation.Order{
		Metadata: map[string]string{"plan": "", "seen": "yes"},
		Options:  map[string]string{customer.Reference: "user-43", customer.Email: "j@example.com", customer.Name: ""},
	}
	call, err := b.Calls.UpdateCustomer(markOf(operation.UpdateCustomer, uuid.New(), order), made.ID, order)
	changed := b.sent(t, call, err).Customer

	require.Equal(t, customer.Snapshot{Email: "j@example.com", Metadata: map[string]string{"seen": "yes"}}, changed.Snapshot)
	require.Equal(t, "user-43", changed.Reference)
	require.Equal(t, made.Mark, changed.Mark)

	order = operation.Order{Options: map[string]string{customer.Reference: ""}}
	call, err = b.Calls.UpdateCustomer(markOf(operation.UpdateCustomer, uuid.New(), order), made.ID, order)
	require.Empty(t, b.sent(t, call, err).Customer.Reference)
}

func sendDeletesCustomer(t *testing.T, b CustomersBed) {
	t.Helper()

	made := b.make(t)
	method := b.SaveMethod(t, made.ID)
	gone := b.delete(t, made.ID).Customer
	require.Equal(t, made.ID, gone.ID)
	require.True(t, gone.Deleted)

	read, err := b.Provider.Customer(t.Context(), made.ID)
	require.NoError(t, err)
	require.Equal(t, customer.Snapshot{Deleted: true}, read.Snapshot)
	require.False(t, read.Marked)

	detached, err := b.Provider.Method(t.Context(), method)
	require.NoError(t, err)
	require.Empty(t, detached.CustomerID)
}

func sendBeginsSetup(t *testing.T, b CustomersBed) {
	t.Helper()

	call, err := b.Calls.CreateSetup(markOf(operation.CreateSetup, uuid.New(), operation.Order{}), b.make(t).ID, operation.Order{})
	begun := b.sent(t, call, err).Setup
	require.NotEmpty(t, begun.ID)
	require.NotEmpty(t, begun.ClientSecret)
	require.Equal(t, "requires_payment_method", begun.Status)

	again, err := b.Provider.Send(t.Context(), call, true)
	require.NoError(t, err)
	require.Equal(t, begun, again.Setup)
}

func sendDetaches(t *testing.T, b CustomersBed) {
	t.Helper()

	made := b.make(t)
	id := b.SaveMethod(t, made.ID)

	saved, err := b.Provider.Method(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, made.ID, saved.CustomerID)
	require.NotEmpty(t, saved.Type)

	call, err := b.Calls.DetachMethod(markOf(operation.DetachMethod, uuid.New(), operation.Order{}), id, operation.Order{})
	detached := ports.Method{ID: id, Type: saved.Type, Card: saved.Card, CreatedAt: saved.CreatedAt}
	require.Equal(t, detached, b.sent(t, call, err).Method)

	again, err := b.Calls.DetachMethod(markOf(operation.DetachMethod, uuid.New(), operation.Order{}), id, operation.Order{})
	require.NoError(t, err)
	b.requireState(t, again)
}

// requireState requires that a call is rejected because of the object's state, also as a copy.
func (b CustomersBed) requireState(t *testing.T, call ports.Call) {
	t.Helper()

	for _, resend := range []bool{false, true} {
		var rejected *ports.RejectedError

		_, err := b.Provider.Send(t.Context(), call, resend)
		require.ErrorAs(t, err, &rejected)
		require.True(t, rejected.State)
	}
}

func sendToDeletedCustomer(t *testing.T, b CustomersBed) {
	t.Helper()

	made := b.make(t)
	b.delete(t, made.ID)

	order := operation.Order{Options: map[string]string{customer.Name: "x"}}

	for name, build := range map[operation.Kind]func(operation.Mark, string, operation.Order) (ports.Call, error){
		operation.UpdateCustomer: b.Calls.UpdateCustomer, operation.DeleteCustomer: b.Calls.DeleteCustomer,
		operation.CreateSetup: b.Calls.CreateSetup,
	} {
		call, err := build(markOf(name, uuid.New(), order), made.ID, order)
		require.NoError(t, err)
		b.requireState(t, call)
	}
}

func lostCustomerIsFound(t *testing.T, b CustomersBed) {
	t.Helper()

	call := b.makeCall(t)
	restore := b.LoseAnswers(t)
	_, err := b.Provider.Send(t.Context(), call, false)
	requireUnknown(t, err)
	restore()

	found, err := b.Provider.Send(t.Context(), call, true)
	require.NoError(t, err)

	all := collect(t, b.Provider.Customers(t.Context(), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)))
	require.Equal(t, []ports.CustomerObject{found.Customer}, all)
}

func customerUntilRepaired(t *testing.T, b CustomersBed) {
	t.Helper()

	call := b.makeCall(t)
	repair := b.Misconfigure(t)

	var deployment *ports.DeploymentError

	_, err := b.Provider.Send(t.Context(), call, false)
	require.ErrorAs(t, err, &deployment)

	_, err = b.Provider.Send(t.Context(), call, true)
	requireUnknown(t, err)

	repair()

	_, err = b.Provider.Send(t.Context(), call, false)
	require.NoError(t, err)
}

func customerOfProviderNotFound(t *testing.T, b CustomersBed) {
	t.Helper()

	for _, id := range []string{"cus_none", "", "..", "pi_1"} {
		_, err := b.Provider.Customer(t.Context(), id)
		requireNotFound(t, err)
	}

	_, err := b.Provider.Method(t.Context(), "pm_none")
	requireNotFound(t, err)
}

func customersOfProvider(t *testing.T, b CustomersBed) {
	t.Helper()

	const n = 3

	want := make([]ports.CustomerObject, n)
	for i := range n {
		want[n-1-i] = b.make(t)
	}

	gone := b.make(t)
	b.delete(t, gone.ID)

	first, last := want[n-1].CreatedAt, want[0].CreatedAt
	require.Equal(t, want, collect(t, b.Provider.Customers(t.Context(), first, last)))
	require.Empty(t, collect(t, b.Provider.Customers(t.Context(), first.Add(-time.Hour), first.Add(-time.Second))))
}

func methodsPageByPage(t *testing.T, b CustomersBed) {
	t.Helper()

	made, other := b.make(t), b.make(t)
	b.SaveMethod(t, other.ID)

	want := []string{b.SaveMethod(t, made.ID), b.SaveMethod(t, made.ID), b.SaveMethod(t, made.ID)}

	var (
		all   []string
		after string
	)

	for more := true; more; {
		page, again, err := b.Provider.Methods(t.Context(), made.ID, after, 2)
		require.NoError(t, err)
		require.NotEmpty(t, page)

		for _, m := range page {
			require.Equal(t, made.ID, m.CustomerID)
			require.NotNil(t, m.Card)

			all, after = append(all, m.ID), m.ID
		}

		more = again
	}

	require.ElementsMatch(t, want, all)
}

func methodsNotFound(t *testing.T, b CustomersBed) {
	t.Helper()

	made := b.make(t)

	for _, c := range []struct{ customer, after string }{
		{"cus_none", ""}, {"", ""}, {"pi_1", ""}, {made.ID, "pm_none"}, {made.ID, "x"},
	} {
		_, _, err := b.Provider.Methods(t.Context(), c.customer, c.after, 10)
		requireNotFound(t, err)
	}

	b.delete(t, made.ID)

	_, _, err := b.Provider.Methods(t.Context(), made.ID, "", 10)
	requireNotFound(t, err)
}
