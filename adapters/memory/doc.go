// Package memory holds what one process can do by itself: a bounded replay
// cache, with or without a shared one behind it, and a limiter that never
// limits, for a service without Redis.
package memory
