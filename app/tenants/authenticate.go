// Package tenants says who asks: it makes, rolls and revokes API keys, and tells whose key a
// request carries.
package tenants

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// A revoked key must stop within five seconds in every process. Each process asks every
// KeysEvery whether the keys have changed, and after maxKeysAge it believes none of those that
// it knows any more, also if the database does not answer. What is left is for requests under
// way.
const (
	// KeysEvery is how often Refresh should be called.
	KeysEvery  = time.Second
	maxKeysAge = 4 * time.Second
	// keysPause is the least time between two reads that wrong keys cause.
	keysPause = 100 * time.Millisecond
	// keysTimeout bounds one read.
	keysTimeout = 2 * time.Second
)

// Authenticate tells whose key a request carries. It has all usable keys in its memory, so that
// neither a request nor a wrong key costs a statement, and an id that exists is answered as
// fast as one that does not.
type Authenticate struct {
	store ports.UsableKeys
	mode  binding.Mode

	known atomic.Pointer[knownKeys]

	mu      sync.Mutex
	reading *reading
	last    time.Time // when the last reading began
	// left are the uses of keys that are not usable any more.
	left map[uuid.UUID]time.Time
}

// knownKeys are all usable keys at a time.
type knownKeys struct {
	version  uuid.UUID
	asOf     time.Time
	byPrefix map[string]*knownKey
}

type knownKey struct {
	tenant.Key

	// used and written are when it was last used, and what was recorded of that, in seconds
	// since 1970. Every reading shares them.
	used, written *atomic.Int64
}

// reading is one read of the keys, for all who wait for it.
type reading struct {
	began time.Time
	done  chan struct{}
	err   error
}

// NewAuthenticate returns the use case for keys of one mode.
func NewAuthenticate(store ports.UsableKeys, mode binding.Mode) *Authenticate {
	return &Authenticate{store: store, mode: mode, left: make(map[uuid.UUID]time.Time)}
}

// Do returns the key, from memory. If the key does not work, the error is
// fault.InvalidAPIKey, which does not say why: unknown, expired, revoked and wrong keys are
// told the same. If it is not known whether the keys in memory still work, and the database
// does not say, it is fault.Unavailable.
func (uc *Authenticate) Do(ctx context.Context, secret tenant.Secret) (tenant.Key, error) {
	if err := uc.checkMode(secret); err != nil {
		return tenant.Key{}, err
	}

	now := time.Now()

	known := uc.known.Load()
	if known == nil || now.Sub(known.asOf) > maxKeysAge {
		if err := uc.readSince(ctx, now); err != nil {
			return tenant.Key{}, err
		}

		known = uc.known.Load()
	}

	return known.find(secret, now)
}

// Again is Do for a key that did not work: it may have been made since the keys were read, so
// they are read again, for all who ask, ten times a second at most.
func (uc *Authenticate) Again(ctx context.Context, secret tenant.Secret) (tenant.Key, error) {
	if err := uc.checkMode(secret); err != nil {
		return tenant.Key{}, err
	}

	now := time.Now()
	if err := uc.readSince(ctx, now); err != nil {
		return tenant.Key{}, err
	}

	return uc.known.Load().find(secret, now)
}

// checkMode also tells people who mixed up two installations. Whoever has a key knows its mode.
func (uc *Authenticate) checkMode(secret tenant.Secret) error {
	if secret.Mode() == uc.mode {
		return nil
	}

	return fault.Newf(fault.InvalidAPIKey, "This is a %s key, and this installation takes %s keys, as its key at the payment "+
		"provider is.", secret.Mode(), uc.mode)
}

func errInvalidKey() error {
	return fault.New(fault.InvalidAPIKey, "This API key does not work: it is wrong, revoked or has expired.")
}

// find compares with the key of that name, or with a sum that no key has: both take as long.
func (k *knownKeys) find(secret tenant.Secret, now time.Time) (tenant.Key, error) {
	var none knownKey

	key, ok := k.byPrefix[secret.Prefix()]
	if !ok {
		key = &none
	}

	if !secret.Sum().Is(key.Sum) || !key.Usable(now) {
		return tenant.Key{}, errInvalidKey()
	}

	key.used.Store(now.Unix())

	return key.Key, nil
}

// Refresh reads the keys if they have changed.
func (uc *Authenticate) Refresh(ctx context.Context) error { return uc.readSince(ctx, time.Now()) }

// AnyUsable tells whether there is a key that works.
func (uc *Authenticate) AnyUsable(ctx context.Context) (bool, error) {
	if err := uc.Refresh(ctx); err != nil {
		return false, err
	}

	for _, key := range uc.known.Load().byPrefix {
		if key.Mode == uc.mode && key.Usable(time.Now()) {
			return true, nil
		}
	}

	return false, nil
}

// readSince returns once the keys are known as they were at a time, or later. It joins a
// reading that began since; one that began before may have missed a change.
func (uc *Authenticate) readSince(ctx context.Context, since time.Time) error {
	for {
		r := uc.join()

		select {
		case <-r.done:
		case <-ctx.Done():
			return fault.Wrap(fault.Unavailable, ctx.Err(), "The request was given up.")
		}

		if !r.began.Before(since) {
			return r.err
		}
	}
}

// join is the reading under way, or else a new one.
func (uc *Authenticate) join() *reading {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	if uc.reading == nil {
		r := &reading{done: make(chan struct{})}
		// Whoever joins before it begins is served by it.
		r.began = time.Now()
		if soonest := uc.last.Add(keysPause); soonest.After(r.began) {
			r.began = soonest
		}

		uc.reading, uc.last = r, r.began

		go uc.read(r)
	}

	return uc.reading
}

// read is not stopped by a client that disconnects: others wait for it too.
func (uc *Authenticate) read(r *reading) {
	time.Sleep(time.Until(r.began))

	ctx, cancel := context.WithTimeout(context.Background(), keysTimeout)
	defer cancel()

	r.err = uc.load(ctx, time.Now())

	uc.mu.Lock()
	uc.reading = nil
	uc.mu.Unlock()

	close(r.done)
}

// load asks for the version before the keys: a change in between is then noticed by the next
// reading.
func (uc *Authenticate) load(ctx context.Context, asOf time.Time) error {
	version, err := uc.store.KeysVersion(ctx)
	if err != nil {
		return err
	}

	before := uc.known.Load()
	if before != nil && before.version == version {
		uc.known.Store(&knownKeys{version: version, asOf: asOf, byPrefix: before.byPrefix})

		return nil
	}

	list, err := uc.store.UsableAPIKeys(ctx)
	if err != nil {
		return err
	}

	now := &knownKeys{version: version, asOf: asOf, byPrefix: make(map[string]*knownKey, len(list))}

	for _, key := range list {
		one := &knownKey{Key: key, used: new(atomic.Int64), written: new(atomic.Int64)}
		if before != nil && before.byPrefix[key.Prefix] != nil {
			one.used, one.written = before.byPrefix[key.Prefix].used, before.byPrefix[key.Prefix].written
		}

		now.byPrefix[key.Prefix] = one
	}

	uc.known.Store(now)
	uc.keepUses(before, now)

	return nil
}

// keepUses keeps what is not recorded yet of keys that are gone: of a key that leaked, the last
// use matters.
func (uc *Authenticate) keepUses(before, now *knownKeys) {
	if before == nil {
		return
	}

	uc.mu.Lock()
	defer uc.mu.Unlock()

	for prefix, key := range before.byPrefix {
		if used := key.used.Load(); now.byPrefix[prefix] == nil && used > key.written.Load() {
			uc.left[key.ID] = time.Unix(used, 0)
		}
	}
}

// RecordUses records when the keys were last used. Call it once a minute.
func (uc *Authenticate) RecordUses(ctx context.Context) error {
	used := uc.takeLeft()

	known := uc.known.Load()
	if known == nil {
		return nil
	}

	var written []func()

	for _, key := range known.byPrefix {
		if at := key.used.Load(); at > key.written.Load() {
			used[key.ID] = time.Unix(at, 0)

			written = append(written, func() { key.written.Store(at) })
		}
	}

	if len(used) == 0 {
		return nil
	}

	if err := uc.store.TouchAPIKeys(ctx, used); err != nil {
		uc.putBack(used)

		return err
	}

	for _, note := range written {
		note()
	}

	return nil
}

func (uc *Authenticate) takeLeft() map[uuid.UUID]time.Time {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	left := uc.left
	uc.left = make(map[uuid.UUID]time.Time)

	return left
}

func (uc *Authenticate) putBack(used map[uuid.UUID]time.Time) {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	maps.Copy(uc.left, used)
}
