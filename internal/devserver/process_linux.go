package devserver

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func processAttributes(as account, onOurDeath syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  onOurDeath,
		Credential: as.credential,
	}
}

// isPostmaster tells whether the process is the PostgreSQL server of pgdata and
// not one that got its number later.
func isPostmaster(pid int, pgdata string) bool {
	return slices.Contains(serverProcesses(pgdata, strconv.Itoa(pid)), pid)
}

// backends are the processes that serve pgdata, other than the postmaster.
func backends(postmaster int, pgdata string) []int {
	return slices.DeleteFunc(serverProcesses(pgdata, "[0-9]*"), func(pid int) bool { return pid == postmaster })
}

// serverProcesses are the PostgreSQL processes of pgdata among those whose
// number matches the pattern. All of them work in their data directory; one that
// is dead but not reaped has no working directory.
func serverProcesses(pgdata, pattern string) []int {
	resolved, err := filepath.EvalSymlinks(pgdata)
	if err != nil {
		return nil
	}

	folders, err := filepath.Glob(filepath.Join("/proc", pattern))
	if err != nil {
		return nil
	}

	var pids []int

	for _, folder := range folders {
		cwd, err := os.Readlink(filepath.Join(folder, "cwd"))
		if err != nil || cwd != resolved {
			continue
		}

		name, err := os.ReadFile(filepath.Join(folder, "comm")) //nolint:gosec // below /proc
		if err != nil || strings.TrimSpace(string(name)) != serverProgram {
			continue
		}

		if pid, err := strconv.Atoi(filepath.Base(folder)); err == nil {
			pids = append(pids, pid)
		}
	}

	return pids
}
