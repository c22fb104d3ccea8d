package devserver_test

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/internal/devserver"
)

func redisClient(t *testing.T, url string) *redis.Client {
	t.Helper()

	options, err := redis.ParseURL(url)
	require.NoError(t, err)

	options.MaxRetries = -1
	options.DialerRetries = 1

	client := redis.NewClient(options)

	t.Cleanup(func() { require.NoError(t, client.Close()) })

	return client
}

func TestStartRedis_Serves(t *testing.T) {
	t.Parallel()

	server, err := devserver.StartRedis()
	require.NoError(t, err)
	t.Cleanup(server.Stop)

	client := redisClient(t, server.URL())
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())
	require.Equal(t, "value", client.Get(t.Context(), "key").Val())
	require.Equal(t, server.Addr(), client.Options().Addr)
}

func TestStartRedis_KeysExpire(t *testing.T) {
	t.Parallel()

	server, err := devserver.StartRedis()
	require.NoError(t, err)
	t.Cleanup(server.Stop)

	client := redisClient(t, server.URL())
	require.NoError(t, client.Set(t.Context(), "brief", "value", time.Millisecond).Err())
	require.NoError(t, client.Set(t.Context(), "lasting", "value", time.Hour).Err())

	require.Eventually(t, func() bool {
		return errors.Is(client.Get(t.Context(), "brief").Err(), redis.Nil)
	}, soon, 10*time.Millisecond)
	require.Equal(t, "value", client.Get(t.Context(), "lasting").Val())
}

func TestRedis_StopTwice(t *testing.T) {
	t.Parallel()

	server, err := devserver.StartRedis()
	require.NoError(t, err)

	url := server.URL()

	server.Stop()
	server.Stop()
	require.Error(t, redisClient(t, url).Ping(t.Context()).Err())
}
