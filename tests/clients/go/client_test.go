package client_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	client "github.com/marketflow/marketflow/tests/clients/go"
)

func newClient(t *testing.T) *client.ClientWithResponses {
	t.Helper()

	url := os.Getenv("MARKETFLOW_URL")
	if url == "" {
		t.Fatal("MARKETFLOW_URL must be the URL of the service")
	}

	c, err := client.NewClientWithResponses(url)
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func TestPayments_AmountsComeBackAsTheyWereSent(t *testing.T) {
	for _, test := range []struct {
		amount   float64
		currency string
	}{
		{300000.01, "USD"}, // a float32 would round it to 300000.00
		{999999.99, "EUR"},
		{0.57, "USD"},
		{1000, "USD"},
		{300001, "JPY"},
		{99999.99, "KWD"},
		{12.34, "KWD"},
	} {
		key := uuid.NewString()
		request := client.CreatePayment{
			Amount: test.amount, Currency: test.currency, IdempotencyKey: &key,
			Metadata: &client.Metadata{"order_id": "order_1"},
		}

		c := newClient(t)

		created, err := c.CreatePaymentWithResponse(t.Context(), nil, request)
		if err != nil {
			t.Fatal(err)
		}

		if created.JSON201 == nil {
			t.Fatalf("%d: %s", created.StatusCode(), created.Body)
		}

		if got := created.JSON201; got.Amount != test.amount || got.Currency != test.currency || got.Status != client.Pending {
			t.Errorf("created %+v of %+v", got, test)
		}

		read, err := c.GetPaymentWithResponse(t.Context(), created.JSON201.Id, nil)
		if err != nil {
			t.Fatal(err)
		}

		if read.JSON200 == nil {
			t.Fatalf("%d: %s", read.StatusCode(), read.Body)
		}

		if got := read.JSON200; got.Amount != test.amount || got.Currency != test.currency || got.Status != client.Pending ||
			*got.IdempotencyKey != key || (*got.Metadata)["order_id"] != "order_1" || got.CreatedAt.IsZero() {
			t.Errorf("read %+v of %+v", got, test)
		}

		again, err := c.CreatePaymentWithResponse(t.Context(), nil, request)
		if err != nil {
			t.Fatal(err)
		}

		if string(again.Body) != string(created.Body) || again.HTTPResponse.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("repeated: %s", again.Body)
		}
	}
}

func TestPayments_ProblemsAreTyped(t *testing.T) {
	got, err := newClient(t).CreatePaymentWithResponse(t.Context(), nil, client.CreatePayment{Amount: 0.001, Currency: "USD"})
	if err != nil {
		t.Fatal(err)
	}

	problem := got.ApplicationproblemJSON400
	if problem == nil {
		t.Fatalf("%d: %s", got.StatusCode(), got.Body)
	}

	if problem.Status != http.StatusBadRequest || !strings.Contains(problem.Type, "docs/problems.md#") || problem.Detail == "" ||
		problem.RequestId != got.HTTPResponse.Header.Get("X-Request-Id") {
		t.Errorf("%+v", problem)
	}
}
