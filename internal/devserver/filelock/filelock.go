// Package filelock locks files between processes with flock(2). The kernel
// releases a lock when its holder dies, however it dies: that is what lets the
// next start trust a lock that it gets.
//
// A lock file is never removed: a process that waits on a removed file and one
// that creates it anew would both believe that they hold it.
package filelock

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrHeld says that another holder has the lock.
var ErrHeld = errors.New("lock is held")

// Lock is a held lock. It lives until Release or the end of the process.
type Lock struct {
	file *os.File
}

// Exclusive waits until it alone holds the lock file at path.
func Exclusive(path string) (*Lock, error) {
	return acquire(path, syscall.LOCK_EX)
}

// TryExclusive takes the lock file at path alone, or returns ErrHeld at once.
func TryExclusive(path string) (*Lock, error) {
	return acquire(path, syscall.LOCK_EX|syscall.LOCK_NB)
}

// Shared waits until nobody holds the lock file at path exclusively.
func Shared(path string) (*Lock, error) {
	return acquire(path, syscall.LOCK_SH)
}

// File is the locked file. A child process that inherits it holds the lock too:
// when we die, it lasts until the child closes it.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock up, also for a child that inherited it. To close the
// file would not do: any child between its fork and its exec has it open too.
func (l *Lock) Release() error {
	if err := errors.Join(flock(l.file, syscall.LOCK_UN), l.file.Close()); err != nil {
		return fmt.Errorf("releasing lock %s: %w", l.file.Name(), err)
	}

	return nil
}

func acquire(path string, how int) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the caller's file is the purpose
	if err != nil {
		return nil, fmt.Errorf("opening lock: %w", err)
	}

	if err := flock(file, how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), file.Close())
	}

	return &Lock{file: file}, nil
}

func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how)

		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrHeld
		default:
			return err //nolint:wrapcheck // acquire says what it was for
		}
	}
}
