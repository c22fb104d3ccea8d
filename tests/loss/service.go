package loss

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// service is one `marketflow serve`.
type service struct {
	name, addr, binary string
	env                []string
	log                *os.File

	mu    sync.Mutex
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
	// odd is how it ended by itself.
	odd error
}

func (s *service) url() string { return "http://" + s.addr }

// start starts it and waits until it is ready.
func (s *service) start(ctx context.Context) error {
	const patience = 40 * time.Second

	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.binary, "serve")
	cmd.Env, cmd.Stdout, cmd.Stderr = append([]string{"HTTP_ADDR=" + s.addr}, s.env...), s.log, s.log
	cmd.SysProcAttr = processAttributes()

	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.name, err)
	}

	ended := make(chan struct{})

	s.mu.Lock()
	s.cmd, s.ended = cmd, ended
	s.mu.Unlock()

	go func() {
		err := cmd.Wait()

		s.mu.Lock()
		defer s.mu.Unlock()

		if s.cmd == cmd { // nobody has ended it
			s.cmd, s.odd = nil, fmt.Errorf("%s ended by itself: %v", s.name, err) //nolint:errorlint // err may be nil
		}

		close(ended)
	}()

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	return until(ctx, s.name+" to be ready", func() bool { return s.ended0() != nil || s.ready(ctx) })
}

// ended0 is how it ended by itself, or nil.
func (s *service) ended0() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.odd
}

func (s *service) ready(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url()+"/readyz", nil)
	if err != nil {
		return false
	}

	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}

	_ = resp.Body.Close()

	return resp.StatusCode == http.StatusOK
}

// stop ends it with a signal and waits for its end.
func (s *service) stop(signal syscall.Signal) error {
	s.mu.Lock()
	cmd, ended := s.cmd, s.ended
	s.cmd = nil
	s.mu.Unlock()

	if cmd == nil {
		return nil
	}

	if err := cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", s.name, err)
	}

	<-ended

	return nil
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

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
