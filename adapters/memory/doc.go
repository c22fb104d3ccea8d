// Package memory holds what one process can do by itself: a bounded replay
// cache, and a limiter that never limits, for a service without Redis.
package memory
