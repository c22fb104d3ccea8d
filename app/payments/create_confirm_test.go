package payments_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/app/apptest"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/payment"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

// paidWith is an order of ten dollars that is paid as it is made.
func paidWith(t *testing.T, card string, more ...string) operation.Order {
	t.Helper()

	order := apptest.Order(t, 10_00)
	order.Options = apptest.Paying(card)
	order.Options[payments.OptionDescription] = "a bicycle"

	for _, name := range append(more, payments.OptionConfirm) {
		order.Options[name] = payments.OptionTrue
	}

	return order
}

func createNow(t *testing.T, w *apptest.World, order operation.Order) (operations.Answer, error) {
	t.Helper()

	uc := payments.NewCreate(w.Engine(), w.Calls, w.Installation, w.Customers, w.Lives, w.Observer)

	return uc.Do(t.Context(), payments.CreateCommand{
		Tenant: operation.DefaultTenant, Key: "order_1", Order: order, RequestID: "request-1",
	})
}

// requireReplay requires that the key has this answer, in memory and in the database.
func requireReplay(t *testing.T, w *apptest.World, order operation.Order, first operations.Answer) {
	t.Helper()

	for range 2 {
		again, err := createNow(t, w, order)
		require.NoError(t, err)
		require.Equal(t, operations.Answer{PaymentID: first.PaymentID, Response: first.Response, Replayed: true}, again)
		w.ForgetReplays()
	}
}

func TestCreate_Do_Confirms(t *testing.T) {
	t.Parallel()

	type outcome struct {
		card         string
		offSession   bool
		status       int
		becomes      payment.Status
		intentStatus payment.IntentStatus
		events       []string
		says         map[string]any
	}

	made, failed := "payment_intent.created", "payment_intent.payment_failed"

	outcomes := map[string]outcome{
		"Paid": {
			apptest.GoodCard, false, http.StatusCreated, payment.Succeeded, payment.IntentSucceeded,
			[]string{"payment_intent.succeeded", made},
			map[string]any{"status": "succeeded", "intent_status": "succeeded", "next_action": nil},
		},
		"Asked": {
			apptest.SecureCard, false, http.StatusCreated, payment.Pending, payment.IntentRequiresAction,
			[]string{made, "payment_intent.requires_action"},
			map[string]any{"status": "pending", "intent_status": "requires_action"},
		},
		"Declined": {
			apptest.PoorCard, false, http.StatusPaymentRequired, payment.Failed, payment.IntentRequiresPaymentMethod,
			[]string{failed, made},
			map[string]any{"decline_code": "insufficient_funds", "retryable": true, "request_id": "request-1"},
		},
		"Hopeless": {
			apptest.StolenCard, false, http.StatusPaymentRequired, payment.Failed, payment.IntentRequiresPaymentMethod,
			[]string{failed, made},
			map[string]any{"decline_code": "stolen_card", "retryable": false},
		},
		"TheCustomerIsNotThere": {
			apptest.SecureCard, true, http.StatusPaymentRequired, payment.Failed, payment.IntentRequiresPaymentMethod,
			[]string{failed, made},
			map[string]any{"decline_code": "authentication_required"},
		},
	}

	ordered := func(t *testing.T, c outcome) operation.Order {
		t.Helper()

		if c.offSession {
			return paidWith(t, c.card, payments.OptionOffSession)
		}

		return paidWith(t, c.card)
	}

	requireOutcome := func(t *testing.T, w *apptest.World, c outcome, answer operations.Answer) {
		t.Helper()
		require.Equal(t, c.status, answer.Response.Status, "%s", answer.Response.Body)

		var fields map[string]any
		require.NoError(t, json.Unmarshal(answer.Response.Body, &fields))

		for name, value := range c.says {
			require.Equal(t, value, fields[name], name)
		}

		p := w.Payment(answer.PaymentID)
		require.Equal(t, c.becomes, p.Status)
		require.Equal(t, c.intentStatus, p.IntentStatus)
		require.Equal(t, "a bicycle", p.Description)
		require.Equal(t, c.becomes == payment.Failed, !p.Decline.IsZero())

		if c.becomes != payment.Succeeded { // it may have been found in a list, which does not tell how was paid
			require.Equal(t, c.becomes == payment.Failed, p.Method.Type == "card")
		}

		w.RequireIntents(p.IntentID)

		for _, one := range c.events {
			_, err := w.Apply().Do(t.Context(), w.Event(p.IntentID, one))
			require.NoError(t, err)
		}

		require.Equal(t, c.becomes, w.Payment(p.ID).Status)
	}

	for name, c := range outcomes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := apptest.New(t)
			order := ordered(t, c)

			answer, err := createNow(t, w, order)
			require.NoError(t, err)
			requireOutcome(t, w, c, answer)
			requireReplay(t, w, order, answer)

			if c.becomes == payment.Failed {
				require.Contains(t, w.Observer.Told(answer.PaymentID), "create finished by request: declined")
			}
		})

		// The answer is lost: the same key tells it, also of a decline.
		for _, action := range []sandbox.Action{sandbox.DropAfter, sandbox.Saved500} {
			t.Run(name+"/"+string(action), func(t *testing.T) {
				t.Parallel()

				w := apptest.New(t)
				order := ordered(t, c)
				repair := w.Fault(sandbox.Fault{Action: action})

				_, err := createNow(t, w, order)
				require.Error(t, err)
				repair()
				w.Elapse(time.Hour)

				done, err := w.Recover().Do(t.Context())
				require.NoError(t, err)
				require.Equal(t, operations.Recovered{Taken: 1, Finished: 1}, done)

				answer, err := createNow(t, w, order)
				require.NoError(t, err)
				require.True(t, answer.Replayed)
				requireOutcome(t, w, c, answer)
				requireReplay(t, w, order, answer)
			})
		}
	}
}

// The process has died, and an event brings the intent. One that says only that it was made
// does not know what came of the attempt: the client's answer waits until that was read.
func TestCreate_Do_ConfirmsAndAnEventIsFaster(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct {
		card   string
		events []string
		status int
	}{
		"MadeOnly":    {apptest.PoorCard, []string{"payment_intent.created"}, http.StatusPaymentRequired},
		"MadeAndPaid": {apptest.GoodCard, []string{"payment_intent.created", "payment_intent.succeeded"}, http.StatusCreated},
		"Paid":        {apptest.GoodCard, []string{"payment_intent.succeeded"}, http.StatusCreated},
		"Declined":    {apptest.PoorCard, []string{"payment_intent.payment_failed"}, http.StatusPaymentRequired},
		"DeclinedMade": {
			apptest.PoorCard, []string{"payment_intent.payment_failed", "payment_intent.created"}, http.StatusPaymentRequired,
		},
		"Asked": {apptest.SecureCard, []string{"payment_intent.requires_action"}, http.StatusCreated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := apptest.New(t)
			order := paidWith(t, c.card)

			wanted := w.NewOperation("order_1", order)
			wanted.ID = w.Installation.OperationID(operation.DefaultTenant, "order_1")
			call, err := w.Calls.CreatePayment(w.Mark(operation.Create, wanted.ID, [16]byte{}, order), "order_1", order)
			require.NoError(t, err)

			wanted.Call = call
			op := w.BeginOne(wanted)

			object, err := w.Provider.Send(t.Context(), op.Call, false)
			require.NoError(t, err)
			w.Elapse(time.Hour)

			for _, one := range c.events {
				_, err := w.Apply().Do(t.Context(), w.Event(object.Intent.ID, one))
				require.NoError(t, err)
			}

			_, err = w.Recover().Do(t.Context())
			require.NoError(t, err)

			answer, err := createNow(t, w, order)
			require.NoError(t, err)
			require.True(t, answer.Replayed)
			require.Equal(t, c.status, answer.Response.Status, "%s", answer.Response.Body)
			w.RequireIntents(object.Intent.ID)
		})
	}
}

// A create that Stripe rejects because of what the client chose has no payment.
func TestCreate_Do_ConfirmsWithoutSuchAMethod(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	order := paidWith(t, "pm_none")

	answer, err := createNow(t, w, order)
	require.NoError(t, err)
	require.Equal(t, http.StatusUnprocessableEntity, answer.Response.Status, "%s", answer.Response.Body)
	require.Contains(t, string(answer.Response.Body), "#rejected-by-provider")
	w.RequireNoPayment(answer.PaymentID)
	w.RequireIntents()
	requireReplay(t, w, order, answer)
}

// After the database has lost the create, a retry gets the same answer: Stripe keeps a decline
// under the key, which is made of the client's.
func TestCreate_Do_ADeclineThatIsLost(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	order := paidWith(t, apptest.PoorCard)

	first, err := createNow(t, w, order)
	require.NoError(t, err)

	w.Exec("DELETE FROM payment_transitions")
	w.Exec("DELETE FROM payments")
	w.Exec("DELETE FROM operations")
	w.ForgetReplays()

	again, err := createNow(t, w, order)
	require.NoError(t, err)
	require.Equal(t, first.Response, again.Response)
	w.RequireIntents(w.Payment(first.PaymentID).IntentID)
}

// The second half of an answer to a repeated create: an object that is finished already stays.
func TestCreate_Do_ADeclineStands(t *testing.T) {
	t.Parallel()

	w := apptest.New(t)
	answer, err := createNow(t, w, paidWith(t, apptest.PoorCard))
	require.NoError(t, err)

	op := w.Operation(answer.PaymentID).Operation
	require.False(t, op.Row().Refused)
	require.True(t, op.Declined())

	intent, err := w.Provider.Intent(t.Context(), w.Payment(answer.PaymentID).IntentID)
	require.NoError(t, err)

	finished, err := w.Engine().Finish(t.Context(), op, ports.Object{Intent: intent}, operation.ByReconciliation)
	require.NoError(t, err)
	require.Equal(t, answer.Response, finished.Response)
}
