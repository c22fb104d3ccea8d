// Package memory holds what one process can do by itself: a bounded replay
// cache, and a rate limiter for a service without Redis.
package memory
