package config_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"

	"github.com/marketflow/marketflow/internal/config"
)

func sane() map[string]string {
	return map[string]string{
		"DATABASE_URL":          "postgres://app:hunter2@db/marketflow",
		"STRIPE_SECRET_KEY":     "sk_test_hunter2",
		"STRIPE_WEBHOOK_SECRET": "whsec_hunter2",
	}
}

func with(changes map[string]string) map[string]string {
	variables := sane()
	maps.Copy(variables, changes)

	return variables
}

func TestFromEnvironment_DefaultsAreRightInProduction(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(sane())
	require.NoError(t, err)
	require.Equal(t, ":3000", c.HTTPAddr)
	require.Empty(t, c.RedisURL)
	require.Empty(t, c.StripeAPIBase)
	require.Zero(t, c.RateLimit)
	require.Equal(t, zapcore.InfoLevel, c.LogLevel)
	require.Equal(t, 20*time.Second, c.ShutdownTimeout)
}

func TestFromEnvironment_SeveralWebhookSecrets(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(with(map[string]string{"STRIPE_WEBHOOK_SECRET": "whsec_a,whsec_b"}))
	require.NoError(t, err)
	require.Equal(t, []config.Secret{"whsec_a", "whsec_b"}, c.StripeWebhookSecrets)
}

func TestFromEnvironment_ListsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()

	_, err := config.FromEnvironment(map[string]string{
		"REDIS_URL": "http://x", "STRIPE_SECRET_KEY": "pk_test_x", "STRIPE_API_BASE": "stripe.com",
		"RATE_LIMIT": "-1", "LOG_LEVEL": "loud", "DATABASE_MAX_CONNS": "0", "STRIPE_TIMEOUT": "8",
		"HTTP_ADDR": "3000", "PPROF_ADDR": "localhost:66000",
	})
	require.Error(t, err)

	for _, variable := range []string{
		"DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE",
		"RATE_LIMIT", "LOG_LEVEL", "DATABASE_MAX_CONNS", "STRIPE_TIMEOUT", "HTTP_ADDR", "PPROF_ADDR",
	} {
		require.ErrorContains(t, err, variable+": ")
	}
}

func TestFromEnvironment_Addresses(t *testing.T) {
	t.Parallel()

	for _, addr := range []string{":3000", "127.0.0.1:0", "[::1]:3000", "shop.internal:http"} {
		_, err := config.FromEnvironment(with(map[string]string{"HTTP_ADDR": addr}))
		require.NoError(t, err, addr)
	}

	for _, addr := range []string{"3000", "localhost", ":", ":-1", ":65536", ":nothing", "::1:3000"} {
		_, err := config.FromEnvironment(with(map[string]string{"HTTP_ADDR": addr}))
		require.ErrorContains(t, err, "HTTP_ADDR: ", addr)
	}
}

func TestFromEnvironment_RedisURL(t *testing.T) {
	t.Parallel()

	for _, url := range []string{
		"redis://r", "redis://:p@r:6379/1", "rediss://u:p@r:6379/0?pool_size=3", "unix:///run/redis.sock?db=1",
	} {
		_, err := config.FromEnvironment(with(map[string]string{"REDIS_URL": url}))
		require.NoError(t, err, url)
	}

	for _, url := range []string{"r:6379", "http://r", "redis://r/one", "redis://r/0?pool_size=many"} {
		_, err := config.FromEnvironment(with(map[string]string{"REDIS_URL": url}))
		require.ErrorContains(t, err, "REDIS_URL: ", url)
	}
}

// A secret that was read from a file ends with a line break, and a list is
// written with spaces. Kept, they would make every signature wrong and every
// call to Stripe fail, on a service that says it is healthy.
func TestFromEnvironment_TrimsSecrets(t *testing.T) {
	t.Parallel()

	c, err := config.FromEnvironment(map[string]string{
		"DATABASE_URL": " postgres://db/marketflow\n", "REDIS_URL": "redis://r\n", "STRIPE_SECRET_KEY": "sk_test_x\r\n",
		"STRIPE_WEBHOOK_SECRET": "whsec_a, whsec_b\n",
	})
	require.NoError(t, err)
	require.Equal(t, "postgres://db/marketflow", c.DatabaseURL.Reveal())
	require.Equal(t, "redis://r", c.RedisURL.Reveal())
	require.Equal(t, "sk_test_x", c.StripeSecretKey.Reveal())
	require.Equal(t, []config.Secret{"whsec_a", "whsec_b"}, c.StripeWebhookSecrets)
}

func TestFromEnvironment_RefusesAnEmptyWebhookSecret(t *testing.T) {
	t.Parallel()

	for _, value := range []string{"", " ", ",", "whsec_a,", ",whsec_a", "whsec_a, ,whsec_b"} {
		_, err := config.FromEnvironment(with(map[string]string{"STRIPE_WEBHOOK_SECRET": value}))
		require.ErrorContains(t, err, "STRIPE_WEBHOOK_SECRET", "%q", value)
	}
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
		require.NotContains(t, shown, "hunter2")
	}

	_, err = config.FromEnvironment(with(map[string]string{
		"DATABASE_URL": "postgres://app:hunter2@db:notaport/x", "STRIPE_SECRET_KEY": "hunter2",
		"REDIS_URL": "hunter2",
	}))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "hunter2")
}
