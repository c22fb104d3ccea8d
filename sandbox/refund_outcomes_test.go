package sandbox_test

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

const day = 24 * time.Hour

// history is the types of all events so far about refunds, disputes and fraud,
// oldest first.
func history(t *testing.T, api *client.API) []string {
	t.Helper()

	var kinds []string

	list := api.Events.List(&stripe.EventListParams{})
	for list.Next() {
		if kind := string(list.Event().Type); strings.Contains(kind, "refund") || strings.Contains(kind, "dispute") ||
			strings.HasPrefix(kind, "radar.") || kind == "charge.updated" {
			kinds = append(kinds, kind)
		}
	}

	require.NoError(t, list.Err())
	slices.Reverse(kinds)

	return kinds
}

// refunded is a refund of an amount of an intent, or of all that is left.
func refunded(t *testing.T, api *client.API, intent string, amount int64) *stripe.Refund {
	t.Helper()

	params := &stripe.RefundParams{PaymentIntent: new(intent)}
	if amount > 0 {
		params.Amount = new(amount)
	}

	refund, err := api.Refunds.New(params)
	require.NoError(t, err)

	return refund
}

func getRefund(t *testing.T, api *client.API, id string) *stripe.Refund {
	t.Helper()

	params := &stripe.RefundParams{}
	params.AddExpand("balance_transaction")
	params.AddExpand("failure_balance_transaction")

	refund, err := api.Refunds.Get(id, params)
	require.NoError(t, err)

	return refund
}

func becomes(t *testing.T, api *client.API, id string, status stripe.RefundStatus) *stripe.Refund {
	t.Helper()
	require.Eventually(t, func() bool { return getRefund(t, api, id).Status == status }, patience, glance)

	return getRefund(t, api, id)
}

// money is the account's balance, and what its transactions add up to.
func money(t *testing.T, api *client.API) (available, pending int64) {
	t.Helper()

	balance, err := api.Balance.Get(nil)
	require.NoError(t, err)

	for _, amount := range balance.Available {
		available += amount.Amount
	}

	for _, amount := range balance.Pending {
		pending += amount.Amount
	}

	return available, pending
}

// A refund waits, pending, while the available balance does not cover it, and goes
// on by itself once it does.
func TestRefund_WaitsForTheBalance(t *testing.T) {
	t.Parallel()

	options := sandbox.Options{RefundsNeedBalance: true, StateFile: filepath.Join(t.TempDir(), "state")}
	server := sandbox.Start(t, sandbox.WithOptions(options))
	api := newClient(server.URL)
	intent := paid(t, api, 2000, "pm_card_visa") // what it brings is pending for two days

	waiting := refunded(t, api, intent.ID, 1000)
	require.Equal(t, stripe.RefundStatusPending, waiting.Status)
	require.Nil(t, waiting.BalanceTransaction)
	require.EqualValues(t, "pending", waiting.DestinationDetails.Card.Type)

	charge, err := api.Charges.Get(waiting.Charge.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1000, charge.AmountRefunded, "it cannot be given back twice")

	require.NoError(t, server.Close()) // a waiting refund survives

	server = sandbox.Start(t, sandbox.WithOptions(options))
	api = newClient(server.URL)

	server.Advance(day)
	require.Equal(t, stripe.RefundStatusPending, getRefund(t, api, waiting.ID).Status)

	server.Advance(day + time.Minute)

	settled := becomes(t, api, waiting.ID, stripe.RefundStatusSucceeded)
	require.EqualValues(t, -1000, settled.BalanceTransaction.Amount)
	require.Equal(t, []string{"charge.refunded", "charge.refund.updated"}, history(t, api))

	// Money that is available at once lets the next one go at once.
	short := refunded(t, api, intent.ID, 1000)
	require.Equal(t, stripe.RefundStatusPending, short.Status)
	paid(t, api, 3000, "pm_card_bypassPending")
	becomes(t, api, short.ID, stripe.RefundStatusSucceeded)
}

// What became available while the sandbox was not running pays too.
func TestRefund_WaitsThroughARestart(t *testing.T) {
	t.Parallel()

	options := sandbox.Options{RefundsNeedBalance: true, StateFile: filepath.Join(t.TempDir(), "state")}
	server := sandbox.Start(t, sandbox.WithOptions(options))
	api := newClient(server.URL)
	waiting := refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 1000)
	require.NoError(t, server.Close())

	options.Now = func() time.Time { return time.Now().Add(3 * day) }
	server = sandbox.Start(t, sandbox.WithOptions(options))
	becomes(t, newClient(server.URL), waiting.ID, stripe.RefundStatusSucceeded)
}

func TestRefund_WaitsForTheBalanceInVain(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{RefundsNeedBalance: true}))
	api := newClient(server.URL)
	intent := paid(t, api, 2000, "pm_card_visa")
	waiting := refunded(t, api, intent.ID, 0) // more than its charge brings, less the fee

	server.Advance(31 * day)

	failed := becomes(t, api, waiting.ID, stripe.RefundStatusFailed)
	require.EqualValues(t, "insufficient_funds", failed.FailureReason)
	require.Nil(t, failed.FailureBalanceTransaction, "no money had moved")

	charge, err := api.Charges.Get(waiting.Charge.ID, nil)
	require.NoError(t, err)
	require.Zero(t, charge.AmountRefunded)

	// A debited bank account gets nothing on credit.
	debit := debited(t, api, "success")

	server.Advance(4*day + time.Minute)
	require.Eventually(t, func() bool {
		found, err := api.PaymentIntents.Get(debit.ID, nil)

		return err == nil && found.Status == stripe.PaymentIntentStatusSucceeded
	}, patience, glance)

	available, _ := money(t, api)
	require.Less(t, available, int64(2000))

	refused := refunded(t, api, debit.ID, 2000)
	require.Equal(t, stripe.RefundStatusFailed, refused.Status)
	require.EqualValues(t, "insufficient_funds", refused.FailureReason)
}

// Twenty refunds of twenty payments at once never take more than there is.
func TestRefund_TwentyAtOnceNeverOverdraw(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{RefundsNeedBalance: true}))
	api := newClient(server.URL)
	paid(t, api, 4000, "pm_card_bypassPending")

	intents := make([]string, 20)
	for n := range intents {
		intents[n] = paid(t, api, 1000, "pm_card_visa").ID
	}

	var (
		start     = make(chan struct{})
		refunding sync.WaitGroup
	)

	for _, intent := range intents {
		refunding.Go(func() {
			<-start

			_, _ = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent)})
		})
	}

	close(start)
	refunding.Wait()

	succeeded := 0

	list := api.Refunds.List(nil)
	for list.Next() {
		if list.Refund().Status == stripe.RefundStatusSucceeded {
			succeeded++
		}
	}

	require.Equal(t, 3, succeeded) // of 4000 less the fee

	available, _ := money(t, api)
	require.EqualValues(t, 4000-146-3*1000, available)
}

// The bank's reference is there after days, and tells of itself.
func TestRefund_ReferenceComesLater(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	refund := refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 0)
	card := refund.DestinationDetails.Card
	require.Equal(t, "pending", card.ReferenceStatus)
	require.EqualValues(t, "refund", card.Type)
	require.Empty(t, card.Reference)

	server.Advance(6 * day)
	require.Eventually(t, func() bool { return len(history(t, api)) == 2 }, patience, glance)

	card = getRefund(t, api, refund.ID).DestinationDetails.Card
	require.Equal(t, "available", card.ReferenceStatus)
	require.Regexp(t, "^[0-9]{23}$", card.Reference)
	require.Equal(t, []string{"charge.refunded", "charge.refund.updated"}, history(t, api))

	// A reversal takes the charge off the statement: there is nothing to refer to.
	reversal := refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 0)
	require.NoError(t, server.MoveRefund(reversal.ID, sandbox.RefundMove{Reversal: true}))

	card = getRefund(t, api, reversal.ID).DestinationDetails.Card
	require.EqualValues(t, "reversal", card.Type)
	require.Equal(t, "unavailable", card.ReferenceStatus)
}

// A bank may give a refund back weeks after it had succeeded.
func TestRefund_FailsWeeksLater(t *testing.T) {
	t.Parallel()

	for _, reason := range []string{
		"lost_or_stolen_card", "expired_or_canceled_card", "charge_for_pending_refund_disputed", "insufficient_funds",
		"declined", "merchant_request", "unknown",
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()

			server := sandbox.Start(t)
			api := newClient(server.URL)
			intent := paid(t, api, 2000, "pm_card_visa")
			refund := refunded(t, api, intent.ID, 500)

			server.Advance(29 * day)

			status, answer := control(t, server, "POST", "/refunds/"+refund.ID,
				`{"status":"failed","failure_reason":"`+reason+`"}`)
			require.Equal(t, http.StatusOK, status, answer)

			failed := getRefund(t, api, refund.ID)
			require.Equal(t, stripe.RefundStatusFailed, failed.Status)
			require.EqualValues(t, reason, failed.FailureReason)
			require.EqualValues(t, 500, failed.FailureBalanceTransaction.Amount)
			require.Equal(t, stripe.BalanceTransactionTypeRefundFailure, failed.FailureBalanceTransaction.Type)
			require.Equal(t, "charge.updated", history(t, api)[len(history(t, api))-1])

			charge, err := api.Charges.Get(refund.Charge.ID, nil)
			require.NoError(t, err)
			require.Zero(t, charge.AmountRefunded)

			// What failed can be given back another time, and does not fail twice.
			require.EqualValues(t, 2000, refunded(t, api, intent.ID, 0).Amount)
			require.ErrorContains(t, server.MoveRefund(refund.ID, sandbox.RefundMove{Status: "failed"}), "failed")
		})
	}
}

// Payment methods without refunds of their own ask the customer.
func TestRefund_NeedsTheCustomer(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	wait := func(email string) *stripe.Refund {
		params := &stripe.RefundParams{
			PaymentIntent: new(paid(t, api, 2000, "pm_card_refundRequiresAction").ID), InstructionsEmail: new(email),
		}

		refund, err := api.Refunds.New(params)
		require.NoError(t, err)

		return refund
	}

	told, silent := wait("jenny@example.com"), wait("nobody@example.com")
	require.Equal(t, stripe.RefundStatusRequiresAction, told.Status)
	require.Equal(t, "jenny@example.com", told.InstructionsEmail)
	require.Equal(t, "jenny@example.com", told.NextAction.DisplayDetails.EmailSent.EmailSentTo)

	for _, status := range []string{"pending", "requires_action", "pending", "succeeded"} {
		require.NoError(t, server.MoveRefund(told.ID, sandbox.RefundMove{Status: status}))
		require.EqualValues(t, status, getRefund(t, api, told.ID).Status)
	}

	server.Advance(91 * day)

	failed := becomes(t, api, silent.ID, stripe.RefundStatusFailed)
	require.EqualValues(t, 2000, failed.FailureBalanceTransaction.Amount)
	require.Nil(t, failed.NextAction)

	_, err := api.Refunds.New(&stripe.RefundParams{
		PaymentIntent: new(paid(t, api, 2000, "pm_card_visa").ID), InstructionsEmail: new("jenny@example.com"),
	})
	require.ErrorContains(t, err, "instructions_email")
}

func TestRefund_TheBankCannotDoEverything(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	refund := refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 0)
	held := authorized(t, api, 2000)

	_, err := api.PaymentIntents.Cancel(held.ID, nil)
	require.NoError(t, err)

	list := api.Refunds.List(&stripe.RefundListParams{PaymentIntent: new(held.ID)})
	require.True(t, list.Next())

	for _, wrong := range []struct{ id, body string }{
		{refund.ID, `{}`},
		{refund.ID, `{"status":"pending"}`},
		{refund.ID, `{"status":"done"}`},
		{refund.ID, `{"status":"failed","failure_reason":"tired"}`},
		{refund.ID, `{"reversal":true,"failure_reason":"declined"}`},
		{refund.ID, `{"status":"failed","reversal":true}`},
		{list.Refund().ID, `{"status":"failed"}`}, // it moved no money
	} {
		status, _ := control(t, server, "POST", "/refunds/"+wrong.id, wrong.body)
		require.Equal(t, http.StatusBadRequest, status, wrong.body)
	}

	status, _ := control(t, server, "POST", "/refunds/re_none", `{"status":"failed"}`)
	require.Equal(t, http.StatusNotFound, status)
	require.Equal(t, stripe.RefundStatusSucceeded, getRefund(t, api, refund.ID).Status)
}

// The list of a charge's refunds goes on where its URL says.
func TestRefund_ListOfACharge(t *testing.T) {
	t.Parallel()

	c := caller{t, sandbox.Start(t).URL, testKey, ""}
	api := newClient(c.url)
	one := refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 0)
	refunded(t, api, paid(t, api, 2000, "pm_card_visa").ID, 0)

	path := "/v1/charges/" + one.Charge.ID + "/refunds"
	listed := c.call("GET", path, "")
	require.Len(t, listed.body["data"], 1)
	require.Equal(t, path, listed.text("url"))
	require.Equal(t, http.StatusNotFound, c.call("GET", "/v1/charges/ch_none/refunds", "").status)
}
