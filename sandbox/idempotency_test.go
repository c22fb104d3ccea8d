package sandbox_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

func TestIdempotency_ReplayIsTheSameBytes(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	first, body := mustPost(t, target, "k1", intentForm())
	require.Empty(t, first.Header.Get("Idempotent-Replayed"))
	require.Equal(t, "k1", first.Header.Get("Idempotency-Key"))

	// Order and spelling of the parameters do not matter.
	reordered := url.Values{
		"metadata[payment_id]": {"p1"}, "payment_method_types[0]": {"card"}, "currency": {"usd"}, "amount": {"2000"},
	}
	second, again := mustPost(t, target, "k1", reordered)
	require.Equal(t, body, again)
	require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
	require.NotEqual(t, first.Header.Get("Request-Id"), second.Header.Get("Request-Id"))
	require.Equal(t, first.Header.Get("Request-Id"), second.Header.Get("Original-Request"))
	require.Equal(t, 1, countIntents(server))

	// The replay is the answer of then, not the object of now.
	id, _, _ := strings.Cut(strings.Split(body, `"id": "`)[1], `"`)
	mustPost(t, target+"/"+id+"/cancel", "", url.Values{})

	_, later := mustPost(t, target, "k1", intentForm())
	require.Equal(t, body, later)
}

func TestIdempotency_OtherParametersOrEndpoint(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"
	mustPost(t, target, "k1", intentForm())

	other := intentForm()
	other.Set("amount", "2001")

	response, body := mustPost(t, target, "k1", other)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, body, `"type": "idempotency_error"`)
	require.Contains(t, body, "same parameters")

	response, body = mustPost(t, server.URL+"/v1/refunds", "k1", intentForm())
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, body, "'/v1/refunds' vs '/v1/payment_intents'")

	// The scope is the account, not the key that is used to log in.
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(other.Encode()))
	require.NoError(t, err)
	request.SetBasicAuth("rk_test_other", "")
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Idempotency-Key", "k1")

	restricted, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, restricted.Body.Close())
	require.Equal(t, http.StatusBadRequest, restricted.StatusCode)
}

func TestIdempotency_ValidationErrorsAreNotSaved(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	bad := intentForm()
	bad.Set("amount", "lots")

	response, _ := mustPost(t, target, "k1", bad)
	require.Equal(t, http.StatusBadRequest, response.StatusCode)

	response, _ = mustPost(t, target, "k1", intentForm())
	require.Equal(t, http.StatusOK, response.StatusCode)
}

func TestIdempotency_DeclinesAreSaved(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	declined := intentForm()
	declined.Set("confirm", "true")
	declined.Set("payment_method", "pm_card_chargeDeclined")

	first, body := mustPost(t, target, "k1", declined)
	require.Equal(t, http.StatusPaymentRequired, first.StatusCode)

	second, again := mustPost(t, target, "k1", declined)
	require.Equal(t, http.StatusPaymentRequired, second.StatusCode)
	require.Equal(t, body, again)
	require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
	require.Equal(t, "false", second.Header.Get("Stripe-Should-Retry"))
}

func TestIdempotency_PrunedAfterADay(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	mustPost(t, target, "k1", intentForm())
	server.Advance(23 * time.Hour)
	mustPost(t, target, "k1", intentForm())
	require.Equal(t, 1, countIntents(server))

	server.Advance(time.Hour)

	// The same key is a new request now, even with other parameters.
	other := intentForm()
	other.Set("amount", "2001")

	response, _ := mustPost(t, target, "k1", other)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.Empty(t, response.Header.Get("Idempotent-Replayed"))
	require.Equal(t, 2, countIntents(server))
}

func TestIdempotency_ManyAtOnceMakeOneIntent(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	var (
		done    sync.WaitGroup
		created atomic.Int64
	)

	for range 16 {
		done.Go(func() {
			response, body := mustPost(t, target, "k1", intentForm())

			switch {
			case response.StatusCode == http.StatusConflict && strings.Contains(body, "idempotency_key_in_use"):
			case response.StatusCode == http.StatusOK && response.Header.Get("Idempotent-Replayed") == "":
				created.Add(1)
			case response.StatusCode == http.StatusOK:
			default:
				t.Errorf("status %d: %s", response.StatusCode, body)
			}
		})
	}

	done.Wait()
	require.EqualValues(t, 1, created.Load())
	require.Equal(t, 1, countIntents(server))
}

func TestIdempotency_KeyLength(t *testing.T) {
	t.Parallel()

	server := sandbox.Start(t)
	target := server.URL + "/v1/payment_intents"

	response, _ := mustPost(t, target, strings.Repeat("k", 255), intentForm())
	require.Equal(t, http.StatusOK, response.StatusCode)

	response, body := mustPost(t, target, strings.Repeat("k", 256), intentForm())
	require.Equal(t, http.StatusBadRequest, response.StatusCode)
	require.Contains(t, body, "255")
}

// Stripe, "Idempotent requests": what began to execute is kept, 500s included;
// what was turned away before is not.
func TestIdempotency_WhatIsKept(t *testing.T) {
	t.Parallel()

	const path = "/v1/payment_intents"

	confirming := url.Values{
		"amount": {"2000"}, "currency": {"usd"}, "payment_method_types[]": {"card"}, "confirm": {"true"},
	}
	with := func(name, value string) url.Values {
		form := url.Values{}
		maps.Copy(form, confirming)
		form.Set(name, value)

		return form
	}

	for name, test := range map[string]struct {
		form   url.Values
		fault  sandbox.Fault
		status int
		kept   bool
	}{
		"a decline":            {form: with("payment_method", "pm_card_chargeDeclined"), status: 402, kept: true},
		"a blocked payment":    {form: with("payment_method", "pm_card_radarBlock"), status: 402, kept: true},
		"an unknown method":    {form: with("payment_method", "pm_nobody"), status: 400, kept: true},
		"a missing method":     {form: confirming, status: 400},
		"an unknown parameter": {form: with("colour", "red"), status: 400},
		"too small":            {form: with("amount", "1"), status: 400},
		"too large":            {form: with("amount", "100000000"), status: 400},
		"no such currency":     {form: with("currency", "abc"), status: 400},
		"a saved 500":          {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Saved500}, status: 500, kept: true},
		"a saved 500 of what is refused": {
			form: with("payment_method", "pm_nobody"), fault: sandbox.Fault{Action: sandbox.Saved500}, status: 400, kept: true,
		},
		"a 500 that rolls on": {form: intentForm(), fault: sandbox.Fault{Action: sandbox.RollForward}, status: 500, kept: true},
		"a kept rejection": {
			form: intentForm(), fault: sandbox.Fault{Action: sandbox.Reject, Status: 400}, status: 400, kept: true,
		},
		"a kept 403": {
			form: intentForm(), fault: sandbox.Fault{Action: sandbox.Reject, Status: 403}, status: 403, kept: true,
		},
		"a rejection":              {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Error, Status: 400}, status: 400},
		"a rate limit":             {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Error, Status: 429}, status: 429},
		"a dead key":               {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Error, Status: 401}, status: 401},
		"a conflict":               {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Error, Status: 409}, status: 409},
		"a 503 of a load balancer": {form: intentForm(), fault: sandbox.Fault{Action: sandbox.Error, Status: 503}, status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			server := sandbox.Start(t)

			if test.fault.Action != "" {
				addFault(t, server, test.fault)
			}

			first, body := mustPost(t, server.URL+path, "k", test.form)
			require.Equal(t, test.status, first.StatusCode, body)
			require.Empty(t, first.Header.Get("Idempotent-Replayed"))

			second, again := mustPost(t, server.URL+path, "k", test.form)
			if test.kept {
				require.Equal(t, test.status, second.StatusCode)
				require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
				require.Equal(t, body, again)
			} else {
				require.Empty(t, second.Header.Get("Idempotent-Replayed"))
			}

			// A kept rejection repeats for a day; what was not kept lets the key be
			// used for something else.
			other, text := mustPost(t, server.URL+path, "k", intentForm())

			switch {
			case !test.kept:
				require.Equal(t, http.StatusOK, other.StatusCode, text)
			case test.fault.Action == "":
				require.Contains(t, text, "idempotency_error")
			default:
				require.Equal(t, test.status, other.StatusCode, text)
			}
		})
	}
}

// Stripe, "Low-level error handling": a 500's work may be done later, and its
// webhooks sent then.
func TestFault_RollForwardDoesTheWorkLater(t *testing.T) {
	t.Parallel()

	rec := newRecorder(t, always(http.StatusOK))
	server := sandbox.Start(t, sandbox.WithWebhook(rec.URL, testSecret))
	id := addFault(t, server, sandbox.Fault{Action: sandbox.RollForward, Path: "/v1/payment_intents", Delay: time.Hour})
	target := server.URL + "/v1/payment_intents"

	first, body := mustPost(t, target, "k", intentForm())
	require.Equal(t, http.StatusInternalServerError, first.StatusCode)
	require.Equal(t, "api_error", errorOf(t, body)["type"])
	require.Zero(t, countIntents(server))
	requireFired(t, server, id, 1)

	server.Advance(2 * time.Hour)

	event := rec.wait(t, 1)[0].event(t)
	require.Equal(t, first.Header.Get("Request-Id"), event.Request.ID, "it is the first request's work")
	require.Equal(t, "k", event.Request.IdempotencyKey)
	require.Equal(t, 1, countIntents(server))

	again, replayed := mustPost(t, target, "k", intentForm())
	require.Equal(t, http.StatusInternalServerError, again.StatusCode, "the key goes on to say 500")
	require.Equal(t, body, replayed)
	require.Equal(t, 1, countIntents(server))
}
