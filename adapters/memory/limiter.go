package memory

import (
	"context"
	"time"

	"github.com/marketflow/marketflow/ports"
)

// AllowAll is a ports.RateLimiter that is off. A process that counted by
// itself would give every client its rate once for each process, so there is
// no limiter in memory.
type AllowAll struct{}

var _ ports.RateLimiter = AllowAll{}

// Allow implements ports.RateLimiter: yes.
func (AllowAll) Allow(context.Context, string) (allowed bool, retryAfter time.Duration) {
	return true, 0
}
