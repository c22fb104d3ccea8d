package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/marketflow/marketflow/internal/devserver"
)

const (
	poll = 10 * time.Millisecond

	// endLimit bounds the end of processes that were told to end at once.
	endLimit = 10 * time.Second
)

// ErrStopped says that the server was stopped for good.
var ErrStopped = errors.New("the server was stopped")

// Shutdown says how a server ends.
type Shutdown int

const (
	// ShutdownFast rolls open transactions back, disconnects the clients and
	// writes a checkpoint (PostgreSQL's "fast").
	ShutdownFast Shutdown = iota

	// ShutdownImmediate stops without a checkpoint; the next start recovers from
	// the log (PostgreSQL's "immediate").
	ShutdownImmediate

	// ShutdownCrash is kill -9 for all of the server's processes: nothing is
	// tidied up, and no statement in flight is answered.
	ShutdownCrash
)

// Volatile are settings for throw-away data, and fast: a crash of the machine may
// lose or break everything. synchronous_commit stays on: without fsync it costs
// next to nothing, and the service refuses a server that forgets commits.
func Volatile() map[string]string {
	return map[string]string{"fsync": "off", "full_page_writes": "off"}
}

// Postgres is a PostgreSQL server that can be restarted and killed. Its methods
// may be called from several goroutines.
type Postgres struct {
	DataDir string // where the data really are
	Port    int    // on 127.0.0.1; stays the same over restarts

	options devserver.PostgresOptions
	url     string

	mu      sync.Mutex
	server  *devserver.Postgres // the last one that was started
	stopped bool
}

// StartPostgres is devserver.StartPostgres for a server that can be restarted.
func StartPostgres(ctx context.Context, options devserver.PostgresOptions) (*Postgres, error) {
	server, err := devserver.StartPostgres(ctx, options)
	if err != nil {
		return nil, err
	}

	options.DataDir, options.Port = server.DataDir, server.Port

	return &Postgres{
		DataDir: server.DataDir, Port: server.Port, options: options, url: server.URL(), server: server,
	}, nil
}

// URL connects to the default database as a superuser. It holds the password.
func (p *Postgres) URL() string { return p.url }

// Running tells whether the server runs.
func (p *Postgres) Running() bool {
	conn, err := net.DialTimeout("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port)), time.Second)
	if err != nil {
		return false
	}

	return conn.Close() == nil
}

// Stop shuts the server down for good; see devserver.Postgres.Stop.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	p.stopped = true

	return p.server.Stop(ctx)
}

// Restart ends the server as mode says, when it runs, and starts it again on the
// same port and data. After Stop the error is ErrStopped.
func (p *Postgres) Restart(ctx context.Context, mode Shutdown) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.stopped {
		return fmt.Errorf("restarting PostgreSQL: %w", ErrStopped)
	}

	if err := p.end(mode); err != nil {
		return fmt.Errorf("restarting PostgreSQL: %w", err)
	}

	if err := p.server.Stop(ctx); err != nil {
		return fmt.Errorf("restarting PostgreSQL: %w", err)
	}

	server, err := devserver.StartPostgres(ctx, p.options)
	if err != nil {
		return fmt.Errorf("restarting PostgreSQL: %w", err)
	}

	p.server = server

	return nil
}

// Kill ends the server as a crash does (SIGKILL) and returns when it is gone.
// Restart brings it back; Stop is still due.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if err := p.end(ShutdownCrash); err != nil {
		return fmt.Errorf("killing PostgreSQL: %w", err)
	}

	return nil
}

// end ends the server's processes unless the mode leaves that to a normal stop.
func (p *Postgres) end(mode Shutdown) error {
	if mode == ShutdownFast || !p.Running() {
		return nil
	}

	text, err := os.ReadFile(filepath.Join(p.DataDir, "pgdata", "postmaster.pid"))
	if err != nil {
		return fmt.Errorf("finding the server's process: %w", err)
	}

	first, _, _ := strings.Cut(string(text), "\n")

	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("finding the server's process: %w", err)
	}

	switch mode {
	case ShutdownImmediate:
		return endProcesses(syscall.SIGQUIT, postmaster)
	case ShutdownCrash:
		return kill(postmaster)
	default:
		return fmt.Errorf("unknown shutdown mode %d", mode)
	}
}

// kill kills the backends too: they would notice the postmaster's death, but
// might finish and answer a statement before.
func kill(postmaster int) error {
	// A stopped postmaster starts no more of them.
	if err := syscall.Kill(postmaster, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping process %d: %w", postmaster, err)
	}

	all, err := processes()
	if err != nil {
		return err
	}

	pids := []int{postmaster}

	for pid, parent := range all {
		if parent == postmaster {
			pids = append(pids, pid)
		}
	}

	return endProcesses(syscall.SIGKILL, pids...)
}

// endProcesses signals processes and waits until they are gone.
func endProcesses(signal syscall.Signal, pids ...int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("sending %s to process %d: %w", signal, pid, err)
		}
	}

	for deadline := time.Now().Add(endLimit); time.Now().Before(deadline); time.Sleep(poll) {
		left, err := processes()
		if err != nil {
			return err
		}

		if !slices.ContainsFunc(pids, func(pid int) bool { return left[pid] != 0 }) {
			return nil
		}
	}

	return fmt.Errorf("processes %v do not end", pids)
}

// processes are all that run, each with its parent. Those that are dead, and that
// nobody has waited for yet, do not run.
func processes() (map[int]int, error) {
	list, err := exec.CommandContext(context.Background(), "ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat=").Output()
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}

	parents := map[int]int{}

	for line := range strings.Lines(string(list)) {
		var (
			pid, parent int
			state       string
		)

		if _, err := fmt.Sscan(line, &pid, &parent, &state); err == nil && !strings.HasPrefix(state, "Z") {
			parents[pid] = parent
		}
	}

	return parents, nil
}
