package memory

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// entryOverhead is about what an entry takes beyond its key and body: the
// replay itself, the list's element and the map's slot.
const entryOverhead = 320

// Sharding: one lock is enough for a small cache and would be what all
// goroutines wait for in a large one.
const (
	shardCount       = 16
	entriesToShardAt = 1024
)

// Bounds is how much a ReplayCache may hold. It forgets what was not asked for
// the longest once either is reached.
type Bounds struct {
	// Entries is the most answers; at least 1.
	Entries int
	// Bytes is the most memory that they take, keys and bookkeeping included,
	// to within a few percent; at least 1.
	Bytes int64
}

// DefaultBounds holds the last 20 000 payments or so.
func DefaultBounds() Bounds { return Bounds{Entries: 1 << 15, Bytes: 16 << 20} }

// Meter counts what a ReplayCache does. It never blocks.
type Meter interface {
	Hit()
	Miss()
}

// ReplayCache is a ports.ReplayCache in this process's memory. Frozen answers
// never change, so nothing in it can be out of date and nothing expires.
type ReplayCache struct {
	shards []*shard
	seed   maphash.Seed
	meter  Meter
}

var _ ports.ReplayCache = (*ReplayCache)(nil)

// NewReplayCache returns an empty cache. Bounds below 1 are an error.
func NewReplayCache(bounds Bounds, meter Meter) (*ReplayCache, error) {
	if bounds.Entries < 1 || bounds.Bytes < 1 {
		return nil, fmt.Errorf("bounds of the replay cache: %d entries and %d bytes; both must be at least 1",
			bounds.Entries, bounds.Bytes)
	}

	count := 1
	if bounds.Entries >= entriesToShardAt {
		count = shardCount
	}

	cache := &ReplayCache{seed: maphash.MakeSeed(), meter: meter}

	for range count {
		s, err := newShard(bounds.Entries/count, max(1, bounds.Bytes/int64(count)))
		if err != nil {
			return nil, err
		}

		cache.shards = append(cache.shards, s)
	}

	return cache, nil
}

// Get implements ports.ReplayCache. The body is the caller's own.
func (c *ReplayCache) Get(_ context.Context, key operation.Key) (ports.Replay, bool) {
	replay, ok := c.shard(key).get(key)
	if !ok {
		c.meter.Miss()

		return ports.Replay{}, false
	}

	c.meter.Hit()

	return own(replay), true
}

// Put implements ports.ReplayCache. It keeps a copy.
func (c *ReplayCache) Put(_ context.Context, key operation.Key, replay ports.Replay) {
	c.shard(key).put(key, own(replay))
}

// Size tells how many answers are held and about how many bytes they take.
func (c *ReplayCache) Size() (entries int, size int64) {
	for _, s := range c.shards {
		n, b := s.size()
		entries += n
		size += b
	}

	return entries, size
}

func (c *ReplayCache) shard(key operation.Key) *shard {
	if len(c.shards) == 1 {
		return c.shards[0]
	}

	return c.shards[maphash.String(c.seed, string(key))%uint64(len(c.shards))]
}

// own copies the body: whoever holds the other one may write to it, and a
// cache whose answers can be altered from outside would lie.
func own(replay ports.Replay) ports.Replay {
	replay.Response.Body = bytes.Clone(replay.Response.Body)

	return replay
}

// shard is a part of the cache with a lock of its own.
type shard struct {
	mu       sync.Mutex
	lru      *simplelru.LRU[operation.Key, ports.Replay]
	bytes    int64
	maxBytes int64
}

func newShard(entries int, maxBytes int64) (*shard, error) {
	s := &shard{maxBytes: maxBytes}

	lru, err := simplelru.NewLRU(entries, func(key operation.Key, replay ports.Replay) {
		s.bytes -= cost(key, replay)
	})
	if err != nil {
		return nil, fmt.Errorf("making the replay cache: %w", err)
	}

	s.lru = lru

	return s, nil
}

func (s *shard) get(key operation.Key) (ports.Replay, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.lru.Get(key)
}

func (s *shard) put(key operation.Key, replay ports.Replay) {
	size := cost(key, replay)
	if size > s.maxBytes {
		return // it would only drive out everything else
	}

	s.mu.Lock()
	defer s.mu.Unlock()

	s.lru.Remove(key) // Add alone would not tell what the old entry took
	// A copy of the key: it may be a piece of a whole request's memory.
	s.lru.Add(operation.Key(strings.Clone(string(key))), replay)
	s.bytes += size

	for s.bytes > s.maxBytes {
		s.lru.RemoveOldest()
	}
}

func (s *shard) size() (entries int, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()

	return s.lru.Len(), s.bytes
}

func cost(key operation.Key, replay ports.Replay) int64 {
	return int64(len(key) + len(replay.Response.Body) + entryOverhead)
}
