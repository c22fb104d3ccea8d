package devserver_test

import (
	"context"
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

	server, err := devserver.StartRedis(devserver.RedisOptions{})
	require.NoError(t, err)
	t.Cleanup(server.Stop)

	client := redisClient(t, server.URL())
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())
	require.Equal(t, "value", client.Get(t.Context(), "key").Val())
	require.Equal(t, server.Addr(), client.Options().Addr)
}

func TestStartRedis_KeysExpire(t *testing.T) {
	t.Parallel()

	server, err := devserver.StartRedis(devserver.RedisOptions{})
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

func TestStartRedis_PortTaken(t *testing.T) {
	t.Parallel()

	_, err := devserver.StartRedis(devserver.RedisOptions{Port: occupy(t, 0)})
	require.ErrorIs(t, err, devserver.ErrPortTaken)
}

func TestRedis_StopTwice(t *testing.T) {
	t.Parallel()

	server, err := devserver.StartRedis(devserver.RedisOptions{})
	require.NoError(t, err)

	url := server.URL()

	server.Stop()
	server.Stop()
	require.Error(t, redisClient(t, url).Ping(t.Context()).Err())
}

func startRedisServer(t *testing.T) *devserver.RedisServer {
	t.Helper()

	server, err := devserver.StartRedisServer(t.Context(), devserver.RedisServerOptions{})
	if errors.Is(err, devserver.ErrNoRedisServer) {
		t.Skip(err)
	}

	require.NoError(t, err)
	t.Cleanup(func() { stopRedisServer(t, server) })

	return server
}

func stopRedisServer(t *testing.T, server *devserver.RedisServer) {
	t.Helper()

	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), soon)
	defer cancel()

	require.NoError(t, server.Stop(ctx))
}

func TestRedisServer_KillAndComeBackEmpty(t *testing.T) {
	t.Parallel()

	server := startRedisServer(t)
	client := redisClient(t, server.URL())
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())

	require.NoError(t, server.Kill())
	require.NoError(t, server.Kill(), "there is nothing left to kill")
	require.Error(t, client.Get(t.Context(), "key").Err())

	require.NoError(t, server.Restart(t.Context()))
	require.ErrorIs(t, client.Get(t.Context(), "key").Err(), redis.Nil)
}

func TestRedisServer_AsksForThePassword(t *testing.T) {
	t.Parallel()

	server := startRedisServer(t)
	client := redisClient(t, "redis://"+server.Addr())
	require.ErrorContains(t, client.Ping(t.Context()).Err(), "NOAUTH")
}

func TestRedisServer_StopTwice(t *testing.T) {
	t.Parallel()

	server := startRedisServer(t)
	stopRedisServer(t, server)
	stopRedisServer(t, server)
	require.Error(t, redisClient(t, server.URL()).Ping(t.Context()).Err())
}

func TestStartRedisServer_PortTaken(t *testing.T) {
	t.Parallel()

	startRedisServer(t) // skips where there is none

	_, err := devserver.StartRedisServer(t.Context(), devserver.RedisServerOptions{Port: occupy(t, 0)})
	require.ErrorIs(t, err, devserver.ErrPortTaken)
}

func TestStartRedisServer_ContextEnds(t *testing.T) {
	t.Parallel()

	startRedisServer(t) // skips where there is none

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := devserver.StartRedisServer(ctx, devserver.RedisServerOptions{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestStartRedisServer_NotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())

	_, err := devserver.StartRedisServer(t.Context(), devserver.RedisServerOptions{})
	require.ErrorIs(t, err, devserver.ErrNoRedisServer)
}
