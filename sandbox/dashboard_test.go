package sandbox_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"

	"github.com/marketflow/marketflow/sandbox"
)

// Somebody in the Dashboard captures, refunds, cancels and edits: no key, no
// request, and no fault rule that was meant for clients.
func TestDashboard_ActsLikeAPerson(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret))
	api := newClient(server.URL)
	held, canceled := authorized(t, api, 2000), authorized(t, api, 3000)
	addFault(t, server, sandbox.Fault{Action: sandbox.Error, Status: 503, Count: -1})

	act := func(path, body string) map[string]any {
		status, answer := control(t, server, "POST", "/dashboard/v1/"+path, body)
		require.Equal(t, http.StatusOK, status, answer)

		return answer
	}
	byNobody := func(kind string) *stripe.Event {
		event := box.next(t, kind)
		require.Empty(t, event.Request.ID)
		require.Empty(t, event.Request.IdempotencyKey)

		return &event
	}

	edited := act("payment_intents/"+held.ID, `{"description":"by hand","metadata":{"order":"7","paid":true,"n":3}}`)
	require.Equal(t, "by hand", edited["description"])
	require.Equal(t, map[string]any{"order": "7", "paid": "true", "n": "3"}, edited["metadata"])

	require.Equal(t, "succeeded", act("payment_intents/"+held.ID+"/capture", `{"amount_to_capture":1500}`)["status"])
	require.Equal(t, held.ID, byNobody("payment_intent.succeeded").GetObjectValue("id"))

	refund := act("refunds", `{"payment_intent":"`+held.ID+`","amount":500,"reason":"requested_by_customer"}`)

	require.Equal(t, "500", byNobody("charge.refunded").GetPreviousValue("amount_refunded"))

	require.Equal(t, "canceled", act("payment_intents/"+canceled.ID+"/cancel", "")["status"])
	byNobody("payment_intent.canceled")

	// Of a card's refund, the Dashboard alone can be told to let it be.
	server.ClearFaults()

	id, _ := refund["id"].(string)
	_, err := api.Refunds.Cancel(id, nil)
	require.Error(t, err)

	act("refunds/"+id+"/cancel", "")

	undone := getRefund(t, api, id)
	require.Equal(t, stripe.RefundStatusCanceled, undone.Status)
	require.EqualValues(t, "merchant_request", undone.FailureReason)
	require.EqualValues(t, 500, undone.FailureBalanceTransaction.Amount)

	status, answer := control(t, server, "POST", "/dashboard/v1/refunds/"+id+"/cancel", "")
	require.Equal(t, http.StatusBadRequest, status)
	require.NotEmpty(t, answer["error"])
}

func TestDashboard_EditsTheAmount(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	object, err := server.Dashboard("/v1/payment_intents/"+intent.ID, url.Values{"amount": {"2500"}, "metadata[a]": {"b"}})
	require.NoError(t, err)
	require.Contains(t, string(object), `"amount": 2500`)

	_, err = server.Dashboard("/v1/refunds", url.Values{"payment_intent": {intent.ID}})
	require.ErrorContains(t, err, "does not have a successful charge")

	for path, body := range map[string]string{
		"v1/refunds": `{"amount":1.5}`, "v1/nothing": ``, "v1/payment_intents/" + intent.ID: `{"amount":0}`,
	} {
		status, answer := control(t, server, "POST", "/dashboard/"+path, body)
		require.GreaterOrEqual(t, status, 400, path)
		require.NotEmpty(t, answer["error"])
	}
}

// Each account has a Dashboard: the one of the payment that is meant.
func TestDashboard_FindsTheAccount(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		Accounts: []sandbox.Account{{ID: sandbox.DefaultAccount}, {ID: otherAccount, Keys: []string{otherKey}}},
	}))
	c := caller{t, server.URL, otherKey, ""}
	intent := c.call("POST", "/v1/payment_intents", createForm).text("id")

	_, err := server.Dashboard("v1/refunds", url.Values{"payment_intent": {intent}})
	require.NoError(t, err)
	require.Len(t, c.call("GET", "/v1/refunds", "").body["data"], 1)
	require.Empty(t, caller{t, server.URL, testKey, ""}.call("GET", "/v1/refunds", "").body["data"])
}
