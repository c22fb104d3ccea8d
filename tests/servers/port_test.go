package servers_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/servers"
)

// An address is given to nobody else while nobody listens on it.
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
	}
}
