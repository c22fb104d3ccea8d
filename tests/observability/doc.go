// Package observability holds what operators are promised: the traces, the
// metrics, the lines, the dashboards and the alerts of a running service.
package observability
