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

type healthBody struct {
	Status   string `json:"status"`
	Database string `json:"database"`
	Redis    string `json:"redis"`
}

// health is GET /health. Without Redis the service is degraded and does its
// work; without a PostgreSQL that can be written it is unhealthy.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	redis := make(chan string, 1)

	go func() { redis <- ping(r.Context(), s.Redis) }()

	body := healthBody{Status: "healthy", Database: ping(r.Context(), s.Database), Redis: <-redis}
	status := http.StatusOK

	switch {
	case body.Database != connected:
		body.Status, status = "unhealthy", http.StatusServiceUnavailable
	case body.Redis == disconnected:
		body.Status = "degraded"
	}

	s.respond(r.Context(), w, status, body)
}

const (
	connected    = "connected"
	disconnected = "disconnected"
	readOnly     = "read-only"
	disabled     = "disabled"
)

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

// livez is GET /livez: the process answers.
func (s *server) livez(w http.ResponseWriter, r *http.Request) {
	s.respond(r.Context(), w, http.StatusOK, statusBody{Status: "ok"})
}

// readyz is GET /readyz: send requests here.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.Draining != nil && s.Draining() {
		s.respond(r.Context(), w, http.StatusServiceUnavailable, statusBody{Status: "draining"})

		return
	}

	if database := ping(r.Context(), s.Database); database != connected {
		s.respond(r.Context(), w, http.StatusServiceUnavailable, statusBody{Status: "database " + database})

		return
	}

	s.respond(r.Context(), w, http.StatusOK, statusBody{Status: "ok"})
}
