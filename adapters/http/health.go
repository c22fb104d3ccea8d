package http

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/marketflow/marketflow/ports"
)

// pingTimeout is the most that a probe waits for a dependency.
const pingTimeout = time.Second

// What is said of a dependency.
const (
	connected    = "connected"
	disconnected = "disconnected"
	readOnly     = "read-only"
	disabled     = "disabled"
	unreadable   = "unreadable"
)

// Pinger is a dependency whose health is shown.
type Pinger interface {
	// Ping returns nil where the dependency can be used, and ports.ErrReadOnly
	// where it answers but takes no writes.
	Ping(ctx context.Context) error
}

// Health is /health for people, and /livez and /readyz for probes.
type Health struct {
	database, redis Pinger
	unreadable      func() int
	draining        func() bool
}

// NewHealth returns the resource. redis is nil where there is none. unreadable counts the stored
// secrets that cannot be opened. draining tells whether the service is about to stop.
func NewHealth(database, redis Pinger, unreadable func() int, draining func() bool) *Health {
	return &Health{database: database, redis: redis, unreadable: unreadable, draining: draining}
}

type healthBody struct {
	Status   string `json:"status"`
	Database string `json:"database"`
	Redis    string `json:"redis"`
	// Secrets is there only if something is wrong with them.
	Secrets string `json:"secrets,omitempty"`
}

type statusBody struct {
	Status string `json:"status"`
}

// health is GET /health. Without Redis, or with stored secrets that cannot be opened, the service
// is degraded but works; without a PostgreSQL that takes writes it is unhealthy.
func (h *Health) health(_ http.ResponseWriter, r *http.Request) (answer, error) {
	redis := make(chan string, 1)

	go func() { redis <- ping(r.Context(), h.redis) }()

	body := healthBody{Status: "healthy", Database: ping(r.Context(), h.database), Redis: <-redis}
	status := http.StatusOK

	if h.unreadable() > 0 {
		body.Secrets = unreadable
	}

	switch {
	case body.Database != connected:
		body.Status, status = "unhealthy", http.StatusServiceUnavailable
	case body.Redis == disconnected, body.Secrets != "":
		body.Status = "degraded"
	}

	return answer{status: status, body: body}, nil
}

// livez is GET /livez: the process answers.
func (*Health) livez(http.ResponseWriter, *http.Request) (answer, error) {
	return answer{status: http.StatusOK, body: statusBody{"ok"}}, nil
}

// readyz is GET /readyz: requests may be sent here.
func (h *Health) readyz(_ http.ResponseWriter, r *http.Request) (answer, error) {
	if h.draining() {
		return answer{status: http.StatusServiceUnavailable, body: statusBody{"draining"}}, nil
	}

	if database := ping(r.Context(), h.database); database != connected {
		return answer{status: http.StatusServiceUnavailable, body: statusBody{"database " + database}}, nil
	}

	return answer{status: http.StatusOK, body: statusBody{"ok"}}, nil
}

func ping(ctx context.Context, p Pinger) string {
	if p == nil {
		return disabled
	}

	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()

	switch err := p.Ping(ctx); {
	case err == nil:
		return connected
	case errors.Is(err, ports.ErrReadOnly):
		return readOnly
	default:
		return disconnected
	}
}
