// Package v76 tells the stories through the stripe-go of the sandbox's own API
// version, in its idiom: client.API, params with a Context.
package v76_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/webhook"

	clients "github.com/marketflow/marketflow/sandbox/clients/go"
)

// shop is an account at the sandbox, and where its webhooks arrive.
type shop struct {
	*client.API

	inbox    *clients.Inbox
	endpoint *stripe.WebhookEndpoint
}

func connect(t *testing.T, key string) *client.API {
	t.Helper()

	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL: new(clients.SandboxURL(t)), MaxNetworkRetries: new(int64(0)),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})

	return client.New(key, &stripe.Backends{API: backend})
}

func open(t *testing.T) *shop {
	t.Helper()

	s := &shop{API: connect(t, "sk_test_v76"), inbox: clients.OpenInbox(t)}

	endpoint, err := s.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: &s.inbox.URL, EnabledEvents: stripe.StringSlice([]string{"*"}), APIVersion: new(stripe.APIVersion),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.APIVersion, endpoint.APIVersion)
	t.Cleanup(func() {
		deleted, err := s.WebhookEndpoints.Del(endpoint.ID, nil)
		require.NoError(t, err)
		require.True(t, deleted.Deleted)
	})

	s.endpoint = endpoint

	return s
}

// received verifies what was delivered with the client's own ConstructEvent.
func (s *shop) received(t *testing.T, kind stripe.EventType, id string) stripe.Event {
	t.Helper()

	delivery := s.inbox.Delivered(t, string(kind), id)

	event, err := webhook.ConstructEvent(delivery.Body, delivery.Signature, s.endpoint.Secret)
	require.NoError(t, err)
	require.Equal(t, stripe.APIVersion, event.APIVersion)

	return event
}

func card(method string) *stripe.PaymentIntentParams {
	return &stripe.PaymentIntentParams{
		Amount: new(int64(2000)), Currency: new("usd"), Confirm: new(true),
		PaymentMethod: &method, PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	}
}

func (s *shop) pay(t *testing.T, params *stripe.PaymentIntentParams) *stripe.PaymentIntent {
	t.Helper()

	intent, err := s.PaymentIntents.New(params)
	require.NoError(t, err)

	return intent
}

// failure is an error as the client types it.
func failure(t *testing.T, err error) *stripe.Error {
	t.Helper()

	var failed *stripe.Error

	require.ErrorAs(t, err, &failed)
	require.NotEmpty(t, failed.RequestID)

	return failed
}

func TestCreateConfirmWebhook(t *testing.T) {
	t.Parallel()

	s := open(t)

	made, err := s.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: new(int64(2000)), Currency: new("usd"),
		PaymentMethodTypes: stripe.StringSlice([]string{"card"}), Metadata: map[string]string{"order": "ünïcode"},
	})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusRequiresPaymentMethod, made.Status)
	require.NotEmpty(t, made.ClientSecret)

	updated, err := s.PaymentIntents.Update(made.ID,
		&stripe.PaymentIntentParams{Description: new("seven")})
	require.NoError(t, err)
	require.Equal(t, "seven", updated.Description)

	confirm := &stripe.PaymentIntentConfirmParams{PaymentMethod: new("pm_card_visa")}
	confirm.AddExpand("latest_charge.balance_transaction")
	confirm.AddExpand("payment_method")

	confirmed, err := s.PaymentIntents.Confirm(made.ID, confirm)
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusSucceeded, confirmed.Status)
	require.EqualValues(t, 2000-88, confirmed.LatestCharge.BalanceTransaction.Net)
	require.Equal(t, "4242", confirmed.PaymentMethod.Card.Last4)

	event := s.received(t, stripe.EventTypePaymentIntentSucceeded, made.ID)

	var paid stripe.PaymentIntent

	require.NoError(t, json.Unmarshal(event.Data.Raw, &paid))
	require.EqualValues(t, 2000, paid.AmountReceived)
	require.Equal(t, "ünïcode", paid.Metadata["order"])

	delivery := s.inbox.Delivered(t, "payment_intent.succeeded", made.ID)
	_, err = webhook.ConstructEvent(delivery.Body, delivery.Signature, "whsec_other")
	require.Error(t, err)

	kept, err := s.Events.Get(event.ID, nil)
	require.NoError(t, err)
	require.Equal(t, event.Type, kept.Type)
}

func TestWebhookEndpoints(t *testing.T) {
	t.Parallel()

	s := open(t)

	made, err := s.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: new("http://127.0.0.1:9/"), EnabledEvents: stripe.StringSlice([]string{"payment_intent.succeeded"}),
	})
	require.NoError(t, err)
	require.NotEmpty(t, made.Secret)

	updated, err := s.WebhookEndpoints.Update(made.ID,
		&stripe.WebhookEndpointParams{Disabled: new(true)})
	require.NoError(t, err)
	require.Equal(t, "disabled", updated.Status)

	found := map[string]bool{}

	// One page: another test may remove the endpoint that a second would begin after.
	list := &stripe.WebhookEndpointListParams{}
	list.Limit = new(int64(100))

	endpoints := s.WebhookEndpoints.List(list)
	for endpoints.Next() {
		found[endpoints.WebhookEndpoint().ID] = true
	}

	require.NoError(t, endpoints.Err())
	require.True(t, found[made.ID])
	require.True(t, found[s.endpoint.ID])

	_, err = s.WebhookEndpoints.Del(made.ID, nil)
	require.NoError(t, err)

	_, err = s.WebhookEndpoints.Get(made.ID, nil)
	require.Equal(t, http.StatusNotFound, failure(t, err).HTTPStatusCode)
}

func TestDeclines(t *testing.T) {
	t.Parallel()

	s := open(t)

	for method, want := range map[string]struct {
		code    stripe.ErrorCode
		decline stripe.DeclineCode
	}{
		"pm_card_chargeDeclined":                  {stripe.ErrorCodeCardDeclined, "generic_decline"},
		"pm_card_chargeDeclinedInsufficientFunds": {stripe.ErrorCodeCardDeclined, "insufficient_funds"},
		"pm_card_chargeDeclinedExpiredCard":       {code: stripe.ErrorCodeExpiredCard},
		"pm_card_chargeDeclinedIncorrectCvc":      {code: stripe.ErrorCodeIncorrectCVC},
		"pm_card_chargeDeclinedProcessingError":   {code: stripe.ErrorCodeProcessingError},
	} {
		_, err := s.PaymentIntents.New(card(method))
		failed := failure(t, err)
		require.Equal(t, stripe.ErrorTypeCard, failed.Type)
		require.Equal(t, http.StatusPaymentRequired, failed.HTTPStatusCode)
		require.Equal(t, want.code, failed.Code)
		require.Equal(t, stripe.PaymentIntentStatusRequiresPaymentMethod, failed.PaymentIntent.Status)

		var declined *stripe.CardError

		require.ErrorAs(t, err, &declined)

		if want.decline != "" {
			require.Equal(t, want.decline, declined.DeclineCode)
		}

		s.received(t, stripe.EventTypePaymentIntentPaymentFailed, failed.PaymentIntent.ID)

		again, err := s.PaymentIntents.Confirm(failed.PaymentIntent.ID,
			&stripe.PaymentIntentConfirmParams{PaymentMethod: new("pm_card_visa")})
		require.NoError(t, err)
		require.Equal(t, stripe.PaymentIntentStatusSucceeded, again.Status)
	}
}

func TestThreeDSecure(t *testing.T) {
	t.Parallel()

	s := open(t)

	for result, want := range map[string]stripe.PaymentIntentStatus{
		"approve": stripe.PaymentIntentStatusSucceeded,
		"decline": stripe.PaymentIntentStatusRequiresPaymentMethod,
	} {
		params := card("pm_card_authenticationRequired")
		params.ReturnURL = new("https://shop.example/back")

		intent := s.pay(t, params)
		require.Equal(t, stripe.PaymentIntentStatusRequiresAction, intent.Status)
		require.Equal(t, stripe.PaymentIntentNextActionTypeRedirectToURL, intent.NextAction.Type)
		s.received(t, stripe.EventTypePaymentIntentRequiresAction, intent.ID)

		back := clients.Authenticate(t, intent.NextAction.RedirectToURL.URL, result)
		require.True(t, strings.HasPrefix(back, "https://shop.example/back?"), back)

		found, err := s.PaymentIntents.Get(intent.ID, nil)
		require.NoError(t, err)
		require.Equal(t, want, found.Status)
	}
}

func hold() *stripe.PaymentIntentParams {
	params := card("pm_card_visa")
	params.CaptureMethod = new("manual")

	return params
}

func TestCapture(t *testing.T) {
	t.Parallel()

	s := open(t)
	held := s.pay(t, hold())
	require.Equal(t, stripe.PaymentIntentStatusRequiresCapture, held.Status)
	require.EqualValues(t, 2000, held.AmountCapturable)
	s.received(t, stripe.EventTypePaymentIntentAmountCapturableUpdated, held.ID)

	_, err := s.PaymentIntents.Capture(held.ID,
		&stripe.PaymentIntentCaptureParams{AmountToCapture: new(int64(2001))})
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failure(t, err).Type)

	captured, err := s.PaymentIntents.Capture(held.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2000, captured.AmountReceived)

	_, err = s.PaymentIntents.Capture(held.ID, nil)
	require.Equal(t, stripe.ErrorCodePaymentIntentUnexpectedState, failure(t, err).Code)

	params := &stripe.PaymentIntentCaptureParams{AmountToCapture: new(int64(1500))}
	params.AddExpand("latest_charge")

	part, err := s.PaymentIntents.Capture(s.pay(t, hold()).ID, params)
	require.NoError(t, err)
	require.EqualValues(t, 1500, part.AmountReceived)
	require.EqualValues(t, 1500, part.LatestCharge.AmountCaptured)
	require.EqualValues(t, 500, part.LatestCharge.AmountRefunded)
}

func TestCancel(t *testing.T) {
	t.Parallel()

	s := open(t)

	canceled, err := s.PaymentIntents.Cancel(s.pay(t, hold()).ID,
		&stripe.PaymentIntentCancelParams{CancellationReason: new("abandoned")})
	require.NoError(t, err)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, canceled.Status)
	require.Equal(t, stripe.PaymentIntentCancellationReasonAbandoned, canceled.CancellationReason)
	require.Zero(t, canceled.AmountCapturable)
	s.received(t, stripe.EventTypePaymentIntentCanceled, canceled.ID)

	_, err = s.PaymentIntents.Capture(canceled.ID, nil)
	failed := failure(t, err)
	require.Equal(t, stripe.ErrorCodePaymentIntentUnexpectedState, failed.Code)
	require.Equal(t, stripe.PaymentIntentStatusCanceled, failed.PaymentIntent.Status)

	_, err = s.PaymentIntents.Cancel(s.pay(t, card("pm_card_visa")).ID, nil)
	require.Equal(t, stripe.ErrorCodePaymentIntentUnexpectedState, failure(t, err).Code)
}

func (s *shop) refund(t *testing.T, intent *stripe.PaymentIntent, amount int64) (*stripe.Refund, error) {
	t.Helper()

	return s.Refunds.New(&stripe.RefundParams{PaymentIntent: &intent.ID, Amount: &amount})
}

func TestRefunds(t *testing.T) {
	t.Parallel()

	s := open(t)
	intent := s.pay(t, card("pm_card_visa"))

	part, err := s.refund(t, intent, 500)
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusSucceeded, part.Status)

	event := s.received(t, stripe.EventTypeChargeRefunded, intent.LatestCharge.ID)
	require.EqualValues(t, 0, event.Data.PreviousAttributes["amount_refunded"])

	updated, err := s.Refunds.Update(part.ID,
		&stripe.RefundParams{Metadata: map[string]string{"return": "1"}})
	require.NoError(t, err)
	require.Equal(t, "1", updated.Metadata["return"])

	_, err = s.refund(t, intent, 1501)
	failed := failure(t, err)
	require.Equal(t, stripe.ErrorTypeInvalidRequest, failed.Type)
	require.Equal(t, "amount", failed.Param)

	rest, err := s.Refunds.New(&stripe.RefundParams{Charge: &intent.LatestCharge.ID})
	require.NoError(t, err)
	require.EqualValues(t, 1500, rest.Amount)

	_, err = s.refund(t, intent, 1)
	require.Equal(t, stripe.ErrorCodeChargeAlreadyRefunded, failure(t, err).Code)

	expanded := &stripe.ChargeParams{}
	expanded.AddExpand("refunds")

	charge, err := s.Charges.Get(intent.LatestCharge.ID, expanded)
	require.NoError(t, err)
	require.True(t, charge.Refunded)
	require.Len(t, charge.Refunds.Data, 2)

	list := &stripe.RefundListParams{PaymentIntent: &intent.ID}
	list.Limit = new(int64(1))

	ids := []string{}

	refunds := s.Refunds.List(list)
	for refunds.Next() {
		ids = append(ids, refunds.Refund().ID)
	}

	require.NoError(t, refunds.Err())
	require.Equal(t, []string{rest.ID, part.ID}, ids)
}

func TestTwentyRefundsAtOnce(t *testing.T) {
	t.Parallel()

	s := open(t)
	intent := s.pay(t, card("pm_card_visa"))

	var (
		wait      sync.WaitGroup
		succeeded atomic.Int64
	)

	for range 20 {
		wait.Go(func() {
			_, err := s.refund(t, intent, 300)
			if err == nil {
				succeeded.Add(1)
			}
		})
	}

	wait.Wait()
	require.EqualValues(t, 6, succeeded.Load())

	charge, err := s.Charges.Get(intent.LatestCharge.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1800, charge.AmountRefunded)
}

func TestDisputes(t *testing.T) {
	t.Parallel()

	s := open(t)

	for method, want := range map[string]stripe.DisputeStatus{
		"pm_card_createDispute":        stripe.DisputeStatusNeedsResponse,
		"pm_card_createDisputeInquiry": stripe.DisputeStatusWarningNeedsResponse,
	} {
		intent := s.pay(t, card(method))
		disputes := s.Disputes.List(&stripe.DisputeListParams{PaymentIntent: &intent.ID}).DisputeList().Data
		require.Len(t, disputes, 1)
		require.Equal(t, want, disputes[0].Status)
		require.EqualValues(t, 2000, disputes[0].Amount)
		s.received(t, stripe.EventTypeChargeDisputeCreated, disputes[0].ID)

		if want == stripe.DisputeStatusWarningNeedsResponse {
			continue
		}

		require.Equal(t, stripe.DisputeReasonFraudulent, disputes[0].Reason)

		_, err := s.refund(t, intent, 1)
		require.Equal(t, stripe.ErrorCodeChargeDisputed, failure(t, err).Code)

		_, err = s.Disputes.Update(disputes[0].ID, &stripe.DisputeParams{
			Evidence: &stripe.DisputeEvidenceParams{UncategorizedText: new("winning_evidence")},
			Submit:   new(true),
		})
		require.NoError(t, err)
		s.received(t, stripe.EventTypeChargeDisputeClosed, disputes[0].ID)

		won, err := s.Disputes.Get(disputes[0].ID, nil)
		require.NoError(t, err)
		require.Equal(t, stripe.DisputeStatusWon, won.Status)
	}
}

func TestBalanceTransactions(t *testing.T) {
	t.Parallel()

	s := open(t)
	params := card("pm_card_visa")
	params.AddExpand("latest_charge.balance_transaction")

	intent := s.pay(t, params)
	in := intent.LatestCharge.BalanceTransaction
	require.Equal(t, stripe.BalanceTransactionTypeCharge, in.Type)
	require.Equal(t, in.Net, in.Amount-in.Fee)

	retrieve := &stripe.BalanceTransactionParams{}
	retrieve.AddExpand("source")

	found, err := s.BalanceTransactions.Get(in.ID, retrieve)
	require.NoError(t, err)
	require.Equal(t, intent.LatestCharge.ID, found.Source.Charge.ID)

	refund, err := s.refund(t, intent, 2000)
	require.NoError(t, err)

	list := s.BalanceTransactions.List(&stripe.BalanceTransactionListParams{Source: &refund.ID})
	listed := list.BalanceTransactionList().Data
	require.Len(t, listed, 1)
	require.Equal(t, stripe.BalanceTransactionTypeRefund, listed[0].Type)
	require.EqualValues(t, -2000, listed[0].Amount)

	balance, err := s.Balance.Get(nil)
	require.NoError(t, err)
	require.NotNil(t, balance.Pending)
}

func TestPagination(t *testing.T) {
	t.Parallel()

	s := open(t)
	mark := uuid.NewString()
	made := make([]string, 7)

	for n := range made {
		params := card("pm_card_visa")
		params.Metadata = map[string]string{"mark": mark}
		made[len(made)-1-n] = s.pay(t, params).ID
	}

	list := &stripe.PaymentIntentListParams{
		CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: time.Now().Add(-time.Hour).Unix()},
	}
	list.Limit = new(int64(3))
	list.AddExpand("data.latest_charge")

	found := []string{}

	intents := s.PaymentIntents.List(list)
	for intents.Next() {
		intent := intents.PaymentIntent()
		if intent.Metadata["mark"] == mark {
			require.True(t, intent.LatestCharge.Paid)

			found = append(found, intent.ID)
		}

		if len(found) == len(made) {
			break
		}
	}

	require.NoError(t, intents.Err())
	require.Equal(t, made, found)

	events := s.Events.List(&stripe.EventListParams{Type: new("charge.succeeded")}).EventList().Data
	require.NotEmpty(t, events)
	require.Equal(t, stripe.EventTypeChargeSucceeded, events[0].Type)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()

	s := open(t)
	key := uuid.NewString()

	with := func(amount int64) *stripe.PaymentIntentParams {
		params := card("pm_card_visa")
		params.Amount = &amount
		params.IdempotencyKey = &key

		return params
	}

	first, again := s.pay(t, with(2000)), s.pay(t, with(2000))
	require.Equal(t, first.ID, again.ID)
	require.Equal(t, "true", again.LastResponse.Header.Get("Idempotent-Replayed"))

	_, err := s.PaymentIntents.New(with(2001))
	require.Equal(t, stripe.ErrorTypeIdempotency, failure(t, err).Type)
	require.Equal(t, http.StatusBadRequest, failure(t, err).HTTPStatusCode)

	var conflict *stripe.IdempotencyError

	require.ErrorAs(t, err, &conflict)
}

func TestAccounts(t *testing.T) {
	t.Parallel()

	s := open(t)

	own, err := s.Accounts.Get()
	require.NoError(t, err)
	require.True(t, own.ChargesEnabled)

	byID, err := s.Accounts.GetByID(own.ID, nil)
	require.NoError(t, err)
	require.Equal(t, own.ID, byID.ID)

	list := &stripe.PaymentIntentListParams{}
	list.SetStripeAccount("acct_other")

	err = s.PaymentIntents.List(list).Err()
	require.Equal(t, stripe.ErrorCodeAccountInvalid, failure(t, err).Code)
	require.Equal(t, http.StatusForbidden, failure(t, err).HTTPStatusCode)
}

func TestErrors(t *testing.T) {
	t.Parallel()

	s := open(t)

	_, err := s.PaymentIntents.Get("pi_none", nil)
	require.Equal(t, stripe.ErrorCodeResourceMissing, failure(t, err).Code)
	require.Equal(t, http.StatusNotFound, failure(t, err).HTTPStatusCode)

	small := card("pm_card_visa")
	small.Amount = new(int64(49))
	_, err = s.PaymentIntents.New(small)
	require.Equal(t, stripe.ErrorCodeAmountTooSmall, failure(t, err).Code)

	unknown := card("pm_card_visa")
	unknown.AddExtra("colour", "red")
	_, err = s.PaymentIntents.New(unknown)
	require.Equal(t, stripe.ErrorCodeParameterUnknown, failure(t, err).Code)

	var wrong *stripe.InvalidRequestError

	require.ErrorAs(t, err, &wrong)

	err = connect(t, "sk_live_nobody").PaymentIntents.List(nil).Err()
	require.Equal(t, http.StatusUnauthorized, failure(t, err).HTTPStatusCode)
}

func TestRefusedByName(t *testing.T) {
	t.Parallel()

	s := open(t)

	for resource, err := range map[string]error{
		"invoices": s.Invoices.List(nil).Err(),
		"checkout": s.CheckoutSessions.List(nil).Err(),
	} {
		failed := failure(t, err)
		require.Equal(t, http.StatusNotFound, failed.HTTPStatusCode, resource)
		require.Contains(t, failed.Msg, resource)
	}
}
