package loss

import "syscall"

// processAttributes: the services do not outlive the drill, and Ctrl-C reaches the drill
// alone.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
