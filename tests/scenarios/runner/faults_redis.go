package runner

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	goredis "github.com/redis/go-redis/v9"

	"github.com/marketflow/marketflow/tests/servers"
)

// redisFaults: Redis is away, slow, empty or holds garbage.
func redisFaults() []fault {
	on := func(l *lane, i int) *toxiproxy.Proxy { return l.cache[i] }

	return append(networkFaults("redis", on),
		fault{name: "redis: FLUSHALL", play: atRedis("redis: FLUSHALL", flush)},
		again("redis: garbage under our keys", atRedis("redis: garbage under our keys", spoil)),
		fault{name: "redis: dies", play: killRedis},
	)
}

// atRedis changes what Redis holds, a few times.
func atRedis(
	name string, do func(context.Context, *goredis.Client, *rand.Rand) (int, error),
) func(context.Context, *world, *rand.Rand) {
	return func(ctx context.Context, w *world, r *rand.Rand) {
		options, err := goredis.ParseURL(w.lane.redis.URL())
		if err != nil {
			panic(err)
		}

		options.MaxRetries = -1
		client := goredis.NewClient(options)

		defer func() { _ = client.Close() }()

		for range 4 {
			wait(ctx, between(r, 150*time.Millisecond, 500*time.Millisecond))

			if ctx.Err() != nil {
				return
			}

			if n, err := do(ctx, client, r); err == nil && n > 0 {
				w.count(name, 1)
				w.line.addf("redis", "%s: %d", name, n)
			}
		}
	}
}

func flush(ctx context.Context, client *goredis.Client, _ *rand.Rand) (int, error) {
	if err := client.FlushAll(ctx).Err(); err != nil {
		return 0, fmt.Errorf("flushing Redis: %w", err)
	}

	return 1, nil
}

func spoil(ctx context.Context, client *goredis.Client, r *rand.Rand) (int, error) {
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		return 0, fmt.Errorf("listing Redis's keys: %w", err)
	}

	spoiled := 0

	for _, key := range keys {
		switch r.IntN(4) {
		case 0:
			err = client.Set(ctx, key, `{"status":201,"body":"{}"}`, 0).Err()
		case 1:
			err = client.Set(ctx, key, []byte{0, 1, 2, 255}, 0).Err()
		case 2:
			client.Del(ctx, key)
			err = client.RPush(ctx, key, "a list").Err()
		default:
			err = client.Append(ctx, key, "x").Err() // an error where the last round left a list
		}

		if err == nil {
			spoiled++
		}
	}

	return spoiled, nil
}

func killRedis(ctx context.Context, w *world, r *rand.Rand) {
	const name = "redis: dies"

	server, mortal := w.lane.redis.(*servers.Redis)

	soon(ctx, r)

	if ctx.Err() != nil {
		return
	}

	if !mortal { // a Redis inside this process cannot die, so it is cut off instead
		for _, proxy := range w.lane.cache {
			proxy.Stop()
		}

		w.count(name, 1)

		return
	}

	w.line.addf("redis", "dies")

	if err := server.Kill(); err != nil {
		w.line.addf("redis", "%v", err)

		return
	}

	w.count(name, 1)
	wait(ctx, between(r, 200*time.Millisecond, 1200*time.Millisecond))

	if err := server.Restart(context.WithoutCancel(ctx)); err != nil {
		w.line.addf("redis", "%v", err)
	}

	w.line.addf("redis", "is back, empty")
}
