// Package telemetry is what operators see of the service: zap's log lines,
// OpenTelemetry's traces and Prometheus's metrics.
//
// Nothing in it can slow down or fail a request. No id, key, free text or
// secret is ever a metric's label, and the number of series is bounded whatever
// callers pass.
package telemetry
