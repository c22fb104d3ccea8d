//go:build !linux

package runner

import "syscall"

// processAttributes: Ctrl-C reaches the runner alone.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
