package servers_test

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/servers"
)

// An address stays its owner's while the server is down, and a server can listen on it.
func TestKeepAddr(t *testing.T) {
	t.Parallel()

	const many = 200

	seen := map[string]bool{}

	for range many {
		kept, err := servers.KeepAddr(t.Context())
		require.NoError(t, err)
		require.False(t, seen[kept.HostPort], "%s is given twice", kept.HostPort)
		t.Cleanup(kept.Release)

		seen[kept.HostPort] = true

		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", kept.HostPort)
		require.NoError(t, err)
		require.NoError(t, listener.Close())
	}
}
