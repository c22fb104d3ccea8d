package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/config"
)

const escape = "; in a password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"

func TestFromEnvironment_DatabaseURL(t *testing.T) {
	t.Parallel()

	const example = "postgres://user:password@localhost:5432/marketflow"

	for _, url := range []string{
		"postgres://db", "postgresql://app:hunter2@db:5433/marketflow?sslmode=verify-full&connect_timeout=3",
		"postgres://app:p%40ss%2Fw%23@db/x", "postgres://app:pa$$w0rd@db/x",
		"postgres://a.b:c@db-1,db-2:5433/x?target_session_attrs=read-write", "postgres:///x?host=/var/run/postgresql",
		"postgres://app%40tenant.onmicrosoft.com:hunter2@db/x", "postgres://[::1]:5432/x",
		"host=db user=app password='hunter 2' dbname=x", "host = db dbname=x", "user=app host=/tmp dbname=x",
		"host=db user='' password=hunter2", "postgres://db/x?default_query_exec_mode=exec&search_path=shop",
	} {
		requireAccepted(t, "DATABASE_URL", url)
	}

	for url, line := range map[string]string{
		"":                                     "is not set; for example " + example,
		"mysql://app:hunter2@db/x":             "is not a PostgreSQL URL such as " + example + escape,
		"https://db/x?sslmode=disable":         "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter2@db:notaport/x": "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:100%hunter2@db/x":      "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter/2@db/x":         "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter?2@db/x":         "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter 2@db/x":         "is not a PostgreSQL URL such as " + example + escape,
		"postgres://db:99999/x":                "is not a PostgreSQL URL such as " + example + escape,
		"postgres://db/x?sslmode=on":           "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter#2@db/x":         "is not a PostgreSQL URL such as " + example + escape,
		"postgres://app:hunter@2@db/x":         "has a host that is not a name or an address" + escape,
		"postgres://app:12#hunter2@db/x":       "holds a #, which ends a URL" + escape,
		"postgres://app:12/hunter2@db/x":       "has a database name that looks like a part of the password" + escape,
		"postgres://app:12?hunter2@db/x":       "has a parameter with a name that PostgreSQL does not allow" + escape,
		"postgres://app:hun@ter/2@db/x":        "has a database name that looks like a part of the password" + escape,
		"postgres://app:hun@ter?2@db/x=1":      "has a parameter with a name that PostgreSQL does not allow" + escape,
		"postgres:///x": "has no host; it must be a URL such as " + example +
			", or end with ?host=/var/run/postgresql for a Unix socket",
		"postgres://app:hunter2@/x": "has no host; it must be a URL such as " + example +
			", or end with ?host=/var/run/postgresql for a Unix socket",
		"dbname=x user=app": "has no host; it must be a URL such as " + example,
		"host= user=app":    "has no host; it must be a URL such as " + example,
		"marketflow":        "has no host; it must be a URL such as " + example,
		"host=db user= password=hunter2 dbname=x":   "has a keyword without a value; an empty value is written ''",
		"host=db password= user=app dbname=hunter2": "has a keyword without a value; an empty value is written ''",
		"host=db dbname= password=hunter2":          "has a keyword without a value; an empty value is written ''",
		"host=db password=hunter 2 dbname=x":        "is not a PostgreSQL URL such as " + example + escape,
		"host=db sslrootcert=/no/such/hunter2":      "names a file that cannot be read (sslrootcert, sslcert, sslkey or servicefile)",
		"postgres://app:changeme@db/x":              "holds a placeholder for the password; set the real one",
		"postgres://app:YOUR_PASSWORD@db/x":         "holds a placeholder for the password; set the real one",
		"host=db password=xxx":                      "holds a placeholder for the password; set the real one",
		"postgres://app:<password>@db/x":            "is a placeholder that was not filled in; set the real value",
		"postgres://app:${DB_PASSWORD}@db/x":        "is a placeholder that was not filled in; set the real value",
		`"postgres://app:hunter2@db/x"`:             inQuotes,
	} {
		requireRejected(t, "DATABASE_URL", url, line)
	}
}

func TestFromEnvironment_RedisURL(t *testing.T) {
	t.Parallel()

	const example = "redis://localhost:6379/0; leave it empty to run without Redis"

	for _, url := range []string{
		"redis://r", "redis://:p@r:6379/1", "rediss://u:p@r:6379/0?pool_size=3", "unix:///run/redis.sock?db=1", "redis://[::1]",
	} {
		requireAccepted(t, "REDIS_URL", url)
	}

	for url, line := range map[string]string{
		"r:6379":                   "must be a URL such as " + example,
		"http://r":                 "must be a URL such as " + example,
		"redis://:hunter2/3@r":     "must be a URL such as " + example,
		"redis://:100%zzhunter2@r": "must be a URL such as " + example,
		"redis://":                 "has no host; it must be a URL such as " + example,
		"redis:///0":               "has no host; it must be a URL such as " + example,
		"redis://:12/hunter2@r":    "has no host; it must be a URL such as " + example,
		"redis://:hun#ter2@r":      "must be a URL such as " + example,
		"redis://r:70000":          "has a port that is not from 1 to 65535",
		"redis://r/one":            "must be a URL such as " + example + escape,
		"redis://r/0?pool_size=x":  "must be a URL such as " + example + escape,
		"redis://r/0?hunter2=x":    "must be a URL such as " + example + escape,
		"redis://:changeme@r":      "holds a placeholder for the password; set the real one",
		"redis://:<password>@r":    "is a placeholder that was not filled in; set the real value",
		"unix://":                  "must be a URL such as unix:///run/redis.sock",
	} {
		requireRejected(t, "REDIS_URL", url, line)
	}
}

func TestFromEnvironment_Warnings(t *testing.T) {
	t.Parallel()

	warnings := func(changes map[string]string) []string {
		c, err := config.FromEnvironment(with(changes))
		require.NoError(t, err)

		return c.Warnings
	}

	const plain = "DATABASE_URL: the connection to db may be unencrypted and show every query; " +
		"add sslmode=verify-full (or at least sslmode=require)"

	for _, url := range []string{
		"postgres://db/x", "postgres://db/x?sslmode=disable", "postgres://db/x?sslmode=allow", "host=db sslmode=prefer",
		"postgres://127.0.0.1,db/x",
	} {
		require.Equal(t, []string{plain}, warnings(map[string]string{"DATABASE_URL": url}), url)
	}

	for _, url := range []string{
		"postgres://db/x?sslmode=require", "postgres://127.0.0.1/x?sslmode=disable", "postgres://localhost/x",
		"postgres://[::1]/x", "postgres:///x?host=/tmp",
	} {
		require.Empty(t, warnings(map[string]string{"DATABASE_URL": url}), url)
	}

	const safe = "postgres://db/x?sslmode=require"

	for variable, of := range map[string]struct {
		line        string
		quiet, loud []string
	}{
		"REDIS_URL": {
			"REDIS_URL: the connection to r is not encrypted; use rediss:// for TLS",
			[]string{"", "rediss://r", "redis://localhost", "unix:///r"},
			[]string{"redis://:hunter2@r:6379"},
		},
		"STRIPE_API_BASE": {
			"STRIPE_API_BASE: the key goes to sandbox over plain http",
			[]string{"", "https://sandbox", "http://localhost:1"},
			[]string{"http://sandbox:12111"},
		},
		"PPROF_ADDR": {
			"PPROF_ADDR: profiles reveal much about the process, and whoever reaches this address can read them; listen on 127.0.0.1",
			[]string{"", "127.0.0.1:6060", "[::1]:6060", "localhost:6060"},
			[]string{":6060"},
		},
	} {
		for _, value := range of.quiet {
			require.Empty(t, warnings(map[string]string{"DATABASE_URL": safe, variable: value}), value)
		}

		for _, value := range of.loud {
			require.Equal(t, []string{of.line}, warnings(map[string]string{"DATABASE_URL": safe, variable: value}), value)
		}
	}
}

func TestFromEnvironment_NamesAVariableThatWasMeant(t *testing.T) {
	t.Parallel()

	for missing, of := range map[string]struct {
		says  string
		names []string
	}{
		"STRIPE_WEBHOOK_SECRET": {
			"is not set; see https://dashboard.stripe.com/webhooks (or keep it in the database, with SECRETS_KEY)",
			[]string{
				"STRIPE_WEBHOOK_SECRETS", "STRIPE_WEBHOOK_SECRT", "STRIPE_WEBHOOKSECRET", "stripe_webhook_secret",
				"STRIPE_WEBHOOK_SECRET_FILE", "STRIPE_ENDPOINT_SECRET", "STRIPE_WEBHOOK_SECRET ",
			},
		},
		"STRIPE_SECRET_KEY": {
			"is not set; see https://dashboard.stripe.com/apikeys",
			[]string{"STRIPE_SECRETKEY", "STRIPE_SECERT_KEY", "STRIPE_API_KEY", "MARKETFLOW_STRIPE_SECRET_KEY"},
		},
		"DATABASE_URL": {
			"is not set; for example postgres://user:password@localhost:5432/marketflow",
			[]string{"DATABSE_URL", "DATABASE_URI", "DB_URL", "POSTGRES_URL", "DATABASE-URL"},
		},
	} {
		for _, name := range of.names {
			_, err := config.FromEnvironment(with(map[string]string{missing: "", name: "hunter2"}))
			require.EqualError(t, err, missing+": "+of.says+"; "+name+" is set, was that meant?")
		}
	}
}

func TestFromEnvironment_WarnsOfVariablesThatNobodyReads(t *testing.T) {
	t.Parallel()

	for name, line := range map[string]string{
		"RATELIMIT":                     "RATELIMIT: is not used; did you mean RATE_LIMIT?",
		"RATE_LIMITS":                   "RATE_LIMITS: is not used; did you mean RATE_LIMIT?",
		"REDIS_URI":                     "REDIS_URI: is not used; did you mean REDIS_URL?",
		"HTTP_ADDRESS":                  "HTTP_ADDRESS: is not used; did you mean HTTP_ADDR?",
		"LOGLEVEL":                      "LOGLEVEL: is not used; did you mean LOG_LEVEL?",
		"STRIPE_TIMEOUTS":               "STRIPE_TIMEOUTS: is not used; did you mean STRIPE_TIMEOUT?",
		"OTEL_SERVICE_NAMES":            "OTEL_SERVICE_NAMES: is not used; did you mean OTEL_SERVICE_NAME?",
		"STRIPE_PUBLISHABLE_KEY":        "STRIPE_PUBLISHABLE_KEY: is not used",
		"RECONCILE_EVERY":               "RECONCILE_EVERY: is not used",
		"PATH":                          "",
		"HTTP_PROXY":                    "",
		"REDIS_PORT_6379_TCP":           "",
		"DATABASE_NAME":                 "",
		"OTEL_METRICS_EXPORTER":         "",
		"OTEL_EXPORTER_OTLP_PROTOCOL":   "",
		"PORT":                          "",
		"KUBERNETES_SERVICE_PORT_HTTPS": "",
	} {
		c, err := config.FromEnvironment(with(map[string]string{
			"DATABASE_URL": "postgres://localhost/x", name: "hunter2",
		}))
		require.NoError(t, err, name)

		if line == "" {
			require.Empty(t, c.Warnings, name)
		} else {
			require.Equal(t, []string{line}, c.Warnings, name)
		}
	}
}
