package memory

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// entryOverhead is about what an entry takes beyond its key and body: the
// replay itself, the list's element and the map's slot.
const entryOverhead = 320

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
//
// It forgets by age alone, because a replay follows its request by seconds. A
// cache that prefers what is asked for often (otter, ristretto) forgets just the
// newest answers: decision 21.
type ReplayCache struct {
	meter    Meter
	maxBytes int64

	mu    sync.Mutex // held for well under a microsecond
	lru   *simplelru.LRU[name, ports.Replay]
	bytes int64
}

// name is a tenant's key.
type name struct {
	tenant operation.Tenant
	key    operation.Key
}

var _ ports.ReplayCache = (*ReplayCache)(nil)

// NewReplayCache returns an empty cache. Bounds below 1 are an error.
func NewReplayCache(bounds Bounds, meter Meter) (*ReplayCache, error) {
	if bounds.Entries < 1 || bounds.Bytes < 1 {
		return nil, fmt.Errorf("bounds of the replay cache: %d entries and %d bytes; both must be at least 1",
			bounds.Entries, bounds.Bytes)
	}

	cache := &ReplayCache{meter: meter, maxBytes: bounds.Bytes}

	lru, err := simplelru.NewLRU(bounds.Entries, func(n name, replay ports.Replay) {
		cache.bytes -= cost(n.key, replay)
	})
	if err != nil {
		return nil, fmt.Errorf("making the replay cache: %w", err)
	}

	cache.lru = lru

	return cache, nil
}

// Get implements ports.ReplayCache. The body is the caller's own.
func (c *ReplayCache) Get(_ context.Context, tenant operation.Tenant, key operation.Key) (ports.Replay, bool) {
	c.mu.Lock()
	replay, ok := c.lru.Get(name{tenant, key})
	c.mu.Unlock()

	if !ok {
		c.meter.Miss()

		return ports.Replay{}, false
	}

	c.meter.Hit()

	return own(replay), true
}

// Put implements ports.ReplayCache. It keeps a copy, also of the key, which may
// be a piece of a whole request's memory. What is larger than the whole cache is
// left out.
func (c *ReplayCache) Put(_ context.Context, tenant operation.Tenant, key operation.Key, replay ports.Replay) {
	size := cost(key, replay)
	if size > c.maxBytes {
		return
	}

	under, replay := name{tenant, operation.Key(strings.Clone(string(key)))}, own(replay)

	c.mu.Lock()
	defer c.mu.Unlock()

	c.lru.Remove(under) // Add alone would not tell what the old entry took
	c.lru.Add(under, replay)
	c.bytes += size

	for c.bytes > c.maxBytes {
		c.lru.RemoveOldest()
	}
}

// Clear implements ports.ReplayCache.
func (c *ReplayCache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()

	c.lru.Purge() // it tells the size of each
}

// Size tells how many answers are held and about how many bytes they take.
func (c *ReplayCache) Size() (entries int, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()

	return c.lru.Len(), c.bytes
}

// own copies the body: whoever holds the other one may write to it.
func own(replay ports.Replay) ports.Replay {
	replay.Response.Body = bytes.Clone(replay.Response.Body)

	return replay
}

func cost(key operation.Key, replay ports.Replay) int64 {
	return int64(len(key) + len(replay.Response.Body) + entryOverhead)
}
