package ports

import (
	"context"
	"time"
)

// RateLimiter shares the service fairly among clients.
type RateLimiter interface {
	// Allow counts one request of client's and tells whether it may go on; if
	// not, retryAfter is how long until one may. A limiter that cannot decide
	// allows.
	Allow(ctx context.Context, client string) (allowed bool, retryAfter time.Duration)
}
