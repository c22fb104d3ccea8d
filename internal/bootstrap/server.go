package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/internal/config"
)

// Time-outs of the public server: a slow client costs a connection for a while
// and nothing else.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// server is the public listener.
type server struct {
	http     *http.Server
	listener net.Listener
	// delay is how long requests are still taken once the service is stopping.
	delay time.Duration
	// failed gets the error of a server that ended by itself.
	failed chan error
}

// newServer listens when the graph starts and drains when it stops. It is the
// last to start and the first to stop.
func newServer(lc fx.Lifecycle, c config.Config, handler http.Handler, drain *draining, log *zap.Logger) *server {
	s := &server{
		http: &http.Server{
			Handler:           hangUpWhen(drain.Load, handler),
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          zap.NewStdLog(log),
		},
		// What is in flight has the other half.
		delay:  min(c.DrainDelay, c.ShutdownTimeout/2),
		failed: make(chan error, 1),
	}

	lc.Append(fx.StartStopHook(
		func(ctx context.Context) error { return s.listen(ctx, c.HTTPAddr) },
		func(ctx context.Context) error {
			drain.Store(true)

			return s.drain(ctx)
		}))

	return s
}

func (s *server) listen(ctx context.Context, addr string) error {
	var err error

	s.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on HTTP_ADDR: %w", err)
	}

	go func() {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	}()

	return nil
}

// hangUpWhen ends kept-alive connections one by one, each after an answer, so
// that few are cut when the listener goes.
func hangUpWhen(draining func() bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if draining() {
			w.Header().Set("Connection", "close")
		}

		next.ServeHTTP(w, r)
	})
}

// drain lets requests in flight end. Before that, for a while, new ones are still
// taken: whoever sends them hears of the end from /readyz, and needs time for it.
func (s *server) drain(ctx context.Context) error {
	select {
	case <-time.After(s.delay):
	case <-ctx.Done():
	}

	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("draining requests: %w", err), s.http.Close())
	}

	return nil
}
