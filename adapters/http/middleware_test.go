package http_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/sandbox"
)

// A route has one spelling.
func TestPaths_OtherSpellingsAreNotFound(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for _, path := range []string{
		"/%6detrics", "/%6Detrics", "/metric%73", "/%2fmetrics", "/metrics%2f", "/metrics%3f", "/metrics%00", "/%256detrics",
		"//metrics", "/./metrics", "/payments/../metrics", "/%2e/metrics", "/payments/%2e%2e/metrics", "/metrics/", "/metrics/.",
		"/metrics/..", "/Metrics", "/metrics;x", "/metrics%20", "/livez/", "/%6civez", "/h%65alth", "/openapi.yam%6C",
		"/payments%2F" + anID, "/payments%2f" + anID, "/%70ayments/" + anID, "/payments/%30" + anID[1:], "/payments//" + anID,
		"/payments/" + anID + "/", "/payments/" + anID + "%2f", "/payments/" + anID + "%2Fx", "/payments/./" + anID,
		"/payments/" + anID + "/.", "/payments/%C3%A9", "/payments/a%20b", "/payments/..", "/payments/.",
	} {
		requireProblem(t, b.do(http.MethodGet, path, ""), http.StatusNotFound, "not-found")
	}

	for _, path := range []string{
		"/webhooks%2fstripe", "/%77ebhooks/stripe", "/webhooks//stripe", "/webhooks/./stripe", "/webhooks/strip%65",
		"/webhooks/%73tripe", "/webhooks/stripe%2f", "/webhooks/stripe/..", "/webhooks/x/../stripe", "/webhooks/stripe/x",
	} {
		signature := sandbox.Sign([]byte(event), webhookSecret, time.Now())
		requireProblem(t, b.do(http.MethodPost, path, event, "Stripe-Signature", signature), http.StatusNotFound, "not-found")
	}

	require.Zero(t, b.inbox.count())

	for _, path := range []string{"/metrics", "/metrics?x=%2F", "/livez", "/openapi.yaml?%6d"} {
		require.Equal(t, http.StatusOK, b.do(http.MethodGet, path, "").Code, path)
	}
}

// A payment's id has one spelling, too.
func TestPaths_IDsHaveOneSpelling(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for _, id := range []string{"urn:uuid:" + anID, "{" + anID + "}", strings.ReplaceAll(anID, "-", ""), anID + ".", " "} {
		r := httptest.NewRequest(http.MethodGet, "/payments/x", http.NoBody)
		r.URL.Path = "/payments/" + id
		answer := httptest.NewRecorder()
		b.handler.ServeHTTP(answer, r)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusNotFound}, answer.Code, id)
	}
}

func TestCrossOrigin_WebPagesAreRefused(t *testing.T) {
	t.Parallel()

	b := setup(t)

	const order = `{"amount":10,"currency":"XXX"}`

	for name, header := range map[string][]string{
		"cross-site":         {"Sec-Fetch-Site", "cross-site", "Content-Type", "application/json"},
		"same-site":          {"Sec-Fetch-Site", "same-site", "Content-Type", "application/json"},
		"a word of tomorrow": {"Sec-Fetch-Site", "other", "Content-Type", "application/json"},
		"another host":       {"Origin", "https://shop.example", "Content-Type", "application/json"},
		"another port":       {"Origin", "http://example.com:8080", "Content-Type", "application/json"},
		"null":               {"Origin", "null", "Content-Type", "application/json"},
		"no type":            {"Origin", "https://shop.example"},
		"no type, no origin": {"Sec-Fetch-Site", "cross-site"},
		"a form":             {"Origin", "https://shop.example", "Content-Type", "text/plain"},
		"it contradicts":     {"Origin", "http://example.com", "Sec-Fetch-Site", "cross-site"},
		"not of that scheme": {"Origin", "file://"},
	} {
		for _, route := range []string{"/payments", "/webhooks/stripe", "/health"} {
			answer := b.do(http.MethodPost, route, order, header...)
			require.Equal(t, http.StatusForbidden, answer.Code, name)
			requireProblem(t, answer, http.StatusForbidden, "cross-origin")
		}
	}

	// A page of our own origin has to say what it sends.
	requireProblem(t, b.do(http.MethodPost, "/payments", order, "Origin", "http://example.com"),
		http.StatusUnsupportedMediaType, "unsupported-media-type")
	requireProblem(t, b.do(http.MethodPost, "/payments", order, "Origin", "http://example.com", "Sec-Fetch-Site", "same-origin",
		"Content-Type", ""), http.StatusUnsupportedMediaType, "unsupported-media-type")

	// These reach the rules about payments, which know no such currency.
	for name, header := range map[string][]string{
		"a backend":            {"Content-Type", "application/json"},
		"a backend, no type":   {},
		"with a charset":       {"Content-Type", "application/json; charset=utf-8"},
		"our own origin":       {"Origin", "http://example.com", "Content-Type", "application/json"},
		"same-origin":          {"Sec-Fetch-Site", "same-origin", "Content-Type", "application/json"},
		"a person's own doing": {"Sec-Fetch-Site", "none", "Content-Type", "application/json"},
	} {
		require.Equal(t, http.StatusBadRequest, b.do(http.MethodPost, "/payments", order, header...).Code, name)
	}

	read := b.do(http.MethodGet, "/livez", "", "Origin", "https://shop.example")
	require.Equal(t, http.StatusOK, read.Code, "reading is safe")
	require.Empty(t, read.Header().Get("Access-Control-Allow-Origin"))
}

func TestRequestID_IsATokenOrMade(t *testing.T) {
	t.Parallel()

	b := setup(t)

	for _, id := range []string{"a", "req-42", uuid.NewString(), "01ARZ3NDEKTSV4RRFFQ69G5FAV", "A.b_c-9", strings.Repeat("x", 128)} {
		require.Equal(t, id, b.do(http.MethodGet, "/livez", "", "X-Request-Id", id).Header().Get("X-Request-Id"))
	}

	for _, id := range []string{
		"", strings.Repeat("x", 129), "a b", `"quoted"`, "a/b", "a,b", "<script>", "a\tb", "é",
		"a%20b", "{}", "a=b", "a;b", "$(x)", "a:b",
	} {
		made := b.do(http.MethodGet, "/livez", "", "X-Request-Id", id).Header().Get("X-Request-Id")
		require.NoError(t, uuid.Validate(made), id)
	}

	made := b.do(http.MethodGet, "/livez", "", "X-Request-Id", "one", "X-Request-Id", "two").Header().Get("X-Request-Id")
	require.NoError(t, uuid.Validate(made))
}

func TestMetrics_MayBeElsewhere(t *testing.T) {
	t.Parallel()

	b := setup(t, func(t *edge.Telemetry) { t.Metrics = nil })
	requireProblem(t, b.do(http.MethodGet, "/metrics", ""), http.StatusNotFound, "not-found")
}
