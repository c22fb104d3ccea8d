package devserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// The lines of postmaster.pid that we read.
const (
	pidLine  = 0
	portLine = 3
)

func (d *dataDir) pidFile() string { return filepath.Join(d.pgdata(), "postmaster.pid") }

// postmaster is the number in a line of postmaster.pid, 0 when there is none.
func (d *dataDir) postmaster(line int) int {
	text, err := os.ReadFile(d.pidFile())
	if err != nil {
		return 0
	}

	lines := strings.Split(string(text), "\n")
	if len(lines) <= line {
		return 0
	}

	number, _ := strconv.Atoi(strings.TrimSpace(lines[line])) // 0 otherwise

	return number
}

// serverRuns tells whether the server that postmaster.pid names runs. Its process
// id alone does not tell: after a crash, another process may have it.
func (d *dataDir) serverRuns() bool {
	pid, port := d.postmaster(pidLine), d.postmaster(portLine)

	return pid > 0 && port > 0 &&
		!errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) &&
		checkPort(context.Background(), port) != nil
}

// disownPIDFile lets PostgreSQL start over the postmaster.pid of a server that is
// gone, on which it refuses when the file is empty or its number now belongs to
// another process. The file must stay: from its shared memory key PostgreSQL sees
// whether processes of the last server still run. So it gets a number that no
// process can have.
func (d *dataDir) disownPIDFile() (err error) {
	text, err := os.ReadFile(d.pidFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}

	if err != nil {
		return fmt.Errorf("reading postmaster.pid: %w", err)
	}

	if d.postmaster(pidLine) == 0 { // its server was killed while it wrote it
		if err := os.Remove(d.pidFile()); err != nil {
			return fmt.Errorf("removing an empty postmaster.pid: %w", err)
		}

		return nil
	}

	// pgdata belongs to the server's user, who may have put a link there.
	file, err := os.OpenFile(d.pidFile(), os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("correcting postmaster.pid: %w", err)
	}

	defer func() { err = errors.Join(err, file.Close()) }()

	_, rest, _ := strings.Cut(string(text), "\n")
	if _, err := fmt.Fprintf(file, "%d\n%s", math.MaxInt32, rest); err != nil {
		return fmt.Errorf("correcting postmaster.pid: %w", err)
	}

	return nil
}
