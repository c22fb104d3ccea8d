package filelock_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver/filelock"
)

func TestTryExclusive_HeldByAnother(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "lock")

	first, err := filelock.TryExclusive(path)
	require.NoError(t, err)

	_, err = filelock.TryExclusive(path)
	require.ErrorIs(t, err, filelock.ErrHeld)

	require.NoError(t, first.Release())

	second, err := filelock.TryExclusive(path)
	require.NoError(t, err)
	require.NoError(t, second.Release())
}

func TestShared_ManyHoldersKeepExclusiveOut(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "lock")

	one, err := filelock.Shared(path)
	require.NoError(t, err)
	two, err := filelock.Shared(path)
	require.NoError(t, err)

	require.NoError(t, one.Release())

	_, err = filelock.TryExclusive(path)
	require.ErrorIs(t, err, filelock.ErrHeld, "the other one still holds it")

	require.NoError(t, two.Release())

	alone, err := filelock.TryExclusive(path)
	require.NoError(t, err)
	require.NoError(t, alone.Release())
}

func TestExclusive_WaitsForSharedHolders(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "lock")

	shared, err := filelock.Shared(path)
	require.NoError(t, err)

	acquired := make(chan error, 1)

	go func() {
		lock, err := filelock.Exclusive(path)
		if err == nil {
			err = lock.Release()
		}

		acquired <- err
	}()

	require.Empty(t, acquired)
	require.NoError(t, shared.Release())
	require.NoError(t, <-acquired)
}

func TestLock_MissingFolder(t *testing.T) {
	t.Parallel()

	_, err := filelock.Exclusive(filepath.Join(t.TempDir(), "nowhere", "lock"))
	require.ErrorContains(t, err, "opening lock")
}

func TestRelease_WhileAChildHasTheFile(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), "lock")

	lock, err := filelock.TryExclusive(path)
	require.NoError(t, err)

	child := exec.CommandContext(t.Context(), "sleep", "600")
	child.ExtraFiles = []*os.File{lock.File()}
	require.NoError(t, child.Start())
	t.Cleanup(func() {
		require.NoError(t, child.Process.Kill())
		require.Error(t, child.Wait(), "killed")
	})

	require.NoError(t, lock.Release())

	again, err := filelock.TryExclusive(path)
	require.NoError(t, err)
	require.NoError(t, again.Release())
}
