package http_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap/zapcore"

	edge "github.com/marketflow/marketflow/adapters/http"
	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/app/operations"
	"github.com/marketflow/marketflow/app/payments"
	"github.com/marketflow/marketflow/app/tenants"
	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// What the edge costs by itself: a replay touches nothing but memory.
func BenchmarkReplay(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{
		"traced":   sdktrace.AlwaysSample(),
		"untraced": sdktrace.NeverSample(),
	} {
		b.Run(name, func(b *testing.B) {
			replay(b, replaying(b, sampler, edge.Access{Clients: memory.AllowAll{}}), "", http.StatusCreated)
		})
	}
}

// What it costs to know who asks: a replay where keys are not asked for, one with a key among a
// thousand, and a wrong key from an address that has failed too often.
func BenchmarkAuthentication(b *testing.B) {
	known := make(knownKeys, 0, 1000)
	secrets := make([]tenant.Secret, 0, cap(known))

	for range cap(known) {
		secret := tenant.NewSecret(binding.Test)
		secrets = append(secrets, secret)
		known = append(known, tenant.Key{
			ID: uuid.New(), Tenant: operation.DefaultTenant, Name: "shop", Mode: binding.Test, Prefix: secret.Prefix(),
			Sum: secret.Sum(), Scopes: tenant.AllScopes(),
		})
	}

	failures, err := memory.NewRateLimiter(1, 1, nil)
	require.NoError(b, err)

	access := edge.Access{
		Authenticate: tenants.NewAuthenticate(known, binding.Test), Clients: memory.AllowAll{}, Failures: failures,
	}

	for name, c := range map[string]struct {
		access   edge.Access
		key      string
		statuses []int
	}{
		"without keys": {edge.Access{Clients: memory.AllowAll{}}, "", []int{http.StatusCreated}},
		"a key":        {access, secrets[0].Reveal(), []int{http.StatusCreated}},
		// One in a second is looked up once more.
		"a wrong key": {
			access, tenant.NewSecret(binding.Test).Reveal(), []int{http.StatusTooManyRequests, http.StatusUnauthorized},
		},
	} {
		b.Run(name, func(b *testing.B) {
			handler := replaying(b, sdktrace.NeverSample(), c.access)
			ask(handler, c.key) // the first failure is told, the keys are read
			ask(handler, c.key)
			replay(b, handler, c.key, c.statuses...)
		})
	}
}

// knownKeys is a store of keys that never change.
type knownKeys []tenant.Key

func (knownKeys) KeysVersion(context.Context) (uuid.UUID, error) { return uuid.Max, nil }

func (k knownKeys) UsableAPIKeys(context.Context) ([]tenant.Key, error) { return k, nil }

func (knownKeys) TouchAPIKeys(context.Context, map[uuid.UUID]time.Time) error { return nil }

// replaying is the API with one answer in its memory, for the key that ask sends.
func replaying(b *testing.B, sampler sdktrace.Sampler, access edge.Access) http.Handler {
	b.Helper()

	tracing := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(tracetest.NewNoopExporter()))

	b.Cleanup(func() { _ = tracing.Shutdown(context.Background()) })

	metrics := telemetry.NewMetrics()
	log := telemetry.NewLogger(zapcore.InfoLevel, io.Discard)
	usd, err := money.ParseCurrency("USD")
	require.NoError(b, err)
	amount, err := money.ParsePrice("1000.00", usd)
	require.NoError(b, err)

	cache, err := memory.NewReplayCache(memory.DefaultBounds(), metrics.MemoryCache())
	require.NoError(b, err)
	cache.Put(b.Context(), operation.DefaultTenant, "order_123_attempt_1", ports.Replay{
		PaymentID:   uuid.New(),
		Fingerprint: operation.Order{Amount: amount}.Fingerprint(operation.Create, uuid.Nil),
		Response:    ports.FrozenResponse{Status: http.StatusCreated, Body: []byte(strings.Repeat("x", 280))},
	})

	told := telemetry.NewObserver(metrics, log, tracing)
	engine := operations.NewEngine(nil, nil, nil, cache, nil, nil, told, nil)
	create := payments.NewCreate(engine, nil, operation.Installation{}, nil, nil, told)

	return edge.NewHandler(edge.Telemetry{
		Log: log, Observer: metrics, Tracing: tracing, Propagator: propagation.TraceContext{}, Metrics: http.NotFoundHandler(),
	}, access, edge.NewPayments(create, nil, nil, nil, nil, nil),
		edge.NewRefunds(nil, nil, nil), edge.NewLists(edge.ListUseCases{}), edge.NewDisputes(edge.DisputeUseCases{}),
		edge.NewCustomers(edge.CustomerUseCases{}), edge.NewAPIKeys(nil), edge.NewAudit(nil), edge.NewWebhooks(nil, nil),
		edge.NewHealth(nil, nil, nil, nil))
}

// ask sends the request whose answer is kept, with an API key unless that is empty.
func ask(handler http.Handler, key string) *httptest.ResponseRecorder {
	const body = `{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1"}`

	request := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")

	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}

	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)

	return response
}

func replay(b *testing.B, handler http.Handler, key string, statuses ...int) {
	b.Helper()
	b.ReportAllocs()

	for b.Loop() {
		if response := ask(handler, key); !slices.Contains(statuses, response.Code) {
			b.Fatal(response.Code, response.Body)
		}
	}
}
