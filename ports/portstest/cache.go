package portstest

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// ReplayCache is the contract of ports.ReplayCache. Each call of newCache gives
// an empty one. A put may take effect a little later, and a cache may always
// forget; what it must not do is return anything else than what was put under
// that very key.
func ReplayCache(t *testing.T, newCache func(t *testing.T) ports.ReplayCache) {
	t.Helper()

	for name, test := range map[string]func(*testing.T, ports.ReplayCache){
		"KnowsNothing":           replayCacheKnowsNothing,
		"ReturnsWhatWasPut":      replayCacheReturnsWhatWasPut,
		"KeepsEveryByte":         replayCacheKeepsEveryByte,
		"KeepsKeysApart":         replayCacheKeepsKeysApart,
		"OwnsItsBodies":          replayCacheOwnsItsBodies,
		"OutlivesTheRequest":     replayCacheOutlivesTheRequest,
		"ForgetsEverything":      replayCacheForgetsEverything,
		"EndsWithItsCaller":      replayCacheEndsWithItsCaller,
		"ServesManyAtOnce":       replayCacheServesManyAtOnce,
		"ReturnsNothingElseEver": replayCacheProperty,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newCache(t))
		})
	}
}

func replayCacheKnowsNothing(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	replay, ok := cache.Get(t.Context(), operation.DefaultTenant, "order_1")

	require.False(t, ok)
	require.Zero(t, replay)
}

func replayCacheReturnsWhatWasPut(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	want := aReplay("order_1")
	cache.Put(t.Context(), operation.DefaultTenant, "order_1", want)

	requireReplay(t, cache, "order_1", want)

	cache.Put(t.Context(), operation.DefaultTenant, "order_1", want) // a second replica finished it too
	requireReplay(t, cache, "order_1", want)
}

func replayCacheKeepsEveryByte(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	for name, body := range map[string][]byte{
		"nothing": {},
		"zeros":   make([]byte, 100),
		"binary":  {0xff, 0x00, '\r', '\n', 0xfe},
		"long":    bytes.Repeat([]byte("0123456789abcdef"), 2000),
	} {
		want := aReplay(name)
		want.Response = ports.FrozenResponse{Status: http.StatusBadGateway, Body: body}
		cache.Put(t.Context(), operation.DefaultTenant, operation.Key(name), want)

		requireReplay(t, cache, operation.Key(name), want)
	}
}

func replayCacheKeepsKeysApart(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	keys := []operation.Key{
		"a", "A", "a ", "a:b", "a:", "ab", "*", "{a}", `"a"`, "ж", "order_1", "order_11",
		operation.Key(strings.Repeat("k", operation.MaxKeyLength)),
		operation.Key(strings.Repeat("k", operation.MaxKeyLength-1) + "K"),
		operation.Key(strings.Repeat("ж", operation.MaxKeyLength)),
	}

	for _, key := range keys {
		cache.Put(t.Context(), operation.DefaultTenant, key, aReplay(string(key)))
	}

	for _, key := range keys {
		requireReplay(t, cache, key, aReplay(string(key)))
	}
}

func replayCacheOwnsItsBodies(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	mine := aReplay("order_1")
	cache.Put(t.Context(), operation.DefaultTenant, "order_1", mine)
	clear(mine.Response.Body)

	got := requireReplay(t, cache, "order_1", aReplay("order_1"))
	clear(got.Response.Body)

	requireReplay(t, cache, "order_1", aReplay("order_1"))
}

func replayCacheForgetsEverything(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	for _, key := range []operation.Key{"order_1", "order_2"} {
		cache.Put(t.Context(), operation.DefaultTenant, key, aReplay(string(key)))
		requireReplay(t, cache, key, aReplay(string(key)))
	}

	cache.Clear()

	for _, key := range []operation.Key{"order_1", "order_2"} {
		_, ok := cache.Get(t.Context(), operation.DefaultTenant, key)
		require.False(t, ok)
	}

	cache.Put(t.Context(), operation.DefaultTenant, "order_1", aReplay("order_1"))
	requireReplay(t, cache, "order_1", aReplay("order_1"))
}

func replayCacheOutlivesTheRequest(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	ctx, cancel := context.WithCancel(t.Context())
	cache.Put(ctx, operation.DefaultTenant, "order_1", aReplay("order_1"))
	cancel()

	requireReplay(t, cache, "order_1", aReplay("order_1"))
}

func replayCacheEndsWithItsCaller(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	cache.Put(t.Context(), operation.DefaultTenant, "order_1", aReplay("order_1"))
	requireReplay(t, cache, "order_1", aReplay("order_1"))

	gone, cancel := context.WithCancel(t.Context())
	cancel()

	if got, ok := cache.Get(gone, operation.DefaultTenant, "order_1"); ok {
		require.Equal(t, aReplay("order_1"), got)
	}

	// Callers that hang up say nothing about the cache.
	for range 10 {
		cache.Get(gone, operation.DefaultTenant, "order_2")
	}

	requireReplay(t, cache, "order_1", aReplay("order_1"))
}

func replayCacheServesManyAtOnce(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	const goroutines, rounds, keys = 8, 40, 10

	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := range rounds {
				key := operation.Key(strconv.Itoa((g + i) % keys))
				if got, ok := cache.Get(t.Context(), operation.DefaultTenant, key); ok {
					requireEqualReplay(t, aReplay(string(key)), got)
				}

				cache.Put(t.Context(), operation.DefaultTenant, key, aReplay(string(key)))
			}
		})
	}

	all.Wait()
}

// Whatever is asked in whatever order: an answer is the one that was put.
func replayCacheProperty(t *testing.T, cache ports.ReplayCache) {
	t.Helper()

	ctx, round := t.Context(), 0
	name := rapid.StringMatching(`[a-cж]{1,3}`)

	rapid.Check(t, func(t *rapid.T) {
		round++ // each with keys of its own in the one cache

		known := map[operation.Key]ports.Replay{}
		draw := func(t *rapid.T) operation.Key {
			return operation.Key(strconv.Itoa(round) + "/" + name.Draw(t, "key"))
		}

		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k := draw(t)
				if _, frozen := known[k]; !frozen {
					known[k] = drawReplay(t)
				}

				cache.Put(ctx, operation.DefaultTenant, k, known[k])
			},
			"get": func(t *rapid.T) {
				k := draw(t)
				if got, ok := cache.Get(ctx, operation.DefaultTenant, k); ok {
					requireEqualReplay(t, known[k], got)
				}
			},
		})
	})
}

// ReplayCacheBenchmarks measures a cache that has what is asked for, one that
// has not, and putting, from as many goroutines as there are processors.
func ReplayCacheBenchmarks(b *testing.B, newCache func(b *testing.B) ports.ReplayCache) {
	b.Helper()

	b.Run("Hit", func(b *testing.B) {
		cache := newCache(b)
		cache.Put(b.Context(), operation.DefaultTenant, "order_1", aReplay("order_1"))
		requireReplay(b, cache, "order_1", aReplay("order_1"))
		parallel(b, func(ctx context.Context) { cache.Get(ctx, operation.DefaultTenant, "order_1") })
	})
	b.Run("Miss", func(b *testing.B) {
		cache := newCache(b)
		parallel(b, func(ctx context.Context) { cache.Get(ctx, operation.DefaultTenant, "order_1") })
	})
	b.Run("Put", func(b *testing.B) {
		cache := newCache(b)
		parallel(b, func(ctx context.Context) { cache.Put(ctx, operation.DefaultTenant, "order_1", aReplay("order_1")) })
	})
}

func parallel(b *testing.B, operation func(context.Context)) {
	b.Helper()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			operation(b.Context())
		}
	})
}

// requireReplay waits until cache knows key and returns what it knows.
func requireReplay(tb testing.TB, cache ports.ReplayCache, key operation.Key, want ports.Replay) ports.Replay {
	tb.Helper()

	var got ports.Replay

	require.Eventually(tb, func() (ok bool) {
		got, ok = cache.Get(tb.Context(), operation.DefaultTenant, key)

		return ok
	}, 10*time.Second, time.Millisecond, "%q was never found", key)
	requireEqualReplay(tb, want, got)

	return got
}

// requireEqualReplay takes an empty body and none for the same bytes.
func requireEqualReplay(t require.TestingT, want, got ports.Replay) {
	require.Equal(t, string(want.Response.Body), string(got.Response.Body))

	want.Response.Body, got.Response.Body = nil, nil
	require.Equal(t, want, got)
}

// aReplay is a replay that is made of its name alone.
func aReplay(name string) ports.Replay {
	return ports.Replay{
		PaymentID:   uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)),
		Fingerprint: operation.Order{Metadata: map[string]string{"name": name}}.Fingerprint(operation.Create, uuid.Nil),
		Response: ports.FrozenResponse{
			Status: http.StatusCreated,
			Body:   []byte(`{"amount":1000.00,"name":` + strconv.Quote(name) + `}`),
		},
	}
}

func drawReplay(t *rapid.T) ports.Replay {
	return ports.Replay{
		PaymentID:   uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id")),
		Fingerprint: operation.Fingerprint(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "fingerprint")),
		Response: ports.FrozenResponse{
			Status: rapid.IntRange(http.StatusOK, http.StatusNetworkAuthenticationRequired).Draw(t, "status"),
			Body:   rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "body"),
		},
	}
}
