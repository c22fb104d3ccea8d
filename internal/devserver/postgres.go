package devserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// maxConnections leaves room for a whole run of parallel tests.
	maxConnections = "300"

	readyPoll = 10 * time.Millisecond
)

// ErrStopped says that the server was stopped for good.
var ErrStopped = errors.New("the server was stopped")

// errBackendsLeft says that backends of a killed server still run.
var errBackendsLeft = errors.New("backends of the last server still run")

// Durability says what a crash may cost.
type Durability int

const (
	// Durable loses nothing that was committed: fsync, synchronous_commit and
	// full_page_writes are on.
	Durable Durability = iota

	// Volatile is for throw-away data, and fast: fsync and full_page_writes are
	// off, so that a crash of the machine may lose or break everything.
	// synchronous_commit stays on: without fsync it costs next to nothing, and the
	// service refuses a server that forgets commits.
	Volatile
)

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

// PostgresOptions say what StartPostgres starts. DataDir is required.
type PostgresOptions struct {
	// DataDir keeps the data, and is filled on first use. A data directory that
	// the server's user cannot reach, when root starts it, is replaced by
	// another; see Notice and Postgres.DataDir.
	DataDir string

	// Port on 127.0.0.1. 0 is the port of the last such start in DataDir while
	// it is free, else any free one.
	Port int

	// Durability is Durable by default.
	Durability Durability

	// Settings are further settings of postgresql.conf; they win over ours.
	Settings map[string]string

	// BinDir holds initdb, postgres and pg_ctl. Empty: see FindBinaries.
	BinDir string

	// Notice receives what a person should know, a line each; nil drops it.
	Notice func(line string)
}

// Postgres is a PostgreSQL server that this process runs. Its methods may be
// called from several goroutines.
type Postgres struct {
	DataDir string // where the data really are
	Port    int    // on 127.0.0.1; stays the same over restarts

	options PostgresOptions
	bin     Binaries
	cluster *cluster

	mu      sync.Mutex
	server  *process // nil before the first start
	stopped bool
}

// StartPostgres starts a server and returns when it takes connections; ctx
// bounds the start, not the server's life. The server of a killed owner of the
// same data directory is ended first.
//
// The errors are ErrAlreadyRunning when another process runs a server there,
// ErrPortTaken, ErrNoPostgres, or what the end of the server's log tells.
func StartPostgres(ctx context.Context, options PostgresOptions) (*Postgres, error) {
	if options.DataDir == "" {
		return nil, errors.New("starting PostgreSQL: no data directory given")
	}

	cluster, err := openCluster(options.DataDir, options.Notice)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}

	p := &Postgres{DataDir: cluster.dir, options: options, cluster: cluster}
	if err := p.firstStart(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("starting PostgreSQL: %w", err), cluster.lock.Release())
	}

	return p, nil
}

// URL is a connection URL to the default database, marketflow, as its
// superuser. It holds the password.
func (p *Postgres) URL() string { return p.urlOf(database) }

// PasswordFile is where the superuser's password is kept, for this user alone.
func (p *Postgres) PasswordFile() string { return p.cluster.passwordFile() }

// Exited is closed when the server process is gone, stopped or crashed. After
// Restart there is another one.
func (p *Postgres) Exited() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.server.exited
}

// Stop shuts the server down fast and gives the data directory up. When ctx ends
// first, the server stops at once, without a checkpoint, and the error is ctx's.
// Stopping again does nothing.
func (p *Postgres) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.stopped {
		return nil
	}

	p.stopped = true

	if err := errors.Join(p.shutDown(ctx, ShutdownFast), p.cluster.lock.Release()); err != nil {
		return fmt.Errorf("stopping PostgreSQL: %w", err)
	}

	return nil
}

// Restart ends the server as mode says, when it runs, and starts it again on the
// same port and data. After Stop the error is ErrStopped.
func (p *Postgres) Restart(ctx context.Context, mode Shutdown) error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if p.stopped {
		return fmt.Errorf("restarting PostgreSQL: %w", ErrStopped)
	}

	if err := p.shutDown(ctx, mode); err != nil {
		return fmt.Errorf("restarting PostgreSQL: %w", err)
	}

	if err := p.start(ctx); err != nil {
		return fmt.Errorf("restarting PostgreSQL: %w", err)
	}

	return nil
}

// Kill ends the server as a crash does (SIGKILL) and returns when it is gone.
// Restart brings it back; Stop is still due.
func (p *Postgres) Kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()

	if err := p.crash(); err != nil {
		return fmt.Errorf("killing PostgreSQL: %w", err)
	}

	return nil
}

func (p *Postgres) shutDown(ctx context.Context, mode Shutdown) error {
	switch mode {
	case ShutdownFast:
		return p.server.end(ctx, syscall.SIGINT, syscall.SIGQUIT)
	case ShutdownImmediate:
		return p.server.end(ctx, syscall.SIGQUIT, syscall.SIGKILL)
	case ShutdownCrash:
		return p.crash()
	default:
		return fmt.Errorf("unknown shutdown mode %d", mode)
	}
}

// crash kills the backends too: they would notice the postmaster's death, but
// might finish and answer a statement before.
func (p *Postgres) crash() error {
	if !p.server.running() {
		return nil
	}

	postmaster := p.server.cmd.Process.Pid
	pids := backends(postmaster, p.cluster.pgdata())

	if err := p.server.kill(); err != nil {
		return err
	}

	pids = append(pids, backends(postmaster, p.cluster.pgdata())...)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("killing backend %d: %w", pid, err)
		}
	}

	return p.awaitNoBackends(postmaster)
}

// awaitNoBackends waits until the killed backends have let go of what they held:
// connections, and even the port when they had only just been forked.
func (p *Postgres) awaitNoBackends(postmaster int) error {
	deadline := time.NewTimer(killAfter)
	defer deadline.Stop()

	poll := time.NewTicker(orphanPoll)
	defer poll.Stop()

	for len(backends(postmaster, p.cluster.pgdata())) > 0 {
		select {
		case <-poll.C:
		case <-deadline.C:
			return errors.New("killed backends do not end")
		}
	}

	return nil
}

func (p *Postgres) firstStart(ctx context.Context) error {
	if err := p.chooseBinaries(ctx); err != nil {
		return err
	}

	if err := p.cluster.prepare(ctx, p.bin); err != nil {
		return err
	}

	if err := p.cluster.rotateLog(); err != nil {
		return err
	}

	if err := p.cluster.endOrphan(ctx); err != nil {
		return err
	}

	if p.options.Port != 0 {
		p.Port = p.options.Port

		return p.start(ctx)
	}

	return p.startOnFreePort(ctx)
}

// chooseBinaries takes those that match the data: a server reads no other
// version's.
func (p *Postgres) chooseBinaries(ctx context.Context) error {
	major, err := p.cluster.major()
	if err != nil {
		return err
	}

	if p.options.BinDir != "" {
		p.bin, err = inspect(ctx, p.options.BinDir, p.cluster.as)
	} else {
		p.bin, err = machine(p.cluster.as, p.options.Notice).find(ctx, major)
	}

	if err != nil {
		return p.explainMajor(major, err)
	}

	if major != 0 && major != p.bin.Major {
		return p.explainMajor(major, fmt.Errorf("%s holds PostgreSQL %d", p.bin.Dir, p.bin.Major))
	}

	return nil
}

func (p *Postgres) explainMajor(major int, err error) error {
	if major == 0 {
		return err
	}

	return fmt.Errorf("the data in %s need PostgreSQL %d: %w", p.DataDir, major, err)
}

// startOnFreePort tries again when somebody takes the port between our choice
// and the server's start.
func (p *Postgres) startOnFreePort(ctx context.Context) error {
	p.Port = p.cluster.rememberedPort()
	if p.Port == 0 || checkPort(ctx, p.Port) != nil {
		p.Port = 0
	}

	var err error

	for range portAttempts {
		if p.Port == 0 {
			if p.Port, err = freePort(ctx); err != nil {
				return err
			}
		}

		if err = p.start(ctx); err == nil {
			return p.keepPort(ctx)
		}

		if !errors.Is(err, ErrPortTaken) {
			return err
		}

		p.Port = 0
	}

	return err
}

func (p *Postgres) keepPort(ctx context.Context) error {
	err := p.cluster.rememberPort(p.Port)
	if err == nil {
		return nil
	}

	return errors.Join(err, p.shutDown(ctx, ShutdownFast))
}

// start waits for the last backends of a killed server: until they are gone the
// data may not be touched.
func (p *Postgres) start(ctx context.Context) error {
	for {
		if err := checkPort(ctx, p.Port); err != nil {
			return err
		}

		err := p.launch(ctx)
		if !errors.Is(err, errBackendsLeft) {
			return err
		}

		select {
		case <-time.After(orphanPoll):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		}
	}
}

func (p *Postgres) launch(ctx context.Context) (err error) {
	log, err := p.cluster.openLog()
	if err != nil {
		return err
	}

	defer func() { err = errors.Join(err, log.Close()) }()

	start, err := log.Stat()
	if err != nil {
		return fmt.Errorf("looking at the server's log: %w", err)
	}

	//nolint:gosec,noctx // the server outlives ctx, which bounds its start
	command := exec.Command(filepath.Join(p.bin.Dir, serverProgram), p.arguments()...)
	command.Dir = p.DataDir
	command.Env = serverEnvironment()
	command.Stdout = log
	command.Stderr = log

	// On our death: fast, so that the next start needs no recovery.
	p.server, err = startProcess(command, p.cluster.as, syscall.SIGINT)
	if err != nil {
		return err
	}

	if err := p.awaitReady(ctx); err != nil {
		return errors.Join(p.diagnose(err, start.Size()), p.server.endSoon(syscall.SIGQUIT))
	}

	return nil
}

func (p *Postgres) arguments() []string {
	onOff := "on"
	if p.options.Durability == Volatile {
		onOff = "off"
	}

	settings := map[string]string{
		"port":                    strconv.Itoa(p.Port),
		"listen_addresses":        loopback,
		"unix_socket_directories": "",
		"max_connections":         maxConnections,
		"fsync":                   onOff,
		"synchronous_commit":      "on",
		"full_page_writes":        onOff,
	}
	maps.Copy(settings, p.options.Settings)

	arguments := make([]string, 0, 2+2*len(settings))
	arguments = append(arguments, "-D", p.cluster.pgdata())

	for _, name := range slices.Sorted(maps.Keys(settings)) {
		arguments = append(arguments, "-c", name+"="+settings[name])
	}

	return arguments
}

// awaitReady waits until the server takes connections and holds the default
// database.
func (p *Postgres) awaitReady(ctx context.Context) error {
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()

	for {
		conn, err := pgx.Connect(ctx, p.urlOf(maintenanceDatabase))
		if err == nil {
			return errors.Join(createDatabase(ctx, conn), conn.Close(ctx))
		}

		if refused(err) {
			return fmt.Errorf("connecting to the started server: %w", err)
		}

		select {
		case <-poll.C:
		case <-p.server.exited:
			return errors.New("the server ended at once")
		case <-ctx.Done():
			return fmt.Errorf("waiting for the server: %w", ctx.Err())
		}
	}
}

// refused tells whether the server answered, and will not answer otherwise
// later. 57P03 (cannot_connect_now) is said while it starts or recovers.
func refused(err error) bool {
	const cannotConnectNow = "57P03"

	answer, ok := errors.AsType[*pgconn.PgError](err)

	return ok && answer.Code != cannotConnectNow
}

func createDatabase(ctx context.Context, conn *pgx.Conn) error {
	var exists bool

	err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", database).Scan(&exists)
	if err != nil {
		return fmt.Errorf("looking for the database %s: %w", database, err)
	}

	if exists {
		return nil
	}

	if _, err := conn.Exec(ctx, "CREATE DATABASE "+database); err != nil {
		return fmt.Errorf("creating the database %s: %w", database, err)
	}

	return nil
}

// diagnose tells the causes of a missed start that have an answer of their own;
// the others show the log of this start, which begins at the offset.
func (p *Postgres) diagnose(err error, offset int64) error {
	log, readErr := p.cluster.readLog(offset)
	if readErr != nil {
		return errors.Join(err, readErr)
	}

	err = fmt.Errorf("%w; the end of %s:\n%s", err, p.cluster.logFile(), lastLines(log))

	switch {
	case bytes.Contains(log, []byte("pre-existing shared memory block")):
		return fmt.Errorf("%w: %w", errBackendsLeft, err)
	case portTakenInLog(log):
		return portTaken(p.Port)
	default:
		return err
	}
}

func (p *Postgres) urlOf(name string) string {
	address := url.URL{
		Scheme:   urlScheme,
		User:     url.UserPassword(superuser, p.cluster.password),
		Host:     net.JoinHostPort(loopback, strconv.Itoa(p.Port)),
		Path:     "/" + name,
		RawQuery: "sslmode=disable",
	}

	return address.String()
}
