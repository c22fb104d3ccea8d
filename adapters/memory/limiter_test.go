package memory_test

import (
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
)

func TestRateLimiter_Contract(t *testing.T) {
	t.Parallel()
	portstest.RateLimiter(t, func(t *testing.T, rate int) ports.RateLimiter {
		t.Helper()

		limiter, err := memory.NewRateLimiter(rate, rate, nil)
		require.NoError(t, err)

		return limiter
	})
}

func TestRateLimiter_CountsWhatItDecides(t *testing.T) {
	t.Parallel()

	m := &limiterMeter{}
	limiter, err := memory.NewRateLimiter(1, 3, m)
	require.NoError(t, err)

	for range 3 {
		limiter.Allow(t.Context(), "client")
	}

	require.EqualValues(t, 3, m.allowed.Load())
	require.Zero(t, m.limited.Load())
	limiter.Allow(t.Context(), "client")
	require.EqualValues(t, 1, m.limited.Load())
}

// However many addresses somebody has, what is remembered of them is bounded.
func TestRateLimiter_ForgetsTheLongestUnasked(t *testing.T) {
	t.Parallel()

	limiter, err := memory.NewRateLimiter(1, 1, nil)
	require.NoError(t, err)

	var before, after runtime.MemStats

	runtime.ReadMemStats(&before)

	for i := range 1_000_000 {
		limiter.Allow(t.Context(), strconv.Itoa(i))
	}

	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(64<<20))

	require.False(t, limiter.Allow(t.Context(), "0").Denied, "long forgotten")
	require.True(t, limiter.Allow(t.Context(), "0").Denied)
	runtime.KeepAlive(limiter)
}

func TestNewRateLimiter_RefusesNoRate(t *testing.T) {
	t.Parallel()

	for _, rates := range [][2]int{{0, 1}, {1, 0}, {-1, 1}, {1, -1}} {
		_, err := memory.NewRateLimiter(rates[0], rates[1], nil)
		require.Error(t, err)
	}
}

type limiterMeter struct{ allowed, limited atomic.Int64 }

func (m *limiterMeter) Allowed() { m.allowed.Add(1) }
func (m *limiterMeter) Limited() { m.limited.Add(1) }

func TestAllowAll_Allows(t *testing.T) {
	t.Parallel()

	for range 1000 {
		a := memory.AllowAll{}.Allow(t.Context(), "client")
		require.False(t, a.Denied)
		require.Zero(t, a.RetryAfter)
	}
}
