package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	secretKey     = "sk_test_51ProgramProgramProgram"
	webhookSecret = "whsec_ProgramProgramProgramProgramProgram"
)

// asProgram makes the test binary the program.
const asProgram = "MARKETFLOW_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args[1:]))
	}

	os.Exit(m.Run())
}

// ran is what the program left.
type ran struct {
	stdout, stderr string
	code           int
}

// program runs the program with nothing but environment.
func program(t *testing.T, environment []string, args ...string) ran {
	t.Helper()

	return programIn(t, t.TempDir(), environment, args...) // no .env
}

func programIn(t *testing.T, dir string, environment []string, args ...string) ran {
	t.Helper()

	var stdout, stderr strings.Builder

	command := exec.CommandContext(t.Context(), os.Args[0], args...)
	command.Dir = dir

	command.Env = append([]string{asProgram + "=1"}, environment...)
	command.Stdout, command.Stderr = &stdout, &stderr

	var exit *exec.ExitError
	if err := command.Run(); err != nil {
		require.ErrorAs(t, err, &exit)
	}

	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// A script that misspells a command must not go on as if it had worked.
func TestProgram_UnknownCommandFails(t *testing.T) {
	t.Parallel()

	for _, args := range [][]string{
		{"bogus"}, {"migrate", "upp"}, {"inbox", "bogus"}, {"operations", "bogus"}, {"payments", "bogus"}, {"serve", "extra"},
	} {
		got := program(t, nil, args...)
		require.Equal(t, 1, got.code, args)
		require.Contains(t, got.stderr, `unknown command "`+args[len(args)-1]+`"`)
		require.Empty(t, got.stdout, args)
	}
}

func TestProgram_HelpIsNoFailure(t *testing.T) {
	t.Parallel()

	for _, args := range [][]string{
		{}, {"--help"}, {"migrate"}, {"migrate", "--help"}, {"inbox"}, {"operations"}, {"payments"}, {"serve", "--help"},
	} {
		got := program(t, nil, args...)
		require.Zero(t, got.code, args)
		require.Contains(t, got.stdout, "Usage:", args)
		require.Empty(t, got.stderr, args)
	}
}

// What was asked for goes to stdout, for `$(…)` and pipes.
func TestProgram_AnswersOnStdout(t *testing.T) {
	t.Parallel()

	require.Equal(t, ran{stdout: version + "\n"}, program(t, nil, "version"))
}

func TestServe_ListsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()

	got := program(t, []string{
		"STRIPE_SECRET_KEY=pk_hunter2", "STRIPE_WEBHOOK_SECRET=whsec_hunter2,,whsec_b", "REDIS_URL=hunter2",
		"OTEL_EXPORTER_OTLP_ENDPOINT=hunter2:4318", "OTEL_TRACES_SAMPLER=sometimes", "OTEL_TRACES_EXPORTER=zipkin",
	}, "serve")
	require.Equal(t, 1, got.code)
	require.Empty(t, got.stdout)
	require.NotContains(t, got.stderr, "hunter2")

	for _, variable := range []string{
		"DATABASE_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "REDIS_URL",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_EXPORTER",
	} {
		require.Contains(t, got.stderr, variable+": ")
	}
}
