package devserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	orphanPoll  = 20 * time.Millisecond
	orphanGrace = 10 * time.Second // then it is told to stop at once, and then killed
)

// endOrphan ends the server that an earlier, killed owner of the data left
// behind. We hold the lock of the data directory: nobody uses it any more.
func (c *cluster) endOrphan(ctx context.Context) error {
	pid, err := c.postmasterPID()
	if err != nil {
		return err
	}

	if pid == 0 {
		return c.removePIDFile()
	}

	if !isPostmaster(pid, c.pgdata()) {
		return c.disownPID(pid)
	}

	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} {
		gone, err := c.signalOrphan(ctx, pid, signal)
		if err != nil || gone {
			return err
		}
	}

	return fmt.Errorf("the PostgreSQL with process id %d, left in %s, does not end", pid, c.dir)
}

func (c *cluster) signalOrphan(ctx context.Context, pid int, signal syscall.Signal) (gone bool, err error) {
	err = syscall.Kill(pid, signal)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fmt.Errorf("ending the PostgreSQL with process id %d, left in %s: %w", pid, c.dir, err)
	}

	deadline := time.NewTimer(orphanGrace)
	defer deadline.Stop()

	poll := time.NewTicker(orphanPoll) // not our child: there is nothing to wait on
	defer poll.Stop()

	for isPostmaster(pid, c.pgdata()) {
		select {
		case <-poll.C:
		case <-deadline.C:
			return false, nil
		case <-ctx.Done():
			return false, fmt.Errorf("waiting for the PostgreSQL left in %s to end: %w", c.dir, ctx.Err())
		}
	}

	return true, nil
}

func (c *cluster) pidFile() string { return filepath.Join(c.pgdata(), "postmaster.pid") }

// removePIDFile removes a file that says nothing, on which PostgreSQL would
// refuse to start: it was being written when its server was killed.
func (c *cluster) removePIDFile() error {
	if err := os.Remove(c.pidFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an empty postmaster.pid: %w", err)
	}

	return nil
}

// postmasterPID is the first line of postmaster.pid, 0 when there is no such
// file or no number in it.
func (c *cluster) postmasterPID() (int, error) {
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}

	if err != nil {
		return 0, fmt.Errorf("reading postmaster.pid: %w", err)
	}

	first, _, _ := bytes.Cut(text, []byte("\n"))

	pid, err := strconv.Atoi(string(bytes.TrimSpace(first)))
	if err != nil {
		return 0, nil //nolint:nilerr // written in part
	}

	return pid, nil
}

// disownPID lets PostgreSQL start over a postmaster.pid whose number now belongs
// to a stranger, on which it would refuse. The file must stay: from its shared
// memory key the next postmaster sees whether old backends still run. So the
// number becomes ours, as PostgreSQL passes over that of its parent process.
func (c *cluster) disownPID(pid int) (err error) {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil // PostgreSQL sees by itself that it is stale
	}

	text, err := os.ReadFile(c.pidFile())
	if err != nil {
		return fmt.Errorf("reading postmaster.pid: %w", err)
	}

	// pgdata belongs to the server's user, who may have put a link there.
	file, err := os.OpenFile(c.pidFile(), os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("correcting postmaster.pid: %w", err)
	}

	defer func() { err = errors.Join(err, file.Close()) }()

	_, rest, _ := bytes.Cut(text, []byte("\n"))
	if _, err := fmt.Fprintf(file, "%d\n%s", os.Getpid(), rest); err != nil {
		return fmt.Errorf("correcting postmaster.pid: %w", err)
	}

	return nil
}
