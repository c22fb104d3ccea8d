package sandbox_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"

	"github.com/marketflow/marketflow/sandbox"
)

// paid is an intent that was paid with a card.
func paid(t *testing.T, api *client.API, amount int64, card string) *stripe.PaymentIntent {
	t.Helper()

	params := cardIntent(amount)
	params.PaymentMethod, params.Confirm = new(card), new(true)

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	return intent
}

func TestRefund_PartThenRest(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)
	intent := paid(t, api, 2000, "pm_card_visa")

	part, err := api.Refunds.New(&stripe.RefundParams{
		PaymentIntent: new(intent.ID), Amount: stripe.Int64(500), Reason: new("requested_by_customer"),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusSucceeded, part.Status)
	require.Equal(t, intent.LatestCharge.ID, part.Charge.ID)

	refunded := box.next(t, "charge.refunded")
	require.Equal(t, "500", refunded.GetObjectValue("amount_refunded"))
	require.Equal(t, "0", refunded.GetPreviousValue("amount_refunded"))
	require.NotContains(t, refunded.Data.PreviousAttributes, "status")

	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID), Amount: stripe.Int64(1501)})
	require.ErrorContains(t, err, "Refund amount ($15.01) is greater than unrefunded amount on charge ($15.00)")

	rest, err := api.Refunds.New(&stripe.RefundParams{Charge: new(intent.LatestCharge.ID)})
	require.NoError(t, err)
	require.EqualValues(t, 1500, rest.Amount)

	_, err = api.Refunds.New(&stripe.RefundParams{Charge: new(intent.LatestCharge.ID)})
	requireCode(t, err, stripe.ErrorCodeChargeAlreadyRefunded)

	chargeParams := &stripe.ChargeParams{}
	chargeParams.AddExpand("refunds")

	charge, err := api.Charges.Get(intent.LatestCharge.ID, chargeParams)
	require.NoError(t, err)
	require.True(t, charge.Refunded)
	require.Len(t, charge.Refunds.Data, 2)
	require.Equal(t, rest.ID, charge.Refunds.Data[0].ID)
}

// Twenty refunds of 150 at once against a charge of a thousand: six fit,
// whatever their order, and a hundred are left.
func TestRefund_TwentyAtOnceNeverExceedTheCapture(t *testing.T) {
	t.Parallel()

	const (
		clients = 20
		each    = 150
		total   = 1000
		fit     = total / each
	)

	server := sandbox.Start(t)
	api := newClient(server.URL)
	intent := paid(t, api, total, "pm_card_visa")

	var (
		start, done         sync.WaitGroup
		succeeded, exceeded atomic.Int64
	)

	start.Add(1)

	for range clients {
		done.Go(func() {
			start.Wait()

			_, err := api.Refunds.New(&stripe.RefundParams{
				PaymentIntent: new(intent.ID), Amount: stripe.Int64(each),
			})
			if err == nil {
				succeeded.Add(1)
			} else {
				exceeded.Add(1)
			}
		})
	}

	start.Done()
	done.Wait()

	require.EqualValues(t, fit, succeeded.Load())
	require.EqualValues(t, clients-fit, exceeded.Load())

	sum := int64(0)
	list := api.Refunds.List(&stripe.RefundListParams{PaymentIntent: new(intent.ID)})

	for list.Next() {
		sum += list.Refund().Amount
	}

	require.NoError(t, list.Err())
	require.EqualValues(t, fit*each, sum)

	charge, err := api.Charges.Get(intent.LatestCharge.ID, nil)
	require.NoError(t, err)
	require.EqualValues(t, fit*each, charge.AmountRefunded)
}

func TestRefund_PendingSettlesOnTheClock(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		WebhookURL: box.URL, WebhookSecret: testSecret, SettleDelay: 48 * time.Hour,
	}))
	api := newClient(server.URL)
	intent := paid(t, api, 2000, "pm_card_pendingRefund")

	refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusPending, refund.Status)

	server.Advance(49 * time.Hour)

	updated := box.next(t, "charge.refund.updated")
	require.Equal(t, "succeeded", updated.GetObjectValue("status"))
	require.Equal(t, "pending", updated.GetPreviousValue("status"))
	require.Empty(t, updated.Request.ID)
}

func TestRefund_FailureGivesTheMoneyBackToTheCharge(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
		WebhookURL: box.URL, WebhookSecret: testSecret, SettleDelay: time.Hour,
	}))
	api := newClient(server.URL)
	intent := paid(t, api, 2000, "pm_card_refundFail")

	refund, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusSucceeded, refund.Status)

	server.Advance(2 * time.Hour)

	settled := box.next(t, "charge.refund.updated")
	require.Equal(t, "failed", settled.GetObjectValue("status"))

	failed, err := api.Refunds.Get(refund.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusFailed, failed.Status)
	require.NotEmpty(t, failed.FailureReason)
	require.NotNil(t, failed.FailureBalanceTransaction)

	charge, err := api.Charges.Get(intent.LatestCharge.ID, nil)
	require.NoError(t, err)
	require.Zero(t, charge.AmountRefunded)
	require.False(t, charge.Refunded)
}

func TestRefund_Cancel(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)

	done, err := api.Refunds.New(&stripe.RefundParams{
		PaymentIntent: new(paid(t, api, 2000, "pm_card_visa").ID),
	})
	require.NoError(t, err)

	_, err = api.Refunds.Cancel(done.ID, nil)
	require.ErrorContains(t, err, "requires_action")

	waiting, err := api.Refunds.New(&stripe.RefundParams{
		PaymentIntent: new(paid(t, api, 2000, "pm_card_refundRequiresAction").ID),
	})
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusRequiresAction, waiting.Status)

	canceled, err := api.Refunds.Cancel(waiting.ID, nil)
	require.NoError(t, err)
	require.Equal(t, stripe.RefundStatusCanceled, canceled.Status)
}

func TestRefund_Refusals(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	unpaid, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(unpaid.ID)})
	require.ErrorContains(t, err, "does not have a successful charge to refund")

	_, err = api.Refunds.New(&stripe.RefundParams{PaymentIntent: new("pi_none")})
	requireCode(t, err, stripe.ErrorCodeResourceMissing)

	_, err = api.Refunds.New(&stripe.RefundParams{})
	requireCode(t, err, stripe.ErrorCodeParameterMissing)
}

func TestRefund_MetadataUpdate(t *testing.T) {
	t.Parallel()

	box := newInbox(t)
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(box.URL, testSecret)).URL)

	params := &stripe.RefundParams{PaymentIntent: new(paid(t, api, 2000, "pm_card_visa").ID)}
	params.AddMetadata("a", "1")
	params.AddMetadata("b", "2")

	refund, err := api.Refunds.New(params)
	require.NoError(t, err)

	change := &stripe.RefundParams{}
	change.AddMetadata("a", "")
	change.AddMetadata("c", "3")

	changed, err := api.Refunds.Update(refund.ID, change)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"b": "2", "c": "3"}, changed.Metadata)

	event := box.next(t, "charge.refund.updated")
	require.Equal(t, map[string]any{"metadata": map[string]any{"a": "1", "c": nil}}, event.Data.PreviousAttributes)
}

// Until 2024-10-28 a refund of a charge had no events of its own.
func TestRefund_EventsAreThoseOfTheVersion(t *testing.T) {
	t.Parallel()

	const after = "charge.refunded"

	old := []string{"charge.refund.updated", after}
	newer := []string{"charge.refund.updated", after, "refund.created", "refund.failed", "refund.updated"}

	for name, test := range map[string]struct {
		options sandbox.Options
		version string
		want    []string
	}{
		"as on 2023-10-16":              {want: old},
		"an endpoint of its day":        {version: "2024-10-27", want: old},
		"an endpoint of a newer day":    {version: "2024-10-28.acacia", want: newer},
		"an endpoint of the newest day": {version: "2026-03-25.dahlia", want: newer},
		"switched on":                   {options: sandbox.Options{RefundEvents: true}, want: newer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			test.options.SettleDelay = time.Hour
			rec := newRecorder(t, always(http.StatusOK))
			server := sandbox.Start(t, sandbox.WithOptions(test.options))
			c := caller{t, server.URL, testKey, ""}

			require.Equal(t, http.StatusOK, c.call("POST", "/v1/webhook_endpoints",
				versionParam("url="+rec.URL+"&enabled_events[]=*", test.version)).status)

			api := newClient(server.URL)
			intent := paid(t, api, 2000, "pm_card_refundFail")
			_, err := api.Refunds.New(&stripe.RefundParams{PaymentIntent: new(intent.ID)})
			require.NoError(t, err)
			server.Advance(2 * time.Hour)

			// The charge's own event is the last of a failed refund's.
			heard := func() []string {
				sent := rec.all()
				kinds := make([]string, 0, len(sent))

				for _, d := range sent {
					kinds = append(kinds, string(d.event(t).Type))
				}

				return kinds
			}
			require.Eventually(t, func() bool {
				return slices.Contains(heard(), "charge.updated") && len(heard()) == len(test.want)+4
			}, patience, glance, "%v", heard())

			about := slices.DeleteFunc(heard(), func(kind string) bool { return !strings.Contains(kind, "refund") })
			slices.Sort(about)
			require.Equal(t, test.want, about)

			// The Events API speaks the account's version.
			listed := c.call("GET", "/v1/events?types[]=refund.created&types[]=refund.failed", "").body["data"]
			if test.options.RefundEvents {
				require.Len(t, listed, 2)
			} else {
				require.Empty(t, listed)
			}
		})
	}
}

func versionParam(form, version string) string {
	if version == "" {
		return form
	}

	return form + "&api_version=" + version
}
