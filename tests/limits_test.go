package tests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
)

// The rate limit holds with Redis, without it, and while it is away.
func TestRateLimit_HoldsWithoutRedis(t *testing.T) {
	t.Parallel()

	for name, change := range map[string]func(*config.Config){
		"with Redis":    func(*config.Config) {},
		"without Redis": func(c *config.Config) { c.RedisURL = "" },
		"Redis is away": func(c *config.Config) { c.RedisURL = "redis://127.0.0.1:1/0" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			w := newWorld(t, func(c *config.Config) { c.RateLimit = 2 }, change)

			require.Equal(t, http.StatusCreated, w.create(`{"amount":10,"currency":"USD"}`).status)
			w.eventually(func() bool {
				limited := w.get("/payments/0190d2a0-0000-7000-8000-000000000000")

				return limited.status == http.StatusTooManyRequests && limited.header.Get("Retry-After") == "1"
			}, "the client is limited")
		})
	}
}

func TestCrossOriginPagesCreateNoPayments(t *testing.T) {
	t.Parallel()

	w := newWorld(t)
	w.create(order, "Origin", "https://shop.example").problem(http.StatusForbidden, "cross-origin")
	w.create(order, "Sec-Fetch-Site", "cross-site").problem(http.StatusForbidden, "cross-origin")
	w.do(w.request(http.MethodPost, "/payments", order, "Origin", w.url)).
		problem(http.StatusUnsupportedMediaType, "unsupported-media-type")
	require.Zero(t, w.count("SELECT count(*) FROM operations"))

	require.Equal(t, http.StatusCreated, w.create(order).status)
	require.Equal(t, http.StatusCreated, w.create(order, "Origin", w.url, "Sec-Fetch-Site", "same-origin").status)
}

// 600 bodies of which the end is held back take little memory, whatever their headers
// are, and Stripe's webhooks are answered meanwhile.
func TestHalfSentBodiesTakeLittleMemory(t *testing.T) {
	t.Parallel()

	if runtime.GOOS != "linux" {
		t.Skip("the memory is read from /proc")
	}

	w := newWorld(t)
	s := w.startBinary()

	const head = "POST %s HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n"

	signed := fmt.Sprintf("Stripe-Signature: t=%d,v1=%s\r\n", time.Now().Unix(), strings.Repeat("ab", 32))

	for name, begin := range map[string]string{
		"unsigned":     fmt.Sprintf(head, "/webhooks/stripe", "Content-Length: 1000000"),
		"of some form": fmt.Sprintf(head, "/webhooks/stripe", signed+"Content-Length: 1000000"),
		"chunked":      fmt.Sprintf(head, "/webhooks/stripe", signed+"Transfer-Encoding: chunked") + "f4240\r\n",
		"payments":     fmt.Sprintf(head, "/payments", "Content-Length: 262144"),
		"no route":     fmt.Sprintf(head, "/nowhere", "Content-Length: 1000000"),
	} {
		flood := s.holdBack(begin, 600)

		event := minimalEvent("succeeded", "pi_1", "succeeded")
		for range 10 {
			require.Equal(t, http.StatusOK, s.webhook(event).status, name)
		}

		flood.sending.Wait()
		// The largest event that is allowed, while the flood holds what it has.
		event = strings.Replace(event, "{", `{"pad":"`+strings.Repeat("x", 1<<20-len(event)-len(`"pad":"",`))+`",`, 1)
		require.Equal(t, http.StatusOK, s.webhook(event).status, name)

		flood.end()
		require.Less(t, s.peak(), 160<<20, name)
	}
}

// binary is the product as it is shipped. It runs beside the world's own service, on
// the same database.
type binary struct {
	*world

	pid int
}

func (w *world) startBinary() *binary {
	w.t.Helper()

	path := filepath.Join(w.t.TempDir(), "marketflow")
	build := exec.CommandContext(w.t.Context(), "go", "build", "-o", path, "github.com/marketflow/marketflow/cmd/marketflow")
	out, err := build.CombinedOutput()
	require.NoError(w.t, err, string(out))

	serve := exec.Command(path, "serve")
	serve.Dir = w.t.TempDir() // no .env
	serve.Env = []string{
		"HTTP_ADDR=127.0.0.1:0", "DATABASE_URL=" + w.db.URL, "DATABASE_MAX_CONNS=4", "STRIPE_API_BASE=" + w.stripe.URL,
		"STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "AUTH=off",
	}

	log, err := serve.StdoutPipe()
	require.NoError(w.t, err)

	serve.Stderr = os.Stderr

	require.NoError(w.t, serve.Start())
	w.t.Cleanup(func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		_ = serve.Wait()
	})

	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct{ Msg, Addr string }

		require.NoError(w.t, json.Unmarshal(lines.Bytes(), &line), lines.Text())

		if line.Msg == "listening" {
			go func() { _, _ = io.Copy(io.Discard, log) }()

			its := *w
			its.url = "http://" + line.Addr

			return &binary{&its, serve.Process.Pid}
		}
	}

	require.Fail(w.t, "the binary does not listen")

	return nil
}

// peak is the most memory that was ever resident, in bytes.
func (b *binary) peak() int {
	b.t.Helper()

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.pid))
	require.NoError(b.t, err)

	_, after, found := strings.Cut(string(status), "VmHWM:")
	require.True(b.t, found)

	kilobytes, err := strconv.Atoi(strings.Fields(after)[0])
	require.NoError(b.t, err)

	return kilobytes << 10
}

// flood is connections that do not send the ends of their bodies. sending ends when
// all is sent that the other side takes.
type flood struct {
	sending sync.WaitGroup
	conns   []net.Conn
}

// holdBack opens connections. Each sends as much of a body as the other side takes,
// but not the end.
func (b *binary) holdBack(begin string, count int) *flood {
	b.t.Helper()

	f := &flood{}
	body := strings.Repeat("x", 262_000)

	for range count {
		conn, err := new(net.Dialer).DialContext(b.t.Context(), "tcp", strings.TrimPrefix(b.url, "http://"))
		require.NoError(b.t, err)
		require.NoError(b.t, conn.SetDeadline(time.Now().Add(20*time.Second)))

		f.conns = append(f.conns, conn)

		f.sending.Go(func() {
			_, err := io.WriteString(conn, begin)
			for i := 0; i < 3 && err == nil; i++ {
				_, err = io.WriteString(conn, body)
			}
		})
	}

	return f
}

func (f *flood) end() {
	for _, conn := range f.conns {
		_ = conn.Close()
	}
}
