package sandbox_test

import (
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
