package loss

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/marketflow/marketflow/tests/servers"
)

// deployment is one database with its processes.
type deployment struct {
	w      *world
	name   string
	binary string
	// database is the URL of the database at present.
	database atomic.Value
	services []*service
	load     *load
	next     atomic.Uint64
}

// deploy migrates a database and starts a process for each URL.
func (w *world) deploy(ctx context.Context, name, binary, database string, urls ...string) (*deployment, error) {
	d := &deployment{w: w, name: name, binary: binary}
	d.database.Store(database)
	d.load = newLoad(d)

	if out, code := d.run(ctx, "migrate", "up"); code != 0 {
		return nil, fmt.Errorf("migrate up: exit code %d: %s", code, out)
	}

	for i, url := range urls {
		s, err := d.service(ctx, i, url)
		if err != nil {
			return nil, err
		}

		d.services = append(d.services, s)

		w.atEnd(func() { _ = s.stop(syscall.SIGKILL) })

		if err := s.start(ctx); err != nil {
			return nil, errors.Join(err, s.ended0(), d.logTail(s))
		}
	}

	if err := d.listen(ctx); err != nil {
		return nil, err
	}

	w.mu.Lock()
	w.deployments = append(w.deployments, d)
	w.mu.Unlock()

	return d, nil
}

func (d *deployment) service(ctx context.Context, i int, databaseURL string) (*service, error) {
	addr, err := servers.KeepAddr(ctx)
	if err != nil {
		return nil, fmt.Errorf("finding an address for the service: %w", err)
	}

	d.w.atEnd(addr.Release)

	name := fmt.Sprintf("%s-%d", d.name, i)

	log, err := os.OpenFile(filepath.Join(d.w.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}

	d.w.atEnd(func() { _ = log.Close() })

	return &service{name: name, addr: addr.HostPort, binary: d.binary, env: d.environment(databaseURL), log: log}, nil
}

// environment is that of serve and of the commands.
func (d *deployment) environment(databaseURL string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + d.w.dir,
		"DATABASE_URL=" + databaseURL,
		"STRIPE_API_BASE=" + d.w.stripe.URL,
		"STRIPE_SECRET_KEY=" + secretKey,
		"STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"AUTH=off",
		"STRIPE_TIMEOUT=4s",
		"DRAIN_DELAY=0",
		"GORACE=halt_on_error=1 exitcode=66",
	}
}

// url is that of the present database.
func (d *deployment) url() string { return d.database.Load().(string) } //nolint:forcetypeassert // only texts are stored

// run runs a command of the service on the present database.
func (d *deployment) run(ctx context.Context, args ...string) (out string, code int) {
	return d.runAt(ctx, d.url(), args...)
}

func (d *deployment) runAt(ctx context.Context, databaseURL string, args ...string) (out string, code int) {
	const limit = 2 * time.Minute

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	cmd := exec.CommandContext(ctx, d.binary, args...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = d.environment(databaseURL), d.w.dir, processAttributes()

	text, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		return err.Error(), -1
	}

	return string(bytes.TrimSpace(text)), cmd.ProcessState.ExitCode()
}

// listen hands Stripe's webhooks to the processes in turn, as a load balancer would.
func (d *deployment) listen(ctx context.Context) error {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.Out.URL.Host = d.services[d.next.Add(1)%uint64(len(d.services))].addr
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}

	l, err := listen(ctx, proxy)
	if err != nil {
		return err
	}

	d.w.atEnd(l.close)
	d.w.stripe.AddWebhook(l.url+"/webhooks/stripe", webhookSecret)

	return nil
}

func (d *deployment) logTail(s *service) error {
	const lines = 5

	log, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err
	}

	all := bytes.Split(bytes.TrimSpace(log), []byte("\n"))

	return fmt.Errorf("its log ends with\n%s", bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))) //nolint:err113 // for people
}

// query reads rows of a database.
func query[T any](ctx context.Context, database string, scan pgx.RowToFunc[T], sql string, args ...any) (_ []T, err error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}

	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()

	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sql, err)
	}

	return pgx.CollectRows(rows, scan)
}

// one reads one value.
func one[T any](ctx context.Context, database, sql string, args ...any) (value T, err error) {
	values, err := query(ctx, database, pgx.RowTo[T], sql, args...)
	if err != nil || len(values) == 0 {
		return value, err
	}

	return values[0], nil
}

// throughPort is a server's URL by way of another port.
func throughPort(server *servers.Postgres, port int) string {
	address, err := url.Parse(server.URL())
	if err != nil {
		panic(err) // our own URL
	}

	address.Host = fmt.Sprintf("127.0.0.1:%d", port)

	return address.String()
}

// bothHosts names two servers in one URL.
func bothHosts(first, second *servers.Postgres) string {
	address, err := url.Parse(first.URL())
	if err != nil {
		panic(err) // our own URL
	}

	settings := address.Query()
	settings.Set("target_session_attrs", "read-write")

	return fmt.Sprintf("%s://%s@127.0.0.1:%d,127.0.0.1:%d%s?%s",
		address.Scheme, address.User, first.Port, second.Port, address.Path, settings.Encode())
}

// listening is a server on a free port of 127.0.0.1.
type listening struct {
	url    string
	server *http.Server
}

func listen(ctx context.Context, handler http.Handler) (*listening, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}

	l := &listening{
		url: "http://" + listener.Addr().String(), server: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second},
	}

	go func() { _ = l.server.Serve(listener) }()

	return l, nil
}

func (l *listening) close() { _ = l.server.Close() }

// odd are the processes that have ended by themselves.
func (d *deployment) odd() (errs []error) {
	for _, s := range d.services {
		errs = append(errs, s.ended0())
	}

	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}
