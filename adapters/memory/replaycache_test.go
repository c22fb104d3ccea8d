package memory_test

import (
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/marketflow/marketflow/adapters/memory"
	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
	"github.com/marketflow/marketflow/ports/portstest"
)

type meter struct{ hits, misses atomic.Int64 }

func (m *meter) Hit()  { m.hits.Add(1) }
func (m *meter) Miss() { m.misses.Add(1) }

func newCache(tb testing.TB, bounds memory.Bounds) *memory.ReplayCache {
	tb.Helper()

	cache, err := memory.NewReplayCache(bounds, &meter{})
	require.NoError(tb, err)

	return cache
}

func TestReplayCache_Contract(t *testing.T) {
	t.Parallel()
	portstest.ReplayCache(t, func(t *testing.T) ports.ReplayCache {
		t.Helper()

		return newCache(t, memory.DefaultBounds())
	})
}

func TestReplayCache_CountsHitsAndMisses(t *testing.T) {
	t.Parallel()

	m := &meter{}
	cache, err := memory.NewReplayCache(memory.DefaultBounds(), m)
	require.NoError(t, err)

	cache.Get(t.Context(), operation.DefaultTenant, "order_1")
	cache.Put(t.Context(), operation.DefaultTenant, "order_1", replay(1))
	cache.Get(t.Context(), operation.DefaultTenant, "order_1")
	cache.Get(t.Context(), operation.DefaultTenant, "order_1")

	require.EqualValues(t, 2, m.hits.Load())
	require.EqualValues(t, 1, m.misses.Load())
}

func TestReplayCache_HoldsNoMoreThanItsBounds(t *testing.T) {
	t.Parallel()

	for name, bounds := range map[string]memory.Bounds{
		"one entry":    {Entries: 1, Bytes: 1 << 20},
		"entries":      {Entries: 100, Bytes: 1 << 20},
		"many entries": {Entries: 2000, Bytes: 1 << 30},
		"bytes":        {Entries: 10_000, Bytes: 200 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			cache := newCache(t, bounds)
			for i := range 5000 {
				cache.Put(t.Context(), operation.DefaultTenant, operation.Key(strconv.Itoa(i)), replay(i%100))
				cache.Put(t.Context(), operation.DefaultTenant, operation.Key(strconv.Itoa(i)), replay(i%100)) // counted once
			}

			entries, size := cache.Size()
			require.Positive(t, entries)
			require.LessOrEqual(t, entries, bounds.Entries)
			require.LessOrEqual(t, size, bounds.Bytes)
		})
	}
}

func TestReplayCache_ForgetsTheLongestUnasked(t *testing.T) {
	t.Parallel()

	cache := newCache(t, memory.Bounds{Entries: 2, Bytes: 1 << 20})
	cache.Put(t.Context(), operation.DefaultTenant, "a", replay(1))
	cache.Put(t.Context(), operation.DefaultTenant, "b", replay(2))
	cache.Get(t.Context(), operation.DefaultTenant, "a")
	cache.Put(t.Context(), operation.DefaultTenant, "c", replay(3))

	_, ok := cache.Get(t.Context(), operation.DefaultTenant, "b")
	require.False(t, ok)
	_, ok = cache.Get(t.Context(), operation.DefaultTenant, "a")
	require.True(t, ok)
}

func TestReplayCache_LeavesOutWhatIsTooLarge(t *testing.T) {
	t.Parallel()

	cache := newCache(t, memory.Bounds{Entries: 10, Bytes: 2000})
	cache.Put(t.Context(), operation.DefaultTenant, "small", replay(10))
	cache.Put(t.Context(), operation.DefaultTenant, "large", replay(3000))

	_, ok := cache.Get(t.Context(), operation.DefaultTenant, "large")
	require.False(t, ok)
	_, ok = cache.Get(t.Context(), operation.DefaultTenant, "small")
	require.True(t, ok)
}

func TestNewReplayCache_RefusesNoBounds(t *testing.T) {
	t.Parallel()

	for _, bounds := range []memory.Bounds{{}, {Entries: 1}, {Bytes: 1}, {Entries: -1, Bytes: -1}} {
		_, err := memory.NewReplayCache(bounds, &meter{})
		require.Error(t, err)
	}
}

func BenchmarkReplayCache(b *testing.B) {
	portstest.ReplayCacheBenchmarks(b, func(b *testing.B) ports.ReplayCache {
		b.Helper()

		return newCache(b, memory.DefaultBounds())
	})
}

func replay(size int) ports.Replay {
	return ports.Replay{
		PaymentID: uuid.Max,
		Response:  ports.FrozenResponse{Status: 201, Body: make([]byte, size)},
	}
}
