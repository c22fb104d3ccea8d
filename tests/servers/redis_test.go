package servers_test

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/tests/servers"
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

func startRedis(t *testing.T) *servers.Redis {
	t.Helper()

	server, err := servers.StartRedis(t.Context())
	if errors.Is(err, servers.ErrNoRedisServer) {
		t.Skip(err)
	}

	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Stop()) })

	return server
}

func TestRedis_KillAndComeBackEmpty(t *testing.T) {
	t.Parallel()

	server := startRedis(t)
	client := redisClient(t, server.URL())
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())

	require.NoError(t, server.Kill())
	require.NoError(t, server.Kill(), "there is nothing left to kill")
	require.Error(t, client.Get(t.Context(), "key").Err())

	require.NoError(t, server.Restart(t.Context()))
	require.ErrorIs(t, client.Get(t.Context(), "key").Err(), redis.Nil)
}

func TestRedis_AsksForThePassword(t *testing.T) {
	t.Parallel()

	server := startRedis(t)
	client := redisClient(t, "redis://"+server.Addr())
	require.ErrorContains(t, client.Ping(t.Context()).Err(), "NOAUTH")
}

func TestRedis_StopTwice(t *testing.T) {
	t.Parallel()

	server := startRedis(t)
	require.NoError(t, server.Stop())
	require.NoError(t, server.Stop())
	require.Error(t, redisClient(t, server.URL()).Ping(t.Context()).Err())
}

func TestStartRedis_ContextEnds(t *testing.T) {
	t.Parallel()

	startRedis(t) // skips where there is none

	ctx, cancel := context.WithCancel(t.Context())
	cancel()

	_, err := servers.StartRedis(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestStartRedis_NotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())

	_, err := servers.StartRedis(t.Context())
	require.ErrorIs(t, err, servers.ErrNoRedisServer)
}
