package client_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	client "github.com/marketflow/marketflow/tests/clients/go"
)

func newClient(t *testing.T) *client.ClientWithResponses {
	t.Helper()

	c, err := client.NewClientWithResponses(address(t, "MARKETFLOW_URL", "the service"))
	if err != nil {
		t.Fatal(err)
	}

	return c
}

func address(t *testing.T, variable, of string) string {
	t.Helper()

	address := os.Getenv(variable)
	if address == "" {
		t.Fatalf("%s must be the URL of %s", variable, of)
	}

	return address
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

		if got := created.JSON201; got.Amount != test.amount || got.Currency != test.currency || got.Status != client.StatusPending {
			t.Errorf("created %+v of %+v", got, test)
		}

		read, err := c.GetPaymentWithResponse(t.Context(), created.JSON201.Id, nil)
		if err != nil {
			t.Fatal(err)
		}

		if read.JSON200 == nil {
			t.Fatalf("%d: %s", read.StatusCode(), read.Body)
		}

		if got := read.JSON200; got.Amount != test.amount || got.Currency != test.currency || got.Status != client.StatusPending ||
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

// held creates a payment, pays it as its customer, and waits until the money is held.
func held(t *testing.T, c *client.ClientWithResponses, amount float64) client.Payment {
	t.Helper()

	manual := client.Manual

	created, err := c.CreatePaymentWithResponse(t.Context(), nil, client.CreatePayment{
		Amount: amount, Currency: "USD", CaptureMethod: &manual,
	})
	if err != nil {
		t.Fatal(err)
	}

	if created.JSON201 == nil {
		t.Fatalf("%d: %s", created.StatusCode(), created.Body)
	}

	pay(t, created.JSON201.StripePaymentIntentId)

	return waitFor(t, c, created.JSON201.Id, func(p client.Payment) bool {
		return p.IntentStatus != nil && *p.IntentStatus == "requires_capture" && p.CaptureBefore != nil
	})
}

// pay confirms an intent at the sandbox.
func pay(t *testing.T, intent string) {
	t.Helper()

	form := url.Values{"payment_method": {"pm_card_visa"}, "return_url": {"https://example.com/done"}}

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		address(t, "SANDBOX_URL", "the sandbox")+"/v1/payment_intents/"+intent+"/confirm", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}

	req.SetBasicAuth("sk_test_marketflow", "")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()

	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d: %s %v", resp.StatusCode, body, err)
	}
}

func waitFor(t *testing.T, c *client.ClientWithResponses, id uuid.UUID, is func(client.Payment) bool) client.Payment {
	t.Helper()

	const patience = 20 * time.Second

	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		p := read(t, c, id)

		switch {
		case is(p):
			return p
		case time.Now().After(deadline):
			t.Fatalf("after %s it is %+v", patience, p)
		}
	}
}

func read(t *testing.T, c *client.ClientWithResponses, id uuid.UUID) client.Payment {
	t.Helper()

	got, err := c.GetPaymentWithResponse(t.Context(), id, nil)
	if err != nil {
		t.Fatal(err)
	}

	if got.JSON200 == nil {
		t.Fatalf("%d: %s", got.StatusCode(), got.Body)
	}

	return *got.JSON200
}

func TestPayments_APartIsCaptured(t *testing.T) {
	const amount, part = 300000.01, 123456.78

	c := newClient(t)

	p := held(t, c, amount)
	if p.Amount != amount || p.AmountCapturable != amount || p.AmountCaptured != 0 || p.CaptureMethod != client.Manual ||
		p.Status != client.StatusPending || !p.CaptureBefore.After(p.CreatedAt) {
		t.Errorf("held: %+v", p)
	}

	tooMuch := amount + 1

	exceeded, err := c.CapturePaymentWithResponse(t.Context(), p.Id, nil, client.CapturePayment{Amount: &tooMuch})
	if err != nil {
		t.Fatal(err)
	}

	if problem := exceeded.ApplicationproblemJSON422; problem == nil || problem.Available == nil || *problem.Available != amount ||
		problem.PaymentId == nil || *problem.PaymentId != p.Id || !strings.HasSuffix(problem.Type, "#amount-exceeded") {
		t.Errorf("too much: %d: %s", exceeded.StatusCode(), exceeded.Body)
	}

	key, ask := uuid.NewString(), part
	header := client.CapturePaymentParams{IdempotencyKey: &key}

	captured, err := c.CapturePaymentWithResponse(t.Context(), p.Id, &header, client.CapturePayment{Amount: &ask})
	if err != nil {
		t.Fatal(err)
	}

	if captured.JSON200 == nil {
		t.Fatalf("%d: %s", captured.StatusCode(), captured.Body)
	}

	if got := captured.JSON200; got.Id != p.Id || got.Status != client.StatusSucceeded || got.Amount != amount ||
		got.AmountCaptured != part || got.AmountCapturable != 0 || got.CaptureBefore != nil ||
		got.IntentStatus == nil || *got.IntentStatus != "succeeded" || got.Version <= p.Version {
		t.Errorf("captured: %+v", got)
	}

	if got := read(t, c, p.Id); got.Status != client.StatusSucceeded || got.AmountCaptured != part {
		t.Errorf("read: %+v", got)
	}

	again, err := c.CapturePaymentWithResponse(t.Context(), p.Id, &header, client.CapturePayment{Amount: &ask})
	if err != nil {
		t.Fatal(err)
	}

	if string(again.Body) != string(captured.Body) || again.HTTPResponse.Header.Get("Idempotent-Replayed") != "true" {
		t.Errorf("repeated: %s", again.Body)
	}

	late, err := c.CancelPaymentWithResponse(t.Context(), p.Id, nil, client.CancelPayment{})
	if err != nil {
		t.Fatal(err)
	}

	if problem := late.ApplicationproblemJSON409; problem == nil || problem.Allowed == nil ||
		!slices.Equal(*problem.Allowed, []client.ProblemAllowed{client.ProblemAllowedRefund}) ||
		problem.IntentStatus == nil || *problem.IntentStatus != "succeeded" || problem.PaymentId == nil || *problem.PaymentId != p.Id {
		t.Errorf("cancelled too late: %d: %s", late.StatusCode(), late.Body)
	}
}

func TestPayments_AHoldIsCancelled(t *testing.T) {
	c := newClient(t)
	p := held(t, c, 12.34)
	reason := client.CancelPaymentReasonRequestedByCustomer

	cancelled, err := c.CancelPaymentWithResponse(t.Context(), p.Id, nil, client.CancelPayment{Reason: &reason})
	if err != nil {
		t.Fatal(err)
	}

	if cancelled.JSON200 == nil {
		t.Fatalf("%d: %s", cancelled.StatusCode(), cancelled.Body)
	}

	if got := cancelled.JSON200; got.Status != client.StatusCancelled || got.AmountCapturable != 0 || got.AmountCaptured != 0 ||
		got.IntentStatus == nil || *got.IntentStatus != "canceled" {
		t.Errorf("cancelled: %+v", got)
	}

	again, err := c.CancelPaymentWithResponse(t.Context(), p.Id, nil, client.CancelPayment{})
	if err != nil {
		t.Fatal(err)
	}

	if again.JSON200 == nil || again.JSON200.Status != client.StatusCancelled {
		t.Errorf("cancelled again: %d: %s", again.StatusCode(), again.Body)
	}
}

func TestPayments_WhatIsNotPaidCannotBeCaptured(t *testing.T) {
	c := newClient(t)
	manual := client.Manual

	created, err := c.CreatePaymentWithResponse(t.Context(), nil, client.CreatePayment{Amount: 10, Currency: "USD", CaptureMethod: &manual})
	if err != nil {
		t.Fatal(err)
	}

	if created.JSON201 == nil {
		t.Fatalf("%d: %s", created.StatusCode(), created.Body)
	}

	early, err := c.CapturePaymentWithResponse(t.Context(), created.JSON201.Id, nil, client.CapturePayment{})
	if err != nil {
		t.Fatal(err)
	}

	if problem := early.ApplicationproblemJSON409; problem == nil || !strings.HasSuffix(problem.Type, "#invalid-state") ||
		problem.Allowed == nil ||
		!slices.Equal(*problem.Allowed, []client.ProblemAllowed{client.ProblemAllowedConfirm, client.ProblemAllowedCancel}) {
		t.Errorf("captured too early: %d: %s", early.StatusCode(), early.Body)
	}
}

func TestPayments_AreFoundAgain(t *testing.T) {
	c, key := newClient(t), uuid.NewString()

	created, err := c.CreatePaymentWithResponse(t.Context(), nil, client.CreatePayment{
		Amount: 12.34, Currency: "USD", IdempotencyKey: &key,
	})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("%v: %+v", err, created)
	}

	at, amount, currency, limit := created.JSON201.CreatedAt, "12.34", "USD", 1
	params := &client.ListPaymentsParams{
		CreatedGte: &at, CreatedLte: &at, AmountGte: &amount, AmountLte: &amount, Currency: &currency, Q: &key, Limit: &limit,
	}

	found, err := c.ListPaymentsWithResponse(t.Context(), params)
	if err != nil || found.JSON200 == nil {
		t.Fatalf("%v: %+v", err, found)
	}

	if page := found.JSON200; len(page.Data) != 1 || page.Data[0].Id != created.JSON201.Id || page.HasMore || page.NextCursor != nil {
		t.Errorf("found %+v", page)
	}

	told, err := c.GetTimelineWithResponse(t.Context(), created.JSON201.Id, nil)
	if err != nil || told.JSON200 == nil {
		t.Fatalf("%v: %+v", err, told)
	}

	if len(told.JSON200.Data) < 3 || told.JSON200.Truncated {
		t.Errorf("told %+v", told.JSON200)
	}
}

func TestPayments_AWholeStory(t *testing.T) {
	const amount, part = 300000.01, 123456.78

	c := newClient(t)

	reference, email := uuid.NewString(), "jenny@example.com"

	customer, err := c.CreateCustomerWithResponse(t.Context(), nil, client.CreateCustomer{Reference: &reference, Email: &email})
	if err != nil || customer.JSON201 == nil {
		t.Fatalf("%v: %+v", err, customer)
	}

	manual, description := client.Manual, "A bicycle"

	created, err := c.CreatePaymentWithResponse(t.Context(), nil, client.CreatePayment{
		Amount: amount, Currency: "USD", CaptureMethod: &manual, CustomerId: &customer.JSON201.Id, Description: &description,
		Metadata: &client.Metadata{"order_id": "order_1", "draft": "yes"},
	})
	if err != nil || created.JSON201 == nil {
		t.Fatalf("%v: %+v", err, created)
	}

	id := created.JSON201.Id

	declined := confirm(t, c, id, "pm_card_chargeDeclined")
	if p := declined.ApplicationproblemJSON402; p == nil || p.DeclineCode == nil || *p.DeclineCode != "generic_decline" ||
		p.Retryable == nil || !*p.Retryable || p.PaymentId == nil || *p.PaymentId != id {
		t.Fatalf("declined: %d: %s", declined.StatusCode(), declined.Body)
	}

	paid := confirm(t, c, id, "pm_card_visa")
	if p := paid.JSON200; p == nil || p.IntentStatus == nil || *p.IntentStatus != "requires_capture" || p.AmountCapturable != amount ||
		p.ClientSecret == nil || *p.ClientSecret != created.JSON201.ClientSecret {
		t.Fatalf("paid: %d: %s", paid.StatusCode(), paid.Body)
	}

	stale := `"1"`

	late, err := c.CapturePaymentWithResponse(t.Context(), id, &client.CapturePaymentParams{IfMatch: &stale}, client.CapturePayment{})
	if err != nil || late.ApplicationproblemJSON412 == nil || late.ApplicationproblemJSON412.Version == nil {
		t.Fatalf("captured as it was not seen: %v: %+v", err, late)
	}

	ask := part

	captured, err := c.CapturePaymentWithResponse(t.Context(), id, nil, client.CapturePayment{Amount: &ask})
	if err != nil || captured.JSON200 == nil || captured.JSON200.AmountCaptured != part {
		t.Fatalf("%v: %+v", err, captured)
	}

	parcel := "7"

	changed, err := c.UpdatePaymentWithResponse(t.Context(), id, nil, client.UpdatePayment{
		Metadata: &map[string]*string{"parcel": &parcel, "draft": nil},
	})
	if err != nil || changed.JSON200 == nil || changed.JSON200.Metadata == nil {
		t.Fatalf("%v: %+v", err, changed)
	}

	if got := *changed.JSON200.Metadata; len(got) != 2 || got["order_id"] != "order_1" || got["parcel"] != "7" {
		t.Errorf("changed: %v", got)
	}

	found, err := c.ListPaymentsWithResponse(t.Context(), &client.ListPaymentsParams{CustomerId: &customer.JSON201.Id})
	if err != nil || found.JSON200 == nil {
		t.Fatalf("%v: %+v", err, found)
	}

	if data := found.JSON200.Data; len(data) != 1 || data[0].Id != id || data[0].Status != client.StatusSucceeded ||
		data[0].AmountCaptured != part || data[0].Description == nil || *data[0].Description != description {
		t.Errorf("found: %+v", data)
	}
}

// confirm tries to pay under a key of its own.
func confirm(t *testing.T, c *client.ClientWithResponses, id uuid.UUID, method string) *client.ConfirmPaymentResponse {
	t.Helper()

	key, back := uuid.NewString(), "https://shop.example/back"

	got, err := c.ConfirmPaymentWithResponse(t.Context(), id, &client.ConfirmPaymentParams{IdempotencyKey: &key},
		client.ConfirmPayment{PaymentMethod: &method, ReturnUrl: &back})
	if err != nil {
		t.Fatal(err)
	}

	return got
}
