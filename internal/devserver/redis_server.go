package devserver

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
)

// ErrNoRedisServer says that there is no redis-server on the machine.
var ErrNoRedisServer = errors.New("no redis-server found: apt-get install redis-server, or brew install redis")

// RedisServerOptions say what StartRedisServer starts.
type RedisServerOptions struct {
	// Port on 127.0.0.1; 0 is any free one.
	Port int
}

// RedisServer is a real redis-server that this process runs. It keeps nothing on
// disk: Restart brings it back empty. Its methods may be called from several
// goroutines.
type RedisServer struct {
	Port int // on 127.0.0.1; stays the same over restarts

	binary   string
	dir      string // its log and working directory
	password string

	mu     sync.Mutex
	server *process
}

// StartRedisServer starts the redis-server (or valkey-server) in PATH and
// returns when it answers; ctx bounds the start, not the server's life. The
// errors are ErrNoRedisServer, ErrPortTaken, or what the end of the log tells.
func StartRedisServer(ctx context.Context, options RedisServerOptions) (*RedisServer, error) {
	binary, err := findRedisServer()
	if err != nil {
		return nil, err
	}

	dir, err := os.MkdirTemp("", "marketflow-redis-")
	if err != nil {
		return nil, fmt.Errorf("starting Redis: %w", err)
	}

	r := &RedisServer{Port: options.Port, binary: binary, dir: dir, password: rand.Text()}
	if err := r.firstStart(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting Redis: %w", err), os.RemoveAll(dir))
	}

	return r, nil
}

// Addr is the host and port.
func (r *RedisServer) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(r.Port)) }

// URL is for redis.ParseURL. It holds the password.
func (r *RedisServer) URL() string {
	address := url.URL{Scheme: "redis", User: url.UserPassword("", r.password), Host: r.Addr(), Path: "/0"}

	return address.String()
}

// Stop ends the server and removes its directory. When ctx ends first, the
// server is killed and the error is ctx's. Stopping again does nothing.
func (r *RedisServer) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	err := r.server.end(ctx, syscall.SIGTERM, syscall.SIGKILL)
	if err := errors.Join(err, os.RemoveAll(r.dir)); err != nil {
		return fmt.Errorf("stopping Redis: %w", err)
	}

	return nil
}

// Kill ends the server with SIGKILL and returns when it is gone. Restart brings
// it back; Stop is still due.
func (r *RedisServer) Kill() error {
	r.mu.Lock()
	defer r.mu.Unlock()

	if err := r.server.kill(); err != nil {
		return fmt.Errorf("killing Redis: %w", err)
	}

	return nil
}

// Restart starts the server on the same port, empty, after killing it when it
// still runs.
func (r *RedisServer) Restart(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	if err := r.server.kill(); err != nil {
		return fmt.Errorf("restarting Redis: %w", err)
	}

	if err := r.start(ctx); err != nil {
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

func (r *RedisServer) firstStart(ctx context.Context) error {
	if r.Port != 0 {
		return r.start(ctx)
	}

	var err error

	for range portAttempts { // somebody may take the port between choice and start
		if r.Port, err = freePort(ctx); err != nil {
			return err
		}

		if err = r.start(ctx); !errors.Is(err, ErrPortTaken) {
			return err
		}
	}

	return err
}

func (r *RedisServer) start(ctx context.Context) (err error) {
	if err := checkPort(ctx, r.Port); err != nil {
		return err
	}

	log, err := os.Create(r.logFile())
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}

	defer func() { err = errors.Join(err, log.Close()) }()

	//nolint:gosec,noctx // the server outlives ctx, which bounds its start
	command := exec.Command(r.binary, "-")
	command.Dir = r.dir
	command.Stdin = strings.NewReader(r.configuration())
	command.Stdout = log
	command.Stderr = log

	if r.server, err = startProcess(command, account{}, syscall.SIGKILL); err != nil {
		return err
	}

	if err := r.awaitReady(ctx); err != nil {
		return errors.Join(r.diagnose(err), r.server.kill())
	}

	return nil
}

func (r *RedisServer) logFile() string { return filepath.Join(r.dir, "redis.log") }

// configuration is read from the standard input: arguments are there for all
// users of the machine to see. The password is needed for the same reason as
// PostgreSQL's: who may CONFIG SET dir may write files as us.
func (r *RedisServer) configuration() string {
	return strings.Join([]string{
		"port " + strconv.Itoa(r.Port),
		"bind " + loopback,
		"requirepass " + r.password,
		`save ""`,
		"appendonly no",
		"daemonize no",
		"",
	}, "\n")
}

func (r *RedisServer) awaitReady(ctx context.Context) error {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()

	for !r.answers(ctx) {
		select {
		case <-poll.C:
		case <-r.server.exited:
			return errors.New("the server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server: %w", ctx.Err())
		}
	}

	return nil
}

// answers asks without a client library, which would log every refused dial.
func (r *RedisServer) answers(ctx context.Context) bool {
	const reply = "+OK\r\n+PONG\r\n"

	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()

	var dialer net.Dialer

	conn, err := dialer.DialContext(ctx, "tcp4", r.Addr())
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

func (r *RedisServer) diagnose(err error) error {
	log, readErr := os.ReadFile(r.logFile())
	if readErr != nil {
		return errors.Join(err, readErr)
	}

	if portTakenInLog(log) {
		return portTaken(r.Port)
	}

	return fmt.Errorf("%w; the end of %s:\n%s", err, r.logFile(), lastLines(log))
}
