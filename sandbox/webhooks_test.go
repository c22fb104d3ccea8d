package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

// recorder is a receiver that keeps raw deliveries and answers what it is told.
type recorder struct {
	*httptest.Server

	mu         sync.Mutex
	deliveries []delivered
	answer     func(n int) int // the status of the n-th delivery, from 1
}

type delivered struct {
	body      []byte
	signature string
	header    http.Header
	at        time.Time
}

func newRecorder(t *testing.T, answer func(n int) int) *recorder {
	t.Helper()

	rec := &recorder{answer: answer}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}

		rec.mu.Lock()
		rec.deliveries = append(rec.deliveries, delivered{
			body: body, signature: r.Header.Get("Stripe-Signature"), header: r.Header, at: time.Now(),
		})
		n := len(rec.deliveries)
		rec.mu.Unlock()

		w.WriteHeader(rec.answer(n))
	}))
	t.Cleanup(rec.Close)

	return rec
}

func always(status int) func(int) int { return func(int) int { return status } }

func (r *recorder) all() []delivered {
	r.mu.Lock()
	defer r.mu.Unlock()

	return slices.Clone(r.deliveries)
}

// wait waits for n deliveries and returns them.
func (r *recorder) wait(t *testing.T, n int) []delivered {
	t.Helper()

	require.Eventually(t, func() bool { return len(r.all()) >= n }, patience, glance)

	return r.all()
}

func (d delivered) event(t *testing.T) *stripe.Event {
	t.Helper()

	event := &stripe.Event{}

	require.NoError(t, json.Unmarshal(d.body, event))

	return event
}

func quick(url string) sandbox.Options {
	return sandbox.Options{
		WebhookURL: url, WebhookSecret: testSecret, RetryBase: time.Millisecond, RetryMax: 4 * time.Millisecond,
	}
}

func TestWebhook_RetriedUntilAccepted(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, func(n int) int {
		switch n {
		case 1:
			return http.StatusInternalServerError
		case 2:
			return http.StatusFound // a redirect is a failure
		default:
			return http.StatusNoContent
		}
	})
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
	api := newClient(server.URL)

	_, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	sent := rec.wait(t, 3)
	require.Equal(t, sent[0].event(t).ID, sent[2].event(t).ID)

	require.Eventually(t, func() bool {
		for entry := range server.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDelivery}}) {
			return entry.Delivery.Delivered && entry.Delivery.Attempts == 3 && entry.Delivery.LastStatus == 204
		}

		return false
	}, patience, glance)

	undelivered := api.Events.List(&stripe.EventListParams{DeliverySuccess: new(false)})
	require.False(t, undelivered.Next())
}

func TestWebhook_UndeliveredShowsInTheEventsAPI(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusServiceUnavailable))
	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{WebhookURL: rec.URL, RetryBase: time.Hour}))
	api := newClient(server.URL)

	_, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)

	tried := func(attempts int, again bool) func() bool {
		return func() bool {
			for entry := range server.Books(sandbox.BooksFilter{Kinds: []string{sandbox.KindDelivery}}) {
				return entry.Delivery.Attempts == attempts && entry.Delivery.NextAttempt.IsZero() != again
			}

			return false
		}
	}

	require.Eventually(t, tried(1, true), patience, glance)

	list := api.Events.List(&stripe.EventListParams{DeliverySuccess: new(false)})
	require.True(t, list.Next())
	require.EqualValues(t, 1, list.Event().PendingWebhooks)

	// Moving the clock over the retry's time delivers at once.
	server.Advance(2 * time.Hour)
	require.Eventually(t, tried(2, true), patience, glance)

	// Three days later it is given up.
	server.Advance(80 * time.Hour)
	require.Eventually(t, tried(3, false), patience, glance)
}

func TestWebhook_BodyIsNotWhatAReencodingGives(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	api := newClient(sandbox.Start(t, sandbox.WithWebhook(rec.URL, testSecret)).URL)

	params := cardIntent(2000)
	params.AddMetadata("html", "<a href=\"x\">&\u2028\n\t\x01é</a>")

	intent, err := api.PaymentIntents.New(params)
	require.NoError(t, err)

	sent := rec.wait(t, 1)[0]
	require.Equal(t, "application/json; charset=utf-8", sent.header.Get("Content-Type"))

	event, err := webhook.ConstructEvent(sent.body, sent.signature, testSecret)
	require.NoError(t, err)
	require.Equal(t, params.Metadata["html"], event.GetObjectValue("metadata", "html"))
	require.Equal(t, intent.Metadata, params.Metadata)

	var anything any

	require.NoError(t, json.Unmarshal(sent.body, &anything))

	again, err := json.Marshal(anything)
	require.NoError(t, err)

	_, err = webhook.ConstructEvent(again, sent.signature, testSecret)
	require.Error(t, err)
}

func TestWebhook_SlowReceiverHoldsUpNobody(t *testing.T) {
	t.Parallel()

	release := make(chan struct{})

	var during atomic.Int64

	slow := newRecorder(t, func(int) int {
		during.Add(1)
		<-release

		return http.StatusOK
	})

	defer close(release)

	box := newInbox(t)
	options := quick(slow.URL)
	options.WebhookConcurrency = 2
	server := sandbox.Start(t, sandbox.WithOptions(options))
	server.AddWebhook(box.URL, testSecret)

	api := newClient(server.URL)

	for range 5 {
		_, err := api.PaymentIntents.New(cardIntent(2000))
		require.NoError(t, err)
		box.next(t, "payment_intent.created")
	}

	require.Eventually(t, func() bool { return during.Load() == 2 }, patience, glance)
}

func TestWebhookEndpoints_LiveALife(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t)
	api := newClient(server.URL)

	made, err := api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: new(rec.URL), EnabledEvents: stripe.StringSlice([]string{"payment_intent.canceled"}),
	})
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(made.Secret, "whsec_"))

	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)
	_, err = api.PaymentIntents.Cancel(intent.ID, nil)
	require.NoError(t, err)

	sent := rec.wait(t, 1)
	event, err := webhook.ConstructEvent(sent[0].body, sent[0].signature, made.Secret)
	require.NoError(t, err)
	require.EqualValues(t, "payment_intent.canceled", event.Type)

	found, err := api.WebhookEndpoints.Get(made.ID, nil)
	require.NoError(t, err)
	require.Empty(t, found.Secret)

	changed, err := api.WebhookEndpoints.Update(made.ID, &stripe.WebhookEndpointParams{
		EnabledEvents: stripe.StringSlice([]string{"*"}),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"*"}, changed.EnabledEvents)

	list := api.WebhookEndpoints.List(nil)
	require.True(t, list.Next())
	require.Equal(t, made.ID, list.WebhookEndpoint().ID)
	require.False(t, list.Next())

	// By hand, an event goes also to who subscribed after it happened.
	created := api.Events.List(&stripe.EventListParams{Type: new("payment_intent.created")})
	require.True(t, created.Next())
	require.NoError(t, server.Resend(created.Event().ID))
	require.Error(t, server.Resend("evt_none"))
	require.EqualValues(t, "payment_intent.created", rec.wait(t, 2)[1].event(t).Type)

	deleted, err := api.WebhookEndpoints.Del(made.ID, nil)
	require.NoError(t, err)
	require.True(t, deleted.Deleted)

	_, err = api.WebhookEndpoints.Get(made.ID, nil)
	requireCode(t, err, stripe.ErrorCodeResourceMissing)

	_, err = api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
		URL: new("nowhere"), EnabledEvents: stripe.StringSlice([]string{"*"}),
	})
	requireCode(t, err, stripe.ErrorCodeURLInvalid)
}

func TestWebhookFault_LoseDelayDuplicateTwin(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
	api := newClient(server.URL)

	lost := addFault(t, server, sandbox.Fault{Action: sandbox.WebhookLose, Event: "payment_intent.created", Nth: 1})
	late := addFault(t, server, sandbox.Fault{
		Action: sandbox.WebhookDelay, Event: "payment_intent.created", Nth: 2, Delay: time.Hour,
	})
	twice := addFault(t, server, sandbox.Fault{
		Action: sandbox.WebhookDuplicate, Event: "payment_intent.created", Nth: 3, Copies: 2, Delay: 72 * time.Hour,
	})
	twin := addFault(t, server, sandbox.Fault{Action: sandbox.WebhookTwin, Event: "payment_intent.*", Nth: 4})

	ids := makeIntents(t, api, 4)
	seen := func() map[string]int {
		counts := map[string]int{}

		for _, d := range rec.all() {
			counts[d.event(t).GetObjectValue("id")]++
		}

		return counts
	}

	require.Eventually(t, func() bool { return seen()[ids[2]] == 1 && seen()[ids[3]] == 2 }, patience, glance)
	require.Zero(t, seen()[ids[0]])
	require.Zero(t, seen()[ids[1]])

	server.Advance(2 * time.Hour)
	require.Eventually(t, func() bool { return seen()[ids[1]] == 1 }, patience, glance)

	server.Advance(150 * time.Hour)
	require.Eventually(t, func() bool { return seen()[ids[2]] == 3 }, patience, glance)
	require.Zero(t, seen()[ids[0]])

	for _, id := range []string{lost, late, twice, twin} {
		requireFired(t, server, id, 1)
	}

	twins := map[string]bool{}

	for _, d := range rec.all() {
		if event := d.event(t); event.GetObjectValue("id") == ids[3] {
			twins[event.ID] = true
		}
	}

	require.Len(t, twins, 2)

	// What was lost is still in the Events API, undelivered.
	list := api.Events.List(&stripe.EventListParams{DeliverySuccess: new(false)})
	require.True(t, list.Next())
	require.Equal(t, ids[0], list.Event().GetObjectValue("id"))
	require.False(t, list.Next())
}

func TestWebhookFault_Reorder(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
	api := newClient(server.URL)
	addFault(t, server, sandbox.Fault{
		Action: sandbox.WebhookReorder, Event: "payment_intent.*", Count: 3, Window: 2, Delay: time.Hour,
	})

	intent, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)
	_, err = api.PaymentIntents.Cancel(intent.ID, nil)
	require.NoError(t, err)

	sent := rec.wait(t, 2)
	require.EqualValues(t, "payment_intent.canceled", sent[0].event(t).Type)
	require.EqualValues(t, "payment_intent.created", sent[1].event(t).Type)

	// The third waits for a fourth in vain, and goes out when time is up.
	makeIntents(t, api, 1)
	server.Advance(2 * time.Hour)
	rec.wait(t, 3)
}

func TestWebhookFault_MatchesMetadata(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
	api := newClient(server.URL)
	id := addFault(t, server, sandbox.Fault{
		Action: sandbox.WebhookLose, Metadata: map[string]string{"payment_id": "p1"}, Count: -1,
	})

	mustPost(t, server.URL+"/v1/payment_intents", "", intentForm())

	other, err := api.PaymentIntents.New(cardIntent(2000))
	require.NoError(t, err)
	require.Equal(t, other.ID, rec.wait(t, 1)[0].event(t).GetObjectValue("id"))
	requireFired(t, server, id, 1)
}

func TestWebhookFault_Signatures(t *testing.T) {
	t.Parallel()

	for variant, accepted := range map[string]bool{
		sandbox.SignatureMissing: false, sandbox.SignatureTampered: false, sandbox.SignatureWrongSecret: false,
		sandbox.SignatureOld: false, sandbox.SignatureWrongScheme: false, sandbox.SignatureTwoV1: true,
		sandbox.SignatureThin: false, sandbox.SignatureAPIVersion: false,
		sandbox.SignatureFuture: true, // stripe-go does not look ahead; others must
	} {
		t.Run(variant, func(t *testing.T) {
			t.Parallel()

			rec := newRecorder(t, func(n int) int {
				if n == 1 {
					return http.StatusUnauthorized
				}

				return http.StatusOK
			})
			server := sandbox.Start(t, sandbox.WithOptions(quick(rec.URL)))
			id := addFault(t, server, sandbox.Fault{Action: sandbox.WebhookSignature, Variant: variant})

			makeIntents(t, newClient(server.URL), 1)

			sent := rec.wait(t, 2)
			_, err := webhook.ConstructEvent(sent[0].body, sent[0].signature, testSecret)
			require.Equal(t, accepted, err == nil, "%v", err)

			// Stripe's retry is sound again.
			_, err = webhook.ConstructEvent(sent[1].body, sent[1].signature, testSecret)
			require.NoError(t, err)
			requireFired(t, server, id, 1)
		})
	}
}

func TestSign_MatchesTheOfficialClient(t *testing.T) {
	t.Parallel()

	now, body := time.Now(), []byte(`{"id":"evt_1"}`)
	require.NoError(t, webhook.ValidatePayload(body, sandbox.Sign(body, testSecret, now), testSecret))
	require.NoError(t, webhook.ValidatePayload(body, sandbox.Sign(body, "whsec_old", now, testSecret), testSecret))
	require.Error(t, webhook.ValidatePayload(body, sandbox.Sign(body, "whsec_old", now), testSecret))
}

// An event waits for others as long as its rule says, whatever came before it.
func TestWebhookFault_ReorderWaitsForEachBatch(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithWebhook(rec.URL, testSecret))
	api := newClient(server.URL)

	addFault(t, server, sandbox.Fault{Action: sandbox.WebhookReorder, Window: 2, Delay: time.Hour, Count: -1})
	makeIntents(t, api, 2)
	rec.wait(t, 2)

	server.Advance(59 * time.Minute)
	makeIntents(t, api, 1)
	server.Advance(2 * time.Minute)
	makeIntents(t, api, 1)

	sent := rec.wait(t, 4)
	require.Greater(t, sent[2].event(t).Created, sent[3].event(t).Created)
}

// What would never be delivered is refused, not waited for.
func TestWebhookEndpoints_RefuseMisspeltEvents(t *testing.T) {
	t.Parallel()

	api := newClient(sandbox.Start(t).URL)
	subscribe := func(kind string) error {
		_, err := api.WebhookEndpoints.New(&stripe.WebhookEndpointParams{
			URL: new("http://127.0.0.1:1"), EnabledEvents: stripe.StringSlice([]string{"charge.dispute.closed", kind}),
		})

		return err
	}

	for _, kind := range []string{"payment_intent.cancelled", "payment_intent.*", "customer.*", "refund.succeeded"} {
		require.ErrorContains(t, subscribe(kind), "Invalid enabled_events[1]: must be one of *, charge.captured", kind)
	}

	require.NoError(t, subscribe("invoice.created")) // known to Stripe, never sent here
}
