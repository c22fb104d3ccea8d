package ports

import (
	"context"
	"time"
)

// RateLimiter shares the service fairly among clients.
type RateLimiter interface {
	// Allow counts one request of client and returns whether it may go on. If not,
	// retryAfter is the time until one may. A request whose client disconnects still
	// counts. There is no error: a limiter that cannot decide allows the request.
	Allow(ctx context.Context, client string) (allowed bool, retryAfter time.Duration)
}
