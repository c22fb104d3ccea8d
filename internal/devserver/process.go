package devserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// killAfter is how long a server that was told to stop at once may take before
// it is killed.
const killAfter = 5 * time.Second

// process is a server that we started.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone and reaped
}

// startProcess starts cmd in a process group of its own, as the account's user.
// On Linux it receives onOurDeath when we die.
func startProcess(cmd *exec.Cmd, as account, onOurDeath syscall.Signal) (*process, error) {
	cmd.SysProcAttr = processAttributes(as, onOurDeath)
	p := &process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error, 1)

	go p.run(started)

	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}

	return p, nil
}

// run keeps its thread until the child is gone: the kernel sends the
// parent-death signal when the thread that forked ends, not the process
// (prctl(2), PR_SET_PDEATHSIG; golang/go#27505).
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()

	defer runtime.UnlockOSThread()

	if err := p.cmd.Start(); err != nil {
		started <- err

		return
	}

	started <- nil

	_ = p.cmd.Wait() // how it ended is in its log; that it ended is all we use

	close(p.exited)
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// end sends a signal that asks the process to end and waits until it is gone.
// When ctx is done first, it is made to end by hurry, and the error is ctx's.
func (p *process) end(ctx context.Context, politely, hurry syscall.Signal) error {
	if err := p.signal(politely); err != nil {
		return err
	}

	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
	}

	if err := p.endSoon(hurry); err != nil {
		return err
	}

	return fmt.Errorf("%s was made to end: %w", p.cmd.Path, ctx.Err())
}

// endSoon sends a signal and, when the process is not gone soon, kills it.
func (p *process) endSoon(sig syscall.Signal) error {
	if err := p.signal(sig); err != nil {
		return err
	}

	select {
	case <-p.exited:
		return nil
	case <-time.After(killAfter):
		return p.kill()
	}
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}

	<-p.exited

	return nil
}

func (p *process) signal(sig syscall.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if err == nil || errors.Is(err, os.ErrProcessDone) {
		return nil
	}

	return fmt.Errorf("sending %s to %s: %w", sig, p.cmd.Path, err)
}
