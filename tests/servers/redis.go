package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/internal/devserver"
)

// ErrNoRedisServer says that there is no redis-server on the machine.
var ErrNoRedisServer = errors.New("no redis-server found: apt-get install redis-server, or brew install redis")

// redisStartLimit is long for a redis-server, which is ready in milliseconds.
const redisStartLimit = 30 * time.Second

// Redis is a real redis-server. It keeps nothing on disk: Restart brings it back
// empty. Its methods may be called from several goroutines.
type Redis struct {
	Port int // on 127.0.0.1; stays the same over restarts

	binary   string
	dir      string // its log, configuration and working directory
	password string

	mu    sync.Mutex
	shell *exec.Cmd      // runs the server; nil when it does not run
	alive io.WriteCloser // the shell kills the server when this is closed
}

// StartRedis starts the redis-server (or valkey-server) in PATH and returns when
// it answers; ctx bounds the start, not the server's life. The errors are
// ErrNoRedisServer, or what its log tells.
func StartRedis(ctx context.Context) (*Redis, error) {
	binary, err := findRedisServer()
	if err != nil {
		return nil, err
	}

	port, err := devserver.FreePort(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}

	dir, err := os.MkdirTemp("", "marketflow-redis-")
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}

	r := &Redis{Port: port, binary: binary, dir: dir, password: rand.Text()}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Redis: %w", err), os.RemoveAll(dir))
	}

	return r, nil
}

// Addr is the host and port.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)) }

// URL is for redis.ParseURL. It holds the password.
func (r *Redis) URL() string {
	address := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: r.Addr(), Path: "/0"}

	return address.String()
}

// Stop ends the server and removes its directory. Stopping again does nothing.
func (r *Redis) Stop() error {
	if err := errors.Join(r.Kill(), os.RemoveAll(r.dir)); err != nil {
		return fmt.Errorf("stopping Redis: %w", err)
	}

	return nil
}

// Kill ends the server with SIGKILL and returns when it is gone. Restart brings
// it back; Stop is still due.
func (r *Redis) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()

	return r.kill()
}

// Restart starts the server on the same port, empty, after killing it when it
// still runs.
func (r *Redis) Restart(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	if err := errors.Join(r.kill(), r.start(ctx)); err != nil {
		return fmt.Errorf("restarting Redis: %w", err)
	}

	return nil
}

func findRedisServer() (string, error) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}

	return "", ErrNoRedisServer
}

// start has a shell run the server and kill it when the shell's input ends, which
// it also does when we die.
func (r *Redis) start(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(r.dir, "redis.conf"), []byte(r.configuration()), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}

	shell := exec.Command("/bin/sh", "-c", `"$0" redis.conf & read -r _; kill -KILL $!; wait`, r.binary)
	shell.Dir = r.dir
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C does not reach it

	alive, err := shell.StdinPipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}

	if err := shell.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", r.binary, err)
	}

	r.shell, r.alive = shell, alive

	if err := r.awaitReady(ctx); err != nil {
		log, readErr := os.ReadFile(filepath.Join(r.dir, "redis.log"))

		return errors.Join(fmt.Errorf("%w; its log:\n%s", err, log), readErr, r.kill())
	}

	return nil
}

func (r *Redis) kill() error {
	if r.shell == nil {
		return nil
	}

	err := r.alive.Close()
	_ = r.shell.Wait() // it tells that the server was killed
	r.shell = nil

	if err != nil {
		return fmt.Errorf("killing Redis: %w", err)
	}

	return nil
}

// configuration is a file: arguments are there for all users of the machine to
// see. The password is needed because loopback is shared by all of them, and who
// may CONFIG SET dir may write files as us.
func (r *Redis) configuration() string {
	return strings.Join([]string{
		"port " + strconv.Itoa(r.Port),
		"bind 127.0.0.1",
		"requirepass " + r.password,
		`save ""`,
		"appendonly no",
		"daemonize no",
		"logfile redis.log",
		"",
	}, "\n")
}

func (r *Redis) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, redisStartLimit)
	defer cancel()

	for !r.answers(ctx) {
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server: %w", ctx.Err())
		}
	}

	return nil
}

// answers asks without a client library, which would log every refused dial.
func (r *Redis) answers(ctx context.Context) bool {
	const reply = "+OK\r\n+PONG\r\n"

	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()

	conn, err := new(net.Dialer).DialContext(ctx, "tcp4", r.Addr())
	if err != nil {
		return false
	}

	defer func() { _ = conn.Close() }() // it has answered or not

	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return false
	}

	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", r.password); err != nil {
		return false
	}

	got := make([]byte, len(reply))
	_, err = io.ReadFull(conn, got)

	return err == nil && string(got) == reply
}
