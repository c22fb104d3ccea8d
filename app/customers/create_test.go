package customers_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/customers"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/domain/customer"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

const key operation.Key = "customer_1"

// bundle is a world and the request for a customer.
type bundle struct {
	*apptest.World

	command customers.CreateCommand
}

func setup(t *testing.T) *bundle {
	t.Helper()

	return &bundle{World: apptest.New(t), command: customers.CreateCommand{
		Tenant: operation.DefaultTenant,
		Key:    key, Values: apptest.Jenny(), Metadata: map[string]string{"plan": "gold"}, RequestID: "request-9",
	}}
}

func (b *bundle) create(ctx context.Context) (operations.Answer, error) {
	return customers.NewCreate(b.CustomerChange()).Do(ctx, b.command)
}

func TestCreate_Do(t *testing.T) {
	t.Parallel()

	t.Run("New", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		answer, err := b.create(t.Context())
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, answer.Response.Status)
		require.Equal(t, uuid.Nil, answer.PaymentID)

		c := b.Customer(answer.CustomerID)
		require.Equal(t, b.Installation.OperationID(operation.DefaultTenant, key), c.ID, "the same key, the same id")
		require.Equal(t, "user-42", c.Reference)
		require.Equal(t, "jenny@example.com", c.Email)
		require.Equal(t, "Jenny Rosen", c.Name)
		require.Equal(t, map[string]string{"plan": "gold"}, c.Metadata)
		require.False(t, c.Deleted())
		require.Positive(t, c.Version)

		all := b.StripeCustomers()
		require.Len(t, all, 1)
		require.Equal(t, c.ProviderID, all[0].ID)
		require.Equal(t, c.ID, all[0].Mark.Operation)
		require.Equal(t, key, all[0].Key)
		require.Equal(t, "user-42", all[0].Reference)
		require.Equal(t, customer.Snapshot{Email: c.Email, Name: c.Name, Metadata: c.Metadata}, all[0].Snapshot)

		op := b.Operation(c.ID)
		require.Equal(t, operation.Finished, op.State)
		require.Equal(t, answer.Response, op.Response)
		require.Equal(t, "mf_create_customer_"+c.ID.String(), op.Call.Key)
		require.Equal(t, "request-9", op.Origin.RequestID)
		require.Equal(t, []string{"create_customer finished by request: done"}, b.Observer.Told(c.ID))
	})

	t.Run("TheSameKey", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		first, err := b.create(t.Context())
		require.NoError(t, err)

		for range 2 {
			again, err := b.create(t.Context())
			require.NoError(t, err)
			require.Equal(t, operations.Answer{CustomerID: first.CustomerID, Response: first.Response, Replayed: true}, again)
			b.ForgetReplays()
		}

		require.Len(t, b.StripeCustomers(), 1)
	})

	// A key belongs to one operation, whatever it does.
	t.Run("TheKeyOfAPayment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Create(key)
		b.ForgetReplays()

		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.KeyReused, err)
		require.Empty(t, b.StripeCustomers())
	})

	t.Run("AnotherRequest", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		_, err := b.create(t.Context())
		require.NoError(t, err)

		b.command.Values[customer.Email] = "other@example.com"
		_, err = b.create(t.Context())
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.command.Values, b.command.Metadata = nil, nil
		answer, err := b.create(t.Context())
		require.NoError(t, err)

		c := b.Customer(answer.CustomerID)
		require.Empty(t, c.Reference+c.Email+c.Name)
		require.Nil(t, c.Metadata)
	})

	t.Run("Invalid", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.command.Values = map[string]string{customer.Email: "no address"}
		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.Invalid, err)

		b.command.Values, b.command.Metadata = nil, map[string]string{"marketflow": "x"}
		_, err = b.create(t.Context())
		apptest.RequireFault(t, fault.Invalid, err)

		_, err = b.Store.FindByID(t.Context(), b.Installation.OperationID(operation.DefaultTenant, key))
		apptest.RequireFault(t, fault.NotFound, err)
		require.Empty(t, b.StripeCustomers())
	})

	t.Run("WhileStripeIsAway", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.Provider = away{b.Provider}
		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.Unavailable, err)
	})
}

func TestCreate_Do_Reference(t *testing.T) {
	t.Parallel()

	t.Run("Taken", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		first := b.CreateCustomer("first", apptest.Jenny())

		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.ReferenceTaken, err)
		require.Equal(t, first.ID, fault.From(err).CustomerID)
		require.Len(t, b.StripeCustomers(), 1)

		// Nothing is kept under the key, so it works once the reference is free.
		_, err = customers.NewDelete(b.CustomerChange()).Do(t.Context(), customers.ChangeCommand{
			Tenant: operation.DefaultTenant, CustomerID: first.ID,
		})
		require.NoError(t, err)
		_, err = b.create(t.Context())
		require.NoError(t, err)
	})

	// Of many at once, with different keys, one gets it; Stripe makes one customer.
	t.Run("AtOnce", func(t *testing.T) {
		t.Parallel()

		b := setup(t)

		const n = 8

		var (
			all    sync.WaitGroup
			errs   [n]error
			change = b.CustomerChange()
		)

		for i := range n {
			command := b.command
			command.Key = operation.Key("at_once_" + string(rune('a'+i)))

			all.Go(func() { _, errs[i] = customers.NewCreate(change).Do(t.Context(), command) })
		}

		all.Wait()

		made := 0

		for _, err := range errs {
			if err == nil {
				made++

				continue
			}

			apptest.RequireFault(t, fault.ReferenceTaken, err)
			require.NotEqual(t, uuid.Nil, fault.From(err).CustomerID)
		}

		require.Equal(t, 1, made)
		require.Len(t, b.StripeCustomers(), 1)
	})

	// An operation that is not finished holds the reference; one that was rejected does not.
	t.Run("WantedByAnother", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		repair := b.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: apptest.CustomersPath})
		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.Unknown, err)
		repair()

		mine := b.command
		b.command.Key = "another"
		_, err = b.create(t.Context())
		apptest.RequireFault(t, fault.ReferenceTaken, err)

		b.Elapse(time.Minute)

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)

		b.command = mine
		answer, err := b.create(t.Context())
		require.NoError(t, err)
		require.True(t, answer.Replayed)
	})

	t.Run("RejectedByTheDeployment", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		rejects := apptest.AccountIncomplete()
		rejects.Path = apptest.CustomersPath
		repair := b.Fault(rejects)
		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.Rejected, err)
		repair()

		other := b.CreateCustomer("another", apptest.Jenny())

		_, err = b.create(t.Context())
		apptest.RequireFault(t, fault.ReferenceTaken, err)
		require.Equal(t, other.ID, fault.From(err).CustomerID)
		require.Len(t, b.StripeCustomers(), 1)
	})

	// Who has it may be among what the database has lost.
	t.Run("InALaterLife", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		b.InLife(operation.Standing{Behind: time.Hour})
		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.Unavailable, err)

		delete(b.command.Values, customer.Reference)
		_, err = b.create(t.Context())
		require.NoError(t, err)
	})
}

func TestCreate_Do_LostAnswers(t *testing.T) {
	t.Parallel()

	for name, action := range map[string]sandbox.Action{
		"TheCallIsLost": sandbox.DropBefore, "TheAnswerIsLost": sandbox.DropAfter, "AKept500": sandbox.Saved500,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			repair := b.Fault(sandbox.Fault{Action: action, Path: apptest.CustomersPath})
			_, err := b.create(t.Context())
			apptest.RequireFault(t, fault.Unknown, err)
			require.NotEqual(t, uuid.Nil, fault.From(err).CustomerID)
			repair()

			b.Elapse(time.Minute)

			done, err := b.Recover().Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, done.Finished)
			require.Len(t, b.StripeCustomers(), 1)

			b.ForgetReplays()
			answer, err := b.create(t.Context())
			require.NoError(t, err)
			require.True(t, answer.Replayed)
			require.Equal(t, b.StripeCustomers()[0].ID, b.Customer(answer.CustomerID).ProviderID)
		})
	}
}

// begun is the create of a customer, written down and not sent, like a process that dies at
// that moment.
func (b *bundle) begun(t *testing.T) ports.Operation {
	t.Helper()

	order := operation.Order{Metadata: b.command.Metadata, Options: b.command.Values}
	id := b.Installation.OperationID(operation.DefaultTenant, key)
	call, err := b.Calls.CreateCustomer(b.Mark(operation.CreateCustomer, id, uuid.Nil, order), key, order)
	require.NoError(t, err)

	return b.BeginOne(ports.NewOperation{
		Tenant: operation.DefaultTenant, ID: id, Kind: operation.CreateCustomer, Key: key, Order: order, Call: call,
		If: ports.Precondition{Reference: order.Options[customer.Reference]},
	})
}

func TestCreate_Recover(t *testing.T) {
	t.Parallel()

	t.Run("NeverSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.begun(t)

		_, err := b.create(t.Context())
		apptest.RequireFault(t, fault.InFlight, err)

		b.Elapse(2 * time.Minute)

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)
		require.Equal(t, "jenny@example.com", b.Customer(op.ID).Email)
	})

	// Stripe may have forgotten the key: nothing is sent, the list is searched.
	t.Run("TooOldToBeSent", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.begun(t)
		_, err := b.Provider.Send(t.Context(), op.Call, false)
		require.NoError(t, err)

		b.Elapse(24 * time.Hour)
		b.Exec("UPDATE operations SET attempts = 2")

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)
		require.Len(t, b.StripeCustomers(), 1)
	})

	t.Run("NothingIsThere", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.begun(t)
		b.Elapse(24 * time.Hour)
		b.Exec("UPDATE operations SET attempts = 2")

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.GivenUp)
		require.Equal(t, operation.NeedsAttention, b.Operation(op.ID).State)
		require.Empty(t, b.StripeCustomers())

		// A person closes it; the reference is free then.
		_, err = operations.NewClose(b.Decisions, b.Payments, b.Provider, b.Renderer, b.Engine(), b.Observer).
			Do(t.Context(), op.ID, operations.Decision{Actor: "ann", Reason: "nothing there"})
		require.NoError(t, err)
		b.CreateCustomer("another", apptest.Jenny())
	})

	t.Run("APersonAdopts", func(t *testing.T) {
		t.Parallel()

		b := setup(t)
		op := b.begun(t)
		_, err := b.Provider.Send(t.Context(), op.Call, false)
		require.NoError(t, err)
		b.GiveUp(op)
		b.Elapse(time.Hour)

		adopted, err := operations.NewAdopt(b.Decisions, b.Provider, b.Engine(), b.Observer).
			Do(t.Context(), op.ID, "", operations.Decision{Actor: "ann", Reason: "it is there"})
		require.NoError(t, err)
		require.Equal(t, operation.Finished, adopted.State)
		require.Equal(t, "user-42", b.Customer(op.ID).Reference)
		require.Len(t, b.Audit(op.ID.String()), 1)
	})
}

// A database that was lost gets the customer back under its own id, and the key its answer.
func TestCreate_Lost(t *testing.T) {
	t.Parallel()

	b := setup(t)
	before := b.CreateCustomer(key, apptest.Jenny())

	b.LoseEverything()

	for range 2 { // a second time changes nothing
		object := ports.Object{Customer: b.StripeCustomers()[0]}
		require.NoError(t, b.Engine().AdoptLost(t.Context(), object, operation.ByReconciliation))
	}

	after := b.Customer(before.ID)
	require.True(t, before.SameAs(after), "%+v", after)
	require.Equal(t, before.CreatedAt, after.CreatedAt)
	require.GreaterOrEqual(t, after.Version, before.Version)

	answer, err := b.create(t.Context())
	require.NoError(t, err)
	require.True(t, answer.Replayed)
	require.Equal(t, http.StatusCreated, answer.Response.Status)
	require.Len(t, b.StripeCustomers(), 1)
}

// The same key before anything came home: Stripe knows the call.
func TestCreate_Lost_AndAskedForAgain(t *testing.T) {
	t.Parallel()

	b := setup(t)
	before := b.CreateCustomer(key, apptest.Jenny())
	b.LoseEverything()

	answer, err := b.create(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.ID, answer.CustomerID)
	require.Len(t, b.StripeCustomers(), 1)
}

// Another customer got the reference before the lost one came home.
func TestCreate_Lost_ItsReferenceTaken(t *testing.T) {
	t.Parallel()

	b := setup(t)
	lost := b.CreateCustomer(key, apptest.Jenny())
	object := b.StripeCustomers()[0]
	b.LoseEverything()

	holder := b.CreateCustomer("another", apptest.Jenny())
	require.NoError(t, b.Engine().AdoptLost(t.Context(), ports.Object{Customer: object}, operation.ByReconciliation))
	require.Equal(t, "user-42", b.Customer(holder.ID).Reference)
	require.Empty(t, b.Customer(lost.ID).Reference)
	require.Equal(t, "jenny@example.com", b.Customer(lost.ID).Email)
}

// Stripe's word on an address is the answer for ever, and does not quote it.
func TestCreate_Do_AddressRejected(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.Fault(sandbox.Fault{
		Action: sandbox.Reject, Path: apptest.CustomersPath, Status: http.StatusBadRequest, Type: "invalid_request_error",
		Code: "email_invalid", Message: "Invalid email address: jenny@example.com",
	})

	answer, err := b.create(t.Context())
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status)
	require.NotContains(t, string(answer.Response.Body), "jenny")

	again, err := b.create(t.Context())
	require.NoError(t, err)
	require.Equal(t, answer.Response, again.Response)
}
