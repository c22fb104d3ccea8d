package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/marketflow/marketflow/adapters/redis"
	"github.com/marketflow/marketflow/internal/config"
	"github.com/marketflow/marketflow/internal/telemetry"
)

func TestNewLogger_WritesOneJSONObjectForEachLine(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer

	before := time.Now()

	telemetry.NewLogger(zap.InfoLevel, &out).Error("it\nbroke",
		zap.Error(errors.New("cause")), zap.Duration("took", 1500*time.Millisecond))
	require.Equal(t, 1, strings.Count(out.String(), "\n"))

	line := map[string]any{}
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))

	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["ts"]))
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(fmt.Sprint(line["ts"]), "Z"), "%v is not in UTC", line["ts"])
	require.WithinRange(t, at, before, time.Now())

	delete(line, "ts")
	require.Equal(t, map[string]any{"level": "error", "msg": "it\nbroke", "error": "cause", "took": 1.5}, line)
}

func TestNewLogger_LeavesOutWhatIsBelowItsLevel(t *testing.T) {
	t.Parallel()

	var out bytes.Buffer

	logger := telemetry.NewLogger(zap.WarnLevel, &out)
	logger.Info("quiet")
	require.Empty(t, out.String())

	for range 1000 {
		logger.Warn("loud") // nothing is sampled
	}

	require.Equal(t, 1000, strings.Count(out.String(), "loud"))
}

// However a secret gets into a line, it prints as ***.
func TestNewLogger_SecretsPrintAsStars(t *testing.T) {
	t.Parallel()

	const hidden = "hunter2hunter2hunter2"

	var out bytes.Buffer

	logger := telemetry.NewLogger(zap.DebugLevel, &out)
	secret := config.Secret(hidden)
	settings := config.Config{
		DatabaseURL: secret, RedisURL: secret, StripeSecretKey: secret, StripeWebhookSecrets: []config.Secret{secret},
	}

	for _, value := range []any{
		secret, &secret,
		[]config.Secret{secret},
		map[string]config.Secret{"k": secret},
		settings, &settings,
		redis.Config{URL: "redis://:" + hidden + "@localhost"},
		redis.LimiterConfig{Secret: []byte(hidden)},
	} {
		logger.Info("any", zap.Any("value", value), zap.Reflect("reflected", value))
		logger.Info(fmt.Sprintf("%v %+v %#v", value, value, value))
		logger.Info("error", zap.Error(fmt.Errorf("with %v and %+v", value, value)))
		logger.Sugar().Infow("sugar", "value", value)
	}

	require.NotContains(t, out.String(), hidden)
	require.Contains(t, out.String(), "***")
}
