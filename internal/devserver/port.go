package devserver

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

const (
	loopback = "127.0.0.1"

	// Free ports are chosen below the ephemeral ones (from 32768 on Linux, 49152
	// on macOS), or an outgoing connection could take the port of a server while
	// it restarts.
	firstPort, lastPort = 16384, 32767

	// portAttempts is how often a server is started on another port when somebody
	// takes the chosen one before it does.
	portAttempts = 3

	portTries = 100
)

// ErrPortTaken says that another program listens on the wanted port.
var ErrPortTaken = errors.New("port is taken")

// checkPort returns ErrPortTaken when somebody answers on the port. It does not
// try to listen there: a child that is forked meanwhile would hold the port for
// an instant longer than we do.
func checkPort(ctx context.Context, port int) error {
	dialer := net.Dialer{Timeout: time.Second}

	conn, err := dialer.DialContext(ctx, "tcp4", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil //nolint:nilerr // nobody answers; if it is not free after all, the server will say so
	}

	return errors.Join(portTaken(port), conn.Close())
}

func portTaken(port int) error { return fmt.Errorf("%s:%d: %w", loopback, port, ErrPortTaken) }

// FreePort is a port of 127.0.0.1 for a server that may restart.
func FreePort(ctx context.Context) (int, error) {
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort+1) //nolint:gosec // no secret

		if checkPort(ctx, port) == nil {
			return port, nil
		}
	}

	return 0, fmt.Errorf("no free port found between %d and %d", firstPort, lastPort)
}
