package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/pgtest"
)

// hidden is what must be printed by nobody: every slip below has it where a part of
// a secret would be.
const hidden = "SECRETpart"

// requireHidden: the program refuses, names the variable and shows nothing of it.
func requireHidden(t *testing.T, variable, value string, got ran) {
	t.Helper()

	require.NotContains(t, got.stdout+got.stderr, hidden, "%s=%s", variable, value)
	require.Equal(t, 1, got.code, "%s=%s: %s", variable, value, got.stderr)
	require.Contains(t, got.stderr, variable, "%s=%s", variable, value)
	require.Empty(t, got.stdout, "%s=%s", variable, value)
}

func TestProgram_SlipsShowNoSecret(t *testing.T) {
	t.Parallel()

	sane := []string{
		"HTTP_ADDR=127.0.0.1:0", "DATABASE_URL=postgres://127.0.0.1:1/x",
		"STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret, "AUTH=off",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
	}

	for variable, values := range map[string][]string{
		"STRIPE_SECRET_KEY": {
			hidden, "pk_live_" + hidden, "whsec_" + hidden, `"sk_live_51` + hidden + `"`, "sk_live_51 " + hidden, "sk_live_" + hidden,
		},
		"STRIPE_WEBHOOK_SECRET": {
			hidden, "sk_live_51" + hidden, "we_1" + hidden, "acct_" + hidden, webhookSecret + "," + hidden, "'whsec_" + hidden + "'",
		},
		"STRIPE_API_BASE": {
			"https://u:" + hidden + "@h", "https://h?key=" + hidden, "https://h:" + hidden, hidden, "http://%zz" + hidden,
		},
		"REDIS_URL": {
			"redis://:12/" + hidden + "@r", "redis://r/" + hidden, "redis://:p%zz" + hidden + "@r", "redis://:a#" + hidden + "@r", hidden,
		},
		"RATE_LIMIT": {hidden}, "LOG_LEVEL": {hidden}, "STRIPE_TIMEOUT": {hidden}, "HTTP_ADDR": {hidden}, "PPROF_ADDR": {hidden},
		"OTEL_EXPORTER_OTLP_HEADERS": {
			"Authorization: Bearer " + hidden, "x-api-key:" + hidden, "good=1,Authorization: Basic " + hidden,
			hidden + "=", "k=%" + hidden,
		},
		"HTTPS_PROXY":                       {"http://u:" + hidden + "@proxy:port", "http://u:%zz" + hidden + "@proxy"},
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS": {"Authorization: Bearer " + hidden},
		"OTEL_RESOURCE_ATTRIBUTES":          {hidden},
		"OTEL_EXPORTER_OTLP_ENDPOINT":       {"http://u:" + hidden + "@h:4318", "http://h:" + hidden, "h?" + hidden},
		"OTEL_EXPORTER_OTLP_CLIENT_KEY":     {"-----BEGIN PRIVATE KEY-----" + hidden},
	} {
		requireHidden(t, variable, values[0], program(t, append(sane, variable+"="+values[0]), "reconcile"))

		for _, value := range values {
			requireHidden(t, variable, value, program(t, append(sane, variable+"="+value), "serve"))
		}
	}
}

// Slips that a parser takes without a word must be noticed too, or be told by the
// failed connection without what they hold.
func TestProgram_SlipsInTheDatabaseURLShowNoPassword(t *testing.T) {
	t.Parallel()

	server, err := url.Parse(pgtest.NewEmpty(t).URL)
	require.NoError(t, err)

	host := server.Host
	pair := "host=" + server.Hostname() + " port=" + server.Port() + " sslmode=disable "

	for _, slip := range []string{
		pair + "user= password=" + hidden + " dbname=marketflow",
		pair + "user=app password=x " + hidden + " dbname=marketflow",
		pair + "user=app password= dbname=" + hidden,
		pair + "user=app password='" + hidden,
		pair + "user=app passwrd=" + hidden + " dbname=marketflow",
		pair + "user=app:" + hidden + " dbname=marketflow",
		"postgres://app:p@" + hidden + "@" + host + "/x",
		"postgres://app:12/" + hidden + "@" + host + "/x",
		"postgres://app:12?" + hidden + "@" + host + "/x",
		"postgres://app:12#" + hidden + "@" + host + "/x",
		"postgres://app:100%" + hidden + "@" + host + "/x",
		"postgres://app:" + hidden + "@" + server.Hostname() + ":port/x",
		"postgres://app:" + hidden + "@" + server.Hostname() + ":99999/x",
		"postgres:/app:" + hidden + "@" + host + "/x",
		"postgres//app:" + hidden + "@" + host + "/x",
		"mysql://app:" + hidden + "@" + host + "/x",
		"postgres://app:" + hidden + "@/x",
		"postgres://" + hidden + "@" + host + "/marketflow",
		"postgres://app:" + hidden + "@" + host + "/x?sslmode=" + hidden,
		"postgres://app:x@" + host + "/x?pasword=" + hidden,
		"postgres://app:x@" + host + "/x?sslrootcert=/no/" + hidden,
		`"postgres://app:` + hidden + "@" + host + `/x"`,
		hidden,
	} {
		for _, command := range [][]string{{"serve"}, {"migrate", "up"}} {
			got := program(t, []string{
				"HTTP_ADDR=127.0.0.1:0", "STRIPE_SECRET_KEY=" + secretKey, "STRIPE_WEBHOOK_SECRET=" + webhookSecret,
				"DATABASE_URL=" + slip, "HOME=" + t.TempDir(),
			}, command...)
			require.NotContains(t, got.stdout+got.stderr, hidden, slip)
			require.Equal(t, 1, got.code, slip)
			require.NotEmpty(t, got.stderr, slip)
			require.Equal(t, 1, strings.Count(got.stderr, "\n"), "one line: %s", got.stderr)
		}
	}
}

// A slip in .env is told by its line, without the lines after it.
func TestProgram_EnvFileShowsNoSecret(t *testing.T) {
	t.Parallel()

	path := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(path, []byte("REDIS-URL=redis://r\nSTRIPE_SECRET_KEY="+hidden+"\n"), 0o600))

	got := programIn(t, filepath.Dir(path), nil, "serve")
	require.Equal(t, ran{stderr: "marketflow: .env: line 1 is not NAME=value\n", code: 1}, got)
}

// A variable that looks like one of ours is named where ours is missing.
func TestProgram_NamesAVariableThatWasMeant(t *testing.T) {
	t.Parallel()

	got := program(t, []string{
		"STRIPE_SECRET_KEY=" + secretKey, "DATABSE_URL=x", "STRIPE_WEBHOOK_SECRETS=" + webhookSecret,
	}, "serve")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.stderr, "; DATABSE_URL is set, was that meant?\n")
	require.Contains(t, got.stderr, "; STRIPE_WEBHOOK_SECRETS is set, was that meant?\n")

	got = program(t, []string{"DATABSE_URL=x"}, "migrate", "status")
	require.Contains(t, got.stderr, "; DATABSE_URL is set, was that meant?\n")
}
