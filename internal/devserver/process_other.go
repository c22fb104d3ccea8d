//go:build !linux

package devserver

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// processAttributes cannot ask for a signal on our death: only Linux has one.
func processAttributes(as account, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: as.credential}
}

// isPostmaster tells whether the process is the PostgreSQL server of pgdata and
// not one that got its number later.
func isPostmaster(pid int, pgdata string) bool {
	command, err := exec.CommandContext(context.Background(), "ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()

	return err == nil &&
		strings.Contains(string(command), serverProgram) &&
		strings.Contains(string(command), pgdata)
}

// backends are the children of the postmaster. Once it is gone they cannot be
// told any more.
func backends(postmaster int, _ string) []int {
	list, err := exec.CommandContext(context.Background(), "ps", "-A", "-o", "pid=", "-o", "ppid=").Output()
	if err != nil {
		return nil
	}

	var pids []int

	for line := range strings.Lines(string(list)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil && parent == postmaster {
			pids = append(pids, pid)
		}
	}

	return pids
}
