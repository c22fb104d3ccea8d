package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a sandbox that listens.
type Server struct {
	*Sandbox

	// URL is the address to give to a Stripe client, such as
	// http://127.0.0.1:12111.
	URL string

	http  *http.Server
	done  chan error
	close func() error // once
}

// Time-outs of the server: generous, as a debugger may sit behind the client.
const (
	readHeaderTimeout = 10 * time.Second
	readBodyTimeout   = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	shutdownTimeout   = 2 * time.Second
)

// Listen starts a sandbox on an address such as 127.0.0.1:12111; port 0 takes a
// free one. Close the server after use.
func Listen(ctx context.Context, addr string, options Options) (*Server, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listening for the sandbox: %w", err)
	}

	s, err := New(options)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}

	server := &Server{
		Sandbox: s,
		URL:     "http://" + listener.Addr().String(),
		// There is no WriteTimeout: faults hold answers as long as they are told
		// to. Bodies have a time-out of their own, in ServeHTTP: with a ReadTimeout
		// a held request would be cut off as well.
		http: &http.Server{
			Handler: s, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		},
		done: make(chan error, 1),
	}

	server.close = sync.OnceValue(server.stop)

	go func() { server.done <- server.http.Serve(listener) }()

	return server, nil
}

// Close answers the requests under way, stops listening and closes the sandbox.
// It may be called again.
func (s *Server) Close() error { return s.close() }

func (s *Server) stop() error {
	s.stopHolding()

	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()

	shutdown := s.http.Shutdown(ctx)
	if errors.Is(shutdown, context.DeadlineExceeded) {
		shutdown = s.http.Close()
	}

	served := <-s.done
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}

	if err := errors.Join(shutdown, served, s.Sandbox.Close()); err != nil {
		return fmt.Errorf("closing the sandbox's server: %w", err)
	}

	return nil
}

// TB is what Start needs of a *testing.T or *testing.B; importing package
// testing here would bring its flags into every binary that embeds the sandbox.
type TB interface {
	Helper()
	Cleanup(cleanup func())
	Fatalf(format string, args ...any)
}

// Start runs a sandbox on a free port of the loopback interface until the test
// ends.
func Start(t TB, options ...func(*Options)) *Server {
	t.Helper()

	var chosen Options
	for _, option := range options {
		option(&chosen)
	}

	server, err := Listen(context.Background(), "127.0.0.1:0", chosen)
	if err != nil {
		t.Fatalf("starting the sandbox: %v", err)

		return nil
	}

	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Fatalf("%v", err)
		}
	})

	return server
}

// WithWebhook is an option of Start: one receiver of all events.
func WithWebhook(url, secret string) func(*Options) {
	return func(o *Options) { o.WebhookURL, o.WebhookSecret = url, secret }
}

// WithOptions is an option of Start that sets everything at once.
func WithOptions(options Options) func(*Options) {
	return func(o *Options) { *o = options }
}
