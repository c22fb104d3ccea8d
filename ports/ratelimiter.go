package ports

import (
	"context"
	"time"
)

// RateLimiter shares the service fairly among clients.
type RateLimiter interface {
	// Allow counts one request of client and tells whether it may go on. A request whose
	// client disconnects still counts. There is no error: a limiter that cannot decide allows
	// the request.
	Allow(ctx context.Context, client string) Allowance
}

// Allowance is what a limiter says of one request.
type Allowance struct {
	// Denied: the request may not go on. RetryAfter is the time until one may.
	Denied     bool
	RetryAfter time.Duration
	// Limit is how many requests the client may make in a second; zero if there is no limit.
	// Remaining is how many it may make now, and Reset the time until that is Limit again.
	Limit, Remaining int
	Reset            time.Duration
}
