//go:build !unix

package postgres

import "net"

// hungUp cannot be told without asking.
func hungUp(net.Conn) bool { return false }
