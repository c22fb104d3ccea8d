package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/sandbox"
	"github.com/marketflow/marketflow/tests/pgtest"
)

// bed is what `marketflow reconcile` needs around it.
type bed struct {
	t           *testing.T
	db          *pgtest.DB
	stripe      *sandbox.Server
	environment []string
}

func newBed(t *testing.T) bed {
	t.Helper()

	b := bed{t: t, db: pgtest.New(t), stripe: sandbox.Start(t)}
	b.environment = []string{
		"DATABASE_URL=" + b.db.URL, "STRIPE_API_BASE=" + b.stripe.URL,
		"STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
	}

	return b
}

func (b bed) run(args ...string) ran {
	b.t.Helper()

	return program(b.t, b.environment, append([]string{"reconcile"}, args...)...)
}

func (b bed) exec(statement string) {
	b.t.Helper()

	_, err := b.db.Pool().Exec(b.t.Context(), statement)
	require.NoError(b.t, err)
}

// report reads what -o json prints, and wants every key that is documented.
func (b bed) report(got ran) map[string]any {
	b.t.Helper()

	var report map[string]any

	require.NoError(b.t, json.Unmarshal([]byte(got.stdout), &report), "%+v", got)

	for _, key := range []string{
		"since", "until", "cursor", "dry_run", "events", "intents", "open_payments", "differences", "left",
		"needs_attention", "parked", "clean",
	} {
		require.Contains(b.t, report, key)
	}

	return report
}

// "clean" is the answer of a run that has looked at everything.
func TestReconcile_SaysCleanOfWhatItSaw(t *testing.T) {
	t.Parallel()

	b := newBed(t)

	clean := b.run()
	require.Zero(t, clean.code, clean.stderr)
	require.Contains(t, clean.stdout, "clean")

	require.NoError(t, b.stripe.Close())

	away := b.run()
	require.Equal(t, 1, away.code)
	require.NotContains(t, away.stdout, "clean")
	require.Contains(t, away.stderr, "marketflow: ")
	require.Contains(t, away.stderr, "what was done is kept")
}

// A script reads nothing but the exit code: 0 only where nothing waits for a person,
// whenever it came.
func TestReconcile_ExitCodes(t *testing.T) {
	t.Parallel()

	const (
		parked = `INSERT INTO stripe_events (id, type, object_id, payload, outcome, parked_reason)
			SELECT 'evt_' || n, 'payment_intent.succeeded', 'pi_1', '{}', 'parked', 'contradiction' FROM generate_series(1, 2) n`
		attention = `INSERT INTO operations (id, kind, fingerprint, amount, currency, stripe_key, stripe_path, stripe_params, state,
			leased_until, retry_at)
			VALUES (gen_random_uuid(), 'create', sha256(''), 10, 'USD', '', '/v1/payment_intents', '', 'needs_attention', now(), now())`
		pending = `INSERT INTO operations (id, kind, fingerprint, amount, currency, stripe_key, stripe_path, stripe_params, state,
			leased_until, retry_at)
			VALUES (gen_random_uuid(), 'create', sha256(''), 10, 'USD', '', '/v1/payment_intents', '', 'pending', now(), now())`
		unknown = `INSERT INTO payments (stripe_payment_intent_id, amount, created_at)
			VALUES ('pi_unknown', 10, now() - interval '2 days')`
	)

	for name, c := range map[string]struct {
		waits, says, look string
		code              int
	}{
		"A parked event":      {parked, "2 events are parked", "marketflow inbox list --parked", 2},
		"Needs attention":     {attention, "1 operation needs attention", "marketflow operations list --needs-attention", 2},
		"A difference":        {unknown, "1 difference is left", "contradiction: 1 found, 0 repaired", 2},
		"A pending operation": {pending, "", "clean", 0},
		"Two kinds together":  {parked + ";" + attention, "1 operation needs attention; 2 events are parked", "inbox list", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			b := newBed(t)
			require.Zero(t, b.run().code, "the database is bound while there is nothing in it")
			b.exec(c.waits)

			got := b.run()
			require.Equal(t, c.code, got.code, "%+v", got)
			require.Contains(t, got.stdout, c.look)
			require.Contains(t, got.stderr, c.says)
			require.Equal(t, c.code == 0, strings.Contains(got.stdout, "clean"))

			dry := b.run("--dry-run")
			require.Equal(t, c.code, dry.code, "%+v", dry)

			report := b.report(b.run("-o", "json"))
			require.Equal(t, c.code == 0, report["clean"])
		})
	}
}

func TestReconcile_SaysUntilWhenItLooked(t *testing.T) {
	t.Parallel()

	b := newBed(t)
	b.exec(`INSERT INTO reconciliation VALUES (TRUE, '2024-01-15T12:00:00Z')`)

	text := b.run("--since", "3h")
	require.Zero(t, text.code, "%+v", text)
	require.Regexp(t, `looked at 0 events and 0 intents from 20\S+Z until 20\S+Z, and at 0 open payments`, text.stdout)
	require.Contains(t, text.stdout, "marketflow reconcile --since 2024-01-15T12:00:00Z", "what lies between was not looked at")

	report := b.report(b.run("--since", time.Now().Add(-3*time.Hour).Format(time.RFC3339), "--output", "json"))
	for key, ago := range map[string]time.Duration{"since": 3 * time.Hour, "until": time.Minute} {
		at, err := time.Parse(time.RFC3339, fmt.Sprint(report[key]))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(-ago), at, time.Minute, key)
	}

	require.Equal(t, "2024-01-15T12:00:00Z", report["cursor"])
	require.InDelta(t, 0, report["parked"], 0)
}

func TestReconcile_RefusesOddOptions(t *testing.T) {
	t.Parallel()

	for _, args := range [][]string{
		{"--since", "0"},
		{"--since", "-1h"},
		{"--since", "30s"},
		{"--since", "1000000h"},
		{"--since", "yesterday"},
		{"--since", ""},
		{"--since", "2001-01-01T00:00:00Z"},
		{"-o", "yaml"},
	} {
		got := program(t, nil, append([]string{"reconcile"}, args...)...)
		require.Equal(t, 1, got.code, args)
		require.Empty(t, got.stdout)
		require.Regexp(t, "--?(since|o)", got.stderr, args)
	}
}

// Ctrl-C ends a run that takes long; what it says leads on.
func TestReconcile_Interrupted(t *testing.T) {
	t.Parallel()

	b := newBed(t)

	_, err := b.stripe.AddFault(sandbox.Fault{Action: sandbox.HangRequest, Method: "GET", Path: "/v1/events", Nth: 2, Count: -1})
	require.NoError(t, err)

	var stdout, stderr strings.Builder

	command := exec.CommandContext(t.Context(), os.Args[0], "reconcile", "--since", "30h")
	command.Dir = t.TempDir()

	command.Env = append([]string{asProgram + "=1"}, b.environment...)
	command.Stdout, command.Stderr = &stdout, &stderr
	require.NoError(t, command.Start())

	require.Eventually(t, func() bool {
		return b.count("SELECT count(*) FROM reconciliation") == 1
	}, 20*time.Second, 20*time.Millisecond, "the first window is done")
	require.NoError(t, command.Process.Signal(syscall.SIGINT))
	require.Error(t, command.Wait())

	require.Equal(t, 1, command.ProcessState.ExitCode())
	require.Contains(t, stdout.String(), "looked at 0 events")
	require.NotContains(t, stdout.String(), "clean")
	require.Contains(t, stderr.String(), "interrupted")
	require.Contains(t, stderr.String(), "to go on: marketflow reconcile --since 20")
	require.Zero(t, b.count("SELECT count(*) FROM reconciliation_lease"))
}

// So it does one that waits for another run.
func TestReconcile_InterruptedWhileItWaits(t *testing.T) {
	t.Parallel()

	b := newBed(t)
	b.exec("INSERT INTO reconciliation_lease (token, until) VALUES (gen_random_uuid(), now() + interval '1 hour')")

	command := exec.CommandContext(t.Context(), os.Args[0], "reconcile")
	command.Dir = t.TempDir()

	command.Env = append([]string{asProgram + "=1"}, b.environment...)

	stderr, err := command.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())

	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), "waiting for its end") {
		continue
	}

	require.NoError(t, command.Process.Signal(syscall.SIGINT))
	require.True(t, lines.Scan())
	require.Equal(t, "marketflow: interrupted", lines.Text())
	require.Error(t, command.Wait())
	require.Equal(t, 1, command.ProcessState.ExitCode())
}

func (b bed) count(query string) int {
	b.t.Helper()

	var n int

	require.NoError(b.t, b.db.Pool().QueryRow(b.t.Context(), query).Scan(&n))

	return n
}
