package tests

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/sandbox"
)

// rejections makes Stripe reject every create because of the deployment until the
// returned function is called.
func (w *world) rejections(f sandbox.Fault) (repair func()) {
	w.t.Helper()

	f.Action, f.Method, f.Path, f.Count = sandbox.Error, http.MethodPost, "/v1/payment_intents", -1
	added, err := w.stripe.AddFault(f)
	require.NoError(w.t, err)

	return func() { require.NoError(w.t, w.stripe.RemoveFault(added.ID)) }
}

func accountIncomplete() sandbox.Fault {
	return sandbox.Fault{
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "testmode_charges_only",
		Message: "Your account cannot currently make live charges.",
	}
}

// What is wrong with the account, the URL or the settings is repaired, and then the
// same key and body succeed, under the same key at Stripe.
func TestRejected_TheSameKeySucceedsOnceItIsRepaired(t *testing.T) {
	t.Parallel()

	for name, fault := range map[string]sandbox.Fault{
		"AccountIncomplete": accountIncomplete(),
		"MethodsOff": {
			Status: http.StatusBadRequest, Type: "invalid_request_error",
			Message: "No valid payment method types for this Payment Intent.",
		},
		"WrongURL": {Status: http.StatusNotFound, Type: "invalid_request_error", Message: "Unrecognized request URL"},
		"Unknown":  {Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "of_the_future", Message: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t)
			repair := w.rejections(fault)

			for range 3 {
				rejected := w.create(order)
				rejected.problem(http.StatusBadGateway, "rejected-by-provider")
				require.Contains(t, rejected.text("detail"), fault.Message)
				require.Contains(t, rejected.text("detail"), "same idempotency key")
				require.Empty(t, rejected.header.Get("Idempotent-Replayed"))
			}

			w.create(strings.Replace(order, "1000.00", "1000.01", 1)).
				problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
			require.Equal(t, 1, w.count("SELECT count(*) FROM payment_requests WHERE state = 'rejected' AND last_error <> ''"))
			require.Contains(t, string(w.get("/metrics").body),
				`marketflow_operations_finished_total{by="request",outcome="deployment_rejected"} 3`)

			repair()

			created := w.create(order)
			require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
			require.Equal(t, string(created.body), string(w.create(order).body))
			require.Equal(t, 1, w.intents())
			require.Equal(t, 1, w.count("SELECT count(*) FROM payment_requests"))
		})
	}
}

// Recovery sends nothing that was rejected: the client may have ordered again.
func TestRejected_RecoveryLeavesItAlone(t *testing.T) {
	t.Parallel()

	w := newWorld(t, func(c *config.Config) { c.RecoveryInterval = 50 * time.Millisecond })
	repair := w.rejections(accountIncomplete())

	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	keyless := w.create(`{"amount":10,"currency":"USD"}`)
	keyless.problem(http.StatusBadGateway, "rejected-by-provider")
	require.NotContains(t, keyless.text("detail"), "idempotency key")
	repair()

	// An operation that recovery does finish shows that it ran.
	lost, err := w.stripe.AddFault(sandbox.Fault{Action: sandbox.DropBefore, Method: http.MethodPost, Count: 3})
	require.NoError(t, err)
	w.create(`{"amount":5,"currency":"USD","idempotency_key":"lost"}`).problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.NoError(t, w.stripe.RemoveFault(lost.ID))
	w.eventually(func() bool { return w.count("SELECT count(*) FROM payments") == 1 }, "recovery finishes what is pending")

	require.Equal(t, 2, w.count("SELECT count(*) FROM payment_requests WHERE state = 'rejected'"))
	require.Equal(t, 1, w.intents())
}

// Of two who ask again at once one sends.
func TestRejected_ReopenedAtOnce(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	repair := w.rejections(accountIncomplete())
	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	repair()

	var (
		all     sync.WaitGroup
		answers [16]answer
	)

	for i := range answers {
		all.Go(func() { answers[i] = w.create(order) })
	}

	all.Wait()

	var created []byte

	for _, a := range answers {
		switch a.status {
		case http.StatusCreated:
			require.True(t, created == nil || bytes.Equal(created, a.body))
			created = a.body
		case http.StatusConflict:
		default:
			t.Errorf("%d %s", a.status, a.body)
		}
	}

	require.NotNil(t, created)
	require.Equal(t, 1, w.intents())
}

// Where Stripe keeps its answer under the key, the key is no good any more, and a
// new one is safe.
func TestRejected_KeptByStripe(t *testing.T) {
	t.Parallel()

	kept := false
	w := newWorld(t, stripeThrough(t, func(answer *http.Response) {
		if kept && answer.StatusCode == http.StatusBadRequest {
			answer.Header.Set("Idempotent-Replayed", "true")
		}
	}))
	w.rejections(accountIncomplete())

	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")

	kept = true
	again := w.create(order)
	again.problem(http.StatusBadGateway, "rejected-by-provider")
	require.Contains(t, again.text("detail"), "until about "+time.Now().UTC().Add(24*time.Hour).Format("2006-01-02T15:"))
	require.Contains(t, again.text("detail"), "use a new key")
}

// A key that Stripe may have forgotten is not sent; nothing was made under it.
func TestRejected_TooOldToBeSent(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	repair := w.rejections(accountIncomplete())
	w.create(order).problem(http.StatusBadGateway, "rejected-by-provider")
	repair()

	_, err := w.db.Pool().Exec(t.Context(), "UPDATE payment_requests SET created_at = created_at - interval '24 hours'")
	require.NoError(t, err)

	old := w.create(order)
	old.problem(http.StatusBadGateway, "rejected-by-provider")
	require.Contains(t, old.text("detail"), "use a new key")
	require.Zero(t, w.intents())
	w.create(strings.Replace(order, "1000.00", "5", 1)).problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

// The order's own amount is refused for ever, and the client can change it.
func TestRefused_AnAmountIsUnprocessable(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	const small = `{"amount":0.10,"currency":"USD","idempotency_key":"small"}`

	refused := w.create(small)
	refused.problem(http.StatusUnprocessableEntity, "rejected-by-provider")

	other := *w // a second process
	other.start(w.config)

	for _, again := range []answer{w.create(small), other.create(small)} {
		require.Equal(t, refused.status, again.status)
		require.Equal(t, string(refused.body), string(again.body))
		require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	}

	w.create(strings.Replace(small, "0.10", "10", 1)).problem(http.StatusUnprocessableEntity, "idempotency-key-reused")
}

// What never left is no attempt: once Stripe is back its word on the order counts.
func TestNotSent_TheNextAnswerIsBelieved(t *testing.T) {
	t.Parallel()

	var stripe door

	w := newWorld(t, func(c *config.Config) {
		c.RecoveryInterval = 50 * time.Millisecond

		target, err := url.Parse(c.StripeAPIBase)
		require.NoError(t, err)

		stripe.handler = httputil.NewSingleHostReverseProxy(target)
		c.StripeAPIBase = "http://" + stripe.open(t)
	})

	stripe.close()

	keyless := w.create(`{"amount":0.10,"currency":"USD"}`)
	keyless.problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.Contains(t, keyless.text("detail"), "nothing has been sent yet")
	require.Contains(t, keyless.text("detail"), "may create a second payment")

	const small = `{"amount":0.10,"currency":"USD","idempotency_key":"small"}`

	first := w.create(small)
	first.problem(http.StatusServiceUnavailable, "outcome-unknown")
	require.Contains(t, first.text("detail"), "same idempotency key")
	require.NotEmpty(t, first.header.Get("Retry-After"))

	stripe.open(t)
	w.eventually(func() bool { return w.create(small).status == http.StatusUnprocessableEntity }, "the refusal is believed")
	w.eventually(func() bool {
		return w.count("SELECT count(*) FROM payment_requests WHERE state = 'refused'") == 2
	}, "recovery asks for the other")
	require.Zero(t, w.intents())
}

func TestWebhooks_TrailingSlashAndThinEvents(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	event := minimalEvent("succeeded", w.create(order).text("stripe_payment_intent_id"), "succeeded")

	signed := w.request(http.MethodPost, "/webhooks/stripe/", event,
		"Content-Type", "application/json", "Stripe-Signature", sandbox.Sign([]byte(event), webhookSecret, time.Now()))
	require.Equal(t, http.StatusOK, w.do(signed).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'applied'"))
	require.Equal(t, http.StatusMethodNotAllowed, w.get("/webhooks/stripe/").status)
	require.Contains(t, string(w.get("/metrics").body), `{method="POST",route="/webhooks/stripe",status="200"}`)

	thin := w.webhook(`{"id":"evt_1","object":"v2.core.event","type":"v1.billing.meter.no_meter_found",` +
		`"created":"2024-09-17T06:20:52.246Z","related_object":null}`)
	thin.problem(http.StatusBadRequest, "invalid-request")
	require.Contains(t, thin.text("detail"), "thin event")
}

func TestRupiahHaveTwelveDigits(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	created := w.create(`{"amount":25000000.50,"currency":"IDR","idempotency_key":"dear"}`)
	require.Equal(t, http.StatusCreated, created.status, "%s", created.body)
	require.Equal(t, "25000000.50", fmt.Sprint(created.field("amount")))
}

// stripeThrough puts a proxy between the service and the sandbox that changes answers.
func stripeThrough(t *testing.T, change func(*http.Response)) func(*config.Config) {
	t.Helper()

	return func(c *config.Config) {
		target, err := url.Parse(c.StripeAPIBase)
		require.NoError(t, err)

		proxy := httputil.NewSingleHostReverseProxy(target)
		proxy.ModifyResponse = func(answer *http.Response) error {
			change(answer)

			return nil
		}

		server := httptest.NewServer(proxy)
		t.Cleanup(server.Close)

		c.StripeAPIBase = server.URL
	}
}

// door is an address that can be closed: connections to it are refused then.
type door struct {
	handler http.Handler
	address string
	server  *http.Server
}

func (d *door) open(t *testing.T) (address string) {
	t.Helper()

	if d.address == "" {
		d.address = "127.0.0.1:0"
	}

	var listener net.Listener

	require.Eventually(t, func() bool {
		var err error

		listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", d.address)

		return err == nil
	}, 20*time.Second, 10*time.Millisecond)

	server := &http.Server{Handler: d.handler, ReadHeaderTimeout: time.Minute}
	d.address, d.server = listener.Addr().String(), server

	go func() { _ = server.Serve(listener) }()

	t.Cleanup(d.close)

	return d.address
}

func (d *door) close() { _ = d.server.Close() }
