package logctx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/internal/telemetry/logctx"
)

func TestField_AddsWhatTheContextCarries(t *testing.T) {
	t.Parallel()

	ctx, span := sdktrace.NewTracerProvider().Tracer("test").Start(t.Context(), "span")
	defer span.End()

	ctx = logctx.WithRequest(ctx, &logctx.Request{ID: "req_1"})

	require.Equal(t, map[string]any{
		"trace_id":   span.SpanContext().TraceID().String(),
		"span_id":    span.SpanContext().SpanID().String(),
		"request_id": "req_1",
	}, line(t, ctx))
}

func TestField_AddsNothingOfAnEmptyContext(t *testing.T) {
	t.Parallel()

	require.Empty(t, line(t, t.Context()))
}

func TestField_TheInnermostIDWins(t *testing.T) {
	t.Parallel()

	ctx := logctx.WithRequest(t.Context(), &logctx.Request{ID: "outer"})
	require.Equal(t, map[string]any{"request_id": "inner"}, line(t, logctx.WithRequest(ctx, &logctx.Request{ID: "inner"})))
	require.Equal(t, map[string]any{"request_id": "outer"}, line(t, ctx))
}

// A request's line tells of one thing; what happens besides or later has its own line.
func TestAdd(t *testing.T) {
	t.Parallel()

	require.False(t, logctx.Add(t.Context(), zap.Int("a", 1)), "there is no request")

	request := &logctx.Request{ID: "req_1"}
	ctx := logctx.WithRequest(t.Context(), request)
	require.True(t, logctx.Add(ctx, zap.Int("a", 1)))
	require.False(t, logctx.Add(ctx, zap.Int("a", 2)), "one thing")
	require.Equal(t, []zap.Field{zap.Int("a", 1)}, request.Told())

	answered := &logctx.Request{ID: "req_2"}
	require.Empty(t, answered.Told())
	require.False(t, logctx.Add(logctx.WithRequest(t.Context(), answered), zap.Int("a", 1)), "its line is written")
}

func BenchmarkField(b *testing.B) {
	ctx := logctx.WithRequest(b.Context(), &logctx.Request{ID: "req_1"})
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), discard{}, zap.InfoLevel))

	for name, log := range map[string]func(string, ...zap.Field){"Written": logger.Info, "NotWritten": logger.Debug} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()

			for b.Loop() {
				log("line", logctx.Field(ctx))
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Sync() error                 { return nil }

func line(t *testing.T, ctx context.Context) map[string]any {
	t.Helper()

	var out bytes.Buffer

	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&out), zap.InfoLevel)).Info("line", logctx.Field(ctx))

	fields := map[string]any{}
	require.NoError(t, json.Unmarshal(out.Bytes(), &fields), out.String())

	return fields
}
