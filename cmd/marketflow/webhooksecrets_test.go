package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/domain/secret"
)

// fed runs the program with a standard input.
func (d *desk) fed(stdin string, environment []string, args ...string) ran {
	d.t.Helper()

	var stdout, stderr strings.Builder

	command := exec.CommandContext(d.t.Context(), os.Args[0], args...)
	command.Dir = d.t.TempDir()
	command.Env = append(append(d.environment(), asProgram+"=1"), environment...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(stdin), &stdout, &stderr

	err := command.Run()
	if command.ProcessState == nil {
		require.NoError(d.t, err)
	}

	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

func TestWebhookSecrets(t *testing.T) {
	t.Parallel()

	const (
		first  = "whsec_FirstFirstFirstFirstFirstFirstFi01"
		second = "whsec_SecondSecondSecondSecondSecondS02"
	)

	d := newDesk(t)
	old, oldText := secret.NewKey()
	next, nextText := secret.NewKey()
	withOld, withBoth, withNext := []string{"SECRETS_KEY=" + oldText}, []string{"SECRETS_KEY=" + nextText + "," + oldText},
		[]string{"SECRETS_KEY=" + nextText}

	refused := func(says, stdin string, environment []string, args ...string) {
		got := d.fed(stdin, environment, args...)
		require.Equal(t, 1, got.code, got.stdout)
		require.Empty(t, got.stdout)
		require.Contains(t, got.stderr, says)
		require.NotContains(t, got.stderr, "FirstFirst")
	}

	refused("SECRETS_KEY is not set; make one with: openssl rand -base64 32", first, nil, "webhook-secrets", "add")
	refused("SECRETS_KEY is not set", "", nil, "secrets", "rotate")
	refused("standard input, which is empty", " \n", withOld, "webhook-secrets", "add")
	refused("is a secret API key", "sk_live_FirstFirstFirstFirst", withOld, "webhook-secrets", "add")
	refused("is a placeholder", "whsec_xxx", withOld, "webhook-secrets", "add")
	refused("is too short", first[:20], withOld, "webhook-secrets", "add")
	refused("never from an argument", "", withOld, "webhook-secrets", "add", first)
	refused("and not by itself", "", withOld, "webhook-secrets", "remove", first)
	refused("--expires must be a time", first, withOld, "webhook-secrets", "add", "--expires", "-1h")

	done := func(stdin string, environment []string, args ...string) string {
		got := d.fed(stdin, environment, args...)
		require.Zero(t, got.code, got.stderr)
		require.NotContains(t, got.stdout+got.stderr, "FirstFirst")
		require.NotContains(t, got.stdout+got.stderr, "SecondSecond")

		return got.stdout
	}

	require.Contains(t, done(first+"\n", withOld, "webhook-secrets", "add", "--actor", "me", "--reason", "a new endpoint"), "Fi01")
	require.Contains(t, done(second, withOld, "webhook-secrets", "roll", "Fi01", "--overlap", "24h"), "dS02")

	list := done("", withOld, "webhook-secrets", "list")
	require.Contains(t, list, "works")
	require.Contains(t, list, "me")
	require.Contains(t, list, old.ID().String())
	require.Contains(t, done("", withNext, "webhook-secrets", "list"), "unreadable")

	lost := d.fed("", withNext, "secrets", "rotate")
	require.Equal(t, 2, lost.code)
	require.Contains(t, lost.stderr, "2 cannot be opened")

	require.Contains(t, done("", withBoth, "secrets", "rotate", "--reason", "a year is over"),
		"2 sealed anew with key "+next.ID().String()+"; 0 were already.\nThe other keys can be dropped")
	require.NotContains(t, done("", withNext, "webhook-secrets", "list"), "unreadable")
	require.Contains(t, done("", withNext, "webhook-secrets", "list", "-o", "json"), `"last_used_at": null`)

	refused("there is no webhook secret none", "", withNext, "webhook-secrets", "remove", "none")
	require.Contains(t, done("", withNext, "webhook-secrets", "remove", "Fi01"), "is removed")

	audit := done("", withNext, "audit", "list")
	for _, action := range []string{"webhook_secret.add", "webhook_secret.roll", "webhook_secret.remove", "secrets.rotate"} {
		require.Contains(t, audit, action)
	}
}
