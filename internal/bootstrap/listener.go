package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"go.uber.org/zap"
)

// listener serves HTTP on an address of the configuration.
type listener struct {
	http *http.Server
	net  net.Listener
}

// newAside serves what does not belong on the public address.
func newAside(handler http.Handler) listener {
	return listener{http: &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}}
}

// listen serves addr, which is the value of variable. ended is told of a server that
// ends by itself.
func (l *listener) listen(ctx context.Context, variable, addr string, ended func(error)) error {
	var err error

	l.net, err = new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", variable, err)
	}

	go func() {
		if err := l.http.Serve(l.net); !errors.Is(err, http.ErrServerClosed) {
			ended(err)
		}
	}()

	return nil
}

// logEnd is for a listener without which the service goes on.
func logEnd(log *zap.Logger, variable string) func(error) {
	return func(err error) {
		log.Error("the listener has ended", zap.String("variable", variable), zap.Error(err))
	}
}

// drain lets requests in flight end.
func (l *listener) drain(ctx context.Context) error {
	if err := l.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("draining requests: %w", err), l.http.Close())
	}

	return nil
}
