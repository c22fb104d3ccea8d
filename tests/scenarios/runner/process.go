package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is one `marketflow serve` that is kept running: whatever ends it,
// its supervisor starts it again, as an init system would.
type process struct {
	index  int
	addr   string
	binary string
	env    []string
	log    *os.File
	line   *timeline

	ctx    context.Context //nolint:containedctx // the process's life
	cancel context.CancelFunc
	done   chan struct{}

	mu  sync.Mutex
	cmd *exec.Cmd
	// expected: the runner ended it.
	expected bool
	// down is set while a fault keeps the process dead; the supervisor waits for it.
	down chan struct{}
	// odd are the exits that the runner did not cause.
	odd []string
}

func startProcess(p *process) *process {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.done = make(chan struct{})

	go p.supervise()

	return p
}

func (p *process) name() string { return fmt.Sprintf("process-%d", p.index) }

func (p *process) url() string { return "http://" + p.addr }

// supervise runs the process again and again until the end.
func (p *process) supervise() {
	defer close(p.done)

	const pause = 100 * time.Millisecond

	for p.ctx.Err() == nil {
		if down := p.holding(); down != nil {
			select {
			case <-down:
			case <-p.ctx.Done():
			}

			continue
		}

		begun := time.Now()
		err := p.runOnce()
		p.exited(err, time.Since(begun))

		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
	}
}

func (p *process) holding() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.down
}

// serve is the command; settings are further environment variables.
func (p *process) serve(ctx context.Context, settings ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.binary, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = append(slices.Clone(p.env), settings...), p.log, p.log
	cmd.SysProcAttr = processAttributes()

	return cmd
}

func (p *process) runOnce() error {
	cmd := p.serve(context.Background())

	p.mu.Lock()
	p.expected = false
	err := cmd.Start()
	p.cmd = cmd
	p.mu.Unlock()

	if err != nil {
		return fmt.Errorf("starting the service: %w", err)
	}

	if p.ctx.Err() != nil {
		p.signal(syscall.SIGKILL)
	}

	return cmd.Wait()
}

// exited notes an end that the runner did not cause. A service that cannot reach
// its database when it starts has to end, so that is not noted.
func (p *process) exited(err error, after time.Duration) {
	const starting = 15 * time.Second

	p.mu.Lock()
	defer p.mu.Unlock()

	var exit *exec.ExitError

	refusedToStart := errors.As(err, &exit) && exit.ExitCode() == 1 && after < starting

	if p.expected || p.ctx.Err() != nil || refusedToStart {
		return
	}

	p.odd = append(p.odd, fmt.Sprintf("%s ended by itself: %v", p.name(), err))
	p.line.addf(p.name(), "ENDED BY ITSELF: %v", err)
}

// tryKey starts the service with another key while the process is kept down. It
// returns once the service has ended by itself or ctx has ended it.
func (p *process) tryKey(ctx context.Context, key string) (exitCode int, lastLine string) {
	var out bytes.Buffer

	cmd := p.serve(ctx, "STRIPE_SECRET_KEY="+key)
	cmd.Stdout = io.MultiWriter(p.log, &out)
	cmd.Stderr = cmd.Stdout

	if err := cmd.Run(); cmd.ProcessState == nil {
		return -1, err.Error()
	}

	lines := strings.Split(strings.TrimSpace(out.String()), "\n")

	return cmd.ProcessState.ExitCode(), lines[len(lines)-1]
}

// signal sends a signal to the running process and tells whether there was one.
func (p *process) signal(sig syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.cmd == nil || p.cmd.Process == nil || p.cmd.ProcessState != nil {
		return false
	}

	if sig == syscall.SIGKILL || sig == syscall.SIGTERM {
		p.expected = true
	}

	return p.cmd.Process.Signal(sig) == nil
}

// kill ends the process as a crash does.
func (p *process) kill(why string) bool {
	hit := p.signal(syscall.SIGKILL)
	if hit {
		p.line.addf(p.name(), "SIGKILL (%s)", why)
	}

	return hit
}

// terminate asks the process to end, as a deployment does.
func (p *process) terminate() bool {
	hit := p.signal(syscall.SIGTERM)
	if hit {
		p.line.addf(p.name(), "SIGTERM")
	}

	return hit
}

// keepDown kills the process and keeps it dead until the returned function is
// called.
func (p *process) keepDown(why string) (back func()) {
	p.mu.Lock()
	down := make(chan struct{})
	p.down = down
	p.mu.Unlock()

	p.kill(why)

	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()

		if p.down == down {
			p.down = nil
		}

		close(down)
	})
}

// pause stops the process with SIGSTOP for a while, as a suspended machine or a
// long garbage collection would.
func (p *process) pause(ctx context.Context, d time.Duration, why string) bool {
	if !p.signal(syscall.SIGSTOP) {
		return false
	}

	p.line.addf(p.name(), "SIGSTOP for %s (%s)", d, why)
	wait(ctx, d)
	p.signal(syscall.SIGCONT)
	p.line.addf(p.name(), "SIGCONT")

	return true
}

// ready waits until the process answers.
func (p *process) ready(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second}

	return until(ctx, "the service on "+p.addr, func() bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url()+"/readyz", nil)
		if err != nil {
			return false
		}

		resp, err := client.Do(req)
		if err != nil {
			return false
		}

		_ = resp.Body.Close()

		return resp.StatusCode == http.StatusOK
	})
}

// stop ends the process for good.
func (p *process) stop() {
	p.cancel()
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGKILL)
	<-p.done
}

// notef keeps an odd exit for the verdict.
func (p *process) notef(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.odd = append(p.odd, p.name()+": "+fmt.Sprintf(format, args...))
}

func (p *process) oddExits() []string {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.odd
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// until polls a condition; what names it in the error.
func until(ctx context.Context, what string, condition func() bool) error {
	const every = 30 * time.Millisecond

	ticker := time.NewTicker(every)
	defer ticker.Stop()

	for !condition() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}

	return nil
}
