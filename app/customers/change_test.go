package customers_test

import (
	"net/http"
	"net/url"
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
	"github.com/marketflow/marketflow/sandbox"
)

const changeKey operation.Key = "change_1"

// changing is a world with a customer.
type changing struct {
	*apptest.World

	customer customer.Customer
}

func setupChange(t *testing.T) *changing {
	t.Helper()

	b := &changing{World: apptest.New(t)}
	b.customer = b.CreateCustomer(key, apptest.Jenny())

	return b
}

func (b *changing) command() customers.ChangeCommand {
	return customers.ChangeCommand{
		Tenant: operation.DefaultTenant, CustomerID: b.customer.ID, Key: changeKey, RequestID: apptest.RequestID,
	}
}

func (b *changing) update(t *testing.T, values, metadata map[string]string) (operations.Answer, error) {
	t.Helper()

	return customers.NewUpdate(b.CustomerChange()).Do(t.Context(), customers.UpdateCommand{
		ChangeCommand: b.command(), Values: values, Metadata: metadata,
	})
}

func (b *changing) remove(t *testing.T) (operations.Answer, error) {
	t.Helper()

	return customers.NewDelete(b.CustomerChange()).Do(t.Context(), b.command())
}

// now is the customer at this moment.
func (b *changing) now() customer.Customer { return b.Customer(b.customer.ID) }

// deleteAtStripe is what somebody does in Stripe's Dashboard.
func (b *changing) deleteAtStripe(t *testing.T) {
	t.Helper()

	client := sandbox.Client{URL: b.Stripe.URL, Key: apptest.SecretKey}
	status, answer, err := client.Call(t.Context(), http.MethodDelete, "/v1/customers/"+b.customer.ProviderID, "")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status, "%v", answer)
}

func TestUpdate_Do(t *testing.T) {
	t.Parallel()

	t.Run("Changes", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		answer, err := b.update(t, map[string]string{"email": "j@example.com", "name": "", "reference": "user-43"},
			map[string]string{"plan": "", "seen": "yes"})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status)
		require.Equal(t, b.customer.ID, answer.CustomerID)

		after := b.now()
		require.Equal(t, "j@example.com", after.Email)
		require.Empty(t, after.Name)
		require.Equal(t, "user-43", after.Reference)
		require.Equal(t, map[string]string{"seen": "yes"}, after.Metadata)
		require.Greater(t, after.Version, b.customer.Version)
		require.Equal(t, b.customer.CreatedAt, after.CreatedAt)

		there := b.StripeCustomers()[0]
		require.Equal(t, customer.Snapshot{Email: "j@example.com", Metadata: map[string]string{"seen": "yes"}}, there.Snapshot)
		require.Equal(t, "user-43", there.Reference)
		require.Equal(t, b.customer.ID, there.Mark.Operation, "the mark stays")

		again, err := b.update(t, map[string]string{"email": "j@example.com", "name": "", "reference": "user-43"},
			map[string]string{"plan": "", "seen": "yes"})
		require.NoError(t, err)
		require.True(t, again.Replayed)
		require.Equal(t, answer.Response, again.Response)
		require.Equal(t, after, b.now())
	})

	t.Run("Nothing", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		answer, err := b.update(t, nil, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, answer.Response.Status)
		require.Equal(t, b.customer, b.now())

		_, err = b.update(t, map[string]string{"name": "x"}, nil)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("Invalid", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)

		for _, values := range []map[string]string{{"email": "x"}, {"reference": "a\x00b"}} {
			_, err := b.update(t, values, nil)
			apptest.RequireFault(t, fault.Invalid, err)
		}

		_, err := b.update(t, nil, map[string]string{customer.MetadataReference: "x"})
		apptest.RequireFault(t, fault.Invalid, err)

		require.Equal(t, b.customer, b.now())
	})

	t.Run("Unknown", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.customer.ID = uuid.New()
		_, err := b.update(t, map[string]string{"name": "x"}, nil)
		apptest.RequireFault(t, fault.NotFound, err)

		b.InLife(operation.Standing{})
		_, err = b.update(t, map[string]string{"name": "x"}, nil)
		apptest.RequireFault(t, fault.Unavailable, err)
	})

	t.Run("ReferenceTaken", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		other := b.CreateCustomer("other", map[string]string{"reference": "user-7"})
		_, err := b.update(t, map[string]string{"reference": "user-7"}, nil)
		apptest.RequireFault(t, fault.ReferenceTaken, err)
		require.Equal(t, other.ID, fault.From(err).CustomerID)

		// Its own is no other's, and one that was given up is free.
		_, err = b.update(t, map[string]string{"reference": "user-42"}, nil)
		require.NoError(t, err)

		b.customer = other
		_, err = customers.NewUpdate(b.CustomerChange()).Do(t.Context(), customers.UpdateCommand{
			ChangeCommand: customers.ChangeCommand{
				Tenant: operation.DefaultTenant, CustomerID: other.ID,
			}, Values: map[string]string{"reference": ""},
		})
		require.NoError(t, err)
		b.CreateCustomer("third", map[string]string{"reference": "user-7"})
	})

	t.Run("Version", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		uc := customers.NewUpdate(b.CustomerChange())
		cmd := customers.UpdateCommand{ChangeCommand: b.command(), Values: map[string]string{"name": "x"}}

		cmd.Version = b.customer.Version - 1
		_, err := uc.Do(t.Context(), cmd)
		apptest.RequireFault(t, fault.PreconditionFailed, err)
		require.Equal(t, b.customer.Version, fault.From(err).Version)

		cmd.Version = b.customer.Version
		answer, err := uc.Do(t.Context(), cmd)
		require.NoError(t, err)

		// A retry finds what its first try has done, whatever the version is now.
		again, err := uc.Do(t.Context(), cmd)
		require.NoError(t, err)
		require.Equal(t, answer.Response, again.Response)
	})

	t.Run("OneAtATime", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		repair := b.Fault(sandbox.Fault{Action: sandbox.DropBefore, Path: apptest.CustomerPath})
		_, err := b.update(t, map[string]string{"name": "x"}, nil)
		apptest.RequireFault(t, fault.Unknown, err)
		repair()

		_, err = customers.NewDelete(b.CustomerChange()).Do(t.Context(), customers.ChangeCommand{
			Tenant: operation.DefaultTenant, CustomerID: b.customer.ID,
		})
		apptest.RequireFault(t, fault.InProgress, err)
		require.Equal(t, b.customer.ID, fault.From(err).CustomerID)

		b.Elapse(time.Minute)

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)
		require.Equal(t, "x", b.now().Name)

		_, err = b.remove(t)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	// Somebody has deleted the customer in the Dashboard, and we have not heard of it.
	t.Run("DeletedAtStripe", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.deleteAtStripe(t)

		answer, err := b.update(t, map[string]string{"name": "x"}, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, answer.Response.Status)
	})

	t.Run("TooOldToBeSent", func(t *testing.T) {
		t.Parallel()

		for name, done := range map[string]bool{"Done": true, "NotDone": false} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()

				b := setupChange(t)
				action := map[bool]sandbox.Action{true: sandbox.DropAfter, false: sandbox.DropBefore}[done]
				b.Fault(sandbox.Fault{Action: action, Path: apptest.CustomerPath})
				_, err := b.update(t, map[string]string{"name": "x", "reference": "user-43"}, nil)
				apptest.RequireFault(t, fault.Unknown, err)

				b.Elapse(24 * time.Hour)
				b.Exec("UPDATE operations SET attempts = 2")

				recovered, err := b.Recover().Do(t.Context())
				require.NoError(t, err)

				if done {
					require.Equal(t, 1, recovered.Finished)
					require.Equal(t, "user-43", b.now().Reference)
				} else {
					require.Equal(t, 1, recovered.GivenUp)
					require.Equal(t, b.customer, b.now())
				}
			})
		}
	})
}

func TestDelete_Do(t *testing.T) {
	t.Parallel()

	t.Run("Deletes", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		answer, err := b.remove(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
		require.Empty(t, answer.Response.Body)

		gone := b.now()
		require.True(t, gone.Deleted())
		require.Empty(t, gone.Reference+gone.Email+gone.Name)
		require.Nil(t, gone.Metadata)
		require.Equal(t, b.customer.ProviderID, gone.ProviderID)
		require.Greater(t, gone.Version, b.customer.Version)
		require.Empty(t, b.StripeCustomers())

		for range 2 { // a retry gets its answer, from memory and from the database
			again, err := b.remove(t)
			require.NoError(t, err)
			require.True(t, again.Replayed)
			require.Equal(t, http.StatusNoContent, again.Response.Status)
			b.ForgetReplays()
		}

		_, err = customers.NewGet(b.Customers, b.Lives, b.Observer).Do(t.Context(), operation.DefaultTenant, b.customer.ID)
		apptest.RequireFault(t, fault.NotFound, err)
		_, err = customers.NewDelete(b.CustomerChange()).Do(t.Context(), customers.ChangeCommand{
			Tenant: operation.DefaultTenant, CustomerID: b.customer.ID,
		})
		apptest.RequireFault(t, fault.NotFound, err)
		_, err = customers.NewUpdate(b.CustomerChange()).Do(t.Context(), customers.UpdateCommand{
			ChangeCommand: customers.ChangeCommand{
				Tenant: operation.DefaultTenant, CustomerID: b.customer.ID,
			}, Values: map[string]string{"name": "x"},
		})
		apptest.RequireFault(t, fault.NotFound, err)

		b.CreateCustomer("again", apptest.Jenny())
	})

	t.Run("AnotherVersion", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		cmd := b.command()
		cmd.Version = 1
		_, err := customers.NewDelete(b.CustomerChange()).Do(t.Context(), cmd)
		apptest.RequireFault(t, fault.PreconditionFailed, err)
		require.Equal(t, b.customer, b.now())
	})

	t.Run("DeletedAtStripe", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.deleteAtStripe(t)

		answer, err := b.remove(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
		require.True(t, b.now().Deleted())
	})

	for name, action := range map[string]sandbox.Action{"TheCallIsLost": sandbox.DropBefore, "TheAnswerIsLost": sandbox.DropAfter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setupChange(t)
			repair := b.Fault(sandbox.Fault{Action: action, Method: http.MethodDelete, Path: apptest.CustomerPath})
			_, err := b.remove(t)
			apptest.RequireFault(t, fault.Unknown, err)
			repair()
			b.Elapse(time.Minute)

			done, err := b.Recover().Do(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, done.Finished)
			require.True(t, b.now().Deleted())

			answer, err := b.remove(t)
			require.NoError(t, err)
			require.Equal(t, http.StatusNoContent, answer.Response.Status)
		})
	}
}

func (b *changing) session(t *testing.T) (operations.Answer, error) {
	t.Helper()

	return customers.NewSetup(b.CustomerChange()).Do(t.Context(), b.command())
}

func TestSetup_Do(t *testing.T) {
	t.Parallel()

	t.Run("Begins", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		answer, err := b.session(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, answer.Response.Status)
		require.Regexp(t, `"stripe_setup_intent_id":"seti_\w+","client_secret":"seti_\w+_secret_\w+"`, string(answer.Response.Body))
		require.Contains(t, string(answer.Response.Body), `"customer_id":"`+b.customer.ID.String()+`"`)
		require.Equal(t, b.customer, b.now())

		again, err := b.session(t)
		require.NoError(t, err)
		require.Equal(t, answer.Response, again.Response)
		require.True(t, again.Replayed)
	})

	t.Run("AnotherKind", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		_, err := b.session(t)
		require.NoError(t, err)

		_, err = b.remove(t)
		apptest.RequireFault(t, fault.KeyReused, err)
	})

	t.Run("DeletedAtStripe", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.deleteAtStripe(t)

		answer, err := b.session(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusNotFound, answer.Response.Status)
	})

	t.Run("TheAnswerIsLost", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: apptest.SetupsPath})
		_, err := b.session(t)
		apptest.RequireFault(t, fault.Unknown, err)
		repair()
		b.Elapse(time.Minute)

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)

		answer, err := b.session(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, answer.Response.Status)
	})

	t.Run("TooOldToBeSent", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: apptest.SetupsPath})
		_, err := b.session(t)
		apptest.RequireFault(t, fault.Unknown, err)
		b.Elapse(24 * time.Hour)
		b.Exec("UPDATE operations SET attempts = 2 WHERE state = 'pending'")

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished, "nobody has its secret, so it ends by itself")

		answer, err := b.session(t)
		require.NoError(t, err)
		require.Equal(t, http.StatusBadGateway, answer.Response.Status)
	})
}

func (b *changing) detach(t *testing.T, methodID string, key operation.Key) (operations.Answer, error) {
	t.Helper()

	return customers.NewDetach(b.CustomerChange()).Do(t.Context(), customers.DetachCommand{
		Tenant: operation.DefaultTenant, MethodID: methodID, Key: key,
	})
}

func (b *changing) methods(t *testing.T, after string, limit int) (customers.MethodsPage, error) {
	t.Helper()

	return customers.NewMethods(b.Customers, b.Provider, b.Lives, b.Observer).Do(
		t.Context(), operation.DefaultTenant, b.customer.ID, after, limit)
}

func TestMethods_Do(t *testing.T) {
	t.Parallel()

	b := setupChange(t)
	page, err := b.methods(t, "", 10)
	require.NoError(t, err)
	require.Empty(t, page.Methods)

	visa, master := b.SaveCard(b.customer, "pm_card_visa"), b.SaveCard(b.customer, "pm_card_mastercard")

	page, err = b.methods(t, "", 1)
	require.NoError(t, err)
	require.True(t, page.More)
	require.Len(t, page.Methods, 1)

	rest, err := b.methods(t, page.Methods[0].ID, 1)
	require.NoError(t, err)
	require.False(t, rest.More)
	require.ElementsMatch(t, []string{visa, master}, []string{page.Methods[0].ID, rest.Methods[0].ID})

	for _, m := range append(page.Methods, rest.Methods...) {
		require.Equal(t, b.customer.ProviderID, m.CustomerID)
		require.Equal(t, "card", m.Type)
		require.Len(t, m.Card.Last4, 4)
		require.Positive(t, m.Card.ExpYear)
	}

	_, err = b.methods(t, "pm_unknown", 1)
	apptest.RequireFault(t, fault.Invalid, err)

	require.NoError(t, b.Stripe.Close())
	_, err = b.methods(t, "", 10)
	apptest.RequireFault(t, fault.Unavailable, err)
}

func TestDetach_Do(t *testing.T) {
	t.Parallel()

	t.Run("Detaches", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		id := b.SaveCard(b.customer, "pm_card_visa")

		answer, err := b.detach(t, id, changeKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
		require.Equal(t, b.customer.ID, answer.CustomerID)

		page, err := b.methods(t, "", 10)
		require.NoError(t, err)
		require.Empty(t, page.Methods)

		// Again, with the key, without one, and with another.
		for _, key := range []operation.Key{changeKey, "", "change_2", "change_2"} {
			again, err := b.detach(t, id, key)
			require.NoError(t, err)
			require.Equal(t, http.StatusNoContent, again.Response.Status)
		}
	})

	t.Run("SomebodyElses", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		foreign := b.customer
		id := b.SaveCard(b.customer, "pm_card_visa")
		b.Exec("DELETE FROM customers") // as if it were another installation's

		_, err := b.detach(t, id, changeKey)
		apptest.RequireFault(t, fault.NotFound, err)

		for _, none := range []string{"pm_unknown", "card_1", "", "pm_1/../x"} {
			_, err := b.detach(t, none, "")
			apptest.RequireFault(t, fault.NotFound, err)
		}

		b.customer = foreign
		method, err := b.Provider.Method(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, foreign.ProviderID, method.CustomerID, "it is still theirs")

		b.InLife(operation.Standing{})
		_, err = b.detach(t, id, changeKey)
		apptest.RequireFault(t, fault.Unavailable, err)
	})

	t.Run("TheAnswerIsLost", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		id := b.SaveCard(b.customer, "pm_card_visa")
		repair := b.Fault(sandbox.Fault{Action: sandbox.DropAfter, Path: apptest.DetachPath})
		_, err := b.detach(t, id, changeKey)
		apptest.RequireFault(t, fault.Unknown, err)
		repair()

		answer, err := b.detach(t, id, "change_2")
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status, "it is detached, whatever we have written down")

		b.Elapse(24 * time.Hour) // it may not be sent any more
		b.Exec("UPDATE operations SET attempts = 2 WHERE state = 'pending'")

		done, err := b.Recover().Do(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, done.Finished)

		answer, err = b.detach(t, id, changeKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
	})

	t.Run("TheAccountIsNotActivated", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		id := b.SaveCard(b.customer, "pm_card_visa")
		repair := b.Fault(sandbox.Fault{
			Action: sandbox.Error, Path: apptest.DetachPath, Count: -1,
			Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "testmode_charges_only",
		})

		for range 2 {
			_, err := b.detach(t, id, changeKey)
			apptest.RequireFault(t, fault.Rejected, err)
		}

		repair()

		answer, err := b.detach(t, id, changeKey)
		require.NoError(t, err, "nothing was kept under the key")
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
	})

	t.Run("DetachedByAnother", func(t *testing.T) {
		t.Parallel()

		b := setupChange(t)
		id := b.SaveCard(b.customer, "pm_card_visa")
		b.Provider = betrayed{b.Provider, func() {
			_, err := b.Stripe.Dashboard("/v1/payment_methods/"+id+"/detach", url.Values{})
			require.NoError(t, err)
		}}

		answer, err := b.detach(t, id, changeKey)
		require.NoError(t, err)
		require.Equal(t, http.StatusNoContent, answer.Response.Status)
	})
}
