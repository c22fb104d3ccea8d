package observability

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/bootstrap"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	secretKey        = "sk_test_51ObservabilityObservability"
	webhookSecret    = "whsec_ObservabilityNewObservabilityNew1"
	oldWebhookSecret = "whsec_ObservabilityOldObservabilityOld1"
)

// received gets the spans of every service of this process: tracing is
// configured by the process's environment.
var received = &collector{}

func TestMain(m *testing.M) {
	server := httptest.NewServer(received)

	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}

	_ = os.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	_ = os.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20")

	code := m.Run()

	server.Close()
	os.Exit(code)
}

// world is one service with everything around it, of one test's own.
type world struct {
	t       *testing.T
	url     string
	db      *pgtest.DB
	stripe  *sandbox.Server
	redis   *devserver.Redis
	service *bootstrap.Service
	client  *http.Client
	lines   *lines
}

// newWorld starts a service; variables go on top of the usual environment.
func newWorld(t *testing.T, variables ...string) *world {
	t.Helper()

	w := &world{t: t, db: pgtest.New(t), stripe: sandbox.Start(t), lines: &lines{}}

	var err error

	w.redis, err = devserver.StartRedis()
	require.NoError(t, err)
	t.Cleanup(w.redis.Stop)

	environment := map[string]string{
		"HTTP_ADDR":             "127.0.0.1:0",
		"DRAIN_DELAY":           "0",
		"DATABASE_URL":          w.db.URL,
		"DATABASE_MAX_CONNS":    "4",
		"REDIS_URL":             w.redis.URL(),
		"STRIPE_API_BASE":       w.stripe.URL,
		"STRIPE_SECRET_KEY":     secretKey,
		"STRIPE_WEBHOOK_SECRET": webhookSecret + "," + oldWebhookSecret,
		"AUTH":                  "off",
		"RECOVERY_INTERVAL":     "1s",
		"LOG_LEVEL":             "debug",
	}
	for i := 0; i+1 < len(variables); i += 2 {
		environment[variables[i]] = variables[i+1]
	}

	c, err := config.FromEnvironment(environment)
	require.NoError(t, err)
	w.start(c)

	return w
}

func (w *world) start(c config.Config) {
	w.t.Helper()

	var err error

	w.service, err = bootstrap.Start(w.t.Context(), c, "v1.2.3",
		bootstrap.With(telemetry.NewLogger(c.LogLevel, w.lines)))
	require.NoError(w.t, err)

	transport := &http.Transport{}
	w.url = "http://" + w.service.Addr()
	w.client = &http.Client{Transport: transport, Timeout: 30 * time.Second}

	w.t.Cleanup(func() {
		transport.CloseIdleConnections()
		require.NoError(w.t, w.service.Stop(context.Background()))
	})
}

// traceparent is a caller's span (https://www.w3.org/TR/trace-context/).
type traceparent struct{ trace, span string }

func newTraceparent() traceparent {
	trace, span := uuid.New(), uuid.New()

	return traceparent{trace: hex.EncodeToString(trace[:]), span: hex.EncodeToString(span[:8])}
}

func (p traceparent) String() string { return "00-" + p.trace + "-" + p.span + "-01" }

// answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   []byte
	parent traceparent
}

// text reads a field of the body.
func (a answer) text(t *testing.T, name string) string {
	t.Helper()

	var fields map[string]any

	require.NoError(t, json.Unmarshal(a.body, &fields), "%s", a.body)

	text, ok := fields[name].(string)
	require.True(t, ok, "no text %s in %s", name, a.body)

	return text
}

// do sends a request as part of a trace of its own.
func (w *world) do(method, path, body string, header ...string) answer {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	require.NoError(w.t, err)

	parent := newTraceparent()
	req.Header.Set("Traceparent", parent.String())
	req.Header.Set("Content-Type", "application/json")

	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)

	defer func() { _ = resp.Body.Close() }()

	read, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)

	return answer{status: resp.StatusCode, header: resp.Header, body: read, parent: parent}
}

func (w *world) create(body string) answer { return w.do(http.MethodPost, "/payments", body) }

// created creates a payment.
func (w *world) created(body string) answer {
	w.t.Helper()

	made := w.create(body)
	require.Equal(w.t, http.StatusCreated, made.status, "%s", made.body)

	return made
}

// webhook posts an event signed now.
func (w *world) webhook(event, secret string) answer {
	return w.do(http.MethodPost, "/webhooks/stripe", event,
		"Stripe-Signature", sandbox.Sign([]byte(event), secret, time.Now()))
}

// metrics is what Prometheus would read.
func (w *world) metrics() string {
	return string(w.do(http.MethodGet, "/metrics", "", "Accept", "application/openmetrics-text").body)
}

// atStripe sends a form to the sandbox.
func (w *world) atStripe(path, form string) {
	w.t.Helper()

	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.stripe.URL+path, strings.NewReader(form))
	require.NoError(w.t, err)
	req.SetBasicAuth(secretKey, "")
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")

	resp, err := w.client.Do(req)
	require.NoError(w.t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
}

// confirm pays an intent at the sandbox.
func (w *world) confirm(intentID, method string) {
	w.t.Helper()
	w.atStripe("/v1/payment_intents/"+intentID+"/confirm", "payment_method="+method+"&return_url=https://example.com/")
}

// fault makes Stripe misbehave.
func (w *world) fault(f sandbox.Fault) {
	w.t.Helper()

	_, err := w.stripe.AddFault(f)
	require.NoError(w.t, err)
}

func (w *world) eventually(condition func() bool, what string) {
	w.t.Helper()

	require.Eventually(w.t, condition, 30*time.Second, 20*time.Millisecond, what)
}

func (w *world) finished(id, status string) {
	w.t.Helper()
	w.eventually(func() bool {
		read := w.do(http.MethodGet, "/payments/"+id, "")

		return read.status == http.StatusOK && read.text(w.t, "status") == status
	}, "payment "+id+" does not become "+status)
}

// lines are what was logged.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()

	return l.text.String()
}

// named returns the lines with that message.
func (l *lines) named(t *testing.T, message string) []map[string]any {
	t.Helper()

	var found []map[string]any

	for line := range strings.Lines(l.String()) {
		var fields map[string]any

		require.NoError(t, json.Unmarshal([]byte(line), &fields), "%s", line)

		if fields["msg"] == message {
			found = append(found, fields)
		}
	}

	return found
}
