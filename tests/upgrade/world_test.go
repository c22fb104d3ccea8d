package upgrade

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

const (
	// oldRelease is the last commit whose table of operations is payment_requests.
	oldRelease = "f1922c53f2ec49adafe03cf9692c8605c93093ad"
	// withoutRefunds is the last commit that knows neither refunds nor disputes, nor tenants.
	withoutRefunds = "ca1a55faed1ec126e5caf276079f1e3adce2fb6d"
	secretKey      = "sk_test_51UpgradeUpgradeUpgrade"
	webhookSecret  = "whsec_UpgradeUpgradeUpgradeUpgradeUpgrade"
)

// build builds the service of an old release and that of this one, which Go's cache
// makes quick after the first time.
func build(t *testing.T, release string) (before, after string) {
	t.Helper()

	here, err := filepath.Abs("../..")
	require.NoError(t, err)

	if err := exec.Command("git", "-C", here, "cat-file", "-e", release+"^{commit}").Run(); err != nil {
		t.Skipf("commit %s, the release before, is not in this clone (%v); after `git fetch --unshallow` this test runs",
			release, err)
	}

	there := t.TempDir()
	archive := exec.Command("sh", "-c", `git -C "$0" archive "$1" | tar -x -C "$2"`, here, release, there)
	out, err := archive.CombinedOutput()
	require.NoError(t, err, "%s", out)

	binaries := map[string]string{}

	for _, source := range []string{there, here} {
		binaries[source] = filepath.Join(t.TempDir(), "marketflow")
		// Without -trimpath the cache would not know the old files again.
		compile := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", binaries[source], "./cmd/marketflow")
		compile.Dir = source
		out, err := compile.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}

	return binaries[there], binaries[here]
}

// world is a database and a Stripe that two releases share.
type world struct {
	//nolint:containedctx // it bounds the whole test
	ctx    context.Context
	t      *testing.T
	db     *pgtest.DB
	stripe *sandbox.Server
	client *http.Client
	env    []string

	// hooks is where Stripe sends its events, and calls is what the service has sent to
	// Stripe.
	hooks *hooks
	calls *calls
}

func newWorld(t *testing.T) *world {
	t.Helper()

	const atMost = time.Minute

	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	t.Cleanup(cancel)

	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)

	w := &world{
		ctx: ctx, t: t, db: pgtest.NewEmpty(t), stripe: sandbox.Start(t), hooks: &hooks{},
		client: &http.Client{Transport: transport},
	}

	w.calls = newCalls(t, w.stripe.URL)
	api := httptest.NewServer(w.calls)
	t.Cleanup(api.Close)

	receiver := httptest.NewServer(w.hooks)
	t.Cleanup(receiver.Close)
	w.stripe.AddWebhook(receiver.URL+"/webhooks/stripe", webhookSecret)

	w.env = []string{
		"HTTP_ADDR=127.0.0.1:0", "DRAIN_DELAY=0", "DATABASE_URL=" + w.db.URL, "DATABASE_MAX_CONNS=4",
		"STRIPE_API_BASE=" + api.URL, "STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
		"AUTH=off",
		// A call that is held is not given up.
		"STRIPE_TIMEOUT=1m",
		// What Stripe's retries bring is not brought by reconciliation.
		"RECOVERY_INTERVAL=200ms", "RECONCILE_INTERVAL=0", "AUTH=off", "LOG_LEVEL=warn", "HOME=" + t.TempDir(),
	}

	return w
}

func (w *world) command(binary string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(w.ctx, binary, args...)
	cmd.Dir, cmd.Env = filepath.Dir(binary), w.env // a directory without .env

	return cmd
}

func (w *world) migrate(binary string) {
	w.t.Helper()

	out, err := w.command(binary, "migrate", "up").CombinedOutput()
	require.NoError(w.t, err, "%s", out)
}

// process serves.
type process struct {
	cmd *exec.Cmd
	url string
	log sync.WaitGroup
}

func (w *world) serve(binary string) *process {
	w.t.Helper()

	p := &process{cmd: w.command(binary, "serve")}
	p.cmd.Env = append(p.cmd.Env, "LOG_LEVEL=info")
	p.cmd.Stderr = os.Stderr

	log, err := p.cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, p.cmd.Start())
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		p.log.Wait()
		_ = p.cmd.Wait()
	})

	lines := bufio.NewScanner(log)
	for p.url == "" && lines.Scan() {
		var line struct{ Msg, Addr string }

		require.NoError(w.t, json.Unmarshal(lines.Bytes(), &line), lines.Text())

		if line.Msg == "listening" {
			p.url = "http://" + line.Addr
		}
	}

	require.NotEmpty(w.t, p.url, "%s does not listen", binary)
	p.log.Go(func() { _, _ = io.Copy(io.Discard, log) })

	return p
}

// stop asks a process to end.
func (p *process) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.log.Wait()
	require.NoError(t, p.cmd.Wait())
}

// eventually waits for a condition; what says it.
func (w *world) eventually(what string, condition func() bool) {
	w.t.Helper()

	for tick := time.NewTicker(20 * time.Millisecond); !condition(); <-tick.C {
		require.NoError(w.t, w.ctx.Err(), what)
	}
}

func (w *world) count(query string) int {
	w.t.Helper()

	var n int

	require.NoError(w.t, w.db.Pool().QueryRow(w.ctx, query).Scan(&n))

	return n
}

// hooks passes Stripe's events on to a process and keeps what that answers.
type hooks struct {
	mu      sync.Mutex
	target  *url.URL
	answers []hookAnswer
}

type hookAnswer struct {
	begun  time.Time
	status int
}

func (h *hooks) leadTo(target string) {
	h.mu.Lock()
	defer h.mu.Unlock()

	h.target, _ = url.Parse(target)
}

func (h *hooks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	target, begun := h.target, time.Now()
	h.mu.Unlock()

	proxy := httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
		ModifyResponse: func(answer *http.Response) error {
			h.mu.Lock()
			defer h.mu.Unlock()

			h.answers = append(h.answers, hookAnswer{begun: begun, status: answer.StatusCode})

			return nil
		},
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	proxy.ServeHTTP(w, r)
}

// since returns the answers to events that came after a time.
func (h *hooks) since(begun time.Time) (statuses []int) {
	h.mu.Lock()
	defer h.mu.Unlock()

	for _, a := range h.answers {
		if a.begun.After(begun) {
			statuses = append(statuses, a.status)
		}
	}

	return statuses
}

// calls leads to Stripe and keeps the parameters of all creates by their idempotency key.
type calls struct {
	proxy *httputil.ReverseProxy

	mu     sync.Mutex
	params map[string][]string
}

func newCalls(t *testing.T, target string) *calls {
	t.Helper()

	base, err := url.Parse(target)
	require.NoError(t, err)

	proxy := httputil.NewSingleHostReverseProxy(base)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)

	proxy.Transport = transport
	// What the sandbox breaks off is broken off here, too.
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }

	return &calls{proxy: proxy, params: map[string][]string{}}
}

func (c *calls) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/v1/payment_intents" {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}

		key := r.Header.Get("Idempotency-Key")
		r.Body = io.NopCloser(strings.NewReader(string(body)))

		c.mu.Lock()
		c.params[key] = append(c.params[key], string(body))
		c.mu.Unlock()
	}

	c.proxy.ServeHTTP(w, r)
}

// under returns the parameters of all creates under a key.
func (c *calls) under(key string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.params[key]
}
