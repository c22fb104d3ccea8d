package bootstrap

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
)

// Time-outs of the public server: a slow client takes up a connection for a while, and
// nothing else.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// server is the public listener.
type server struct {
	listener

	// delay is how long the server still takes requests once the service is stopping.
	delay time.Duration
	// failed gets the error of a server that ended by itself.
	failed chan error
}

// newServer listens when the graph starts and drains when it stops. It is the
// last to start and the first to stop.
func newServer(lc fx.Lifecycle, c config.Config, handler http.Handler, drain *draining, log *zap.Logger) *server {
	s := &server{
		listener: listener{http: &http.Server{
			Handler:           hangUpWhen(drain.Load, handler),
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          zap.NewStdLog(log),
		}},
		// The other half is for requests in flight.
		delay:  min(c.DrainDelay, c.ShutdownTimeout/2),
		failed: make(chan error, 1),
	}

	lc.Append(fx.StartStopHook(
		func(ctx context.Context) error {
			return s.listen(ctx, "HTTP_ADDR", c.HTTPAddr, func(err error) { s.failed <- err })
		},
		func(ctx context.Context) error {
			drain.Store(true)

			// Clients hear of the end from /readyz, and need time to go elsewhere.
			select {
			case <-time.After(s.delay):
			case <-ctx.Done():
			}

			return s.drain(ctx)
		}))

	return s
}

// hangUpWhen closes kept-alive connections one by one, each after an answer, so that
// few are cut when the listener closes.
func hangUpWhen(draining func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining() {
			w.Header().Set("Connection", "close")
		}

		next.ServeHTTP(w, r)
	})
}
