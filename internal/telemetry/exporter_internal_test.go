package telemetry

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProtocol_FollowsThePort(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "")

	for endpoint, want := range map[string]string{
		"http://collector":           "http/protobuf",
		"http://collector:4318":      "http/protobuf",
		"http://collector:4317":      "grpc",
		"https://[2001:db8::1]:4317": "grpc",
		"https://collector/4317":     "http/protobuf",
	} {
		require.Equal(t, want, protocol(parse(t, endpoint)), endpoint)
	}
}

func TestProtocol_TheVariableDecides(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "")
	require.Equal(t, "grpc", protocol(parse(t, "http://collector:4318")))

	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
	require.Equal(t, "http/protobuf", protocol(parse(t, "http://collector:4317")))
}

func parse(t *testing.T, endpoint string) *url.URL {
	t.Helper()

	target, err := url.Parse(endpoint)
	require.NoError(t, err)

	return target
}
