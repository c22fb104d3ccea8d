//go:build unix

package postgres

import (
	"crypto/tls"
	"net"
	"syscall"
)

// closedByServer tells whether the server has closed an idle connection, or is about
// to. It sends nothing: it looks at what has arrived. On an idle connection that is
// only an error before the end, or a changed setting.
func closedByServer(conn net.Conn) bool {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn() // we cannot read what has arrived, but see the end of the stream
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
		first   [1]byte
		n       int
		peekErr error
	)

	// Not raw.Read: it would wait for the reader that pgconn starts during a slow
	// write and leaves running. The socket itself never blocks.
	err = raw.Control(func(fd uintptr) { n, _, peekErr = syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK) })

	const errorResponse = 'E' // PostgreSQL, "Message Formats"

	switch {
	case err != nil:
		return true
	case peekErr != nil:
		return peekErr != syscall.EAGAIN && peekErr != syscall.EINTR
	default:
		return n == 0 || first[0] == errorResponse
	}
}
