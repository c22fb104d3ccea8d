package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/api"
	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretKey     = "sk_test_51TestsTestsTestsTests"
	webhookSecret = "whsec_TestsTestsTestsTestsTestsTestsTests"
)

// world is one test's own service, with everything around it.
type world struct {
	t       testing.TB
	url     string
	db      *pgtest.DB
	stripe  *sandbox.Server
	redis   *devserver.Redis
	config  config.Config
	service *bootstrap.Service
	router  routers.Router
	client  *http.Client
}

// newWorld starts a service; change may alter its configuration. Webhooks are
// delivered only after deliverWebhooks.
func newWorld(tb testing.TB, change ...func(*config.Config)) *world {
	tb.Helper()

	w := &world{t: tb, db: pgtest.New(tb), stripe: sandbox.Start(tb), router: newRouter(tb)}

	var err error

	w.redis, err = devserver.StartRedis()
	require.NoError(tb, err)
	tb.Cleanup(w.redis.Stop)

	c, err := config.FromEnvironment(map[string]string{
		"HTTP_ADDR":             "127.0.0.1:0",
		"DRAIN_DELAY":           "0",
		"DATABASE_URL":          w.db.URL,
		"DATABASE_MAX_CONNS":    "4",
		"REDIS_URL":             w.redis.URL(),
		"STRIPE_API_BASE":       w.stripe.URL,
		"STRIPE_SECRET_KEY":     secretKey,
		"STRIPE_WEBHOOK_SECRET": webhookSecret,
		"AUTH":                  "off",
		// A run of the service's own would come between a test's.
		"RECONCILE_INTERVAL": "0",
	})
	require.NoError(tb, err)

	for _, alter := range change {
		alter(&c)
	}

	w.config = c
	w.start(c)

	return w
}

// through puts a handler of the test's between the service and the sandbox. A
// database is bound to one host of Stripe's API, so the handler is there from the start.
func through(t *testing.T, handler func(sandbox *httputil.ReverseProxy) http.Handler) func(*config.Config) {
	t.Helper()

	return func(c *config.Config) {
		server := httptest.NewServer(handler(newProxy(t, c.StripeAPIBase)))
		t.Cleanup(server.Close)

		c.StripeAPIBase = server.URL
	}
}

// newProxy leads to a server; it answers 502 where it does not reach it.
func newProxy(tb testing.TB, target string) *httputil.ReverseProxy {
	tb.Helper()

	base, err := url.Parse(target)
	require.NoError(tb, err)

	proxy := httputil.NewSingleHostReverseProxy(base)
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }

	return proxy
}

// intents counts Stripe's PaymentIntents, in Stripe's own records.
func (w *world) intents() int {
	n := 0
	for range w.stripe.Books(sandbox.BooksFilter{Kinds: []string{"intent"}}) {
		n++
	}

	return n
}

func (w *world) start(c config.Config, swaps ...bootstrap.Swap) {
	w.t.Helper()
	require.NoError(w.t, w.tryStart(c, swaps...))
}

func (w *world) tryStart(c config.Config, swaps ...bootstrap.Swap) error {
	service, err := bootstrap.Start(w.t.Context(), c, "test", append(swaps, bootstrap.With(zap.NewNop()))...)
	if err != nil {
		return err
	}

	transport := &http.Transport{}
	w.service, w.url = service, "http://"+service.Addr()
	w.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}
	w.t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(w.t, service.Stop(context.Background()))
	})

	return nil
}

// second is another process on the same database, with empty caches.
func (w *world) second() *world {
	w.t.Helper()

	second := *w
	second.start(w.config)

	return &second
}

// withTools runs what a command runs, in a process of its own as far as the database
// can tell.
func (w *world) withTools(do func(context.Context, bootstrap.Tools) error, swaps ...bootstrap.Swap) error {
	return bootstrap.WithTools(w.t.Context(), w.config, "test", do, append(swaps, bootstrap.With(zap.NewNop()))...)
}

// faultCreates puts a fault on the calls that create intents and returns its id.
func (w *world) faultCreates(f sandbox.Fault) (id string) {
	w.t.Helper()

	f.Method, f.Path = http.MethodPost, "/v1/payment_intents"
	added, err := w.stripe.AddFault(f)
	require.NoError(w.t, err)

	return added.ID
}

// deliverWebhooks makes the sandbox send its events to the service.
func (w *world) deliverWebhooks() {
	w.stripe.AddWebhook(w.url+"/webhooks/stripe", webhookSecret)
}

func newRouter(tb testing.TB) routers.Router {
	tb.Helper()

	doc, err := openapi3.NewLoader().LoadFromData(api.OpenAPI)
	require.NoError(tb, err)
	require.NoError(tb, doc.Validate(tb.Context()))

	doc.Servers = nil // any address

	router, err := gorillamux.NewRouter(doc)
	require.NoError(tb, err)

	return router
}

// answer is a response, read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// field reads a field of the body.
func (a answer) field(name string) any {
	a.t.Helper()

	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.UseNumber()

	var fields map[string]any

	require.NoError(a.t, decoder.Decode(&fields), "%s", a.body)
	require.Contains(a.t, fields, name)

	return fields[name]
}

func (a answer) text(name string) string {
	a.t.Helper()

	text, ok := a.field(name).(string)
	require.True(a.t, ok, "%s is not a string in %s", name, a.body)

	return text
}

// problem checks that the answer is a problem document of that status and kind.
func (a answer) problem(status int, kind string) {
	a.t.Helper()

	require.Equal(a.t, status, a.status, "%s", a.body)
	require.Equal(a.t, "application/problem+json", a.header.Get("Content-Type"))
	require.True(a.t, strings.HasSuffix(a.text("type"), "#"+kind), "%s", a.body)
	require.NotEmpty(a.t, a.text("detail"))
	require.Equal(a.t, a.header.Get("X-Request-Id"), a.text("request_id"))
}

// do sends a request and holds the exchange against api/openapi.yaml.
func (w *world) do(req *http.Request) answer {
	w.t.Helper()

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)

	defer func() { _ = resp.Body.Close() }()

	body, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)

	w.holdAgainstContract(req, resp, body)

	return answer{t: w.t, status: resp.StatusCode, header: resp.Header, body: body}
}

func (w *world) holdAgainstContract(req *http.Request, resp *http.Response, body []byte) {
	w.t.Helper()

	route, params, err := w.router.FindRoute(req)
	if err != nil {
		return // an unknown route or method has no contract but its problem document
	}

	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route}
	err = openapi3filter.ValidateResponse(w.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input,
		Status:                 resp.StatusCode,
		Header:                 resp.Header,
		Body:                   io.NopCloser(bytes.NewReader(body)),
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	require.NoError(w.t, err, "%s %s", req.Method, req.URL)
}

func (w *world) request(method, path, body string, header ...string) *http.Request {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)

	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}

	return req
}

// create posts a payment.
func (w *world) create(body string, header ...string) answer {
	w.t.Helper()

	return w.do(w.request(http.MethodPost, "/payments", body, append([]string{"Content-Type", "application/json"}, header...)...))
}

// get reads a path.
func (w *world) get(path string) answer {
	w.t.Helper()

	return w.do(w.request(http.MethodGet, path, ""))
}

// webhook posts an event signed now.
func (w *world) webhook(event string) answer {
	w.t.Helper()

	return w.webhookSigned(event, sandbox.Sign([]byte(event), webhookSecret, time.Now()))
}

func (w *world) webhookSigned(event, signature string) answer {
	w.t.Helper()

	header := []string{"Content-Type", "application/json"}
	if signature != "" {
		header = append(header, "Stripe-Signature", signature)
	}

	return w.do(w.request(http.MethodPost, "/webhooks/stripe", event, header...))
}

// minimalEvent has only the fields that an event must have.
func minimalEvent(eventType, intentID, status string) string {
	return fmt.Sprintf(`{"type":"payment_intent.%s","data":{"object":{"id":"%s","status":"%s"}}}`, eventType, intentID, status)
}

// confirm pays an intent at the sandbox.
func (w *world) confirm(intentID, method string) {
	w.t.Helper()

	w.callStripe("/"+intentID+"/confirm", "payment_method="+method+"&return_url=https://example.com/")
}

// createIntent makes an intent at the sandbox without the service.
func (w *world) createIntent(form string) {
	w.t.Helper()
	require.Equal(w.t, http.StatusOK, w.callStripe("", form))
}

// callStripe posts a form to a path below intents, past the service and its proxies.
func (w *world) callStripe(path, form string) (status int) {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost,
		w.stripe.URL+"/v1/payment_intents"+path, strings.NewReader(form))
	require.NoError(w.t, err)
	req.SetBasicAuth(secretKey, "")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())

	return resp.StatusCode
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()

	w.db.Exec(statement, args...)
}

// count counts rows.
func (w *world) count(query string, args ...any) int {
	w.t.Helper()

	var n int

	require.NoError(w.t, w.db.Pool().QueryRow(w.t.Context(), query, args...).Scan(&n))

	return n
}

// eventually waits for a condition; what says it.
func (w *world) eventually(condition func() bool, what string) {
	w.t.Helper()

	require.Eventually(w.t, condition, 20*time.Second, 20*time.Millisecond, what)
}

func (w *world) status(id string) string {
	w.t.Helper()

	return w.get("/payments/" + id).text("status")
}
