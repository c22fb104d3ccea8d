package http_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

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
	"github.com/marketflow/marketflow/domain/operation"
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
	limit int
}

func (c *clients) Allow(_ context.Context, client string) ports.Allowance {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.names = append(c.names, client)

	return ports.Allowance{Limit: c.limit, Remaining: c.limit - 1, Reset: time.Second / 2}
}

type testBundle struct {
	handler http.Handler
	inbox   *inbox
	clients *clients
	stored  *stored
	spans   *tracetest.SpanRecorder
	lines   *observer.ObservedLogs
}

// stored are the signing secrets of a database that has none, or that does not answer.
type stored struct{ err error }

func (s *stored) Try(func([]byte) bool) (bool, error) { return false, s.err }

func setup(t *testing.T, change ...func(*edge.Telemetry)) *testBundle {
	t.Helper()

	return setupGuarded(t, func(*edge.Access) {}, change...)
}

func setupGuarded(t *testing.T, guard func(*edge.Access), change ...func(*edge.Telemetry)) *testBundle {
	t.Helper()

	b := &testBundle{inbox: &inbox{}, clients: &clients{}, stored: &stored{}, spans: tracetest.NewSpanRecorder()}
	tracing := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))

	var core zapcore.Core

	core, b.lines = observer.New(zap.InfoLevel)

	webhooks, err := stripe.NewWebhooks([]string{webhookSecret}, b.stored, time.Now)
	require.NoError(t, err)
	unsigned, err := memory.NewRateLimiter(1, 50, nil)
	require.NoError(t, err)

	metrics := telemetry.NewMetrics()
	told := telemetry.NewObserver(metrics, zap.New(core), tracing)
	ours := account.NewBinding(nil, operation.Installation{}, stripe.NewGateway(stripe.Config{SecretKey: "sk_test_1"}), nil, told)
	parked := events.NewParked(b.inbox, webhooks, ours, told)
	receive := events.NewReceive(webhooks, events.NewApply(b.inbox, nil, nil, parked, told), told)
	seen := edge.Telemetry{
		Log: zap.New(core), Observer: metrics, Tracing: tracing, Propagator: propagation.TraceContext{}, Metrics: metrics.Handler(),
	}

	for _, alter := range change {
		alter(&seen)
	}

	access := edge.Access{Clients: b.clients}
	guard(&access)

	b.handler = edge.NewHandler(seen, access, edge.NewPayments(nil, nil, nil, nil, nil, nil),
		edge.NewRefunds(nil, nil, nil), edge.NewLists(edge.ListUseCases{}), edge.NewDisputes(edge.DisputeUseCases{}),
		edge.NewCustomers(edge.CustomerUseCases{}), edge.NewAPIKeys(nil), edge.NewAudit(nil),
		edge.NewWebhooks(receive, unsigned), edge.NewHealth(nil, nil, nil, nil))

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
