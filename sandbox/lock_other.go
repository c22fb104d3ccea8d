//go:build !unix

package sandbox

import (
	"fmt"
	"os"
)

// lockFile has no portable way to lock here: two sandboxes on one state file
// are the user's to avoid.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, stateFileMode)
	if err != nil {
		return nil, fmt.Errorf("opening the state file's lock: %w", err)
	}

	return file, nil
}

func unlockFile(file *os.File) error { return file.Close() }
