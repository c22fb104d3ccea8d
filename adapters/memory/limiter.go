package memory

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/marketflow/marketflow/ports"
)

// maxClients is the most clients that a RateLimiter remembers, at some 300 bytes
// each. The one that was quiet the longest is forgotten first.
const maxClients = 1 << 15

// AllowAll is a ports.RateLimiter that is off.
type AllowAll struct{}

var _ ports.RateLimiter = AllowAll{}

// Allow implements ports.RateLimiter: yes.
func (AllowAll) Allow(context.Context, string) ports.Allowance { return ports.Allowance{} }

// LimiterMeter counts what a RateLimiter decides. It never blocks.
type LimiterMeter interface {
	Allowed()
	Limited()
}

// RateLimiter is a ports.RateLimiter of this process alone: where several serve
// the same clients, each allows them its rate.
type RateLimiter struct {
	rate  rate.Limit
	burst int
	meter LimiterMeter

	mu      sync.Mutex
	clients *simplelru.LRU[string, *rate.Limiter]
}

var _ ports.RateLimiter = (*RateLimiter)(nil)

// NewRateLimiter returns a limiter that allows each client so many requests per
// second, and burst at once after a quiet time (a token bucket). Less than 1 of
// either is an error. meter may be nil.
func NewRateLimiter(perSecond, burst int, meter LimiterMeter) (*RateLimiter, error) {
	if perSecond < 1 || burst < 1 {
		return nil, fmt.Errorf("setting up the rate limiter: %d requests per second, %d at once; at least 1 is needed",
			perSecond, burst)
	}

	clients, err := simplelru.NewLRU[string, *rate.Limiter](maxClients, nil)
	if err != nil {
		return nil, fmt.Errorf("setting up the rate limiter: %w", err)
	}

	return &RateLimiter{rate: rate.Limit(perSecond), burst: burst, meter: meter, clients: clients}, nil
}

// Allow implements ports.RateLimiter.
func (l *RateLimiter) Allow(_ context.Context, client string) ports.Allowance {
	now := time.Now()
	bucket := l.bucket(client)
	allowed := bucket.AllowN(now, 1)
	left := bucket.TokensAt(now)

	a := ports.Allowance{
		Limit: int(l.rate), Remaining: max(int(left), 0), Reset: max(l.timeFor(float64(l.burst)-left), 0),
	}

	if allowed {
		l.count(LimiterMeter.Allowed)

		return a
	}

	l.count(LimiterMeter.Limited)

	a.Denied, a.RetryAfter = true, max(l.timeFor(1-left), 1)

	return a
}

// timeFor is how long so many requests take to come back.
func (l *RateLimiter) timeFor(requests float64) time.Duration {
	return time.Duration(requests / float64(l.rate) * float64(time.Second))
}

func (l *RateLimiter) count(decision func(LimiterMeter)) {
	if l.meter != nil {
		decision(l.meter)
	}
}

func (l *RateLimiter) bucket(client string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()

	if bucket, ok := l.clients.Get(client); ok {
		return bucket
	}

	bucket := rate.NewLimiter(l.rate, l.burst)
	// A copy of the name: it may be a piece of a whole request's memory.
	l.clients.Add(strings.Clone(client), bucket)

	return bucket
}
