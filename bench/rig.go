package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/procfs"

	"github.com/marketflow/marketflow/internal/devserver"
	"github.com/marketflow/marketflow/tests/servers"
)

const (
	startWithin = 30 * time.Second
	stopWithin  = 10 * time.Second

	readyPath = "/readyz"
)

// rig is everything that is measured or measured with.
type rig struct {
	begin       time.Time
	dir, binary string
	proc        procfs.FS
	postgres    *devserver.Postgres
	postmaster  int // the PostgreSQL server's process
	version     string
	redis       string // its URL
	sandbox     *process
	spans       sink
	spansURL    string
	stops       []func() error
}

func (r *rig) sayf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%6.1fs  "+format+"\n", append([]any{time.Since(r.begin).Seconds()}, args...)...)
}

// start builds the service and starts everything else.
func (r *rig) start(ctx context.Context) {
	r.proc = must(procfs.NewDefaultFS())
	r.dir = must(os.MkdirTemp("", "marketflow-bench-"))
	r.stops = append(r.stops, func() error { return os.RemoveAll(r.dir) })

	check(os.Chmod(r.dir, 0o711)) // PostgreSQL does not run as root, and its own user must reach it

	r.sayf("building the service")
	r.binary = filepath.Join(r.dir, "marketflow")

	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", r.binary, "./cmd/marketflow")
	build.Stderr = os.Stderr
	check(build.Run())

	collector := httptest.NewServer(&r.spans)
	r.spansURL = collector.URL
	r.stops = append(r.stops, func() error { collector.Close(); return nil })

	r.sayf("starting PostgreSQL, Redis and the sandbox")
	r.startPostgres(ctx)

	redis := must(servers.StartRedis(ctx))
	r.redis = redis.URL()
	r.stops = append(r.stops, redis.Stop)

	r.sandbox = r.launch(ctx, "/_sandbox/health", nil, r.binary, "sandbox", "--addr")
}

// stop ends everything, the last started first.
func (r *rig) stop() (failed error) {
	for _, stop := range slices.Backward(r.stops) {
		failed = errors.Join(failed, stop())
	}

	return failed
}

// onStop has a server stopped at the end.
func (r *rig) onStop(stop func(context.Context) error) {
	r.stops = append(r.stops, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()

		return stop(ctx)
	})
}

func (r *rig) startPostgres(ctx context.Context) {
	r.postgres = must(devserver.StartPostgres(ctx, devserver.PostgresOptions{
		DataDir: filepath.Join(r.dir, "postgres"),
		// No setting buys speed with safety. They give the server memory, and keep
		// checkpoints out of short rounds.
		Settings: map[string]string{
			"shared_buffers":           "1GB",
			"max_wal_size":             "8GB",
			"checkpoint_timeout":       "30min",
			"shared_preload_libraries": "pg_stat_statements",
			"random_page_cost":         "1.1",
			"maintenance_work_mem":     "1GB",
		},
		Notice: func(line string) { r.sayf("%s", line) },
	}))
	r.onStop(r.postgres.Stop)

	db := openDatabase(ctx, r.postgres.URL())
	defer db.Close()

	var backend int

	check(db.QueryRow(ctx, "SELECT pg_backend_pid(), current_setting('server_version')").Scan(&backend, &r.version))
	r.postmaster = must(must(r.proc.Proc(backend)).Stat()).PPID
}

// openDatabase opens a small pool for the benchmark's own questions.
func openDatabase(ctx context.Context, url string) *pgxpool.Pool {
	return must(pgxpool.New(ctx, url+"&pool_max_conns=4"))
}

// service is a running `marketflow serve`, or what stands in for it as a floor.
type service struct {
	*process

	url     string
	db      *pgxpool.Pool
	metrics bool // has /metrics
	started time.Duration
}

// serveNew starts this build on a new database, and loads so many payments. The
// service comes first, because it refuses payments that its sandbox does not have
// when it first meets a database.
func (r *rig) serveNew(ctx context.Context, name string, payments uint64) *service {
	return r.serveBuild(ctx, r.binary, name, payments)
}

// serveBuild does the same with any build, whose own migrations make the tables.
func (r *rig) serveBuild(ctx context.Context, binary, name string, payments uint64) *service {
	url := strings.Replace(r.postgres.URL(), "/marketflow?", "/"+name+"?", 1)

	db := openDatabase(ctx, r.postgres.URL())
	defer db.Close()

	must(db.Exec(ctx, "CREATE DATABASE "+name))

	migrate := exec.CommandContext(ctx, binary, "migrate", "up")
	migrate.Dir, migrate.Stderr = r.dir, os.Stderr

	migrate.Env = append(os.Environ(), "DATABASE_URL="+url)
	check(migrate.Run())

	s := r.serveBy(ctx, url, []string{binary, "serve"})

	r.sayf("loading %d payments", payments)
	must(s.db.Exec(ctx, "CREATE EXTENSION pg_stat_statements"))
	loadPayments(ctx, s.db, payments)

	return s
}

// serve starts this build of the service on the database at url.
func (r *rig) serve(ctx context.Context, url string, env ...string) *service {
	return r.serveBy(ctx, url, []string{r.binary, "serve"}, env...)
}

// serveBy starts a service by another command.
func (r *rig) serveBy(ctx context.Context, url string, command []string, more ...string) *service {
	env := append([]string{
		"DATABASE_URL=" + url, "REDIS_URL=" + r.redis,
		"STRIPE_API_BASE=http://" + r.sandbox.addr, "STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"AUTH=off",
		"DRAIN_DELAY=0",
		// Spans are sent after a quarter of a second instead of five, so that the end
		// of a short round need not be waited for.
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + r.spansURL, "OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_BSP_SCHEDULE_DELAY=250",
	}, more...)

	begin := time.Now()
	s := &service{url: url, metrics: true, process: r.launch(ctx, readyPath, env, command...)}
	s.started = time.Since(begin)
	s.db = openDatabase(ctx, url)

	r.stops = append(r.stops, func() error { s.db.Close(); return nil })

	return s
}

// process is a server that the benchmark started.
type process struct {
	*exec.Cmd

	addr string
	stop func() error
}

func (p *process) pid() int { return p.Process.Pid }

// launch starts a server and returns once GET path answers 200. Its address is
// in HTTP_ADDR, and follows where the command ends with --addr.
func (r *rig) launch(ctx context.Context, path string, env []string, command ...string) *process {
	var output bytes.Buffer

	addr := freeAddr()
	if command[len(command)-1] == "--addr" {
		command = append(command, addr)
	}

	life, end := context.WithCancel(context.WithoutCancel(ctx))
	p := &process{addr: addr, Cmd: exec.CommandContext(life, command[0], command[1:]...)}
	p.Dir = r.dir // where there is no .env
	p.Stderr, p.Env = &output, slices.Concat(os.Environ(), []string{"HTTP_ADDR=" + addr}, env)
	p.Cancel = func() error { return p.Process.Signal(syscall.SIGTERM) }
	p.WaitDelay = stopWithin
	p.stop = sync.OnceValue(func() error {
		end()

		if err := p.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s ended with %w: %s", command, err, output.String())
		}

		return nil
	})

	check(p.Start())

	r.stops = append(r.stops, p.stop)

	for begin := time.Now(); ; time.Sleep(2 * time.Millisecond) {
		_, err := fetch(ctx, http.MethodGet, "http://"+addr+path, "")
		if err == nil {
			return p
		}

		if time.Since(begin) > startWithin || ctx.Err() != nil {
			check(fmt.Errorf("%s does not answer: %w", command, err))
		}
	}
}

// fetch makes a request that is not measured.
func fetch(ctx context.Context, method, url, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}

	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}

	text, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err == nil && !isOK(response.StatusCode) {
		err = fmt.Errorf("%s %s was answered %d %s", method, url, response.StatusCode, text)
	}

	return string(text), err
}

func freeAddr() string {
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	check(listener.Close())

	return listener.Addr().String()
}
