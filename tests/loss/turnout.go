package loss

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// turnout is a proxy that leads each new connection to its present target, as a virtual
// address does.
type turnout struct {
	listener net.Listener
	target   atomic.Int64
	all      sync.WaitGroup
}

func newTurnout(ctx context.Context, port int) (*turnout, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the proxy: %w", err)
	}

	t := &turnout{listener: listener}
	t.target.Store(int64(port))

	t.all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}

			t.all.Go(func() { t.lead(client) })
		}
	})

	return t, nil
}

func (t *turnout) port() int { return t.listener.Addr().(*net.TCPAddr).Port } //nolint:forcetypeassert // TCP

func (t *turnout) lead(client net.Conn) {
	defer func() { _ = client.Close() }()

	server, err := new(net.Dialer).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", t.target.Load()))
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()

	var both sync.WaitGroup

	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}

	both.Wait()
}

// close stops listening. Connections end with the services.
func (t *turnout) close() { _ = t.listener.Close(); t.all.Wait() }
