package runner

import "syscall"

// processAttributes: the services do not outlive the runner, and Ctrl-C reaches
// the runner alone.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
