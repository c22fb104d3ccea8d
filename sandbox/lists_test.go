package sandbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// makeIntents makes intents of 1000, 1001, … and returns their ids.
func makeIntents(t *testing.T, api *client.API, count int64) []string {
	t.Helper()

	ids := make([]string, 0, count)

	for n := range count {
		intent, err := api.PaymentIntents.New(cardIntent(1000 + n))
		require.NoError(t, err)

		ids = append(ids, intent.ID)
	}

	return ids
}

func TestList_AutoPagination(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	ids := makeIntents(t, api, 25)
	list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{})

	for _, id := range slices.Backward(ids) {
		require.True(t, list.Next())
		require.Equal(t, id, list.PaymentIntent().ID)
	}

	require.False(t, list.Next())
	require.NoError(t, list.Err())
}

func TestList_Cursors(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	ids := makeIntents(t, api, 7)

	page := func(params stripe.ListParams) ([]string, bool) {
		params.Single = true
		list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{ListParams: params})

		var found []string
		for list.Next() {
			found = append(found, list.PaymentIntent().ID)
		}

		require.NoError(t, list.Err())

		return found, list.PaymentIntentList().HasMore
	}

	found, more := page(stripe.ListParams{Limit: stripe.Int64(3)})
	require.Equal(t, []string{ids[6], ids[5], ids[4]}, found)
	require.True(t, more)

	found, more = page(stripe.ListParams{Limit: stripe.Int64(4), StartingAfter: new(ids[4])})
	require.Equal(t, []string{ids[3], ids[2], ids[1], ids[0]}, found)
	require.False(t, more)

	found, more = page(stripe.ListParams{Limit: stripe.Int64(2), EndingBefore: new(ids[3])})
	require.Equal(t, []string{ids[4], ids[5]}, found) // stripe-go turns such pages round
	require.True(t, more)

	found, more = page(stripe.ListParams{EndingBefore: new(ids[3])})
	require.Equal(t, []string{ids[4], ids[5], ids[6]}, found)
	require.False(t, more)

	for _, bad := range []stripe.ListParams{
		{Limit: stripe.Int64(0)},
		{Limit: stripe.Int64(101)},
		{StartingAfter: new("pi_none")},
		{StartingAfter: new(ids[0]), EndingBefore: new(ids[1])},
	} {
		list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{ListParams: bad})
		require.False(t, list.Next())
		require.Error(t, list.Err())
	}
}

func TestList_Created(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)
	early, err := api.PaymentIntents.New(cardIntent(1000))
	require.NoError(t, err)

	server.Advance(time.Hour)

	late, err := api.PaymentIntents.New(cardIntent(1000))
	require.NoError(t, err)

	for _, test := range []struct {
		params stripe.RangeQueryParams
		want   []string
	}{
		{stripe.RangeQueryParams{GreaterThanOrEqual: early.Created}, []string{late.ID, early.ID}},
		{stripe.RangeQueryParams{GreaterThan: early.Created}, []string{late.ID}},
		{stripe.RangeQueryParams{LesserThan: late.Created}, []string{early.ID}},
		{stripe.RangeQueryParams{LesserThanOrEqual: late.Created}, []string{late.ID, early.ID}},
		{stripe.RangeQueryParams{GreaterThan: early.Created, LesserThan: late.Created}, nil},
	} {
		list := api.PaymentIntents.List(&stripe.PaymentIntentListParams{CreatedRange: &test.params})

		var found []string
		for list.Next() {
			found = append(found, list.PaymentIntent().ID)
		}

		require.NoError(t, list.Err())
		require.Equal(t, test.want, found)
	}

	exact := api.PaymentIntents.List(&stripe.PaymentIntentListParams{Created: new(late.Created)})
	require.True(t, exact.Next())
	require.Equal(t, late.ID, exact.PaymentIntent().ID)
	require.False(t, exact.Next())
}

func TestList_ExpandedAndFiltered(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	one, two := paid(t, api, 2000, "pm_card_visa"), paid(t, api, 3000, "pm_card_visa")

	params := &stripe.PaymentIntentListParams{}
	params.AddExpand("data.latest_charge")

	list := api.PaymentIntents.List(params)
	require.True(t, list.Next())
	require.EqualValues(t, 3000, list.PaymentIntent().LatestCharge.AmountCaptured)

	charges := api.Charges.List(&stripe.ChargeListParams{PaymentIntent: new(one.ID)})
	require.True(t, charges.Next())
	require.Equal(t, one.LatestCharge.ID, charges.Charge().ID)
	require.False(t, charges.Next())

	for _, intent := range []*stripe.PaymentIntent{one, two} {
		_, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
		require.NoError(t, err)
	}

	refunds := api.Refunds.List(&stripe.RefundListParams{Charge: new(two.LatestCharge.ID)})
	require.True(t, refunds.Next())
	require.EqualValues(t, 3000, refunds.Refund().Amount)
	require.False(t, refunds.Next())

	movements := api.BalanceTransactions.List(&stripe.BalanceTransactionListParams{
		Source: new(one.LatestCharge.ID),
	})
	require.True(t, movements.Next())
	require.Equal(t, stripe.BalanceTransactionTypeCharge, movements.BalanceTransaction().Type)
	require.Equal(t, stripe.BalanceTransactionStatusPending, movements.BalanceTransaction().Status)
	require.False(t, movements.Next())

	movement, err := api.BalanceTransactions.Get(movements.BalanceTransactionList().Data[0].ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2000, movement.Amount)
}

func TestExpand_AroundTheCircle(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	intent := paid(t, api, 2000, "pm_card_visa")

	refundParams := &stripe.RefundParams{PaymentIntent: new(intent.ID)}
	refundParams.AddExpand("charge.payment_intent.latest_charge")
	refundParams.AddExpand("balance_transaction.source")

	refund, err := api.Refunds.New(refundParams)
	require.NoError(t, err)
	require.EqualValues(t, 2000, refund.Charge.PaymentIntent.LatestCharge.AmountRefunded)
	require.Equal(t, refund.ID, refund.BalanceTransaction.Source.Refund.ID)

	method, err := api.PaymentMethods.Get(intent.PaymentMethod.ID, nil)
	require.NoError(t, err)
	require.Equal(t, "4242", method.Card.Last4)
}

func TestEvents_ListAndRetrieve(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	api := newClient(server.URL)

	params := cardIntent(2000)
	params.SetIdempotencyKey("order-1")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)
	_, err = api.PaymentIntents.Confirm(intent.ID, confirmWith("pm_card_visa"))
	require.NoError(t, err)

	kinds := func(params *stripe.EventListParams) []string {
		list := api.Events.List(params)

		var found []string
		for list.Next() {
			found = append(found, string(list.Event().Type))
		}

		require.NoError(t, list.Err())

		return found
	}

	require.Equal(t, []string{"charge.succeeded", "payment_intent.succeeded", "payment_intent.created"},
		kinds(&stripe.EventListParams{}))
	require.Equal(t, []string{"payment_intent.succeeded", "payment_intent.created"},
		kinds(&stripe.EventListParams{Type: new("payment_intent.*")}))
	require.Equal(t, []string{"charge.succeeded", "payment_intent.created"},
		kinds(&stripe.EventListParams{Types: stripe.StringSlice([]string{"charge.succeeded", "payment_intent.created"})}))
	require.Empty(t, kinds(&stripe.EventListParams{DeliverySuccess: new(false)}))

	list := api.Events.List(&stripe.EventListParams{Type: new("payment_intent.created")})
	require.True(t, list.Next())

	created, err := api.Events.Get(list.Event().ID, nil)
	require.NoError(t, err)
	require.Equal(t, "order-1", created.Request.IdempotencyKey)
	require.Equal(t, intent.LastResponse.RequestID, created.Request.ID)
	require.Equal(t, "requires_payment_method", created.GetObjectValue("status")) // the snapshot of then
}
