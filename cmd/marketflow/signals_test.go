package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	// soon bounds what a test waits for, generously.
	soon = 30 * time.Second
	poll = 10 * time.Millisecond
)

// running is a `serve` that runs.
type running struct {
	t       *testing.T
	command *exec.Cmd
	url     string
	ended   chan error
	client  *http.Client
}

// serve starts the program under wrapper (none: as it is) and waits until it is
// ready.
func serve(t *testing.T, environment []string, wrapper ...string) *running {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)

	addr := listener.Addr().String()
	require.NoError(t, listener.Close())

	args := append(wrapper, os.Args[0], "serve") //nolint:gocritic // a new slice
	r := &running{
		t: t, command: exec.CommandContext(t.Context(), args[0], args[1:]...), url: "http://" + addr, ended: make(chan error, 1),
		// Each probe has a connection of its own.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: soon},
	}
	r.command.Dir = t.TempDir() // no .env
	r.command.Env = append([]string{
		asProgram + "=1", "HTTP_ADDR=" + addr, "DATABASE_URL=" + pgtest.New(t).URL, "STRIPE_API_BASE=" + sandbox.Start(t).URL,
		"STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "AUTH=off",
	}, environment...)

	require.NoError(t, r.command.Start())

	go func() { r.ended <- r.command.Wait() }()

	t.Cleanup(func() { _ = r.command.Process.Kill() })
	require.Eventually(t, func() bool { return r.readyz() == http.StatusOK }, soon, poll)

	return r
}

// readyz is the status of /readyz; 0: no answer.
func (r *running) readyz() int {
	r.t.Helper()

	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+"/readyz", nil)
	require.NoError(r.t, err)

	resp, err := r.client.Do(req)
	if err != nil {
		return 0
	}

	_ = resp.Body.Close()

	return resp.StatusCode
}

// Whoever asks the service to end, and however: it drains.
func TestServe_DrainsOnSignals(t *testing.T) {
	t.Parallel()

	for name, sig := range map[string]syscall.Signal{
		"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT, "SIGHUP": syscall.SIGHUP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			skipIfIgnored(t, sig)

			r := serve(t, []string{"DRAIN_DELAY=2s"})
			require.NoError(t, r.command.Process.Signal(sig))
			require.Eventually(t, func() bool { return r.readyz() == http.StatusServiceUnavailable }, soon, poll)
			require.NoError(t, <-r.ended, "the exit code is 0")
		})
	}
}

// skipIfIgnored: a program inherits which signals are ignored, as SIGHUP is under nohup.
func skipIfIgnored(t *testing.T, sig syscall.Signal) {
	t.Helper()

	if signal.Ignored(sig) {
		t.Skipf("%s is ignored here", sig)
	}
}

// An operator who does not want to wait says so again.
func TestServe_SecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	skipIfIgnored(t, syscall.SIGHUP)

	r := serve(t, []string{"DRAIN_DELAY=1m", "SHUTDOWN_TIMEOUT=2m"})
	require.NoError(t, r.command.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, func() bool { return r.readyz() == http.StatusServiceUnavailable }, soon, poll)
	require.NoError(t, r.command.Process.Signal(syscall.SIGHUP))

	select {
	case err := <-r.ended:
		require.ErrorContains(t, err, "hangup")
	case <-time.After(soon):
		t.Fatal("it goes on")
	}
}

// nohup has a program ignore SIGHUP, so that it outlives its terminal.
func TestServe_UnderNohup(t *testing.T) {
	t.Parallel()

	r := serve(t, []string{"DRAIN_DELAY=1s"}, "/bin/sh", "-c", `trap "" HUP; exec "$@"`, "sh")
	require.NoError(t, r.command.Process.Signal(syscall.SIGHUP))
	require.Equal(t, http.StatusOK, r.readyz())
	require.NoError(t, r.command.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-r.ended, "the first signal that counts")
}
