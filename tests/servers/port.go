package servers

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// ErrNoPort says that no port was free.
var ErrNoPort = errors.New("no free port was found")

// Addr is an address of a server that may be down for a while and come back.
type Addr struct {
	// HostPort is on 127.0.0.1. Its port is below those that the kernel gives to outgoing connections:
	// one of them could take it while the server is down.
	HostPort string

	// guard listens on the same port of another address of the loopback, where there is one, so that
	// nobody else who asks for an address gets it meanwhile and answers in the server's place.
	guard net.Listener
}

// KeepAddr returns an address that nobody else gets from KeepAddr, in any process of this machine, until
// Release is called.
func KeepAddr(ctx context.Context) (Addr, error) {
	const least, most, tries = 15_000, 32_000, 100

	for range tries {
		port := strconv.Itoa(least + rand.IntN(most-least))

		guard, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.2:"+port)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}

		kept := Addr{HostPort: "127.0.0.1:" + port, guard: guard}

		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", kept.HostPort)
		if err == nil {
			return kept, listener.Close()
		}

		kept.Release()
	}

	return Addr{}, ErrNoPort
}

// Release gives the address back.
func (a Addr) Release() {
	if a.guard != nil {
		_ = a.guard.Close()
	}
}
