package sandbox_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

// Each trigger leads to its event, as it is delivered.
func TestTrigger_CausesItsEvent(t *testing.T) {
	t.Parallel()

	for _, event := range sandbox.TriggerEvents() {
		t.Run(event, func(t *testing.T) {
			t.Parallel()

			box := newInbox(t)
			server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{
				WebhookURL: box.URL, WebhookSecret: testSecret, RefundEvents: true, SettleDelay: time.Millisecond,
			}))

			intent, err := sandbox.Client{URL: server.URL, Key: testKey}.Trigger(t.Context(), event)
			require.NoError(t, err)
			require.Regexp(t, "^(pi|seti|cus)_", intent)
			box.next(t, event)
		})
	}
}

func TestTrigger_SaysWhatWentWrong(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)

	_, err := sandbox.Client{URL: server.URL, Key: testKey}.Trigger(t.Context(), "invoice.paid")
	require.ErrorContains(t, err, "payment_intent.succeeded")

	_, err = sandbox.Client{URL: server.URL, Key: "sk_live_x"}.Trigger(t.Context(), "payment_intent.succeeded")
	require.ErrorContains(t, err, "401")
}

func TestForward_ForwardsAndCleansUp(t *testing.T) {
	t.Parallel()

	for name, secret := range map[string]string{"the endpoint's secret": "", "a secret of one's own": "whsec_mine"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			type got struct {
				body      []byte
				signature string
			}

			arrived := make(chan got, 10)
			shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body) // a broken body fails its signature
				arrived <- got{body, r.Header.Get("Stripe-Signature")}

				w.WriteHeader(http.StatusAccepted)
			}))
			t.Cleanup(shop.Close)

			server := sandbox.Start(t)
			client := sandbox.Client{URL: server.URL, Key: testKey}
			ready, heard, ended := make(chan string, 1), make(chan sandbox.Heard, 10), make(chan error, 1)
			ctx, stop := context.WithCancel(t.Context())

			defer stop()

			go func() {
				ended <- client.Forward(ctx, sandbox.Forwarding{
					To: shop.URL, Secret: secret, Events: []string{"payment_intent.created"}, APIVersion: "2025-03-31.basil",
					Ready: func(secret string) { ready <- secret }, Heard: func(h sandbox.Heard) { heard <- h },
				})
			}()

			signedWith := <-ready
			_, err := client.Trigger(t.Context(), "payment_intent.created")
			require.NoError(t, err)

			event := <-arrived
			require.NoError(t, webhook.ValidatePayload(event.body, event.signature, signedWith))
			require.Contains(t, string(event.body), `"api_version": "2025-03-31.basil"`)

			told := <-heard
			require.Equal(t, "payment_intent.created", told.Type)
			require.Equal(t, http.StatusAccepted, told.Status)
			require.Len(t, caller{t, server.URL, testKey, ""}.call("GET", "/v1/webhook_endpoints", "").body["data"], 1)

			stop()
			require.NoError(t, <-ended)
			require.Empty(t, caller{t, server.URL, testKey, ""}.call("GET", "/v1/webhook_endpoints", "").body["data"])
		})
	}
}

func TestForward_WhatIsNotAcceptedComesAgain(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t, sandbox.WithOptions(sandbox.Options{RetryBase: time.Millisecond}))
	client := sandbox.Client{URL: server.URL, Key: testKey}
	rec := newRecorder(t, func(n int) int {
		if n == 1 {
			return http.StatusInternalServerError
		}

		return http.StatusOK
	})
	ready, ended := make(chan string, 1), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())

	defer stop()

	go func() {
		ended <- client.Forward(ctx, sandbox.Forwarding{
			To: rec.URL, Ready: func(secret string) { ready <- secret }, Heard: func(sandbox.Heard) {},
		})
	}()

	<-ready

	_, err := client.Trigger(t.Context(), "payment_intent.created")
	require.NoError(t, err)

	sent := rec.wait(t, 2)
	require.Equal(t, sent[0].event(t).ID, sent[1].event(t).ID)

	stop()
	require.NoError(t, <-ended)

	require.Error(t, client.Forward(t.Context(), sandbox.Forwarding{To: "shop"}))
}

func TestFrontPage_ShowsWhatIsThere(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithWebhook(rec.URL, testSecret))
	c := caller{t, server.URL, testKey, ""}

	page := func() string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/", nil)
		require.NoError(t, err)

		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode)
		require.Contains(t, response.Header.Get("Content-Security-Policy"), "default-src 'none'")

		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())

		return string(text)
	}

	require.Contains(t, page(), "No payments yet")

	intent := c.call("POST", "/v1/payment_intents", createForm+"&metadata[order]=<script>alert(1)</script>")

	addFault(t, server, sandbox.Fault{Action: sandbox.Hold, Path: "/v1/refunds"})
	rec.wait(t, 3)

	shown := page()
	for _, there := range []string{
		intent.text("id"), "20.00 USD", "succeeded", sandbox.DefaultAccount, rec.URL, "charge.succeeded", "fault_1",
		"&lt;script&gt;alert(1)",
	} {
		require.Contains(t, shown, there)
	}

	require.NotContains(t, shown, "<script>")
	require.NotContains(t, shown, intent.text("client_secret"))
	require.NotContains(t, shown, testSecret)
}
