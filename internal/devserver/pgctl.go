package devserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// patience is pg_ctl's limit where ours, a context, is the one that counts.
	patience = 24 * time.Hour

	// hurry bounds a stop without a checkpoint, which takes PostgreSQL five seconds
	// at most.
	hurry = 10 * time.Second

	// leftoverGrace is how long a server that was left running may take to shut
	// down, and the processes of a killed one to end.
	leftoverGrace = 10 * time.Second

	// maxConnections leaves room for a whole run of parallel tests.
	maxConnections = "300"
)

// errBackendsLeft says that processes of a killed server still run.
var errBackendsLeft = errors.New("processes of the last server still run")

// launch starts the server on p.Port. It waits for the last processes of a killed
// server: until they are gone, PostgreSQL refuses to touch the data.
func (p *Postgres) launch(ctx context.Context) error {
	for deadline := time.Now().Add(leftoverGrace); ; {
		if err := checkPort(ctx, p.Port); err != nil {
			return err
		}

		err := p.launchOnce(ctx)
		if !errors.Is(err, errBackendsLeft) || time.Now().After(deadline) {
			return err
		}
	}
}

func (p *Postgres) launchOnce(ctx context.Context) (err error) {
	log, err := p.dir.openLog()
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, log.Close()) }()

	start, err := log.Stat()
	if err != nil {
		return fmt.Errorf("looking at the server's log: %w", err)
	}

	err = p.startGuarded(ctx, log)
	if ctx.Err() != nil { // pg_ctl has passed its interrupt on to the server
		p.endGuard()

		return errors.Join(ctx.Err(), p.stopServer(context.WithoutCancel(ctx), "immediate", hurry))
	}

	if err != nil {
		return p.diagnose(err, start.Size())
	}

	return nil
}

// guarded starts the server and then waits for the end of a pipe that we hold
// open. The kernel closes it with us, however we die, and SIGINT asks the server
// for a fast shutdown: it names a process and not the data directory, where the
// next start may have put another server meanwhile.
const guarded = `"$0" "$@" >&2 || exit
trap '' PIPE # we may be gone already
read -r pid <"$PGDATA/postmaster.pid"
echo ready
read -r _
kill -INT "$pid"`

// startGuarded has a shell start the server, and shut it down when we die without
// stopping it (kill -9), which pg_ctl cannot do.
func (p *Postgres) startGuarded(ctx context.Context, log *os.File) error {
	shell := p.pgProgram(context.WithoutCancel(ctx), "/bin/sh", "-c", guarded, p.pgCtl(),
		"start", "--silent", timeoutOption(patience), "--options="+p.serverOptions())
	shell.Stderr = log

	if _, err := shell.StdinPipe(); err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}

	ready, err := shell.StdoutPipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}

	if err := shell.Start(); err != nil {
		return fmt.Errorf("starting a shell: %w", err)
	}

	interrupt := context.AfterFunc(ctx, func() { _ = syscall.Kill(-shell.Process.Pid, syscall.SIGINT) })
	_, failed := bufio.NewReader(ready).ReadString('\n')

	interrupt()

	if failed != nil {
		return shell.Wait() //nolint:wrapcheck // launchOnce says what it was for
	}

	ended := make(chan struct{})

	go func() { // it also keeps the pipe from the garbage collector
		defer close(ended)

		_ = shell.Wait() // it says that it was killed
	}()

	p.endGuard = sync.OnceFunc(func() {
		_ = shell.Process.Kill() // it may have ended already

		<-ended
	})

	return nil
}

func (p *Postgres) pgCtl() string { return filepath.Join(p.bin.Dir, "pg_ctl") }

// pgProgram is a program that works on the data as the user that owns them.
func (p *Postgres) pgProgram(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	command := p.dir.as.command(ctx, program, arguments...)
	command.Dir = p.DataDir
	command.Env = append(serverEnvironment(), "PGDATA="+p.dir.pgdata())

	return command
}

// serverOptions are the server's arguments, quoted for pg_ctl's shell.
func (p *Postgres) serverOptions() string {
	settings := map[string]string{
		"port":                    strconv.Itoa(p.Port),
		"listen_addresses":        loopback,
		"unix_socket_directories": "",
		"max_connections":         maxConnections,
		"fsync":                   "on",
		"synchronous_commit":      "on",
		"full_page_writes":        "on",
	}
	maps.Copy(settings, p.options.Settings)

	options := make([]string, 0, 2+2*len(settings))
	options = append(options, "-D", quoted(p.dir.pgdata()))

	for _, name := range slices.Sorted(maps.Keys(settings)) {
		options = append(options, "-c", name+"="+quoted(settings[name]))
	}

	return strings.Join(options, " ")
}

func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// diagnose tells the causes of a failed start that have an answer of their own;
// the others show the log of this start, which begins at the offset.
func (p *Postgres) diagnose(err error, offset int64) error {
	log, readErr := p.dir.readLog(offset)
	if readErr != nil {
		return errors.Join(err, readErr)
	}

	err = fmt.Errorf("pg_ctl start: %w; the end of %s:\n%s", err, p.dir.logFile(), lastLines(log))

	switch {
	case bytes.Contains(log, []byte("pre-existing shared memory block")):
		return fmt.Errorf("%w: %w", errBackendsLeft, err)
	case bytes.Contains(log, []byte("Address already in use")):
		return portTaken(p.Port)
	default:
		return err
	}
}

// shutDown stops the server and its guard.
func (p *Postgres) shutDown(ctx context.Context) error {
	err := p.stopServer(ctx, "fast", patience)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), p.stopServer(context.WithoutCancel(ctx), "immediate", hurry))
	}

	p.endGuard()

	return err
}

// stopServer stops the server of the data directory, when one runs.
func (p *Postgres) stopServer(ctx context.Context, mode string, limit time.Duration) error {
	if !p.dir.serverRuns() {
		return nil
	}

	out, err := p.pgProgram(ctx, p.pgCtl(), "stop", "--silent", "--mode="+mode, timeoutOption(limit)).CombinedOutput()
	if err != nil && p.dir.serverRuns() {
		return fmt.Errorf("pg_ctl stop: %w: %s", err, bytes.TrimSpace(out))
	}

	return nil
}

// stopLeftover stops the server that an earlier, killed owner of the data left
// behind. We hold the lock of the data directory: nobody uses it any more.
func (p *Postgres) stopLeftover(ctx context.Context) error {
	if p.stopServer(ctx, "fast", leftoverGrace) != nil {
		if err := p.stopServer(ctx, "immediate", leftoverGrace); err != nil {
			return fmt.Errorf("stopping the PostgreSQL left in %s: %w", p.DataDir, err)
		}
	}

	return p.dir.disownPIDFile()
}

func timeoutOption(limit time.Duration) string {
	return "--timeout=" + strconv.Itoa(int(limit.Seconds()))
}
