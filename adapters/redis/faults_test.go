package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
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
	"github.com/marketflow/marketflow/domain/operation"
)

// bed is a cache and a limiter on one Redis.
type bed struct {
	server  *miniredis.Miniredis
	client  *redis.Client
	cache   *redis.ReplayCache
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
	b.cache = newCache(t, b.client, redis.ReplayConfig{Secret: []byte(secret)}, b.meter)

	limiter, err := redis.NewRateLimiter(b.client, redis.LimiterConfig{Rate: 1, Secret: []byte(secret)}, b.meter)
	require.NoError(t, err)

	b.limiter = limiter

	return b
}

// stored puts a replay under key and returns the name that it has in Redis.
func (b *bed) stored(t *testing.T, key operation.Key) string {
	t.Helper()

	before := map[string]bool{}
	for _, name := range b.server.Keys() {
		before[name] = true
	}

	b.cache.Put(t.Context(), key, aReplay(string(key)))

	var name string

	require.Eventually(t, func() bool {
		for _, name = range b.server.Keys() {
			if !before[name] {
				return true
			}
		}

		return false
	}, patient, time.Millisecond)

	return name
}

func (b *bed) requireTampered(t *testing.T, key operation.Key, what string) {
	t.Helper()

	before := b.meter.tampered.Load()
	replay, ok := b.cache.Get(t.Context(), key)
	require.False(t, ok, what)
	require.Zero(t, replay, what)
	require.Equal(t, before+1, b.meter.tampered.Load(), what)
}

func (b *bed) requireFound(t *testing.T, key operation.Key) {
	t.Helper()
	require.Eventually(t, func() bool {
		replay, ok := b.cache.Get(t.Context(), key)
		if ok {
			require.Equal(t, aReplay(string(key)), replay)
		}

		return ok
	}, patient, time.Millisecond)
}

func TestReplayCache_Flushed(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.stored(t, "order_1")
	b.requireFound(t, "order_1")

	b.server.FlushAll()

	_, ok := b.cache.Get(t.Context(), "order_1")
	require.False(t, ok)
	require.EqualValues(t, 1, b.meter.misses.Load())

	b.stored(t, "order_1")
	b.requireFound(t, "order_1")
}

func TestReplayCache_WrongValues(t *testing.T) {
	t.Parallel()

	b := setup(t)
	name := b.stored(t, "order_1")

	for _, value := range []string{
		"0", "OK", "\x00", `{"status":201}`, strings.Repeat("x", 28), strings.Repeat("x", 1<<20),
	} {
		require.NoError(t, b.server.Set(name, value))
		b.requireTampered(t, "order_1", value[:min(len(value), 30)])
	}

	require.NoError(t, b.server.Set(name, ""))

	_, ok := b.cache.Get(t.Context(), "order_1")
	require.False(t, ok)
}

func TestReplayCache_EveryAlteredByteIsNoticed(t *testing.T) {
	t.Parallel()

	b := setup(t)
	name := b.stored(t, "order_1")
	sealed, err := b.server.Get(name)
	require.NoError(t, err)

	for i := range sealed {
		altered := []byte(sealed)
		altered[i] ^= 1
		require.NoError(t, b.server.Set(name, string(altered)))
		b.requireTampered(t, "order_1", fmt.Sprintf("byte %d", i))
	}

	for _, altered := range []string{sealed[1:], sealed[:len(sealed)-1], sealed + "x"} {
		require.NoError(t, b.server.Set(name, altered))
		b.requireTampered(t, "order_1", "length")
	}
}

func TestReplayCache_SwappedValues(t *testing.T) {
	t.Parallel()

	b := setup(t)
	one, two := b.stored(t, "order_1"), b.stored(t, "order_2")
	first, err := b.server.Get(one)
	require.NoError(t, err)
	second, err := b.server.Get(two)
	require.NoError(t, err)

	require.NoError(t, b.server.Set(one, second))
	require.NoError(t, b.server.Set(two, first))

	b.requireTampered(t, "order_1", "swapped")
	b.requireTampered(t, "order_2", "swapped")

	b.cache.Put(t.Context(), "order_1", aReplay("order_1"))
	b.requireFound(t, "order_1")
}

// Processes with different secrets neither find nor believe each other's values.
func TestReplayCache_AnotherSecret(t *testing.T) {
	t.Parallel()

	b := setup(t)
	foreign := &bed{server: b.server, client: b.client, meter: &meter{}}
	foreign.cache = newCache(t, b.client, redis.ReplayConfig{Secret: []byte("another secret of tests")}, foreign.meter)

	ours, theirs := b.stored(t, "order_1"), foreign.stored(t, "order_1")
	require.NotEqual(t, ours, theirs)

	value, err := b.server.Get(theirs)
	require.NoError(t, err)
	require.NoError(t, b.server.Set(ours, value))
	b.requireTampered(t, "order_1", "sealed with another secret")
}

// A value of another type is an error about that value, and no reason to stop
// asking for others.
func TestReplayCache_WrongType(t *testing.T) {
	t.Parallel()

	b := setup(t)
	name := b.stored(t, "order_1")
	b.stored(t, "order_2")
	b.server.Del(name)

	_, err := b.server.Lpush(name, "x")
	require.NoError(t, err)

	for range 10 {
		_, ok := b.cache.Get(t.Context(), "order_1")
		require.False(t, ok)
	}

	require.EqualValues(t, 10, b.meter.errors.Load())
	b.requireFound(t, "order_2")
}

func TestReplayCache_ShowsRedisNothing(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.stored(t, "order_1")
	b.limiter.Allow(t.Context(), "192.0.2.7")

	dump := b.server.Dump()
	require.Contains(t, dump, "marketflow:replay:v1:")
	require.Contains(t, dump, "rate:marketflow:limit:v1:")

	for _, private := range []string{"order_1", "client_secret", "pi_", "192.0.2.7", secret} {
		require.NotContains(t, dump, private)
	}
}

func TestReplayCache_Expires(t *testing.T) {
	t.Parallel()

	b := setup(t)
	name := b.stored(t, "order_1")
	require.Equal(t, redis.DefaultTTL, b.server.TTL(name))

	b.server.FastForward(redis.DefaultTTL)

	_, ok := b.cache.Get(t.Context(), "order_1")
	require.False(t, ok)
}

func TestReplayCache_LeavesOutWhatIsTooLarge(t *testing.T) {
	t.Parallel()

	b := setup(t)
	large := aReplay("large")
	large.Response.Body = make([]byte, 1<<20)
	b.cache.Put(t.Context(), "large", large)
	require.NoError(t, b.cache.Close(t.Context()))

	require.EqualValues(t, 1, b.meter.dropped.Load())
	require.Empty(t, b.server.Keys())
}

func TestReplayCache_CloseWritesWhatIsQueued(t *testing.T) {
	t.Parallel()

	const answers = 100

	b := setup(t)

	for i := range answers {
		key := operation.Key(strconv.Itoa(i))
		b.cache.Put(t.Context(), key, aReplay(string(key)))
	}

	require.NoError(t, b.cache.Close(t.Context()))
	require.Len(t, b.server.Keys(), answers)

	b.cache.Put(t.Context(), "late", aReplay("late"))
	require.NoError(t, b.cache.Close(t.Context()))
	require.EqualValues(t, 1, b.meter.dropped.Load())
}

func TestReplayCache_CloseDoesNotWaitForASlowRedis(t *testing.T) {
	t.Parallel()

	client := newClient(t, redis.Config{URL: silent(t).url, Timeout: 200 * time.Millisecond})
	m := &meter{}
	cache, err := redis.NewReplayCache(client, redis.ReplayConfig{Secret: []byte(secret)}, m)
	require.NoError(t, err)
	cache.Put(t.Context(), "order_1", aReplay("order_1"))

	ended, cancel := context.WithCancel(t.Context())
	cancel()

	require.ErrorIs(t, cache.Close(ended), context.Canceled)
}

// What nobody takes is dropped; a create never waits.
func TestReplayCache_PutNeverWaits(t *testing.T) {
	t.Parallel()

	client := newClient(t, redis.Config{URL: silent(t).url, Timeout: 200 * time.Millisecond})
	m := &meter{}
	cache, err := redis.NewReplayCache(client, redis.ReplayConfig{Secret: []byte(secret)}, m)
	require.NoError(t, err)

	for range 3000 {
		cache.Put(t.Context(), "order_1", aReplay("order_1"))
	}

	require.Positive(t, m.dropped.Load())

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.Error(t, cache.Close(ended))
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
		_, ok := b.cache.Get(t.Context(), "order_1")
		require.False(t, ok)
		b.cache.Put(t.Context(), "order_1", aReplay("order_1"))

		allowed, retryAfter := b.limiter.Allow(t.Context(), "client")
		require.True(t, allowed)
		require.Zero(t, retryAfter)
	}

	require.NoError(t, b.cache.Close(t.Context()))
	require.Zero(t, b.meter.hits.Load()+b.meter.misses.Load()+b.meter.allowed.Load())
	require.GreaterOrEqual(t, b.meter.errors.Load(), int64(2*times))
}

func TestRedis_ComesBack(t *testing.T) {
	t.Parallel()

	core, logs := observer.New(zap.InfoLevel)
	server := miniredis.RunT(t)
	b := onURL(t, redis.Config{
		URL: "redis://" + server.Addr(), Timeout: patient, Rest: time.Millisecond, Logger: zap.New(core),
	})
	b.server = server
	b.stored(t, "order_1")

	server.SetError("LOADING Redis is loading the dataset in memory")

	for range 20 {
		_, ok := b.cache.Get(t.Context(), "order_1")
		require.False(t, ok)
	}

	require.Error(t, b.client.Ping(t.Context()))
	server.SetError("")
	b.requireFound(t, "order_1")
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

	allowed, _ := limiter.Allow(t.Context(), "client")
	require.True(t, allowed)
	require.Zero(t, without.asked)
	server.Close()

	for i := range 4 {
		allowed, retryAfter := limiter.Allow(t.Context(), "client")
		require.Equal(t, i%2 == 0, allowed)
		require.Equal(t, time.Second, retryAfter)
	}

	require.EqualValues(t, 4, m.errors.Load())
}

// alternating allows every other request.
type alternating struct{ asked int }

func (a *alternating) Allow(context.Context, string) (allowed bool, retryAfter time.Duration) {
	a.asked++

	return a.asked%2 == 1, time.Second
}

func TestRateLimiter_WrongValues(t *testing.T) {
	t.Parallel()

	b := setup(t)
	b.limiter.Allow(t.Context(), "client")
	name := b.server.Keys()[0]

	for _, value := range []string{"", "abc", "nan", "-nan", "inf", "-inf", "1e300", "-1e300", "9999999999", "0x7fffffff"} {
		require.NoError(t, b.server.Set(name, value))

		allowed, retryAfter := b.limiter.Allow(t.Context(), "client")
		require.True(t, allowed, value)
		require.Zero(t, retryAfter, value)
	}

	b.server.Del(name)

	_, err := b.server.Lpush(name, "x")
	require.NoError(t, err)

	allowed, _ := b.limiter.Allow(t.Context(), "client")
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
				_, ok := b.cache.Get(t.Context(), "order_1")
				require.False(t, ok)

				allowed, _ := b.limiter.Allow(t.Context(), "client")
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
	b.cache.Get(ctx, "order_1")
	b.cache.Put(ctx, "order_1", aReplay("order_1"))
	b.limiter.Allow(ctx, "192.0.2.7")
	require.NoError(t, b.cache.Close(t.Context()))
	span.End()

	names := map[string]bool{}

	for _, s := range recorder.Ended() {
		names[s.Name()] = true
		require.Equal(t, span.SpanContext().TraceID(), s.SpanContext().TraceID(), "%s belongs to the request", s.Name())

		text := fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Status())
		for _, private := range []string{"order_1", "marketflow:", "192.0.2.7", "a-password", "secret"} {
			require.NotContains(t, text, private)
		}
	}

	for _, name := range []string{"getrange", "set", "evalsha"} {
		require.True(t, names[name], "a span of %s in %v", name, names)
	}
}

func TestConfig_PrintsNoSecret(t *testing.T) {
	t.Parallel()

	core, logs := observer.New(zap.DebugLevel)
	logger := zap.New(core)

	for _, config := range []any{
		redis.Config{URL: "rediss://user:hunter2@redis.example:6380/1"},
		redis.Config{URL: "redis://:hunter2@[bad"},
		redis.ReplayConfig{Secret: []byte("hunter2")},
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

	_, err := redis.NewReplayCache(client, redis.ReplayConfig{Secret: []byte("short")}, &meter{})
	require.Error(t, err)
	_, err = redis.NewRateLimiter(client, redis.LimiterConfig{Rate: 1, Secret: []byte("short")}, &meter{})
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
		case "getrange", "set", "evalsha", "eval", "ping":
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
