//go:build unix

package sandbox

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever closes a state file can open it again at once, although a process
// that is just being started still has what we had open.
func TestLock_IsFreeOnceUnlocked(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "state.lock")
	lock, err := lockFile(path)
	require.NoError(t, err)

	inChild, err := syscall.Dup(int(lock.Fd())) // as fork does
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Close(inChild)) })

	_, err = lockFile(path)
	require.ErrorIs(t, err, syscall.EWOULDBLOCK)

	require.NoError(t, unlockFile(lock))

	again, err := lockFile(path)
	require.NoError(t, err)
	require.NoError(t, unlockFile(again))
}
