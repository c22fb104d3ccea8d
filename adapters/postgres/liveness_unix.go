//go:build unix

package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// hungUp tells whether the server has said its last word on a connection that nobody
// uses, without asking it: one look at what has arrived. An idle connection hears
// nothing but farewells and changed settings.
func hungUp(conn net.Conn) bool {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn() // what waits there cannot be read without TLS; an end can
	}

	socket, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}

	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}

	var (
		first [1]byte
		n     int
		heard error
	)

	// Not raw.Read: it would wait for pgconn's own reader, which a slow write has
	// left behind. The socket itself never blocks.
	err = raw.Control(func(fd uintptr) { n, _, heard = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK) })

	const errorResponse = 'E' // PostgreSQL, "Message Formats"

	switch {
	case err != nil:
		return true
	case heard != nil:
		return heard != syscall.EAGAIN && heard != syscall.EINTR
	default:
		return n == 0 || first[0] == errorResponse
	}
}
