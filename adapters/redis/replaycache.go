package redis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// DefaultTTL is how long an answer is kept: as long as clients usually retry.
// Afterwards it comes out of the database, the same as ever.
const DefaultTTL = 24 * time.Hour

const (
	// maxSealed is the most that is read or written of one value. Our answers
	// take a few hundred bytes; whatever else somebody left under our names is
	// not worth the memory.
	maxSealed = 64 << 10
	// maxQueue is how many answers may wait to be written, about a second's.
	maxQueue = 1024
)

// ReplayConfig says how answers are kept.
type ReplayConfig struct {
	// Secret is what values are sealed with, at least MinSecret bytes that
	// nobody can guess. Processes with one secret share one cache; with another
	// secret a cache is empty.
	Secret []byte
	// TTL is how long an answer is kept; DefaultTTL where it is zero.
	TTL time.Duration
}

// String implements fmt.Stringer without the secret.
func (c ReplayConfig) String() string { return fmt.Sprintf("{secret: ***, ttl: %s}", c.TTL) }

// GoString implements fmt.GoStringer without the secret.
func (c ReplayConfig) GoString() string { return c.String() }

// MarshalText implements encoding.TextMarshaler without the secret.
func (c ReplayConfig) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// CacheMeter counts what a ReplayCache does. It never blocks.
type CacheMeter interface {
	Hit()
	Miss()
	// Error: Redis failed, or was left alone because it did.
	Error()
	// Tampered: a value under our name was not ours. It counts as no Miss.
	Tampered()
	// Dropped: an answer was not written, because too many were waiting, it was
	// too large, or the cache was closed.
	Dropped()
}

// ReplayCache is a ports.ReplayCache that all processes share. Get asks Redis;
// Put leaves the writing to a goroutine and returns at once, so that a create
// never waits for it. It has no memory of its own; adapters/memory has.
type ReplayCache struct {
	client *Client
	sealer *sealer
	ttl    time.Duration
	meter  CacheMeter

	queue   chan writing
	closing chan struct{}
	close   sync.Once
	// stop ends the writing of what is still queued; written is closed when
	// the writer has gone.
	stop    context.CancelFunc
	written chan struct{}
}

var _ ports.ReplayCache = (*ReplayCache)(nil)

// writing is an answer on its way to Redis.
type writing struct {
	key    operation.Key
	replay ports.Replay
	// origin is the span that put it.
	origin trace.SpanContext
}

// NewReplayCache returns a cache and starts its writer; Close ends it. A secret
// that is too short is an error.
func NewReplayCache(client *Client, config ReplayConfig, meter CacheMeter) (*ReplayCache, error) {
	sealer, err := newSealer(config.Secret)
	if err != nil {
		return nil, fmt.Errorf("setting up the replay cache: %w", err)
	}

	ctx, stop := context.WithCancel(context.Background())
	cache := &ReplayCache{
		client:  client,
		sealer:  sealer,
		ttl:     orDefault(config.TTL, DefaultTTL),
		meter:   meter,
		queue:   make(chan writing, maxQueue),
		closing: make(chan struct{}),
		stop:    stop,
		written: make(chan struct{}),
	}

	go cache.write(ctx)

	return cache, nil
}

// Get implements ports.ReplayCache.
func (c *ReplayCache) Get(ctx context.Context, key operation.Key) (ports.Replay, bool) {
	var sealed []byte

	err := c.client.do(ctx, func(ctx context.Context) (err error) {
		// GETRANGE, because a GET would read whatever length somebody else wrote.
		sealed, err = c.client.redis.GetRange(ctx, c.name(key), 0, maxSealed).Bytes()

		return err //nolint:wrapcheck // only counted
	})

	switch {
	case errors.Is(err, errGone):
		return ports.Replay{}, false
	case err != nil:
		c.meter.Error()

		return ports.Replay{}, false
	case len(sealed) == 0:
		c.meter.Miss()

		return ports.Replay{}, false
	}

	replay, err := c.sealer.open(key, sealed)
	if err != nil {
		c.meter.Tampered()

		return ports.Replay{}, false
	}

	c.meter.Hit()

	return replay, true
}

// Put implements ports.ReplayCache.
func (c *ReplayCache) Put(ctx context.Context, key operation.Key, replay ports.Replay) {
	replay.Response.Body = bytes.Clone(replay.Response.Body) // the caller goes on with its own

	select {
	case <-c.closing:
		c.meter.Dropped()

		return
	default:
	}

	select {
	case c.queue <- writing{key: key, replay: replay, origin: trace.SpanContextFromContext(ctx)}:
	default:
		c.meter.Dropped()
	}
}

// Close takes no more answers and waits for the queued ones to be written.
// When ctx ends first, the command under way ends within its timeout, the rest
// is dropped and the error says so. The client stays open.
func (c *ReplayCache) Close(ctx context.Context) error {
	c.close.Do(func() { close(c.closing) })

	select {
	case <-c.written:
		return nil
	case <-ctx.Done():
		c.stop()
		<-c.written

		return fmt.Errorf("writing the last answers to Redis: %w", ctx.Err())
	}
}

// write is the writer.
func (c *ReplayCache) write(ctx context.Context) {
	defer close(c.written)
	defer c.stop()

	for {
		select {
		case w := <-c.queue:
			c.set(ctx, w)
		case <-c.closing:
			c.drain(ctx)

			return
		}
	}
}

func (c *ReplayCache) drain(ctx context.Context) {
	for {
		select {
		case w := <-c.queue:
			c.set(ctx, w)
		default:
			return
		}
	}
}

func (c *ReplayCache) set(ctx context.Context, w writing) {
	sealed, err := c.sealer.seal(w.key, w.replay)
	if err != nil || len(sealed) > maxSealed || ctx.Err() != nil {
		c.meter.Dropped()

		return
	}

	ctx = trace.ContextWithSpanContext(ctx, w.origin)

	err = c.client.do(ctx, func(ctx context.Context) error {
		return c.client.redis.Set(ctx, c.name(w.key), sealed, c.ttl).Err()
	})

	switch {
	case errors.Is(err, errGone):
		c.meter.Dropped()
	case err != nil:
		c.meter.Error()
	}
}

func (c *ReplayCache) name(key operation.Key) string {
	return c.sealer.names.name(replayPrefix, string(key))
}
