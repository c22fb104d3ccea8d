package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/ports"
)

// bed is a limiter on a Redis.
type bed struct {
	server  *miniredis.Miniredis
	client  *redis.Client
	limiter *redis.RateLimiter
	meter   *meter
}

func setup(t *testing.T) *bed {
	t.Helper()

	server := miniredis.RunT(t)
	// A rest would last longer than the test: none of this may lead to one.
	b := onURL(t, redis.Config{URL: "redis://" + server.Addr(), Timeout: patient, Rest: time.Hour})
	b.server = server

	return b
}

func onURL(t *testing.T, config redis.Config) *bed {
	t.Helper()

	b := &bed{client: newClient(t, config), meter: &meter{}}

	limiter, err := redis.NewRateLimiter(b.client, redis.LimiterConfig{Rate: 1, Secret: []byte(secret)}, b.meter)
	require.NoError(t, err)

	b.limiter = limiter

	return b
}

// A value of another type is an error about that value, and no reason to stop
// asking for others.
func TestRateLimiter_WrongType(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.limiter.Allow(t.Context(), "client")

	name := b.server.Keys()[0]
	b.server.Del(name)

	_, err := b.server.Lpush(name, "x")
	require.NoError(t, err)

	for range 10 {
		allowed := !b.limiter.Allow(t.Context(), "client").Denied
		require.True(t, allowed)
	}

	require.EqualValues(t, 10, b.meter.errors.Load())
	b.limiter.Allow(t.Context(), "another client")
	require.EqualValues(t, 2, b.meter.allowed.Load())
}

func TestRateLimiter_ShowsRedisNothing(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.limiter.Allow(t.Context(), "192.0.2.7")

	dump := b.server.Dump()
	require.Contains(t, dump, "rate:marketflow:limit:v1:")

	for _, private := range []string{"192.0.2.7", secret} {
		require.NotContains(t, dump, private)
	}
}

func TestRedis_Down(t *testing.T) {
	t.Parallel()

	server := miniredis.RunT(t)
	url := "redis://" + server.Addr()
	server.Close()

	b := onURL(t, redis.Config{URL: url, Rest: time.Hour})
	b.requireBypassed(t, 50)
	require.Error(t, b.client.Ping(t.Context()))
}

// A Redis that takes connections and commands and never answers is asked a few
// times, not once for each request.
func TestRedis_Silent(t *testing.T) {
	t.Parallel()

	server := silent(t)
	b := onURL(t, redis.Config{URL: server.url, Timeout: 10 * time.Millisecond, Rest: time.Hour})

	b.requireBypassed(t, 200)
	require.LessOrEqual(t, server.connections.Load(), int64(10))
	require.Error(t, b.client.Ping(t.Context()))
}

func (b *bed) requireBypassed(t *testing.T, times int) {
	t.Helper()

	for range times {
		a := b.limiter.Allow(t.Context(), "client")
		require.False(t, a.Denied)
		require.Zero(t, a.RetryAfter)
	}

	require.Zero(t, b.meter.allowed.Load())
	require.EqualValues(t, times, b.meter.errors.Load())
}

func TestRedis_ComesBack(t *testing.T) {
	t.Parallel()

	core, logs := observer.New(zap.InfoLevel)
	server := miniredis.RunT(t)
	b := onURL(t, redis.Config{
		URL: "redis://" + server.Addr(), Timeout: patient, Rest: time.Millisecond, Logger: zap.New(core),
	})
	b.limiter.Allow(t.Context(), "client")
	require.EqualValues(t, 1, b.meter.allowed.Load())

	server.SetError("LOADING Redis is loading the dataset in memory")

	for range 20 {
		b.limiter.Allow(t.Context(), "client")
	}

	require.EqualValues(t, 20, b.meter.errors.Load())

	require.Error(t, b.client.Ping(t.Context()))
	server.SetError("")
	require.Eventually(t, func() bool {
		b.limiter.Allow(t.Context(), "another client")

		return b.meter.allowed.Load() == 2
	}, patient, time.Millisecond)
	require.NoError(t, b.client.Ping(t.Context()))

	entries := logs.All()
	require.Len(t, entries, 2, "an outage is two lines, however long it lasts")
	require.Equal(t, zap.WarnLevel, entries[0].Level)
	require.Contains(t, entries[0].ContextMap()["cause"], "LOADING")
	require.Equal(t, zap.InfoLevel, entries[1].Level)
}

// While Redis is away each process counts by itself, where it is given a limiter.
func TestRateLimiter_LimitsWithoutRedis(t *testing.T) {
	t.Parallel()

	server := miniredis.RunT(t)
	b := onURL(t, redis.Config{URL: "redis://" + server.Addr(), Timeout: patient, Rest: time.Hour})
	without := &alternating{}
	m := &meter{}
	limiter, err := redis.NewRateLimiter(b.client,
		redis.LimiterConfig{Rate: 100, Secret: []byte(secret), Without: without}, m)
	require.NoError(t, err)

	allowed := !limiter.Allow(t.Context(), "client").Denied
	require.True(t, allowed)
	require.Zero(t, without.asked)
	server.Close()

	for i := range 4 {
		a := limiter.Allow(t.Context(), "client")
		require.Equal(t, i%2 != 0, a.Denied)
		require.Equal(t, time.Second, a.RetryAfter)
	}

	require.EqualValues(t, 4, m.errors.Load())
}

// alternating allows every other request.
type alternating struct{ asked int }

func (a *alternating) Allow(context.Context, string) ports.Allowance {
	a.asked++

	return ports.Allowance{Denied: a.asked%2 != 1, RetryAfter: time.Second}
}

func TestRateLimiter_WrongValues(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.limiter.Allow(t.Context(), "client")
	name := b.server.Keys()[0]

	for _, value := range []string{"", "abc", "nan", "-nan", "inf", "-inf", "1e300", "-1e300", "9999999999", "0x7fffffff"} {
		require.NoError(t, b.server.Set(name, value))

		a := b.limiter.Allow(t.Context(), "client")
		require.False(t, a.Denied, value)
		require.Zero(t, a.RetryAfter, value)
	}

	b.server.Del(name)

	_, err := b.server.Lpush(name, "x")
	require.NoError(t, err)

	allowed := !b.limiter.Allow(t.Context(), "client").Denied
	require.True(t, allowed)
}

// Replies that are no answers to what was asked panic inside the libraries; a
// request must not end so.
func TestRedis_SpeaksNonsense(t *testing.T) {
	t.Parallel()

	for name, reply := range map[string]string{
		"a number":            ":1\r\n",
		"nothing":             "$-1\r\n",
		"an endless string":   "$9223372036854775800\r\n",
		"a short array":       "*1\r\n:1\r\n",
		"an array of nothing": "*4\r\n$-1\r\n$-1\r\n$-1\r\n$-1\r\n",
		"a limit, wrong":      "*4\r\n:0\r\n:0\r\n$3\r\nnan\r\n$1\r\n1\r\n",
		"a limit, for ever":   "*4\r\n:0\r\n:0\r\n$5\r\n1e300\r\n$1\r\n1\r\n",
		"no protocol":         "HTTP/1.1 400 Bad Request\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := onURL(t, redis.Config{URL: listen(t, reply).url, Timeout: time.Second, Rest: time.Millisecond})

			for range 5 {
				allowed := !b.limiter.Allow(t.Context(), "client").Denied
				require.True(t, allowed)
			}
		})
	}
}

func TestRedis_SpansHoldNoArguments(t *testing.T) {
	t.Parallel()

	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	server := miniredis.RunT(t)
	server.RequireUserAuth("app", "a-password")

	b := onURL(t, redis.Config{
		URL: "redis://app:a-password@" + server.Addr(), Timeout: patient, Tracer: provider,
	})

	ctx, span := provider.Tracer("test").Start(t.Context(), "request")
	b.limiter.Allow(ctx, "192.0.2.7")
	span.End()

	names := map[string]bool{}

	for _, s := range recorder.Ended() {
		names[s.Name()] = true
		require.Equal(t, span.SpanContext().TraceID(), s.SpanContext().TraceID(), "%s belongs to the request", s.Name())

		text := fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Status())
		for _, private := range []string{"marketflow:", "192.0.2.7", "a-password", "secret"} {
			require.NotContains(t, text, private)
		}
	}

	require.True(t, names["evalsha"], "a span of evalsha in %v", names)
}

func TestConfig_PrintsNoSecret(t *testing.T) {
	t.Parallel()

	core, logs := observer.New(zap.DebugLevel)
	logger := zap.New(core)

	for _, config := range []any{
		redis.Config{URL: "rediss://user:hunter2@redis.example:6380/1"},
		redis.Config{URL: "redis://:hunter2@[bad"},
		redis.LimiterConfig{Secret: []byte("hunter2")},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(verb, config), "hunter2")
		}

		logger.Info("config", zap.Any("config", config), zap.Reflect("reflected", config))
	}

	for _, entry := range logs.All() {
		require.NotContains(t, fmt.Sprint(entry.ContextMap()), "hunter2")
	}
}

func TestNewClient_RefusesABadURLWithoutShowingIt(t *testing.T) {
	t.Parallel()

	for _, url := range []string{
		"", "localhost:6379", "http://user:hunter2@redis", "redis://user:hunter2@redis:port",
		"redis://user:hunter2@[redis", "redis://user:hunter2@redis/zero", "redis://user:hunter2@redis?no_such=1",
	} {
		_, err := redis.NewClient(redis.Config{URL: url})
		require.ErrorContains(t, err, "REDIS_URL")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestNew_RefusesWhatCannotWork(t *testing.T) {
	t.Parallel()

	client := newClient(t, redis.Config{URL: "redis://127.0.0.1:1"})

	_, err := redis.NewRateLimiter(client, redis.LimiterConfig{Rate: 1, Secret: []byte("short")}, &meter{})
	require.Error(t, err)
	_, err = redis.NewRateLimiter(client, redis.LimiterConfig{Secret: []byte(secret)}, &meter{})
	require.Error(t, err)
}

// server is something on Redis's port.
type server struct {
	url         string
	connections atomic.Int64
}

// silent takes connections and never answers.
func silent(t *testing.T) *server {
	t.Helper()

	return listen(t, "")
}

// listen answers every command but the handshake with reply.
func listen(t *testing.T, reply string) *server {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	s := &server{url: "redis://" + listener.Addr().String()}

	var all sync.WaitGroup

	ctx, stop := context.WithCancel(context.Background())

	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			s.connections.Add(1)
			all.Go(func() { answer(ctx, conn, reply) })
		}
	})

	t.Cleanup(func() {
		stop()
		require.NoError(t, listener.Close())
		all.Wait()
	})

	return s
}

func answer(ctx context.Context, conn net.Conn, reply string) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()

	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		say := ""

		switch lines.Text() {
		case "evalsha", "eval", "ping":
			say = reply
		case "hello":
			if reply != "" {
				say = "-ERR unknown command\r\n" // as an old Redis, so that the client goes on
			}
		}

		if _, err := conn.Write([]byte(say)); err != nil {
			return
		}
	}
}
