package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"go.uber.org/zap"
)

// aside serves what does not belong on the public listener.
type aside struct {
	http     *http.Server
	listener net.Listener
}

func newAside(handler http.Handler) aside {
	return aside{http: &http.Server{Handler: handler, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout}}
}

// listen serves addr, which variable says.
func (a *aside) listen(ctx context.Context, variable, addr string, log *zap.Logger) error {
	var err error

	a.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", variable, err)
	}

	go func() {
		if err := a.http.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener has ended", zap.String("variable", variable), zap.Error(err))
		}
	}()

	return nil
}
