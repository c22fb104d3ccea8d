package portstest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/ports"
)

// RateLimiter is the contract of a ports.RateLimiter that can decide. newLimiter
// returns one that has counted nothing yet and allows each client rate requests
// per second, rate of them at once.
func RateLimiter(t *testing.T, newLimiter func(t *testing.T, rate int) ports.RateLimiter) {
	t.Helper()

	for name, test := range map[string]func(*testing.T, func(*testing.T, int) ports.RateLimiter){
		"AllowsTheBurst":           rateLimiterAllowsTheBurst,
		"TellsWhatIsLeft":          rateLimiterTellsWhatIsLeft,
		"LimitsWhoGoesOn":          rateLimiterLimitsWhoGoesOn,
		"KeepsClientsApart":        rateLimiterKeepsClientsApart,
		"AllowsAgain":              rateLimiterAllowsAgain,
		"CountsRequestsThatHangUp": rateLimiterCountsHangUps,
		"CountsOnceForManyAtOnce":  rateLimiterCountsConcurrently,
		"TakesAnyNameForAClient":   rateLimiterTakesAnyName,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newLimiter)
		})
	}
}

func rateLimiterAllowsTheBurst(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	const rate = 20

	limiter := newLimiter(t, rate)
	for range rate {
		a := limiter.Allow(t.Context(), "client")
		require.False(t, a.Denied)
		require.Zero(t, a.RetryAfter)
	}
}

func rateLimiterTellsWhatIsLeft(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	const rate = 5

	limiter := newLimiter(t, rate)

	first := limiter.Allow(t.Context(), "client")
	require.Equal(t, rate, first.Limit)
	require.Equal(t, rate-1, first.Remaining)
	require.Positive(t, first.Reset)
	require.LessOrEqual(t, first.Reset, time.Second/rate+time.Millisecond)

	exhaust(t, limiter, "client")

	last := limiter.Allow(t.Context(), "client")
	require.Equal(t, rate, last.Limit)
	require.Zero(t, last.Remaining)
	require.LessOrEqual(t, last.Reset, time.Second+time.Millisecond)
}

func rateLimiterLimitsWhoGoesOn(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	limiter := newLimiter(t, 2)

	retryAfter := exhaust(t, limiter, "client")
	require.Positive(t, retryAfter)
	require.LessOrEqual(t, retryAfter, time.Second)
}

func rateLimiterKeepsClientsApart(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	limiter := newLimiter(t, 2)
	exhaust(t, limiter, "client")

	for _, other := range []string{"", "Client", "client ", "clien", "clientt", "*"} {
		require.False(t, limiter.Allow(t.Context(), other).Denied, "%q has not asked yet", other)
	}
}

func rateLimiterAllowsAgain(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	limiter := newLimiter(t, 2)
	exhaust(t, limiter, "client")

	require.Eventually(t, func() bool {
		return !limiter.Allow(t.Context(), "client").Denied
	}, 10*time.Second, 20*time.Millisecond)
}

func rateLimiterCountsHangUps(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	limiter := newLimiter(t, 1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()

	require.Eventually(t, func() bool {
		return limiter.Allow(gone, "client").Denied
	}, 10*time.Second, time.Millisecond)
}

// Requests at the same time are limited like requests one after the other.
func rateLimiterCountsConcurrently(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	const rate, goroutines, requests = 5, 8, 10

	limiter := newLimiter(t, rate)

	var (
		all     sync.WaitGroup
		allowed atomic.Int64
		begin   = time.Now()
	)
	for range goroutines {
		all.Go(func() {
			for range requests {
				if !limiter.Allow(t.Context(), "client").Denied {
					allowed.Add(1)
				}
			}
		})
	}

	all.Wait()

	most := rate + rate*time.Since(begin).Seconds() + 1
	require.GreaterOrEqual(t, allowed.Load(), int64(rate))
	require.LessOrEqual(t, float64(allowed.Load()), most)
}

func rateLimiterTakesAnyName(t *testing.T, newLimiter func(*testing.T, int) ports.RateLimiter) {
	t.Helper()

	limiter := newLimiter(t, 1)

	for _, client := range []string{"", "127.0.0.1", "2001:db8::1", "\x00\r\n", "{a}", string(make([]byte, 10_000))} {
		exhaust(t, limiter, client)
	}
}

// exhaust asks for client until it is limited and returns how long it should wait. It
// asks at most a thousand times, far more than any rate here allows.
func exhaust(t *testing.T, limiter ports.RateLimiter, client string) time.Duration {
	t.Helper()

	const most = 1000
	for range most {
		if a := limiter.Allow(t.Context(), client); a.Denied {
			return a.RetryAfter
		}
	}

	require.Fail(t, "never limited", "%d requests of %q in a row were all allowed", most, client)

	return 0
}
