package sandbox_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

const (
	testKey    = "sk_test_51Sandbox"
	testSecret = "whsec_sandbox"
	patience   = 10 * time.Second
	glance     = 5 * time.Millisecond
)

// newClient is the official client, pointed at a sandbox and without retries
// of its own.
func newClient(url string) *client.API {
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		URL:               new(url),
		MaxNetworkRetries: stripe.Int64(0),
		EnableTelemetry:   new(false),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
	})

	return client.New(testKey, &stripe.Backends{API: backend, Connect: backend, Uploads: backend})
}

// inbox is a webhook receiver that verifies and keeps what it gets.
type inbox struct {
	*httptest.Server

	received chan stripe.Event
}

func newInbox(t *testing.T) *inbox {
	t.Helper()

	box := &inbox{received: make(chan stripe.Event, 1000)}
	box.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)

			return
		}

		event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), testSecret)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)

			return
		}

		box.received <- event
	}))
	t.Cleanup(box.Close)

	return box
}

// inOrder delivers to the inbox one event after the other.
func inOrder(box *inbox) func(*sandbox.Options) {
	return sandbox.WithOptions(sandbox.Options{WebhookURL: box.URL, WebhookSecret: testSecret, WebhookConcurrency: 1})
}

// next waits for an event of one type and drops others.
func (b *inbox) next(t *testing.T, kind string) stripe.Event {
	t.Helper()

	deadline := time.After(patience)

	for {
		select {
		case event := <-b.received:
			if string(event.Type) == kind {
				return event
			}
		case <-deadline:
			require.FailNow(t, "no event", "waited for %s", kind)
		}
	}
}

// cardIntent asks for an intent that takes cards alone, which needs no
// return_url.
func cardIntent(amount int64) *stripe.PaymentIntentParams {
	return &stripe.PaymentIntentParams{
		Amount:             new(amount),
		Currency:           new("usd"),
		PaymentMethodTypes: []*string{new("card")},
	}
}
