package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v76"
	"github.com/stripe/stripe-go/v76/client"
	"github.com/stripe/stripe-go/v76/webhook"

	"github.com/marketflow/marketflow/sandbox"
)

func Example() {
	events := make(chan string, 10)
	shop := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), "whsec_test"); err == nil {
			events <- string(event.Type)
		}
	}))

	server, err := sandbox.Listen(context.Background(), "127.0.0.1:0",
		sandbox.Options{WebhookURL: shop.URL, WebhookSecret: "whsec_test"})
	if err != nil {
		log.Fatal(err)
	}

	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{URL: &server.URL})
	api := client.New("sk_test_123", &stripe.Backends{API: backend})

	intent, err := api.PaymentIntents.New(&stripe.PaymentIntentParams{
		Amount: new(int64(2000)), Currency: new("usd"), Confirm: new(true),
		PaymentMethod: new("pm_card_visa"), PaymentMethodTypes: stripe.StringSlice([]string{"card"}),
	})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println(intent.Status, intent.AmountReceived)

	for event := range events {
		if event == "payment_intent.succeeded" {
			fmt.Println("webhook:", event)

			return
		}
	}
	// Output:
	// succeeded 2000
	// webhook: payment_intent.succeeded
}

// The README's program is the example above, so that it cannot grow stale.
func TestREADME_ProgramIsTheExample(t *testing.T) {
	t.Parallel()

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)

	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)

	_, body, found := strings.Cut(string(source), "func Example() {\n")
	require.True(t, found)

	body, _, found = strings.Cut(body, "\t// Output:")
	require.True(t, found)

	var program strings.Builder
	for line := range strings.Lines(body) {
		program.WriteString(strings.TrimPrefix(line, "\t"))
	}

	_, shown, found := strings.Cut(string(readme), "## In a Go program\n\n```go\n")
	require.True(t, found)

	shown, _, _ = strings.Cut(shown, "```")
	require.Equal(t, program.String(), shown)
}
