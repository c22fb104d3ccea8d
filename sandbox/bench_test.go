package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

var errStatus = errors.New("unexpected status")

const createBody = "amount=2000&currency=usd&payment_method_types[0]=card&metadata[payment_id]=" +
	"018f4e7a-9d7e-7c6b-a7e3-1b2c3d4e5f60&metadata[order]=order_123"

// BenchmarkCreateIntentHTTP creates intents over loopback HTTP with keep-alive,
// each under an idempotency key of its own, client and sandbox on one machine.
func BenchmarkCreateIntentHTTP(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkCreate(b, sandbox.Options{}) })
	b.Run("state", func(b *testing.B) {
		benchmarkCreate(b, sandbox.Options{StateFile: filepath.Join(b.TempDir(), "state")})
	})
	b.Run("webhook", func(b *testing.B) {
		receiver := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		})}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(b, err)

		go func() { _ = receiver.Serve(listener) }()

		b.Cleanup(func() { _ = receiver.Close() })
		benchmarkCreate(b, sandbox.Options{WebhookURL: "http://" + listener.Addr().String()})
	})
}

func benchmarkCreate(b *testing.B, options sandbox.Options) {
	b.Helper()

	server, err := sandbox.Listen(b.Context(), "127.0.0.1:0", options)
	require.NoError(b, err)

	b.Cleanup(func() { require.NoError(b, server.Close()) })

	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()

	client := &http.Client{Transport: transport}

	var key atomic.Int64

	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			request, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+"/v1/payment_intents",
				strings.NewReader(createBody))
			if err != nil {
				b.Error(err)

				return
			}

			request.Header.Set("Authorization", "Bearer sk_test_bench")
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.Header.Set("Idempotency-Key", "key-"+strconv.FormatInt(key.Add(1), 10))

			response, err := client.Do(request)
			if err != nil {
				b.Error(err)

				return
			}

			_, err = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()

			if err != nil || response.StatusCode != http.StatusOK {
				b.Errorf("status %d: %v", response.StatusCode, err)

				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

// BenchmarkCreateIntentWire is the same through a client that does next to
// nothing, so that the sandbox is what is measured.
func BenchmarkCreateIntentWire(b *testing.B) {
	server, err := sandbox.Listen(b.Context(), "127.0.0.1:0", sandbox.Options{})
	require.NoError(b, err)

	b.Cleanup(func() { require.NoError(b, server.Close()) })

	var key atomic.Int64

	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		connection, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			b.Error(err)

			return
		}

		defer func() { _ = connection.Close() }()

		reader := bufio.NewReaderSize(connection, 8192)

		for p.Next() {
			_, err := fmt.Fprintf(connection, "POST /v1/payment_intents HTTP/1.1\r\nHost: sandbox\r\n"+
				"Authorization: Bearer sk_test_bench\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
				"Idempotency-Key: key-%d\r\nContent-Length: %d\r\n\r\n%s", key.Add(1), len(createBody), createBody)
			if err == nil {
				err = skipResponse(reader)
			}

			if err != nil {
				b.Error(err)

				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creates/s")
}

// skipResponse reads one response of known length and checks its status.
func skipResponse(reader *bufio.Reader) error {
	length, first := 0, true

	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading the header: %w", err)
		}

		if first && string(line) != "HTTP/1.1 200 OK\r\n" {
			return fmt.Errorf("%w: %s", errStatus, line)
		}

		first = false

		if len(line) <= 2 {
			break
		}

		if text, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
				return fmt.Errorf("reading the length: %w", err)
			}
		}
	}

	if _, err := reader.Discard(length); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}

	return nil
}
