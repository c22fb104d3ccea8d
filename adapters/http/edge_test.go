package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/adapters/stripe"
	"github.com/marketflow/marketflow/app/account"
	"github.com/marketflow/marketflow/app/events"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/sandbox"
)

const (
	webhookSecret = "whsec_0123456789abcdef0123456789abcdef"
	event         = `{"id":"evt_1","type":"balance.available","data":{"object":{"object":"balance"}}}`
	anID          = "0190d2a0-0000-7000-8000-00000000000a"
)

// inbox stores nothing: what arrives is counted.
type inbox struct {
	ports.Inbox

	mu     sync.Mutex
	events []ports.Event
}

func (i *inbox) Apply(_ context.Context, e ports.Event) (ports.Applied, error) {
	i.mu.Lock()
	defer i.mu.Unlock()

	i.events = append(i.events, e)

	return ports.Applied{Outcome: ports.EventStale}, nil
}

func (i *inbox) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()

	return len(i.events)
}

// clients remembers whom it was asked about.
type clients struct {
	mu    sync.Mutex
	names []string
}

func (c *clients) Allow(_ context.Context, client string) (allowed bool, retryAfter time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.names = append(c.names, client)

	return true, 0
}

type testBundle struct {
	handler http.Handler
	inbox   *inbox
	clients *clients
	spans   *tracetest.SpanRecorder
	lines   *observer.ObservedLogs
}

func setup(t *testing.T, change ...func(*edge.Telemetry)) *testBundle {
	t.Helper()

	b := &testBundle{inbox: &inbox{}, clients: &clients{}, spans: tracetest.NewSpanRecorder()}
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))

	var core zapcore.Core

	core, b.lines = observer.New(zap.InfoLevel)

	webhooks, err := stripe.NewWebhooks([]string{webhookSecret}, time.Now)
	require.NoError(t, err)
	unsigned, err := memory.NewRateLimiter(1, 50, nil)
	require.NoError(t, err)

	metrics := telemetry.NewMetrics()
	told := telemetry.NewObserver(metrics, zap.New(core), tracing)
	ours := account.NewBinding(nil, stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1"}), nil, told)
	parked := events.NewParked(b.inbox, webhooks, ours, told)
	receive := events.NewReceive(webhooks, events.NewApply(b.inbox, nil, nil, parked, told), told)
	seen := edge.Telemetry{
		Log: zap.New(core), Observer: metrics, Tracing: tracing, Propagator: propagation.TraceContext{}, Metrics: metrics.Handler(),
	}

	for _, alter := range change {
		alter(&seen)
	}

	b.handler = edge.NewHandler(seen, b.clients, edge.NewPayments(nil, nil), edge.NewWebhooks(receive, unsigned),
		edge.NewHealth(nil, nil, nil))

	return b
}

func (b *testBundle) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}

	answer := httptest.NewRecorder()
	b.handler.ServeHTTP(answer, r)

	return answer
}

// webhook posts the event signed now.
func (b *testBundle) webhook(header ...string) *httptest.ResponseRecorder {
	signature := sandbox.Sign([]byte(event), webhookSecret, time.Now())

	return b.do(http.MethodPost, "/webhooks/stripe", event, append(header, "Stripe-Signature", signature)...)
}

// forged is a signature of the right form and time, by nobody.
func forged() string { return signatureAt(0) }

func signatureAt(off time.Duration) string {
	return fmt.Sprintf("t=%d,v1=%s", time.Now().Add(off).Unix(), strings.Repeat("ab", 32))
}

func requireProblem(t *testing.T, answer *httptest.ResponseRecorder, status int, kind string) {
	t.Helper()

	require.Equal(t, status, answer.Code, "%s", answer.Body)
	require.Equal(t, "application/problem+json", answer.Header().Get("Content-Type"))
	require.Contains(t, answer.Body.String(), "#"+kind+`"`)
}

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

// Whoever has an IPv6 address has 2^64 of them.
func TestClients_AreAddressesOrNetworks(t *testing.T) {
	t.Parallel()

	for remote, want := range map[string]string{
		"192.0.2.1:1234":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:1234":         "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:1234":     "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::1]:80":       "2001:db8:1:2::/64",
		"[2001:db8:1:3::1]:80":            "2001:db8:1:3::/64",
		"[fe80::1%eth0]:80":               "fe80::/64",
		"@":                               "@",
		"[2001:db8:1:2:3:4:5:6%zone]:443": "2001:db8:1:2::/64",
	} {
		b := setup(t)
		r := httptest.NewRequest(http.MethodGet, "/payments/x", http.NoBody)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		b.handler.ServeHTTP(httptest.NewRecorder(), r)
		require.Equal(t, []string{want}, b.clients.names)
	}
}

// A flood of lines that anybody can cause is cut, and says by how much.
func TestLog_StrangersDoNotFillIt(t *testing.T) {
	t.Parallel()

	const flood = 3000

	for name, send := range map[string]func(*testBundle) *httptest.ResponseRecorder{
		"no signature": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", event)
		},
		"a forged one": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", event, "Stripe-Signature", forged())
		},
		"too large": func(b *testBundle) *httptest.ResponseRecorder {
			return b.do(http.MethodPost, "/webhooks/stripe", strings.Repeat("x", 1<<20+1), "Stripe-Signature", forged())
		},
		"no route":     func(b *testBundle) *httptest.ResponseRecorder { return b.do(http.MethodGet, "/wp-login.php", "") },
		"no method":    func(b *testBundle) *httptest.ResponseRecorder { return b.do(http.MethodGet, "/webhooks/stripe", "") },
		"cross-origin": func(b *testBundle) *httptest.ResponseRecorder { return b.do("BREW", "/payments", "", "Origin", "null") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := setup(t)
			begun := time.Now()
			written := func() (lines, leftOut int64) {
				for _, line := range b.lines.FilterMessage("request").All() {
					n, _ := line.ContextMap()["left_out"].(int64)
					lines, leftOut = lines+1, leftOut+n
				}

				return lines, leftOut
			}

			for range flood {
				require.GreaterOrEqual(t, send(b).Code, http.StatusBadRequest)
			}

			lines, _ := written()
			require.Less(t, float64(lines), 40+20*time.Since(begun).Seconds())

			sent := int64(flood)

			require.Eventually(t, func() bool { // the next line has what was left out before it
				sent++

				send(b)

				lines, leftOut := written()

				return lines+leftOut == sent
			}, 10*time.Second, 20*time.Millisecond)
		})
	}
}

// Honest requests have a line each.
func TestLog_TellsOfEveryOther(t *testing.T) {
	t.Parallel()

	b := setup(t)
	for range 100 {
		b.webhook()
		b.do(http.MethodPost, "/payments", `{}`)
	}

	require.Equal(t, 200, b.lines.FilterMessage("request").Len())
}

func TestMetrics_MayBeElsewhere(t *testing.T) {
	t.Parallel()

	b := setup(t, func(t *edge.Telemetry) { t.Metrics = nil })
	requireProblem(t, b.do(http.MethodGet, "/metrics", ""), http.StatusNotFound, "not-found")
}

// wire is a connection to a real server.
type wire struct {
	t    *testing.T
	conn net.Conn
	read *bufio.Reader
}

func dial(t *testing.T, b *testBundle) *wire {
	t.Helper()

	server := httptest.NewServer(b.handler)
	t.Cleanup(server.Close)

	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))

	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(text string) {
	w.t.Helper()

	_, err := io.WriteString(w.conn, text)
	require.NoError(w.t, err)
}

// answer reads one: its status, and whether the connection ends with it.
func (w *wire) answer() (status int, last bool) {
	w.t.Helper()

	response, err := http.ReadResponse(w.read, nil)
	require.NoError(w.t, err)

	_, err = io.ReadAll(response.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, response.Body.Close())

	return response.StatusCode, response.Close
}

// ended waits for the end of the connection.
func (w *wire) ended() {
	w.t.Helper()

	_, err := w.read.ReadByte()
	require.Error(w.t, err)
	require.NotErrorIs(w.t, err, context.DeadlineExceeded)
}

// What cannot be taken is refused while its body is still awaited.
func TestBody_IsNotAwaited(t *testing.T) {
	t.Parallel()

	const post = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nStripe-Signature: %s\r\n%s\r\n\r\n"

	for name, c := range map[string]struct {
		path, signature, length string
		status                  int
	}{
		"no signature":          {"/webhooks/stripe", "", "Content-Length: 1000000", http.StatusUnauthorized},
		"malformed":             {"/webhooks/stripe", "nonsense", "Content-Length: 1000000", http.StatusUnauthorized},
		"half a hash":           {"/webhooks/stripe", forged()[:20], "Content-Length: 9", http.StatusUnauthorized},
		"of last hour":          {"/webhooks/stripe", signatureAt(-time.Hour), "Content-Length: 10", http.StatusUnauthorized},
		"of next hour":          {"/webhooks/stripe", signatureAt(time.Hour), "Content-Length: 10", http.StatusUnauthorized},
		"chunked, no signature": {"/webhooks/stripe", "", "Transfer-Encoding: chunked", http.StatusUnauthorized},
		"too long":              {"/webhooks/stripe", forged(), "Content-Length: 1048577", http.StatusRequestEntityTooLarge},
		"far too long":          {"/webhooks/stripe", forged(), "Content-Length: 900000000000", http.StatusRequestEntityTooLarge},
		"a payment too long":    {"/payments", "", "Content-Length: 262145", http.StatusRequestEntityTooLarge},
		"no such route":         {"/nowhere", "", "Content-Length: 1000", http.StatusNotFound},
		"another method":        {"/metrics", "", "Content-Length: 1000", http.StatusMethodNotAllowed},
		"asks first":            {"/webhooks/stripe", "", "Expect: 100-continue\r\nContent-Length: 1000", http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := dial(t, setup(t))
			w.send(fmt.Sprintf(post, c.path, c.signature, c.length))

			status, last := w.answer()
			require.Equal(t, c.status, status)
			require.True(t, last)
			w.ended()
		})
	}
}

// A client that is refused in the middle of its body can still read why.
func TestBody_TheAnswerIsNotOvertaken(t *testing.T) {
	t.Parallel()

	w := dial(t, setup(t))
	body := strings.Repeat("x", 900_000)
	w.send("POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: " +
		strconv.Itoa(len(body)) + "\r\n\r\n" + body)

	status, _ := w.answer()
	require.Equal(t, http.StatusUnauthorized, status)
	w.ended()
}

// A body that dribbles is cut off, whatever its signature looks like.
func TestBody_MustArriveInTime(t *testing.T) {
	t.Parallel()

	post := "POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: " + forged() + "\r\n"

	for name, head := range map[string]string{
		"webhook": post + "Content-Length: 100\r\n\r\n{",
		"chunked": post + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
		"payment": "POST /payments HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := dial(t, setup(t))
			begun := time.Now()

			w.send(head)

			status, _ := w.answer()
			require.Equal(t, http.StatusRequestTimeout, status)
			require.Less(t, time.Since(begun), 20*time.Second)
			w.ended()
		})
	}
}

// Once a body is there, its time no longer runs, and the connection is used again.
func TestBody_TheConnectionLivesOn(t *testing.T) {
	t.Parallel()

	w := dial(t, setup(t))

	for range 3 {
		signature := sandbox.Sign([]byte(event), webhookSecret, time.Now())
		w.send("POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nStripe-Signature: " + signature +
			"\r\nContent-Length: " + strconv.Itoa(len(event)) + "\r\n\r\n" + event)

		status, last := w.answer()
		require.Equal(t, http.StatusOK, status)
		require.False(t, last)
	}
}

// One signed event may have the whole megabyte, and not a byte more.
func TestBody_OneMegabyte(t *testing.T) {
	t.Parallel()

	for _, chunked := range []bool{false, true} {
		for size, want := range map[int]int{1 << 20: http.StatusOK, 1<<20 + 1: http.StatusRequestEntityTooLarge} {
			b := setup(t)
			server := httptest.NewServer(b.handler)
			t.Cleanup(server.Close)

			padded := strings.Replace(event, `{`, `{"pad":"`+strings.Repeat("x", size-len(event)-len(`"pad":"",`))+`",`, 1)
			require.Len(t, padded, size)

			var body io.Reader = strings.NewReader(padded)
			if chunked {
				body = io.MultiReader(body) // of no known length
			}

			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/webhooks/stripe", body)
			require.NoError(t, err)
			r.Header.Set("Stripe-Signature", sandbox.Sign([]byte(padded), webhookSecret, time.Now()))

			answer, err := server.Client().Do(r)
			require.NoError(t, err)
			require.NoError(t, answer.Body.Close())
			require.Equal(t, want, answer.StatusCode, "%d bytes, chunked: %t", size, chunked)
		}
	}
}
