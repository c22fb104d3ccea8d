package redis_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
	"github.com/marketflow/marketflow/tests/servers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient outlasts a busy machine: what these tests show is what is answered,
// not how fast.
const patient = 10 * time.Second

const secret = "a secret of tests alone"

func TestRateLimiter_Contract(t *testing.T) {
	t.Parallel()
	onEveryRedis(t, func(t *testing.T, url string) {
		t.Helper()
		portstest.RateLimiter(t, func(t *testing.T, rate int) ports.RateLimiter {
			t.Helper()

			client := newClient(t, redis.Config{URL: url, Timeout: patient, Rest: time.Hour})
			limiter, err := redis.NewRateLimiter(client,
				redis.LimiterConfig{Rate: rate, Secret: []byte(secret + t.Name())}, &meter{})
			require.NoError(t, err)

			return limiter
		})
	})
}

// onEveryRedis runs test on miniredis and, where there is one, a real Redis.
func onEveryRedis(t *testing.T, test func(t *testing.T, url string)) {
	t.Helper()

	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		test(t, "redis://"+miniredis.RunT(t).Addr())
	})
	t.Run("redis-server", func(t *testing.T) {
		t.Parallel()

		server, err := servers.StartRedis(t.Context())
		if errors.Is(err, servers.ErrNoRedisServer) {
			t.Skip(err)
		}

		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, server.Stop()) })
		test(t, server.URL())
	})
}

func newClient(tb testing.TB, config redis.Config) *redis.Client {
	tb.Helper()

	client, err := redis.NewClient(config)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, client.Close()) })

	return client
}

type meter struct{ errors, allowed, limited atomic.Int64 }

func (m *meter) Error()   { m.errors.Add(1) }
func (m *meter) Allowed() { m.allowed.Add(1) }
func (m *meter) Limited() { m.limited.Add(1) }
