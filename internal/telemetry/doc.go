// Package telemetry is what operators see of the service: zap's log lines,
// OpenTelemetry's traces and Prometheus's metrics.
//
// Nothing in it can delay or fail a request. No id, key, free text or secret is ever a
// metric's label, and the number of series is bounded, whatever callers pass.
//
// To add a metric, add a line to the constructor of its file (payments.go, requests.go,
// stripe.go, jobs.go, caches.go) and a method that counts.
package telemetry
