//go:build !unix

package postgres

import "net"

// closedByServer cannot be told on this system without sending something.
func closedByServer(net.Conn) bool { return false }
