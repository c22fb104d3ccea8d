package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/domain/secret"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

const (
	testKey       = "sk_test_51Hunter2Hunter2Hunter2Hunter2"
	liveKey       = "sk_live_51Hunter2Hunter2Hunter2Hunter2"
	webhookSecret = "whsec_Hunter2Hunter2Hunter2Hunter2Hunt"
	inQuotes      = "is in quotes; write it without them (Docker's --env-file keeps quotes as part of the value)"
	nextSecret    = "whsec_Next0Next0Next0Next0Next0Next0Ne"
)

func sane() map[string]string {
	return map[string]string{
		"DATABASE_URL":          "postgres://app:hunter2@db/marketflow",
		"STRIPE_SECRET_KEY":     testKey,
		"STRIPE_WEBHOOK_SECRET": webhookSecret,
	}
}

func with(changes map[string]string) map[string]string {
	variables := sane()
	maps.Copy(variables, changes)

	return variables
}

// requireRejected: with value for variable there is one problem, and this is it.
func requireRejected(t *testing.T, variable, value, line string) {
	t.Helper()

	_, err := config.FromEnvironment(with(map[string]string{variable: value}))
	require.EqualError(t, err, variable+": "+line, "%q", value)
}

func requireAccepted(t *testing.T, variable, value string) {
	t.Helper()

	_, err := config.FromEnvironment(with(map[string]string{variable: value}))
	require.NoError(t, err, "%q", value)
}

func TestFromEnvironment_DefaultsAreRightInProduction(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(sane())
	require.NoError(t, err)
	require.Equal(t, ":3000", c.HTTPAddr)
	require.Empty(t, c.RedisURL)
	require.Empty(t, c.StripeAPIBase)
	require.Zero(t, c.RateLimit)
	require.Equal(t, config.AuthKeys, c.Auth)
	require.Equal(t, zapcore.InfoLevel, c.LogLevel)
	require.Equal(t, 20*time.Second, c.ShutdownTimeout)
	require.Equal(t, 3*time.Second, c.DrainDelay)
}

func TestFromEnvironment_Auth(t *testing.T) {
	t.Parallel()

	for _, value := range []string{"Off", "none", "false", "key"} {
		requireRejected(t, "AUTH", value, "must be keys or off")
	}

	requireAccepted(t, "AUTH", "keys")

	off, err := config.FromEnvironment(with(map[string]string{"AUTH": "off", "DATABASE_URL": "postgres://localhost/x"}))
	require.NoError(t, err)
	require.Len(t, off.Warnings, 1)
	require.Contains(t, off.Warnings[0], "AUTH: is off")

	// Only dev is silent, and only where nobody else reaches it.
	for addr, warnings := range map[string]int{"127.0.0.1:3000": 0, "localhost:3000": 0, ":3000": 1, "10.0.0.5:3000": 1} {
		dev, err := config.ForDev(with(map[string]string{
			"AUTH": "off", "HTTP_ADDR": addr, "DATABASE_URL": "postgres://localhost/x",
		}))
		require.NoError(t, err)
		require.Len(t, dev.Warnings, warnings, addr)
	}
}

func TestFromEnvironment_TrustedProxies(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(with(map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8,2001:db8::/32,192.0.2.7/32"}))
	require.NoError(t, err)
	require.Len(t, c.TrustedProxies, 3)

	for _, value := range []string{"10.0.0.1", "proxy.internal", "10.0.0.0/33", "10.0.0.0/8;192.0.2.7/32", "*"} {
		requireRejected(t, "TRUSTED_PROXIES", value, "must list networks such as 10.0.0.0/8,2001:db8::/32, separated by commas; "+
			"of one address 10.0.0.7/32")
	}
}

func TestFromEnvironment_DrainDelay(t *testing.T) {
	t.Parallel()

	for value, want := range map[string]time.Duration{"0": 0, "1500ms": 1500 * time.Millisecond} {
		c, err := config.FromEnvironment(with(map[string]string{"DRAIN_DELAY": value}))
		require.NoError(t, err)
		require.Equal(t, want, c.DrainDelay)
	}

	for _, value := range []string{"-1s", "soon"} {
		_, err := config.FromEnvironment(with(map[string]string{"DRAIN_DELAY": value}))
		require.ErrorContains(t, err, "DRAIN_DELAY: ", value)
	}
}

func TestFromEnvironment_SeveralWebhookSecrets(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(with(map[string]string{"STRIPE_WEBHOOK_SECRET": webhookSecret + "," + nextSecret}))
	require.NoError(t, err)
	require.Equal(t, []config.Secret{webhookSecret, nextSecret}, c.StripeWebhookSecrets)
}

func TestFromEnvironment_ListsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()

	_, err := config.FromEnvironment(map[string]string{
		"REDIS_URL": "http://x", "STRIPE_SECRET_KEY": "pk_test_x", "STRIPE_API_BASE": "stripe.com",
		"RATE_LIMIT": "-1", "LOG_LEVEL": "loud", "DATABASE_MAX_CONNS": "0", "STRIPE_TIMEOUT": "8",
		"HTTP_ADDR": "3000", "PPROF_ADDR": "localhost:66000", "METRICS_ADDR": "9464",
	})
	require.Error(t, err)

	for _, variable := range []string{
		"DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE",
		"RATE_LIMIT", "LOG_LEVEL", "DATABASE_MAX_CONNS", "STRIPE_TIMEOUT", "HTTP_ADDR", "PPROF_ADDR", "METRICS_ADDR",
	} {
		require.ErrorContains(t, err, variable+": ")
	}

	require.Equal(t, 11, strings.Count(err.Error(), "\n"), "one line each:\n%s", err)
}

func TestFromEnvironment_SecretKey(t *testing.T) {
	t.Parallel()

	const (
		must        = "; it must begin with sk_test_, sk_live_, rk_test_ or rk_live_ (https://dashboard.stripe.com/apikeys)"
		placeholder = "is a placeholder; set the real key, see https://dashboard.stripe.com/apikeys"
		unfilled    = "is a placeholder that was not filled in; set the real value"
		form        = "holds a space or another character that such a secret never has"
	)

	for _, key := range []string{testKey, liveKey, "rk_test_51Abcdefghijklmnop", "rk_live_" + strings.Repeat("aB3", 33)} {
		requireAccepted(t, "STRIPE_SECRET_KEY", key)
	}

	for key, line := range map[string]string{
		"":                     "is not set; see https://dashboard.stripe.com/apikeys",
		"sk_test_marketflow":   "is the key of `marketflow dev`, which everybody knows; only dev accepts it",
		"pk_live_51AbcdAbcd":   "is a publishable API key, which is for browsers" + must,
		webhookSecret:          "is a webhook's signing secret" + must,
		"we_1AbcdAbcdAbcdAbcd": "is the id of a webhook endpoint" + must,
		"acct_1AbcdAbcdAbcd":   "is the id of an account" + must,
		"sk_org_live_AbcdAbcd": "is the API key of an organization" + must,
		"hunter2hunter2hunter": "is not a secret key of Stripe" + must,
		"SK_TEST_51AbcdAbcdAb": "is not a secret key of Stripe" + must,
		"sk_51AbcdAbcdAbcdAbc": "is not a secret key of Stripe" + must,

		"sk_test_...":                        placeholder,
		"sk_test_…":                          placeholder,
		"sk_live_****************":           placeholder,
		"changeme":                           placeholder,
		"CHANGE_ME":                          placeholder,
		"your_key_here":                      placeholder,
		"sk_test_replace_me":                 placeholder,
		"sk_test_yourStripeSecretKeyHere":    placeholder,
		"sk_live_XXXXXXXXXXXXXXXXXXXXXXXX":   placeholder,
		"sk_test_00000000000000000000000000": placeholder,
		"sk_test_my_secret_key_for_stripe":   placeholder,
		"<your key>":                         unfilled,
		"${STRIPE_KEY}":                      unfilled,
		"$STRIPE_KEY":                        unfilled,
		"$(STRIPE_KEY)":                      unfilled,
		"sk_test_{{ stripe.key }}":           unfilled,
		"sk_live_<key>":                      unfilled,

		`"` + testKey + `"`: inQuotes,
		"'" + testKey + "'": inQuotes,
		"“" + testKey + "”": inQuotes,

		"sk_test_51Hunter2 Hunter2Hunter2":       form,
		"sk_test_51Hunter2,sk_live_51Hunter2":    form,
		"sk_test_51Hunter2Hunter2Hunter2 # mine": form,
		"sk_test_51Hunter2-Hunter2Hunter2":       form,
		testKey + "\n" + liveKey:                 "holds a line break or an invisible character; write it again by hand",
		testKey + "\u200b":                       "holds a line break or an invisible character; write it again by hand",

		"sk_test_":                        "is too short; a part of it is missing",
		"sk_test_123":                     "is too short; a part of it is missing",
		"sk_live_" + longer("aB3xZ9", 99): "is too long",
	} {
		requireRejected(t, "STRIPE_SECRET_KEY", key, line)
	}
}

func longer(text string, times int) string { return strings.Repeat(text, times) }

func TestFromEnvironment_WebhookSecret(t *testing.T) {
	t.Parallel()

	const (
		unset       = "is not set; see https://dashboard.stripe.com/webhooks (or keep it in the database, with SECRETS_KEY)"
		must        = "; it must begin with whsec_ (https://dashboard.stripe.com/webhooks)"
		placeholder = "is a placeholder; set the real secret, see https://dashboard.stripe.com/webhooks"
	)

	for _, secret := range []string{
		webhookSecret, "whsec_" + strings.Repeat("0123456789abcdef", 4), "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD/Z8=",
		webhookSecret + ", " + nextSecret + "\n",
	} {
		requireAccepted(t, "STRIPE_WEBHOOK_SECRET", secret)
	}

	for secret, line := range map[string]string{
		"":                              unset,
		" ":                             unset,
		",":                             "secret 1 of 2 is empty; separate several by one comma",
		webhookSecret + ",":             "secret 2 of 2 is empty; separate several by one comma",
		"," + webhookSecret:             "secret 1 of 2 is empty; separate several by one comma",
		webhookSecret + ", ," + "w":     "secret 2 of 3 is empty; separate several by one comma",
		testKey:                         "is a secret API key" + must,
		"rk_live_51AbcdAbcdAbcdAbcd":    "is a restricted API key" + must,
		"pk_test_51AbcdAbcdAbcdAbcd":    "is a publishable API key, which is for browsers" + must,
		"we_1AbcdAbcdAbcdAbcdAbcdAbcd":  "is the id of a webhook endpoint" + must,
		"acct_1AbcdAbcdAbcdAbcd":        "is the id of an account" + must,
		"evt_1AbcdAbcdAbcdAbcd":         "is the id of an event" + must,
		"hunter2hunter2hunter2hunter2":  "is not a signing secret of Stripe" + must,
		"Whsec_Hunter2Hunter2Hunter2Hu": "is not a signing secret of Stripe" + must,
		webhookSecret + "," + testKey:   "secret 2 of 2 is a secret API key" + must,

		"whsec_...":                                      placeholder,
		"whsec_xxx":                                      placeholder,
		"whsec_replace_me":                               placeholder,
		"whsec_your_secret":                              placeholder,
		"changeme":                                       placeholder,
		"whsec_" + strings.Repeat("x", 32):               placeholder,
		"whsec_${SECRET}":                                "is a placeholder that was not filled in; set the real value",
		"whsec_marketflow_dev_only":                      "is a secret of MarketFlow's own, which everybody knows",
		"whsec_marketflow_compose":                       "is a secret of MarketFlow's own, which everybody knows",
		`"` + webhookSecret + `"`:                        inQuotes,
		webhookSecret + `,"` + nextSecret + `"`:          "secret 2 of 2 is in quotes; write it without them",
		webhookSecret + " " + nextSecret:                 "holds a space or another character that such a secret never has",
		webhookSecret + ";" + nextSecret:                 "holds a space or another character that such a secret never has",
		"whsec_":                                         "is too short; a part of it is missing",
		"whsec_Hunter2Hunter2Hunter2Hunter2Hun":          "is too short; a part of it is missing",
		webhookSecret + "," + "whsec_Hunter2Hunter2Hunt": "secret 2 of 2 is too short; a part of it is missing",
	} {
		requireRejected(t, "STRIPE_WEBHOOK_SECRET", secret, line)
	}
}

func TestFromEnvironment_SecretsKey(t *testing.T) {
	t.Parallel()

	first, one := secret.NewKey()
	_, two := secret.NewKey()

	for value, many := range map[string]int{"": 0, one: 1, one + "," + two: 2, " " + one + " , " + two + "\n": 2} {
		c, err := config.FromEnvironment(with(map[string]string{"SECRETS_KEY": value}))
		require.NoError(t, err)
		require.Len(t, c.SecretsKey, many)

		keys, err := c.SealingKeys()
		require.NoError(t, err)

		if many > 0 {
			sealing, err := keys.First()
			require.NoError(t, err)
			require.Equal(t, first.ID(), sealing)
		}
	}

	const (
		make32 = "; make one with: openssl rand -base64 32"
		base64 = "is not base64" + make32
		length = "must have 32 bytes in base64" + make32
		chance = "is a placeholder or a password, not 32 bytes of chance" + make32
	)

	for value, line := range map[string]string{
		one[:40]:                              length,
		one[:43]:                              base64,
		"hunter2":                             base64,
		"changeme":                            length,
		strings.Repeat("hunter2hunter22h", 4): length,
		strings.Repeat("A", 43) + "=":         chance,
		"aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=": chance, // hunter2hunter2…
		one + "," + one:     "lists a key twice",
		one + ",":           "key 2 of 2 " + length,
		one + "," + two[4:]: "key 2 of 2 " + length,
		"<key>":             "is a placeholder that was not filled in; set the real value",
		"'" + one + "'":     inQuotes,
	} {
		requireRejected(t, "SECRETS_KEY", value, line)
	}
}

// What the environment does not have, the database may.
func TestFromEnvironment_WebhookSecretInTheDatabase(t *testing.T) {
	t.Parallel()

	_, key := secret.NewKey()
	c, err := config.FromEnvironment(with(map[string]string{"STRIPE_WEBHOOK_SECRET": "", "SECRETS_KEY": key}))
	require.NoError(t, err)
	require.Empty(t, c.StripeWebhookSecrets)
}

// Only dev takes what everybody knows, and only where it is all sandbox.
func TestForDev_TakesItsOwnKey(t *testing.T) {
	t.Parallel()

	c, err := config.ForDev(with(map[string]string{"STRIPE_SECRET_KEY": config.DevSecretKey}))
	require.NoError(t, err)
	require.Equal(t, config.DevSecretKey, c.StripeSecretKey.Reveal())

	_, err = config.ForDev(with(map[string]string{"STRIPE_SECRET_KEY": "sk_test_short"}))
	require.EqualError(t, err, "STRIPE_SECRET_KEY: is too short; a part of it is missing")
}

func TestFromEnvironment_APIBase(t *testing.T) {
	t.Parallel()

	const example = "; it must be a URL such as http://localhost:12111; leave it empty for Stripe itself"

	for _, base := range []string{
		"", "https://api.stripe.com", "https://api.stripe.com/", "http://sandbox:12111", "http://127.0.0.1:1",
		"http://[::1]:12111", "https://proxy.internal/stripe",
	} {
		requireAccepted(t, "STRIPE_API_BASE", base)
	}

	for base, line := range map[string]string{
		"stripe.com":                     "must be a URL such as http://localhost:12111; leave it empty for Stripe itself",
		"ftp://stripe.com":               "must be a URL such as http://localhost:12111; leave it empty for Stripe itself",
		"http:///v1":                     "has no host" + example,
		"https://":                       "has no host" + example,
		"https://:443":                   "has no host" + example,
		"https:/api.stripe.com":          "has no host" + example,
		"http://localhost:0":             "has a port that is not from 1 to 65535",
		"http://localhost:99999":         "has a port that is not from 1 to 65535",
		"https://u:hunter2@proxy":        "must not hold a user or password; the key belongs in STRIPE_SECRET_KEY",
		"https://u:12/hunter2@proxy":     "holds an @ after its host; in a password write / as %2F",
		"https://proxy?key=hunter2":      "must not hold a query",
		"https://proxy#hunter2":          "holds a #, which ends a URL; write it as %23",
		"http://api.stripe.com":          "must begin with https:// for Stripe; leave it empty",
		"https://proxy:hunter2/":         "must be a URL such as http://localhost:12111; leave it empty for Stripe itself",
		"${STRIPE_API_BASE}":             "is a placeholder that was not filled in; set the real value",
		"https://api.stripe.com\u00a0/v": "holds a line break or an invisible character; write it again by hand",
	} {
		requireRejected(t, "STRIPE_API_BASE", base, line)
	}
}

func TestFromEnvironment_LiveKeys(t *testing.T) {
	t.Parallel()

	live := func(base, database string) error {
		_, err := config.FromEnvironment(with(map[string]string{
			"STRIPE_SECRET_KEY": liveKey, "STRIPE_API_BASE": base, "DATABASE_URL": database,
		}))

		return err
	}

	const database = "postgres://app:hunter2@db/marketflow?sslmode=verify-full"

	for _, base := range []string{
		"", "https://proxy", "http://127.0.0.1:12111", "http://localhost:12111", "http://[::1]:12111", "http://127.9.9.9",
	} {
		require.NoError(t, live(base, database), base)
	}

	for _, base := range []string{
		"http://sandbox:12111", "http://10.0.0.1", "http://localhost.example.com", "http://127.0.0.1.nip.io",
	} {
		require.EqualError(t, live(base, database),
			"STRIPE_API_BASE: must begin with https://: a live key never goes over plain http to another machine", base)
	}

	require.EqualError(t, live("", "postgres://marketflow:marketflow@postgres:5432/marketflow?sslmode=disable"),
		"DATABASE_URL: has the password of docker-compose.yml, which everybody knows; choose another one for live payments")
}

func TestFromEnvironment_Addresses(t *testing.T) {
	t.Parallel()

	for _, addr := range []string{":3000", "127.0.0.1:0", "[::1]:3000", "shop.internal:http", " :3000\n"} {
		requireAccepted(t, "HTTP_ADDR", addr)
		requireAccepted(t, "PPROF_ADDR", strings.Replace(addr, "3000", "6060", 1))
		requireAccepted(t, "METRICS_ADDR", strings.Replace(addr, "3000", "9464", 1))
	}

	for _, addr := range []string{
		"3000", "localhost", ":", ":-1", ":65536", ":nothing", "::1:3000", "http://localhost:3000", "localhost:3000/",
		"shop hunter2:3000", "u:p@localhost:3000",
	} {
		for _, variable := range []string{"HTTP_ADDR", "PPROF_ADDR", "METRICS_ADDR"} {
			requireRejected(t, variable, addr,
				"must be host:port, such as 127.0.0.1:3000, or :3000 for every address of this machine")
		}
	}

	requireRejected(t, "PPROF_ADDR", ":3000", "must not be the address of HTTP_ADDR")
	requireRejected(t, "METRICS_ADDR", ":3000", "must not be the address of HTTP_ADDR")
}

func TestFromEnvironment_Proxies(t *testing.T) {
	t.Parallel()

	for _, proxy := range []string{
		"", "http://proxy:3128", "proxy:3128", "proxy", "http://u:p@proxy:3128/", "socks5://127.0.0.1:1080",
	} {
		requireAccepted(t, "HTTPS_PROXY", proxy)
		requireAccepted(t, "http_proxy", proxy)
	}

	for proxy, line := range map[string]string{
		"http://u:hunter2@proxy:port": "must be a URL such as http://proxy:3128",
		"http://u:100%hunter2@proxy":  "must be a URL such as http://proxy:3128",
		"http://u:12/hunter2@proxy":   "holds an @ after its host; in a password write / as %2F",
		"http://u:hunter2@":           "has no host; it must be a URL such as http://proxy:3128",
		"u:12#hunter2@proxy":          "holds a #, which ends a URL; write it as %23",
	} {
		for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
			requireRejected(t, name, proxy, line)
		}
	}
}

func TestFromEnvironment_Ranges(t *testing.T) {
	t.Parallel()

	const duration = "must be a duration with its unit, such as 500ms, 8s or 5m"

	for variable, of := range map[string]struct {
		line          string
		good, bad     []string
		unreadable    []string
		unreadableSay string
	}{
		"SHUTDOWN_TIMEOUT": {
			"must be from 100ms to 1h",
			[]string{"100ms", "20s", "1h"},
			[]string{"0", "-20s", "1ns", "99ms", "1h1s", "48h"},
			[]string{"20", "soon", "20 s", "1d"},
			duration,
		},
		"DRAIN_DELAY": {
			"must be from 0s to 1h",
			[]string{"0", "1500ms", "1h"},
			[]string{"-1s", "2h"},
			[]string{"3", "soon"},
			duration,
		},
		"STRIPE_TIMEOUT": {
			"must be from 100ms to 2m",
			[]string{"100ms", "8s", "2m"},
			[]string{"0s", "-1s", "8ns", "3m", "25h"},
			[]string{"8", "8sec"},
			duration,
		},
		"RECOVERY_INTERVAL": {
			"must be from 100ms to 1h",
			[]string{"100ms", "1s", "1h"},
			[]string{"0", "-1s", "1ns", "2h", "9999h"},
			[]string{"1"},
			duration,
		},
		"RECONCILE_INTERVAL": {
			"must be 0 (never) or from 1s to 24h",
			[]string{"0", "0s", "1s", "24h"},
			[]string{"-5m", "1ns", "999ms", "25h"},
			[]string{"never"},
			duration,
		},
		"DATABASE_MAX_CONNS": {
			"must be from 1 to 1000",
			[]string{"1", "1000"},
			[]string{"0", "-8", "1001"},
			[]string{"8.5", "many", "99999999999999999999"},
			"must be a whole number",
		},
		"STRIPE_MAX_IN_FLIGHT": {
			"must be from 1 to 100000",
			[]string{"1", "512"},
			[]string{"0", "-1", "100001"},
			[]string{"0x10"},
			"must be a whole number",
		},
		"RATE_LIMIT": {
			"must be from 0 to 1000000",
			[]string{"0", "50"},
			[]string{"-1", "1000001"},
			[]string{"50/s", liveKey},
			"must be a whole number",
		},
		"LOG_LEVEL": {
			"must be debug, info, warn or error",
			[]string{"debug", "info", "warn", "error"},
			[]string{"fatal", "panic"},
			[]string{"loud", liveKey},
			"must be debug, info, warn or error",
		},
	} {
		for _, value := range of.good {
			requireAccepted(t, variable, value)
		}

		for _, value := range of.bad {
			requireRejected(t, variable, value, of.line)
		}

		for _, value := range of.unreadable {
			requireRejected(t, variable, value, of.unreadableSay)
		}
	}
}

// A secret that was read from a file ends with a line break, and a list is
// written with spaces. Kept, they would make every signature wrong and every
// call to Stripe fail, on a service that says it is healthy.
func TestFromEnvironment_TrimsSecrets(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(map[string]string{
		"DATABASE_URL": " postgres://db/marketflow\n", "REDIS_URL": "redis://r\n", "STRIPE_SECRET_KEY": testKey + "\r\n",
		"STRIPE_WEBHOOK_SECRET": webhookSecret + ", " + nextSecret + "\n",
	})
	require.NoError(t, err)
	require.Equal(t, "postgres://db/marketflow", c.DatabaseURL.Reveal())
	require.Equal(t, "redis://r", c.RedisURL.Reveal())
	require.Equal(t, testKey, c.StripeSecretKey.Reveal())
	require.Equal(t, []config.Secret{webhookSecret, nextSecret}, c.StripeWebhookSecrets)
}

func TestFromEnvironment_NeverShowsASecret(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(with(map[string]string{"REDIS_URL": "redis://:hunter2@r:6379"}))
	require.NoError(t, err)

	form, err := json.Marshal(c)
	require.NoError(t, err)

	for _, shown := range []string{
		fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), string(form),
		fmt.Sprintf("%s %q %x", c.StripeSecretKey, c.StripeSecretKey, c.StripeSecretKey),
	} {
		require.NotContains(t, strings.ToLower(shown), "hunter2")
	}
}

// A token that was pasted into any variable at all is not printed.
func TestFromEnvironment_ShowsNoValue(t *testing.T) {
	t.Parallel()

	for variable := range variables() {
		for _, form := range []string{
			"%s", "x:%s", "%s:x", "http://%s:%[1]s", "x://%s", "%%zz%s", "redis://:%s", "redis://r/%s", "redis://r?%s=1",
			"postgres://u:1/%s@db/x", "postgres://u:1?%s@db", "host=h %s", "host=h user= password=%s", "host=h port=%s", "sk_%s", "%s,",
			"host=h sslmode=%s", "host=h sslrootcert=/%s", "postgres://h/x?connect_timeout=%s", "postgres://h/x?pool_max_conns=%s",
		} {
			_, err := config.FromEnvironment(with(map[string]string{variable: fmt.Sprintf(form, "SECRETpart")}))
			if err != nil {
				require.NotContains(t, err.Error(), "SECRETpart", "%s=%s", variable, form)
			}
		}
	}
}

// variables are those of Config, with their defaults.
func variables() map[string]string {
	defaults := map[string]string{}

	for _, field := range reflect.VisibleFields(reflect.TypeFor[config.Config]()) {
		if name := field.Tag.Get("env"); name != "" {
			defaults[name] = field.Tag.Get("envDefault")
		}
	}

	return defaults
}

// The example has every variable, with its default or as one to fill in, and no other.
func TestFromEnvironment_ExampleHasEveryVariable(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(filepath.Join("..", "..", ".env.example"))
	require.NoError(t, err)

	assignment := regexp.MustCompile(`(?m)^(#?)([A-Z_]+)=(.*)$`)
	defaults, seen := variables(), map[string]bool{}

	for _, line := range assignment.FindAllStringSubmatch(string(text), -1) {
		name := line[2]
		seen[name] = true

		byDefault, known := defaults[name]
		require.True(t, known || slices.Contains(telemetry.Variables(), name), name)

		if known && line[1] == "#" {
			require.Equal(t, byDefault, line[3], name)
		}
	}

	for name := range defaults {
		require.True(t, seen[name], "%s is missing", name)
	}
}

// The example is there to be copied, and to be filled in.
func TestFromEnvironment_ExampleMustBeFilledIn(t *testing.T) {
	t.Parallel()

	text, err := os.ReadFile(filepath.Join("..", "..", ".env.example"))
	require.NoError(t, err)

	variables := map[string]string{}

	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			variables[name] = value
		}
	}

	_, err = config.FromEnvironment(variables)
	require.EqualError(t, err, "STRIPE_SECRET_KEY: is a placeholder; set the real key, see https://dashboard.stripe.com/apikeys\n"+
		"STRIPE_WEBHOOK_SECRET: is a placeholder; set the real secret, see https://dashboard.stripe.com/webhooks")
}

func TestFromEnvironment_MetadataIndex(t *testing.T) {
	t.Parallel()

	const must = "must list names of metadata, separated by commas and without spaces, such as order_id,shop; " +
		"a name has at most 40 characters, no square bracket, and is none of ours"

	for value, want := range map[string][]string{
		"": nil, "order_id": {"order_id"}, "order_id,Größe,a b": {"order_id", "Größe", "a b"},
	} {
		c, err := config.FromEnvironment(with(map[string]string{"METADATA_INDEX": value}))
		require.NoError(t, err)
		require.ElementsMatch(t, want, c.MetadataIndex)
	}

	for value, line := range map[string]string{
		",": must, "order_id,": must, "order_id, shop": must, "a[b]": must, "payment_id": must, "marketflow": must,
		strings.Repeat("x", 41): must, "a,a": "lists a name twice", "a,b,c,d,e,f,g,h,i": "lists 9 names; the most is 8",
	} {
		requireRejected(t, "METADATA_INDEX", value, line)
	}
}
