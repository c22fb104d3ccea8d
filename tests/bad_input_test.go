package tests

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A body that is wrong is answered 400, and nothing is written or sent for it.
func TestCreatePayment_BadBodyChangesNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for name, body := range map[string]string{
		"empty":                  ``,
		"malformed":              `{"amount":10,`,
		"not JSON":               `amount=10`,
		"null":                   `null`,
		"array":                  `[]`,
		"string":                 `"x"`,
		"trailing data":          `{"amount":10,"currency":"USD"} x`,
		"two objects":            `{"amount":10,"currency":"USD"}{}`,
		"unknown field":          `{"amount":10,"currency":"USD","amuont":1}`,
		"duplicate field":        `{"amount":10,"amount":10,"currency":"USD"}`,
		"other case":             `{"Amount":10,"currency":"USD"}`,
		"duplicate metadata":     `{"amount":10,"currency":"USD","metadata":{"a":"1","a":"2"}}`,
		"no amount":              `{"currency":"USD"}`,
		"null amount":            `{"amount":null,"currency":"USD"}`,
		"no currency":            `{"amount":10}`,
		"null currency":          `{"amount":10,"currency":null}`,
		"amount is text":         `{"amount":"ten","currency":"USD"}`,
		"amount is empty":        `{"amount":"","currency":"USD"}`,
		"amount with a space":    `{"amount":" 10","currency":"USD"}`,
		"amount is true":         `{"amount":true,"currency":"USD"}`,
		"amount is an object":    `{"amount":{},"currency":"USD"}`,
		"zero":                   `{"amount":0,"currency":"USD"}`,
		"zero with decimals":     `{"amount":0.00,"currency":"USD"}`,
		"negative":               `{"amount":-10,"currency":"USD"}`,
		"negative text":          `{"amount":"-10.00","currency":"USD"}`,
		"huge exponent":          `{"amount":1e400,"currency":"USD"}`,
		"tiny exponent":          `{"amount":1e-400,"currency":"USD"}`,
		"20 digits":              `{"amount":12345678901234567890,"currency":"USD"}`,
		"over Stripe's limit":    `{"amount":1000000.00,"currency":"USD"}`,
		"too fine for USD":       `{"amount":10.001,"currency":"USD"}`,
		"too fine for JPY":       `{"amount":10.5,"currency":"JPY"}`,
		"KWD's last digit":       `{"amount":1.001,"currency":"KWD"}`,
		"unknown currency":       `{"amount":10,"currency":"ZZZ"}`,
		"currency is a number":   `{"amount":10,"currency":840}`,
		"empty key":              `{"amount":10,"currency":"USD","idempotency_key":""}`,
		"300-character key":      `{"amount":10,"currency":"USD","idempotency_key":"` + strings.Repeat("k", 300) + `"}`,
		"control in the key":     `{"amount":10,"currency":"USD","idempotency_key":"a\u0007"}`,
		"NUL in the key":         `{"amount":10,"currency":"USD","idempotency_key":"a\u0000"}`,
		"key is a number":        `{"amount":10,"currency":"USD","idempotency_key":1}`,
		"metadata is a string":   `{"amount":10,"currency":"USD","metadata":"x"}`,
		"metadata is nested":     `{"amount":10,"currency":"USD","metadata":{"a":{"b":"c"}}}`,
		"metadata value is null": `{"amount":10,"currency":"USD","metadata":{"a":null}}`,
		"metadata value is 1":    `{"amount":10,"currency":"USD","metadata":{"a":1}}`,
		"metadata key too long":  `{"amount":10,"currency":"USD","metadata":{"` + strings.Repeat("k", 41) + `":"v"}}`,
		"metadata value too long": `{"amount":10,"currency":"USD","metadata":{"k":"` +
			strings.Repeat("v", 501) + `"}}`,
		"metadata too many":  `{"amount":10,"currency":"USD","metadata":{` + manyEntries(51) + `}}`,
		"metadata reserved":  `{"amount":10,"currency":"USD","metadata":{"payment_id":"x"}}`,
		"metadata NUL":       `{"amount":10,"currency":"USD","metadata":{"k":"a\u0000"}}`,
		"lone surrogate":     `{"amount":10,"currency":"USD","idempotency_key":"\ud800"}`,
		"broken UTF-8":       "{\"amount\":10,\"currency\":\"USD\",\"idempotency_key\":\"\xff\"}",
		"deeply nested":      strings.Repeat("[", 20_000),
		"a number as a name": `{1:2}`,
	} {
		answered := w.create(body)
		require.Equal(t, http.StatusBadRequest, answered.status, name)
		answered.problem(http.StatusBadRequest, "invalid-request")
	}

	require.Zero(t, w.count("SELECT count(*) FROM operations"))
	require.Zero(t, w.intents())
}

func TestCreatePayment_BadHeadersChangeNothing(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	body := `{"amount":10,"currency":"USD"}`

	for name, header := range map[string][]string{
		"too long":         {"Idempotency-Key", strings.Repeat("k", 256)},
		"empty":            {"Idempotency-Key", ""},
		"empty and quoted": {"Idempotency-Key", `""`},
		"half quoted":      {"Idempotency-Key", `"abc`},
		"escaped wrongly":  {"Idempotency-Key", `"a\b"`},
		"twice":            {"Idempotency-Key", "a", "Idempotency-Key", "a"},
	} {
		answered := w.create(body, header...)
		require.Equal(t, http.StatusBadRequest, answered.status, name)
		answered.problem(http.StatusBadRequest, "invalid-request")
	}

	w.create(`{"amount":10,"currency":"USD","idempotency_key":"a"}`, "Idempotency-Key", "b").
		problem(http.StatusBadRequest, "invalid-request")

	for _, contentType := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json5", "/"} {
		w.do(w.request(http.MethodPost, "/payments", body, "Content-Type", contentType)).
			problem(http.StatusUnsupportedMediaType, "unsupported-media-type")
	}

	large := `{"amount":10,"currency":"USD","idempotency_key":"` + strings.Repeat("k", 2<<20) + `"}`
	w.create(large).problem(http.StatusRequestEntityTooLarge, "body-too-large")

	require.Equal(t, http.StatusCreated, w.do(w.request(http.MethodPost, "/payments", body,
		"Content-Type", "application/json; charset=utf-8")).status)
	require.Equal(t, 1, w.intents())
}

func TestWebhook_WhatIsNotAnEventIsAnsweredBadRequest(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for _, body := range []string{
		``, `null`, `[]`, `"x"`, `{}`, `not json`, `{"type":"payment_intent.succeeded"}`, `{"type":5,"data":{"object":{"id":"x"}}}`,
		`{"type":"payment_intent.succeeded","data":{"object":[]}}`,
		`{"id":"evt_1","object":"v2.core.event","type":"v1.billing.meter.error_report_triggered"}`,
	} {
		w.webhook(body).problem(http.StatusBadRequest, "invalid-request")
	}

	w.webhook(`{"x":"`+strings.Repeat("x", 2<<20)+`"}`).problem(http.StatusRequestEntityTooLarge, "body-too-large")
	require.Zero(t, w.count("SELECT count(*) FROM stripe_events"))
}

// An event about an intent that we do not know is stored and answered 200.
func TestWebhook_UnknownIntentIsParked(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	require.Equal(t, http.StatusOK, w.webhook(minimalEvent("succeeded", "pi_of_nobody", "succeeded")).status)
	require.Equal(t, 1, w.count("SELECT count(*) FROM stripe_events WHERE outcome = 'parked' AND parked_reason = 'unknown_payment'"))
}

func TestRoutes_UnknownPathsAndMethodsAreAnsweredWithProblems(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	for _, path := range []string{"/", "/payment", "/payments/", "/payments/a/b", "//payments", "/webhooks"} {
		w.get(path).problem(http.StatusNotFound, "not-found")
	}

	for _, c := range []struct{ method, path, allow string }{
		{http.MethodDelete, "/payments", "GET, HEAD, POST"},
		{http.MethodPost, "/payments/0190d2a0-0000-7000-8000-000000000000/timeline", "GET, HEAD"},
		{http.MethodDelete, "/payments/0190d2a0-0000-7000-8000-000000000000", "GET, HEAD, PATCH"},
		{http.MethodGet, "/webhooks/stripe", "POST"},
		{http.MethodPost, "/health", "GET, HEAD"},
		{"BREW", "/payments", "GET, HEAD, POST"},
	} {
		answered := w.do(w.request(c.method, c.path, ""))
		answered.problem(http.StatusMethodNotAllowed, "method-not-allowed")
		require.Equal(t, c.allow, answered.header.Get("Allow"))
	}

	w.get("/openapi.yaml")
	w.get("/metrics")
}

// A client that disconnects in the middle of its body changes nothing. One that
// disconnects while Stripe works still gets its payment.
func TestCreatePayment_ClientDisconnects(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	addr := strings.TrimPrefix(w.url, "http://")

	const head = "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

	half, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = fmt.Fprintf(half, "%sContent-Length: 900\r\n\r\n{\"amount\":", head)
	require.NoError(t, err)
	require.NoError(t, half.Close())

	gone, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	_, err = fmt.Fprintf(gone, "%sContent-Length: %d\r\n\r\n%s", head, len(order), order)
	require.NoError(t, err)
	w.eventually(func() bool { return w.count("SELECT count(*) FROM operations") == 1 }, "the operation is written")
	require.NoError(t, gone.Close())

	w.eventually(func() bool { return w.count("SELECT count(*) FROM payments") == 1 }, "the payment is finished")

	again := w.create(order)
	require.Equal(t, http.StatusCreated, again.status)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, 1, w.intents())
}

func TestRequestID_IsTheClientsWhereItIsWellFormed(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	own := w.create(`{}`, "X-Request-Id", "req-42")
	require.Equal(t, "req-42", own.header.Get("X-Request-Id"))
	own.problem(http.StatusBadRequest, "invalid-request")

	for _, strange := range []string{strings.Repeat("x", 200), "a b", `"quoted"`, "a/b", "a:b"} {
		made := w.create(`{}`, "X-Request-Id", strange)
		require.NotEqual(t, strange, made.header.Get("X-Request-Id"))
		require.NotEmpty(t, made.header.Get("X-Request-Id"))
	}
}

// The server does not wait for a slow client for ever.
func TestServer_SlowClientIsCutOff(t *testing.T) {
	t.Parallel()

	w := newWorld(t)

	slow, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(t, err)

	defer func() { _ = slow.Close() }()

	_, err = fmt.Fprint(slow, "POST /payments HTTP/1.1\r\nHost: x\r\n")
	require.NoError(t, err)
	require.NoError(t, slow.SetReadDeadline(time.Now().Add(20*time.Second)))

	// The end of the connection, or a 408, before the deadline.
	line, err := bufio.NewReader(slow).ReadString('\n')
	if err == nil {
		require.Contains(t, line, "408")
	} else {
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	}
}

func manyEntries(n int) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`"k%d":"v"`, i)
	}

	return strings.Join(entries, ",")
}
