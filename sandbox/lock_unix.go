//go:build unix

package sandbox

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile keeps two sandboxes from writing one state file. The kernel lets go
// of the lock when the process ends, however it ends.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, stateFileMode) //nolint:gosec // the user's own choice
	if err != nil {
		return nil, fmt.Errorf("opening the state file's lock: %w", err)
	}

	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another sandbox uses this state file (%s): %w", path, err), file.Close())
	}

	return file, nil
}

// unlockFile lets go of the lock at once. To close the file would not do: a
// child process that is between its fork and its exec has it open too.
func unlockFile(file *os.File) error {
	return errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_UN), file.Close())
}
