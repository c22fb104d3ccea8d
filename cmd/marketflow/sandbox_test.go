package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
)

// started is a program that runs until the test ends.
type started struct {
	t     *testing.T
	lines *bufio.Scanner
	stop  func() (stderr string)
}

func startProgram(t *testing.T, environment []string, args ...string) *started {
	t.Helper()

	command := exec.CommandContext(t.Context(), os.Args[0], args...)
	command.Dir = t.TempDir()

	command.Env = append([]string{asProgram + "=1"}, environment...)

	var stderr strings.Builder

	command.Stderr = &stderr

	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())

	p := &started{t: t, lines: bufio.NewScanner(output)}
	stopped := false
	p.stop = func() string {
		if !stopped {
			stopped = true

			_ = command.Process.Signal(syscall.SIGINT) // it may have ended
			_, _ = io.Copy(io.Discard, output)
			_ = command.Wait()
		}

		return stderr.String()
	}

	t.Cleanup(func() { p.stop() })

	return p
}

// find waits for a line that a pattern fits and returns its first group.
func (p *started) find(pattern string) string {
	p.t.Helper()

	expression := regexp.MustCompile(pattern)

	for p.lines.Scan() {
		if found := expression.FindStringSubmatch(p.lines.Text()); found != nil {
			return found[len(found)-1]
		}
	}

	require.FailNow(p.t, "no such line", "%s\n%s", pattern, p.stop())

	return ""
}

func TestSandbox_TriggerAndListen(t *testing.T) {
	t.Parallel()

	arrived := make(chan string, 10)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut off has no signature that fits
		if r.Header.Get("Stripe-Signature") != "" && len(body) > 0 {
			arrived <- string(body)
		}
	}))
	t.Cleanup(shop.Close)

	running := startProgram(t, nil, "sandbox", "--addr", "127.0.0.1:0")
	url := running.find(`(http://\S+)`)

	listening := startProgram(t, []string{"SANDBOX_URL=" + url}, "sandbox", "listen", "--forward-to", shop.URL,
		"--events", "payment_intent.succeeded")
	require.Regexp(t, "^whsec_", listening.find(`ready: events are signed with (\S+)`))

	got := program(t, nil, "sandbox", "trigger", "payment_intent.succeeded", "--url", url)
	require.Zero(t, got.code, got.stderr)

	intent := regexp.MustCompile(`pi_\w+`).FindString(got.stdout)
	require.Contains(t, <-arrived, intent)
	listening.find(`^payment_intent\.succeeded evt_\w+ -> (200)$`)

	client := sandbox.Client{URL: url, Key: sandboxKey}
	endpoints := func() []any {
		_, answer, err := client.Call(t.Context(), http.MethodGet, "/v1/webhook_endpoints", "")
		require.NoError(t, err)

		data, _ := answer["data"].([]any)

		return data
	}

	require.Len(t, endpoints(), 1)
	require.Empty(t, listening.stop())
	require.Empty(t, endpoints(), "the endpoint goes with the listener")

	misspelt := program(t, nil, "sandbox", "trigger", "payment_intent.succeded", "--url", url)
	require.Equal(t, 1, misspelt.code)
}

func TestSandbox_EnvironmentAndFlags(t *testing.T) {
	t.Parallel()

	running := startProgram(t, []string{
		"SANDBOX_ADDR=127.0.0.1:0", "SANDBOX_WEBHOOK_URL=http://127.0.0.1:9/env", "SANDBOX_WEBHOOK_SECRET=whsec_env",
		"SANDBOX_ACCOUNT=acct_1First=sk_test_one,sk_live_one acct_1Second=sk_test_two acct_1Seller@acct_1First",
		"SANDBOX_RESTRICTED_KEY=rk_test_reader=charges:read",
	}, "sandbox", "--webhook-url", "http://127.0.0.1:9/flag")
	url := running.find(`(http://\S+)`)
	require.Equal(t, "whsec_env", running.find(`http://127\.0\.0\.1:9/flag\s+signed with (\S+)`), "the flag wins")

	for key, want := range map[string]string{
		"sk_test_one": "acct_1First", "sk_live_one": "acct_1First", "sk_test_two": "acct_1Second", "sk_test_x": "acct_1First",
	} {
		status, answer, err := sandbox.Client{URL: url, Key: key}.Call(t.Context(), http.MethodGet, "/v1/account", "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, want, answer["id"], key)
	}

	status, _, err := sandbox.Client{URL: url, Key: "rk_test_reader"}.Call(t.Context(), http.MethodGet, "/v1/refunds", "")
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, status)
}

func TestSandbox_RefusesWhatItCannotUnderstand(t *testing.T) {
	t.Parallel()

	for name, test := range map[string]struct {
		environment []string
		args        []string
		says        string
	}{
		"no boolean":     {environment: []string{"SANDBOX_REFUND_EVENTS=perhaps_secret"}, says: "SANDBOX_REFUND_EVENTS must be a bool"},
		"no account":     {args: []string{"--account", "shop=sk_test_secret"}, says: `"shop" is no id`},
		"no key":         {args: []string{"--account", "acct_1=whsec_secret"}, says: "must begin with sk_test_"},
		"no permissions": {args: []string{"--restricted-key", "rk_test_secret"}, says: "--restricted-key needs"},
	} {
		got := program(t, test.environment, append([]string{"sandbox", "--addr", "127.0.0.1:0"}, test.args...)...)
		require.Equal(t, 1, got.code, name)
		require.Contains(t, got.stderr, test.says, name)
		require.NotContains(t, got.stderr, "secret\"", name)
		require.NotContains(t, got.stderr, "test_secret", name)
		require.NotContains(t, got.stderr, "perhaps_secret", name)
	}
}
