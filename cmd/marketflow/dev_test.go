package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/pgtest"
	"github.com/marketflow/marketflow/tests/servers"
)

// devProgram is a dev that has been started.
type devProgram struct {
	t      *testing.T
	output *output
	stop   func() error
}

// output is written by the program and read by the test.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()

	return o.text.String()
}

// startDev runs dev until the test ends, and waits until it is ready.
func startDev(t *testing.T, dir string, environment []string, args ...string) devProgram {
	t.Helper()

	command := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], append([]string{"dev"}, args...)...)
	command.Dir = dir

	command.Env = append([]string{asProgram + "=1", "PATH=" + os.Getenv("PATH")}, environment...)

	r := devProgram{t: t, output: &output{}}
	command.Stdout, command.Stderr = r.output, r.output
	require.NoError(t, command.Start())

	exited := make(chan error, 1)
	go func() { exited <- command.Wait() }()

	r.stop = sync.OnceValue(func() error {
		_ = command.Process.Signal(syscall.SIGTERM)

		return <-exited
	})

	t.Cleanup(func() { _ = r.stop() })

	require.Eventually(t, func() bool {
		select {
		case err := <-exited:
			exited <- err

			return true
		default:
			return strings.Contains(r.output.String(), "MarketFlow is running")
		}
	}, 2*time.Minute, 20*time.Millisecond, "dev is ready")
	require.Contains(t, r.output.String(), "MarketFlow is running")

	return r
}

func freeAddr(t *testing.T) string {
	t.Helper()

	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())

	return listener.Addr().String()
}

// scratch is a directory that PostgreSQL's user can reach.
func scratch(t *testing.T) string {
	t.Helper()

	dir, err := os.MkdirTemp(servers.ScratchDir(), "marketflow-dev-") //nolint:usetesting // see above
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))

	return dir
}

// dev belongs to itself: what the environment and .env say about money and data is
// of no interest to it, and nobody else knows its secrets.
func TestDev_IsOnItsOwn(t *testing.T) {
	t.Parallel()

	dir, service, stripe := scratch(t), freeAddr(t), freeAddr(t)
	theirs := pgtest.New(t)
	environment := []string{"HTTP_ADDR=" + service, "REDIS_URL=redis://:hunter2@redis.example:6379"}

	require.NoError(t, os.WriteFile(filepath.Join(dir, ".env"), []byte(fmt.Sprintf(
		"DATABASE_URL=%s\nSTRIPE_SECRET_KEY=sk_live_hunter2\nSTRIPE_WEBHOOK_SECRET=whsec_hunter2\n", theirs.URL)), 0o600))

	dev := startDev(t, dir, environment, "--sandbox-addr", stripe)
	text := dev.output.String()

	require.Contains(t, text, "dev ignores DATABASE_URL, REDIS_URL, STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET")
	require.NotContains(t, text, "hunter2")

	secret := strings.TrimSpace(read(t, dir, ".marketflow/webhook-secret"))
	require.Regexp(t, `^whsec_\w{32,}$`, secret)
	require.NotContains(t, text, secret)
	require.NotContains(t, text, read(t, dir, ".marketflow/postgres/password"))

	for _, file := range []string{"settings.json", "webhook-secret", "secrets-key"} {
		info, err := os.Stat(filepath.Join(dir, ".marketflow", file))
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), file)
	}

	requireTheWelcomeWorks(t, dir, text, service)
	require.Equal(t, http.StatusUnauthorized, deliver(t, service, "whsec_marketflow_dev_only", "evt_x"))
	require.Equal(t, http.StatusOK, deliver(t, service, secret, "evt_by_hand"))

	// Other commands take its settings, from wherever they are run.
	listed := program(t, nil, "inbox", "list", "--dev", "--data", filepath.Join(dir, ".marketflow"))
	require.Zero(t, listed.code, listed.stderr)
	require.Contains(t, listed.stdout, "evt_by_hand")

	status := program(t, nil, "migrate", "status", "--dev", "--data", filepath.Join(dir, ".marketflow"))
	require.Zero(t, status.code, status.stderr)
	require.NotContains(t, status.stdout, "missing")

	require.NoError(t, dev.stop())

	gone := program(t, nil, "inbox", "list", "--dev", "--data", filepath.Join(dir, ".marketflow"))
	require.Equal(t, 1, gone.code)
	require.Contains(t, gone.stderr, "no `marketflow dev` runs")

	// The next start has the data, also where its sandbox listens elsewhere.
	again := startDev(t, dir, environment, "--sandbox-addr", freeAddr(t))
	require.Equal(t, secret, strings.TrimSpace(read(t, dir, ".marketflow/webhook-secret")))
	listed = program(t, nil, "inbox", "list", "--dev", "--data", filepath.Join(dir, ".marketflow"))
	require.Contains(t, listed.stdout, "evt_by_hand", listed.stderr)
	require.NoError(t, again.stop())

	var payments int

	require.NoError(t, theirs.Pool().QueryRow(t.Context(), "SELECT count(*) FROM payments").Scan(&payments))
	require.Zero(t, payments)
}

// requireTheWelcomeWorks runs the three lines of curl as they are printed.
func requireTheWelcomeWorks(t *testing.T, dir, text, service string) {
	t.Helper()

	lines := regexp.MustCompile(`(?s)\n(  P=\$\(curl.*)\n\n`).FindStringSubmatch(text)
	require.NotNil(t, lines, text)

	shell := exec.CommandContext(t.Context(), "sh", "-c", lines[1])
	shell.Dir = dir

	said, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", said)

	id := regexp.MustCompile(`"id":"([0-9a-f-]{36})"`).FindStringSubmatch(string(said))
	require.NotNil(t, id, "%s", said)
	require.Eventually(t, func() bool {
		return strings.Contains(fetch(t, "http://"+service+"/payments/"+id[1]), `"status":"succeeded"`)
	}, time.Minute, 20*time.Millisecond, "the sandbox tells the service")

	// So does the way to the database.
	psql := regexp.MustCompile(`PGPASSWORD=.*`).FindString(text)
	shell = exec.CommandContext(t.Context(), "sh", "-c", psql+` -Atc "SELECT status FROM payments"`)
	shell.Dir = dir

	said, err = shell.CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Equal(t, "succeeded\n", string(said))
}

// A database that dev did not make is refused and left as it is.
func TestDev_RefusesADatabaseThatItDidNotMake(t *testing.T) {
	t.Parallel()

	refuse := func(url string) ran {
		return program(t, []string{"HTTP_ADDR=" + freeAddr(t)}, "dev", "--sandbox-addr", freeAddr(t), "--database-url", url)
	}

	theirs := pgtest.New(t)
	got := refuse(theirs.URL)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "neither empty nor made by")

	// An empty one becomes dev's, and is taken again.
	empty := pgtest.NewEmpty(t)
	for range 2 {
		dir := t.TempDir()
		dev := startDev(t, dir, []string{"HTTP_ADDR=" + freeAddr(t)}, "--sandbox-addr", freeAddr(t), "--database-url", empty.URL)
		require.NotContains(t, dev.output.String(), strings.Split(strings.SplitN(empty.URL, "@", 2)[0], ":")[2], "its password")
		require.NoError(t, dev.stop())
	}
}

func TestDev_ListensOnLoopback(t *testing.T) {
	t.Parallel()

	variables, err := devVariables(&output{})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3000", variables["HTTP_ADDR"])
}

func read(t *testing.T, dir, path string) string {
	t.Helper()

	text, err := os.ReadFile(filepath.Join(dir, path))
	require.NoError(t, err)

	return string(text)
}

func fetch(t *testing.T, url string) string {
	t.Helper()

	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	require.NoError(t, err)

	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)

	defer func() { _ = resp.Body.Close() }()

	var body bytes.Buffer

	_, err = body.ReadFrom(resp.Body)
	require.NoError(t, err)

	return body.String()
}

// deliver sends an event that is signed with secret.
func deliver(t *testing.T, service, secret, id string) int {
	t.Helper()

	body := fmt.Sprintf(`{"id":%q,"type":"payment_intent.created","data":{"object":{"id":"pi_1"}}}`, id)
	now := time.Now().Unix()

	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", now, body)

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+service+"/webhooks/stripe",
		strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", fmt.Sprintf("t=%d,v1=%s", now, hex.EncodeToString(mac.Sum(nil))))

	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	return resp.StatusCode
}
