package http_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
	"github.com/marketflow/marketflow/domain/money"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/internal/telemetry"
	"github.com/marketflow/marketflow/ports"
)

// What the edge costs by itself: a replay touches nothing but memory.
func BenchmarkReplay(b *testing.B) {
	for name, sampler := range map[string]sdktrace.Sampler{
		"traced":   sdktrace.AlwaysSample(),
		"untraced": sdktrace.NeverSample(),
	} {
		b.Run(name, func(b *testing.B) { benchmarkReplay(b, sampler) })
	}
}

func benchmarkReplay(b *testing.B, sampler sdktrace.Sampler) {
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
	handler := edge.NewHandler(edge.Telemetry{
		Log: log, Observer: metrics, Tracing: tracing, Propagator: propagation.TraceContext{}, Metrics: http.NotFoundHandler(),
	}, edge.Access{Clients: memory.AllowAll{}}, edge.NewPayments(create, nil, nil, nil, nil, nil),
		edge.NewRefunds(nil, nil, nil), edge.NewLists(edge.ListUseCases{}), edge.NewDisputes(edge.DisputeUseCases{}),
		edge.NewCustomers(edge.CustomerUseCases{}), edge.NewAPIKeys(nil), edge.NewAudit(nil), edge.NewWebhooks(nil, nil),
		edge.NewHealth(nil, nil, nil, nil))

	const body = `{"amount":1000.00,"currency":"USD","idempotency_key":"order_123_attempt_1"}`

	b.ReportAllocs()

	for b.Loop() {
		request := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(body))
		request.Header.Set("Content-Type", "application/json")

		response := httptest.NewRecorder()
		if handler.ServeHTTP(response, request); response.Code != http.StatusCreated {
			b.Fatal(response.Code, response.Body)
		}
	}
}
