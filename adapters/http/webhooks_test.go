package http_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/fault"
)

// A stranger names neither the request nor its trace.
func TestWebhook_TakesNoIDOfTheSender(t *testing.T) {
	t.Parallel()

	b := setup(t)
	answer := b.webhook("X-Request-Id", "theirs", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"Tracestate", "a=b")
	require.Equal(t, http.StatusOK, answer.Code, "%s", answer.Body)
	require.NoError(t, uuid.Validate(answer.Header().Get("X-Request-Id")))

	ended := b.spans.Ended()
	root := ended[len(ended)-1]
	require.Equal(t, "POST /webhooks/stripe", root.Name())
	require.False(t, root.Parent().IsValid())
	require.NotEqual(t, "0af7651916cd43dd8448eb211c80319c", root.SpanContext().TraceID().String())
	require.Zero(t, root.SpanContext().TraceState().Len())

	line := b.lines.FilterMessage("request").All()[0].ContextMap()
	require.Equal(t, root.SpanContext().TraceID().String(), line["trace_id"])
}

// What nobody signed leaves no span.
func TestWebhook_UnsignedLeavesNoTrace(t *testing.T) {
	t.Parallel()

	b := setup(t)
	for _, signature := range []string{"", "nonsense", forged()} {
		b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", signature,
			"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	}

	b.do(http.MethodGet, "/webhooks/stripe", "", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	b.do(http.MethodGet, "/webhooks/nothing", "")

	for _, span := range b.spans.Ended() {
		require.Equal(t, "http.render", span.Name())
		require.False(t, span.SpanContext().IsSampled(), span.Name())
	}
}

// Where the database does not tell which secrets are stored, Stripe may have signed it: it is asked
// to send it again, and does not count as a stranger.
func TestWebhook_StoredSecretsUnknown(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.stored.err = fault.New(fault.Unavailable, "It is not known which signing secrets are stored.").After(time.Second)

	for range 200 {
		answer := b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", forged())
		requireProblem(t, answer, http.StatusServiceUnavailable, "unavailable")
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
	}

	require.Equal(t, http.StatusOK, b.webhook().Code, "the environment's own secrets are always known")

	b.stored.err = nil
	requireProblem(t, b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", forged()),
		http.StatusUnauthorized, "invalid-signature")
}

// Only failures count, and an address that has failed too often is still heard
// where it has something to say.
func TestWebhook_UnsignedRequestsAreLimitedByAddress(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for range 200 {
		require.Equal(t, http.StatusOK, b.webhook().Code, "signed requests do not count")
	}

	for name, signature := range map[string]string{
		"none": "", "malformed": "t=1", "old": signatureAt(-time.Hour), "forged": forged(),
	} {
		var answer *httptest.ResponseRecorder

		for range 100 {
			answer = b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", signature)
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusTooManyRequests}, answer.Code, name)
		}

		requireProblem(t, answer, http.StatusTooManyRequests, "rate-limited")
		require.Equal(t, "1", answer.Header().Get("Retry-After"))
	}

	require.Equal(t, http.StatusOK, b.webhook().Code)

	elsewhere := httptest.NewRequest(http.MethodPost, "/webhooks/stripe", strings.NewReader(event))
	elsewhere.RemoteAddr = "198.51.100.7:1234"
	answer := httptest.NewRecorder()
	b.handler.ServeHTTP(answer, elsewhere)
	requireProblem(t, answer, http.StatusUnauthorized, "invalid-signature")
}
