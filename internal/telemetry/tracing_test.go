package telemetry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/marketflow/marketflow/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestNewTracing_WithoutAnEndpointSpansHaveIDsAlone(t *testing.T) { //nolint:paralleltest // it sets the environment
	clearEnvironment(t)

	tracing := newTracing(t, telemetry.NewMetrics(), zap.NewNop())

	_, root := tracing.Provider.Tracer("test").Start(t.Context(), "root")
	defer root.End()

	require.False(t, root.IsRecording())
	require.True(t, root.SpanContext().IsValid(), "the logs need an id")
	require.False(t, root.SpanContext().IsSampled())

	ctx := tracing.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": traceparent})

	ctx, span := tracing.Provider.Tracer("test").Start(ctx, "request")
	defer span.End()

	require.False(t, span.IsRecording())

	out := propagation.MapCarrier{}
	tracing.Propagator.Inject(ctx, out)
	require.Contains(t, out["traceparent"], "0af7651916cd43dd8448eb211c80319c")
}

func TestNewTracing_OffBySwitch(t *testing.T) {
	for name, value := range map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "none"} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(name, value)

			_, span := newTracing(t, telemetry.NewMetrics(), zap.NewNop()).Provider.Tracer("test").Start(t.Context(), "span")
			defer span.End()

			require.False(t, span.IsRecording())
		})
	}
}

func TestNewTracing_ExportsOverHTTP(t *testing.T) {
	clearEnvironment(t)

	received := &collector{}
	server := httptest.NewServer(received)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")

	m := telemetry.NewMetrics()
	makeSpans(t, newTracing(t, m, zap.NewNop()), 3)

	require.Equal(t, []string{"span", "span", "span"}, received.spans())
	require.Equal(t, "/v1/traces", received.path)
	require.Equal(t, "hunter2", received.apiKey)
	requireMetrics(t, m, map[string]float64{
		`marketflow_trace_spans_total{outcome="exported"}`: 3,
		`marketflow_trace_export_failures_total{}`:         0,
	})

	about := received.resource()
	require.Equal(t, "marketflow", about["service.name"])
	require.Equal(t, "v1.2.3", about["service.version"])
	require.Equal(t, "test", about["deployment.environment.name"])
	require.NotEmpty(t, about["service.instance.id"])
	require.NotEmpty(t, about["host.name"])
	require.Contains(t, about, "process.pid")
	require.NotContains(t, about, "process.command_args", "a secret may be among them")
}

func TestNewTracing_ExportsOverGRPC(t *testing.T) {
	clearEnvironment(t)

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	received := &collector{}
	server := grpc.NewServer()
	coltrace.RegisterTraceServiceServer(server, received)

	var serving sync.WaitGroup

	serving.Go(func() { _ = server.Serve(listener) })

	t.Cleanup(func() { server.Stop(); serving.Wait() })

	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://"+listener.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_SERVICE_NAME", "another-name")

	makeSpans(t, newTracing(t, telemetry.NewMetrics(), zap.NewNop()), 1)

	require.Equal(t, []string{"span"}, received.spans())
	require.Equal(t, "another-name", received.resource()["service.name"])
}

func TestNewTracing_SamplesAsTheVariableSays(t *testing.T) {
	for sampler, want := range map[string]bool{
		"": true, "always_off": false, "parentbased_always_off": false, "parentbased_traceidratio": false,
	} {
		t.Run("sampler "+sampler, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv("OTEL_TRACES_SAMPLER", sampler)
			t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")

			tracing := newTracing(t, telemetry.NewMetrics(), zap.NewNop())

			_, span := tracing.Provider.Tracer("test").Start(t.Context(), "span")
			defer span.End()

			require.Equal(t, want, span.SpanContext().IsSampled())

			// A caller who samples is followed where the sampler asks the parent.
			ctx := tracing.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": traceparent})

			_, child := tracing.Provider.Tracer("test").Start(ctx, "span")
			defer child.End()

			require.Equal(t, sampler != "always_off", child.SpanContext().IsSampled())
		})
	}
}

// A flood of requests is traced up to a rate, and each trace whole or not at all.
func TestNewTracing_AThousandTracesASecond(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")

	synctest.Test(t, func(t *testing.T) {
		tracing := newTracing(t, telemetry.NewMetrics(), zap.NewNop())
		tracer := tracing.Provider.Tracer("test")

		sampled := func(ctx context.Context) (n int) {
			for range 1500 {
				ctx, root := tracer.Start(ctx, "root")
				_, child := tracer.Start(ctx, "child")

				require.Equal(t, root.SpanContext().IsSampled(), child.SpanContext().IsSampled())

				if root.SpanContext().IsSampled() {
					n++
				}
			}

			return n
		}

		require.Equal(t, 1000, sampled(t.Context()))

		time.Sleep(100 * time.Millisecond) // the bubble's clock

		require.Equal(t, 100, sampled(t.Context()))

		// A caller who samples does not lift the rate, and one who does not is followed.
		ctx := tracing.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": traceparent})
		require.Zero(t, sampled(ctx))

		time.Sleep(time.Second)

		require.Equal(t, 1000, sampled(ctx))

		time.Sleep(time.Second)

		unsampled := strings.TrimSuffix(traceparent, "1") + "0"
		ctx = tracing.Propagator.Extract(t.Context(), propagation.MapCarrier{"traceparent": unsampled})
		require.Zero(t, sampled(ctx))
	})
}

// What a client makes long is cut, unless the environment says otherwise.
func TestNewTracing_AttributesAreCut(t *testing.T) {
	for _, c := range []struct {
		variable, value string
		want            int
	}{
		{"", "", 256},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "10", 10},
		{"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "300", 300},
		{"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "-1", 1000},
	} {
		t.Run(c.variable+c.value, func(t *testing.T) {
			clearEnvironment(t)

			received := &collector{}
			server := httptest.NewServer(received)
			t.Cleanup(server.Close)

			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)

			if c.variable != "" {
				t.Setenv(c.variable, c.value)
			}

			tracing := newTracing(t, telemetry.NewMetrics(), zap.NewNop())
			_, span := tracing.Provider.Tracer("test").Start(t.Context(), "span")
			span.SetAttributes(attribute.String("url.path", strings.Repeat("é", 1000)))
			span.End()
			require.NoError(t, tracing.Shutdown(t.Context()))

			require.Equal(t, strings.Repeat("é", c.want), received.attribute("url.path"))
		})
	}
}

func TestNewTracing_EveryTraceWhereTheVariableSaysSo(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")

	tracer := newTracing(t, telemetry.NewMetrics(), zap.NewNop()).Provider.Tracer("test")

	for range 3000 {
		_, root := tracer.Start(t.Context(), "root")
		require.True(t, root.SpanContext().IsSampled())
	}
}

// A collector that is away, or takes everything and never answers, costs lost
// spans and one line. Nobody waits for it.
func TestNewTracing_CollectorAway(t *testing.T) {
	for name, endpoint := range map[string]func(*testing.T) string{"down": closedPort, "silent": silentServer} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			t.Setenv("OTEL_TRACES_SAMPLER", "always_on")
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint(t))
			t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "50")
			t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "50")
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")

			core, logs := observer.New(zap.InfoLevel)
			m := telemetry.NewMetrics()
			tracing := newTracing(t, m, zap.New(core))
			tracer := tracing.Provider.Tracer("test")

			for range 20_000 { // ten times the queue: a span that waited would wait for ever
				_, span := tracer.Start(t.Context(), "span")
				span.End()
			}

			require.Eventually(t, func() bool {
				_, span := tracer.Start(t.Context(), "span")
				span.End()

				return values(t, m)[`marketflow_trace_export_failures_total{}`] >= 2
			}, 30*time.Second, 10*time.Millisecond)

			require.Equal(t, 1, logs.Len(), "%v", logs.All())
			require.Equal(t, zap.WarnLevel, logs.All()[0].Level)
			require.Positive(t, values(t, m)[`marketflow_trace_spans_total{outcome="lost"}`])
		})
	}
}

// A collector that is only too slow takes everything in the end, but for what
// the queue had no room for.
func TestNewTracing_CountsWhatTheQueueHasNoRoomFor(t *testing.T) {
	clearEnvironment(t)

	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-held }))

	t.Cleanup(func() { release(); server.Close() })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1000")
	t.Setenv("OTEL_TRACES_SAMPLER", "always_on")

	m := telemetry.NewMetrics()
	tracer := newTracing(t, m, zap.NewNop()).Provider.Tracer("test")

	for range 3000 {
		_, span := tracer.Start(t.Context(), "span")
		span.End()
	}

	require.InDelta(t, 2000, values(t, m)[`marketflow_trace_spans_total{outcome="lost"}`], 0)
	release()
	require.Eventually(t, func() bool {
		return values(t, m)[`marketflow_trace_spans_total{outcome="exported"}`] == 1000
	}, 30*time.Second, 5*time.Millisecond)
	require.Zero(t, values(t, m)[`marketflow_trace_export_failures_total{}`])
}

func TestNewTracing_TellsThatTheCollectorIsBack(t *testing.T) {
	clearEnvironment(t)

	received := &collector{}
	received.refuse.Store(true)
	server := httptest.NewServer(received)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")

	core, logs := observer.New(zap.InfoLevel)
	tracing := newTracing(t, telemetry.NewMetrics(), zap.New(core))
	tracer := tracing.Provider.Tracer("test")
	spanUntil := func(lines int) {
		require.Eventually(t, func() bool {
			_, span := tracer.Start(t.Context(), "span")
			span.End()

			return logs.Len() == lines
		}, 30*time.Second, 5*time.Millisecond)
	}

	spanUntil(1)
	received.refuse.Store(false)
	spanUntil(2)
	require.Equal(t, zap.InfoLevel, logs.All()[1].Level)
}

func TestNewTracing_RefusesWhatItCannotRead(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"

	for name, variables := range map[string]map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT: no scheme": {endpoint: "localhost:4317"},
		"OTEL_EXPORTER_OTLP_ENDPOINT: no URL":    {endpoint: "http://user:hunter2@[::1"},
		"OTEL_EXPORTER_OTLP_ENDPOINT: scheme":    {endpoint: "ftp://user:hunter2@collector"},
		"OTEL_EXPORTER_OTLP_PROTOCOL":            {endpoint: "http://collector:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"},
		"OTEL_TRACES_EXPORTER":                   {"OTEL_TRACES_EXPORTER": "zipkin"},
		"OTEL_TRACES_SAMPLER":                    {"OTEL_TRACES_SAMPLER": "sometimes"},
		"OTEL_TRACES_SAMPLER_ARG: no number":     {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "half"},
		"OTEL_TRACES_SAMPLER_ARG: NaN":           {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "NaN"},
		"OTEL_TRACES_SAMPLER_ARG: over one": {
			"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5",
		},
		"OTEL_EXPORTER_OTLP_ENDPOINT: no host":  {endpoint: "http://:4318"},
		"OTEL_EXPORTER_OTLP_ENDPOINT: password": {endpoint: "http://user:hunter2@collector:4318"},
		"OTEL_EXPORTER_OTLP_ENDPOINT: slash":    {endpoint: "http://user:12/hunter2@collector:4318"},
		"OTEL_EXPORTER_OTLP_ENDPOINT: query":    {endpoint: "http://collector:4318?token=hunter2"},
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": {
			endpoint: "http://collector:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector hunter2",
		},
		"OTEL_EXPORTER_OTLP_HEADERS: as in HTTP":        {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Bearer hunter2"},
		"OTEL_EXPORTER_OTLP_HEADERS: the second":        {"OTEL_EXPORTER_OTLP_HEADERS": "good=1,Authorization: Basic hunter2"},
		"OTEL_EXPORTER_OTLP_HEADERS: colon and base64":  {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization: Basic hunter2=="},
		"OTEL_EXPORTER_OTLP_HEADERS: the token alone":   {"OTEL_EXPORTER_OTLP_HEADERS": "hunter2"},
		"OTEL_EXPORTER_OTLP_HEADERS: base64 alone":      {"OTEL_EXPORTER_OTLP_HEADERS": "aHVudGVyMg==,hunter2="},
		"OTEL_EXPORTER_OTLP_HEADERS: no name":           {"OTEL_EXPORTER_OTLP_HEADERS": "=hunter2"},
		"OTEL_EXPORTER_OTLP_HEADERS: escape":            {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2%"},
		"OTEL_EXPORTER_OTLP_HEADERS: line break":        {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2%0A"},
		"OTEL_EXPORTER_OTLP_HEADERS: JSON":              {"OTEL_EXPORTER_OTLP_HEADERS": `{"Authorization":"Bearer hunter2="}`},
		"OTEL_EXPORTER_OTLP_HEADERS: quotes":            {"OTEL_EXPORTER_OTLP_HEADERS": `"api-key=hunter2"`},
		"OTEL_EXPORTER_OTLP_HEADERS: quoted value":      {"OTEL_EXPORTER_OTLP_HEADERS": `api-key="hunter2"`},
		"OTEL_EXPORTER_OTLP_HEADERS: trailing comma":    {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=hunter2,"},
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":             {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "Authorization Bearer hunter2"},
		"OTEL_RESOURCE_ATTRIBUTES: no value":            {"OTEL_RESOURCE_ATTRIBUTES": "team=x,hunter2"},
		"OTEL_RESOURCE_ATTRIBUTES: escape":              {"OTEL_RESOURCE_ATTRIBUTES": "token=%hunter2"},
		"OTEL_EXPORTER_OTLP_CLIENT_KEY: the key itself": {"OTEL_EXPORTER_OTLP_CLIENT_KEY": "-----BEGIN PRIVATE KEY----- hunter2"},
		"OTEL_EXPORTER_OTLP_COMPRESSION":                {"OTEL_EXPORTER_OTLP_COMPRESSION": "hunter2"},
		"OTEL_EXPORTER_OTLP_TIMEOUT: with unit":         {"OTEL_EXPORTER_OTLP_TIMEOUT": "10s hunter2"},
		"OTEL_EXPORTER_OTLP_TIMEOUT: zero":              {"OTEL_EXPORTER_OTLP_TIMEOUT": "0"},
		"OTEL_BSP_SCHEDULE_DELAY: over a day":           {"OTEL_BSP_SCHEDULE_DELAY": "86400001"},
		"OTEL_BSP_MAX_QUEUE_SIZE: negative":             {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)

			for variable, value := range variables {
				t.Setenv(variable, value)
			}

			_, err := telemetry.NewTracing(t.Context(), "v1.2.3", telemetry.NewMetrics().Exports(), zap.NewNop())
			variable, _, _ := strings.Cut(name, ":")
			require.ErrorContains(t, err, variable+": must")
			require.NotContains(t, err.Error(), "unter2")
			require.NotContains(t, err.Error(), "\n", "one line")
		})
	}
}

func TestCheckEnvironment_AcceptsWhatTheStandardAllows(t *testing.T) {
	for variable, values := range map[string][]string{
		"OTEL_EXPORTER_OTLP_HEADERS": {
			"", "Authorization=Bearer hunter2", "Authorization=Bearer%20hunter2", "authorization=Basic aHVudGVyMg==",
			" api-key = hunter2 , x-team=payments ", "api-key=a=b;c",
		},
		"OTEL_RESOURCE_ATTRIBUTES":          {"service.namespace=shop,deployment.environment.name=a%20b", "k="},
		"OTEL_EXPORTER_OTLP_ENDPOINT":       {"http://collector:4318", "https://collector/otlp/", "http://[::1]:4317"},
		"OTEL_EXPORTER_OTLP_COMPRESSION":    {"gzip", "none"},
		"OTEL_EXPORTER_OTLP_TIMEOUT":        {"10000"},
		"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT":   {"-1", "128"},
		"OTEL_EXPORTER_OTLP_CERTIFICATE":    {"tracing_test.go"},
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS": {"api-key=hunter2"},
	} {
		for _, value := range values {
			t.Run(variable+"="+value, func(t *testing.T) {
				clearEnvironment(t)
				t.Setenv(variable, value)
				require.NoError(t, telemetry.CheckEnvironment())
			})
		}
	}
}

// Should OpenTelemetry find a fault that the check has missed, its complaint is a
// line of the log, without the value.
func TestLogComplaints_ShowsNoValue(t *testing.T) {
	clearEnvironment(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer hunter2")

	core, logs := observer.New(zap.DebugLevel)
	telemetry.LogComplaints(zap.New(core))

	_, err := otlptracehttp.New(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, logs.Len())
	require.NotContains(t, fmt.Sprint(logs.All()[0]), "hunter2")
}

// Libraries that know only the process's tracing get ours, and what
// OpenTelemetry has to complain of is a line like any other.
func TestTracing_Install(t *testing.T) { //nolint:paralleltest // it sets what is global
	clearEnvironment(t)

	core, logs := observer.New(zap.InfoLevel)
	telemetry.LogComplaints(zap.New(core))

	tracing := newTracing(t, telemetry.NewMetrics(), zap.New(core))
	tracing.Install()

	require.Equal(t, tracing.Propagator, otel.GetTextMapPropagator())

	otel.Handle(io.ErrUnexpectedEOF)
	require.Equal(t, 1, logs.Len())
	require.Equal(t, io.ErrUnexpectedEOF.Error(), logs.All()[0].ContextMap()["error"])
}

func BenchmarkTracing_Off(b *testing.B) {
	tracing, err := telemetry.NewTracing(b.Context(), "v1.2.3", telemetry.NewMetrics().Exports(), zap.NewNop())
	require.NoError(b, err)

	tracer := tracing.Provider.Tracer("bench")

	b.ReportAllocs()

	for b.Loop() {
		_, span := tracer.Start(b.Context(), "span", trace.WithSpanKind(trace.SpanKindClient))
		span.End()
	}
}

// clearEnvironment hides what the machine says about OpenTelemetry.
func clearEnvironment(t *testing.T) {
	t.Helper()

	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

func newTracing(t *testing.T, m *telemetry.Metrics, logger *zap.Logger) *telemetry.Tracing {
	t.Helper()

	tracing, err := telemetry.NewTracing(t.Context(), "v1.2.3", m.Exports(), logger)
	require.NoError(t, err)
	t.Cleanup(func() {
		ended, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 100*time.Millisecond)
		defer cancel()

		_ = tracing.Shutdown(ended) // a collector that is away keeps it until the end of the context
	})

	return tracing
}

// makeSpans makes spans and has them sent.
func makeSpans(t *testing.T, tracing *telemetry.Tracing, count int) {
	t.Helper()

	for range count {
		_, span := tracing.Provider.Tracer("test").Start(t.Context(), "span")
		span.End()
	}

	require.NoError(t, tracing.Shutdown(t.Context()))
}

func closedPort(t *testing.T) string {
	t.Helper()

	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()

	return server.URL
}

// silentServer takes requests and answers none.
func silentServer(t *testing.T) string {
	t.Helper()

	release := make(chan struct{})

	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))

	t.Cleanup(func() { close(release); server.Close() })

	return server.URL
}

// collector takes spans over HTTP and gRPC.
type collector struct {
	coltrace.UnimplementedTraceServiceServer

	refuse atomic.Bool

	mu           sync.Mutex
	requests     []*coltrace.ExportTraceServiceRequest
	path, apiKey string
}

func (c *collector) Export(
	_ context.Context, request *coltrace.ExportTraceServiceRequest,
) (*coltrace.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.requests = append(c.requests, request)

	return &coltrace.ExportTraceServiceResponse{}, nil
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.refuse.Load() {
		w.WriteHeader(http.StatusForbidden)

		return
	}

	body, err := readBody(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	request := &coltrace.ExportTraceServiceRequest{}
	if err := proto.Unmarshal(body, request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}

	c.mu.Lock()
	c.path, c.apiKey = r.URL.Path, r.Header.Get("Api-Key")
	c.mu.Unlock()

	_, _ = c.Export(r.Context(), request)
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Header.Get("Content-Encoding") != "gzip" {
		return body, err
	}

	unzipped, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}

	return io.ReadAll(unzipped)
}

func (c *collector) spans() []string {
	c.mu.Lock()
	defer c.mu.Unlock()

	var names []string

	for _, request := range c.requests {
		for _, of := range request.GetResourceSpans() {
			for _, scope := range of.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					names = append(names, span.GetName())
				}
			}
		}
	}

	return names
}

// attribute is the first span's.
func (c *collector) attribute(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()

	for _, pair := range c.requests[0].GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0].GetAttributes() {
		if pair.GetKey() == name {
			return text(pair.GetValue())
		}
	}

	return ""
}

func (c *collector) resource() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()

	attributes := map[string]string{}
	for _, pair := range c.requests[0].GetResourceSpans()[0].GetResource().GetAttributes() {
		attributes[pair.GetKey()] = text(pair.GetValue())
	}

	return attributes
}

func text(value *common.AnyValue) string {
	if s, ok := value.GetValue().(*common.AnyValue_StringValue); ok {
		return s.StringValue
	}

	return value.String()
}
