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
	})
	require.Error(t, err)

	for _, variable := range []string{
		"DATABASE_URL", "REDIS_URL", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "STRIPE_API_BASE",
		"RATE_LIMIT", "LOG_LEVEL", "DATABASE_MAX_CONNS", "STRIPE_TIMEOUT",
	} {
		require.ErrorContains(t, err, variable+": ")
	}
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
