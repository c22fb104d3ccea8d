package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/marketflow/marketflow/adapters/postgres"
	"github.com/marketflow/marketflow/internal/devserver"
)

// rig is everything that is measured or measured with.
type rig struct {
	dir      string
	binary   string
	postgres *devserver.Postgres
	// postmaster is the PostgreSQL server's process.
	postmaster int
	redis      string
	redisURL   string
	sandbox    *process
	sink       *sink
	profile    bool
	say        func(format string, args ...any)
	stops      []func() error
}

const (
	startWithin = 30 * time.Second
	stopWithin  = 10 * time.Second
)

// startRig builds the service and starts all but it.
func startRig(ctx context.Context, profile bool, say func(string, ...any)) (_ *rig, err error) {
	r := &rig{profile: profile, say: say}

	defer func() {
		if err != nil {
			err = errors.Join(err, r.stop())
		}
	}()

	// PostgreSQL refuses to run as root: its user must reach the directory.
	if r.dir, err = os.MkdirTemp("", "marketflow-bench-"); err != nil {
		return nil, fmt.Errorf("making a directory: %w", err)
	}

	r.stops = append(r.stops, func() error { return os.RemoveAll(r.dir) })

	if err := os.Chmod(r.dir, 0o711); err != nil {
		return nil, fmt.Errorf("opening the directory: %w", err)
	}

	for _, start := range []func(context.Context) error{
		r.build, r.startPostgres, r.startRedis, r.startSink, r.startSandbox,
	} {
		if err := start(ctx); err != nil {
			return nil, err
		}
	}

	return r, nil
}

// stop ends everything, the last started first.
func (r *rig) stop() error {
	var failed error

	for _, stop := range slices.Backward(r.stops) {
		failed = errors.Join(failed, stop())
	}

	return failed
}

func (r *rig) build(ctx context.Context) error {
	r.say("building the service")
	r.binary = filepath.Join(r.dir, "marketflow")

	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", r.binary, "./cmd/marketflow").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the service: %w\n%s", err, out)
	}

	return nil
}

// postgresSettings are the same for the service and the floors. Nothing in
// them is bought with safety; they give the server memory, and keep checkpoints
// out of short slices.
func postgresSettings() map[string]string {
	return map[string]string{
		"shared_buffers":           "1GB",
		"max_wal_size":             "8GB",
		"checkpoint_timeout":       "30min",
		"shared_preload_libraries": "pg_stat_statements",
		"random_page_cost":         "1.1",
		"maintenance_work_mem":     "1GB",
	}
}

func (r *rig) startPostgres(ctx context.Context) error {
	r.say("starting PostgreSQL")

	server, err := devserver.StartPostgres(ctx, devserver.PostgresOptions{
		DataDir:    filepath.Join(r.dir, "postgres"),
		Durability: devserver.Durable,
		Settings:   postgresSettings(),
		Notice:     func(line string) { r.say("%s", line) },
	})
	if err != nil {
		return err
	}

	r.postgres = server
	r.stops = append(r.stops, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()

		return server.Stop(ctx)
	})

	db, err := r.open(ctx, server.URL())
	if err != nil {
		return err
	}
	defer db.Close()

	var backend int
	if err := db.QueryRow(ctx, "SELECT pg_backend_pid()").Scan(&backend); err != nil {
		return fmt.Errorf("asking for a backend's process: %w", err)
	}

	s, err := readStat(backend)
	r.postmaster = s.parent

	return err
}

// open opens a small pool for the benchmark's own questions.
func (*rig) open(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database's URL: %w", err)
	}

	config.MaxConns = 2

	db, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}

	return db, nil
}

func (r *rig) startRedis(ctx context.Context) error {
	server, err := devserver.StartRedisServer(ctx, devserver.RedisServerOptions{})
	if err == nil {
		r.redis, r.redisURL = "redis-server", server.URL()
		r.stops = append(r.stops, func() error {
			ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
			defer cancel()

			return server.Stop(ctx)
		})

		return nil
	}

	if !errors.Is(err, devserver.ErrNoRedisServer) {
		return err
	}

	inside, err := devserver.StartRedis(devserver.RedisOptions{})
	if err != nil {
		return err
	}

	r.redis, r.redisURL = "miniredis", inside.URL()
	r.stops = append(r.stops, func() error { inside.Stop(); return nil })

	return nil
}

func (r *rig) startSink(ctx context.Context) error {
	var err error
	if r.sink, err = startSink(ctx); err != nil {
		return err
	}

	r.stops = append(r.stops, r.sink.stop)

	return nil
}

func (r *rig) startSandbox(ctx context.Context) error {
	addr, err := freeAddr(ctx)
	if err != nil {
		return err
	}

	r.sandbox, err = r.launch(addr, nil, r.binary, "sandbox", "--addr", addr)
	if err != nil {
		return err
	}

	return r.sandbox.await(ctx, "/_sandbox/health")
}

// providerLatency makes the sandbox as slow as Stripe, or as fast as it is.
func (r *rig) providerLatency(ctx context.Context, on bool) error {
	const rule = `{"action":"latency","method":"POST","path":"/v1/payment_intents","count":-1,"p50":"120ms","p99":"380ms"}`

	method, body := http.MethodDelete, ""
	if on {
		method, body = http.MethodPost, rule
	}

	request, err := http.NewRequestWithContext(ctx, method, "http://"+r.sandbox.addr+"/_sandbox/faults", strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the sandbox for latency: %w", err)
	}

	_, err = fetch(request)

	return err
}

// service is a running `marketflow serve` on a database of its own.
type service struct {
	*process

	url     string
	db      *pgxpool.Pool
	pprof   string
	started time.Duration
}

// newDatabase makes and migrates a database.
func (r *rig) newDatabase(ctx context.Context, name string) (string, error) {
	db, err := r.open(ctx, r.postgres.URL())
	if err != nil {
		return "", err
	}
	defer db.Close()

	if _, err := db.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("creating a database: %w", err)
	}

	address := strings.Replace(r.postgres.URL(), "/marketflow?", "/"+name+"?", 1)
	if err := postgres.Migrate(ctx, address); err != nil {
		return "", err
	}

	own, err := r.open(ctx, address)
	if err != nil {
		return "", err
	}
	defer own.Close()

	if _, err := own.Exec(ctx, "CREATE EXTENSION pg_stat_statements"); err != nil {
		return "", fmt.Errorf("setting up the statistics: %w", err)
	}

	return address, nil
}

// serve starts the service on the database at url, and tells how long it took
// from exec to ready.
func (r *rig) serve(ctx context.Context, url string) (*service, error) {
	return r.serveWith(ctx, url, nil, r.binary, "serve")
}

// serveWith starts a service by another command, with further variables.
func (r *rig) serveWith(ctx context.Context, url string, more []string, name string, args ...string) (*service, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}

	s := &service{url: url}
	env := []string{
		"HTTP_ADDR=" + addr, "DATABASE_URL=" + url, "REDIS_URL=" + r.redisURL,
		"STRIPE_API_BASE=http://" + r.sandbox.addr, "STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"DRAIN_DELAY=0",
		// Spans go when 512 are there, or after a quarter of a second instead of five,
		// so that the ends of short slices are not waited for.
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.sink.url, "OTEL_BSP_SCHEDULE_DELAY=250",
	}

	if r.profile {
		if s.pprof, err = freeAddr(ctx); err != nil {
			return nil, err
		}

		env = append(env, "PPROF_ADDR="+s.pprof)
	}

	begin := time.Now()

	if s.process, err = r.launch(addr, append(env, more...), name, args...); err != nil {
		return nil, err
	}

	if err := s.await(ctx, "/readyz"); err != nil {
		return nil, err
	}

	s.started = time.Since(begin)

	if s.db, err = r.open(ctx, url); err != nil {
		return nil, err
	}

	r.stops = append(r.stops, func() error { s.db.Close(); return nil })

	return s, nil
}

// floor starts one of the bare handlers.
func (r *rig) floor(name, databaseURL string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}

	command := exec.Command(self, "-floor", name)
	command.Stderr = os.Stderr

	command.Env = append(os.Environ(), "DATABASE_URL="+databaseURL)

	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a floor: %w", err)
	}

	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a floor: %w", err)
	}

	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting a floor: %w", err)
	}

	p := &process{command: command}

	r.stops = append(r.stops, func() error { _ = stdin.Close(); return p.stop() })

	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("starting a floor: %w", err)
	}

	p.addr = strings.TrimSpace(line)

	return p, nil
}

// process is a server that the benchmark started.
type process struct {
	command *exec.Cmd
	addr    string
	output  bytes.Buffer
	stopped bool
}

func (p *process) pid() int { return p.command.Process.Pid }

// launch starts a program; its log goes nowhere and its complaints are kept.
func (r *rig) launch(addr string, env []string, name string, args ...string) (*process, error) {
	p := &process{addr: addr, command: exec.Command(name, args...)}
	p.command.Dir = r.dir // no .env of anybody's
	p.command.Stderr = &p.output

	p.command.Env = append(os.Environ(), env...)

	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}

	r.stops = append(r.stops, p.stop)

	return p, nil
}

func (p *process) stop() error {
	if p.stopped {
		return nil
	}

	p.stopped = true

	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stopping %s: %w", p.command.Path, err)
	}

	late := time.AfterFunc(stopWithin, func() { _ = p.command.Process.Kill() })
	defer late.Stop()

	if err := p.command.Wait(); err != nil {
		return fmt.Errorf("%s ended with %w: %s", p.command.Args, err, p.output.String())
	}

	return nil
}

// await returns once GET path is 200.
func (p *process) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()

	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
		if err != nil {
			return fmt.Errorf("asking for %s: %w", path, err)
		}

		if _, err := fetch(request); err == nil {
			return nil
		}

		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not answer: %w\n%s", p.command.Args, ctx.Err(), p.output.String())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// fetch is for what is not measured.
func fetch(request *http.Request) ([]byte, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking: %w", err)
	}

	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}

	if !isOK(response.StatusCode) {
		return nil, fmt.Errorf("%w: %d %s", errStatus, response.StatusCode, body)
	}

	return body, nil
}

func freeAddr(ctx context.Context) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}

	addr, ok := listener.Addr().(*net.TCPAddr)
	if err := listener.Close(); err != nil || !ok {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}

	return net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.Port)), nil
}
