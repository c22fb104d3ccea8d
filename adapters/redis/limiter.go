package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-redis/redis_rate/v10"

	"github.com/marketflow/marketflow/ports"
)

// longestWait is more than an honest wait can be, which is at most one request's
// share of a second. A longer one means that somebody wrote to our value or that
// Redis's clock went back.
const longestWait = 2 * time.Second

// errNonsense: the limiter's answer cannot be true.
var errNonsense = errors.New("the limiter's answer cannot be true")

// LimiterConfig says how much each client may ask for.
type LimiterConfig struct {
	// Rate is the requests per second that each client may make, at least 1.
	// The burst is the same number: a client that was quiet for a second may
	// make Rate requests at once, then one every 1/Rate seconds (GCRA,
	// https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm).
	Rate int
	// Secret keeps clients' addresses out of Redis: at least MinSecret bytes.
	// Processes must have the same one to count together.
	Secret []byte
	// Without decides while Redis cannot; nil allows everything meanwhile.
	Without ports.RateLimiter
}

// String implements fmt.Stringer without the secret.
func (c LimiterConfig) String() string { return fmt.Sprintf("{rate: %d/s, secret: ***}", c.Rate) }

// GoString implements fmt.GoStringer without the secret.
func (c LimiterConfig) GoString() string { return c.String() }

// MarshalText implements encoding.TextMarshaler without the secret.
func (c LimiterConfig) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LimiterMeter counts what a RateLimiter decides. It never blocks.
type LimiterMeter interface {
	Allowed()
	Limited()
	// Error: Redis could not tell, so the process decided by itself.
	Error()
}

// RateLimiter is a ports.RateLimiter that all processes share. One script in
// Redis, by Redis's clock, decides and counts at once. Names are
// "rate:marketflow:limit:v1:" and a hash of the client.
type RateLimiter struct {
	client  *Client
	limiter *redis_rate.Limiter
	limit   redis_rate.Limit
	names   namer
	without ports.RateLimiter
	meter   LimiterMeter
}

var _ ports.RateLimiter = (*RateLimiter)(nil)

// NewRateLimiter returns a limiter. A rate below 1 or a short secret is an error.
func NewRateLimiter(client *Client, config LimiterConfig, meter LimiterMeter) (*RateLimiter, error) {
	if config.Rate < 1 {
		return nil, fmt.Errorf("setting up the rate limiter: %d requests per second; at least 1 is needed", config.Rate)
	}

	names, err := newNamer(config.Secret)
	if err != nil {
		return nil, fmt.Errorf("setting up the rate limiter: %w", err)
	}

	return &RateLimiter{
		client:  client,
		limiter: redis_rate.NewLimiter(client.redis),
		limit:   redis_rate.PerSecond(config.Rate),
		names:   names,
		without: config.Without,
		meter:   meter,
	}, nil
}

// Allow implements ports.RateLimiter.
func (l *RateLimiter) Allow(ctx context.Context, client string) ports.Allowance {
	var result *redis_rate.Result

	// A request whose client disconnects still counts.
	counted := context.WithoutCancel(ctx)

	err := l.client.do(counted, func(ctx context.Context) (err error) {
		result, err = l.limiter.Allow(ctx, l.names.name(limiterPrefix, client), l.limit)

		return err //nolint:wrapcheck // only counted
	})
	if err == nil {
		err = check(result)
	}

	if err != nil {
		l.meter.Error()

		if l.without != nil {
			return l.without.Allow(ctx, client)
		}

		return ports.Allowance{}
	}

	// Whatever Redis says, there is no more than a second's worth.
	a := ports.Allowance{
		Limit: l.limit.Rate, Remaining: min(max(result.Remaining, 0), l.limit.Rate),
		Reset: min(max(result.ResetAfter, 0), time.Second),
	}

	if result.Allowed > 0 {
		l.meter.Allowed()

		return a
	}

	l.meter.Limited()

	a.Denied, a.RetryAfter = true, result.RetryAfter

	return a
}

// check keeps a lie from shutting a client out.
func check(r *redis_rate.Result) error {
	if r.Allowed <= 0 && (r.RetryAfter <= 0 || r.RetryAfter > longestWait) {
		return errNonsense
	}

	return nil
}
