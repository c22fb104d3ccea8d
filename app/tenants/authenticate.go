// Package tenants says who asks: it makes, rolls and revokes API keys, and tells whose key a
// request carries. It also keeps the secrets with which the provider signs its events.
package tenants

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/binding"
	"github.com/marketflow/marketflow/domain/fault"
	"github.com/marketflow/marketflow/domain/tenant"
	"github.com/marketflow/marketflow/ports"
)

// Authenticate tells whose key a request carries. It has all usable keys in its memory, so that
// neither a request nor a wrong key costs a statement, and an id that exists is answered as
// fast as one that does not.
type Authenticate struct {
	store ports.UsableKeys
	mode  binding.Mode
	keys  current[knownKeys]

	mu sync.Mutex
	// left are the uses of keys that are not usable any more.
	left map[uuid.UUID]time.Time
}

// knownKeys are all usable keys at a time.
type knownKeys struct{ byPrefix map[string]*knownKey }

type knownKey struct {
	tenant.Key

	uses *uses
}

// NewAuthenticate returns the use case for keys of one mode.
func NewAuthenticate(store ports.UsableKeys, mode binding.Mode) *Authenticate {
	uc := &Authenticate{store: store, mode: mode, left: make(map[uuid.UUID]time.Time)}
	uc.keys.version, uc.keys.read = store.KeysVersion, uc.read

	return uc
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

	known, err := uc.keys.get(ctx, now)
	if err != nil {
		return tenant.Key{}, err
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

	known, err := uc.keys.since(ctx, now)
	if err != nil {
		return tenant.Key{}, err
	}

	return known.find(secret, now)
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

	key.uses.note(now)

	return key.Key, nil
}

// Refresh reads the keys if they have changed.
func (uc *Authenticate) Refresh(ctx context.Context) error {
	_, err := uc.keys.since(ctx, time.Now())

	return err
}

// AnyUsable tells whether there is a key that works.
func (uc *Authenticate) AnyUsable(ctx context.Context) (bool, error) {
	known, err := uc.keys.since(ctx, time.Now())
	if err != nil {
		return false, err
	}

	for _, key := range known.byPrefix {
		if key.Mode == uc.mode && key.Usable(time.Now()) {
			return true, nil
		}
	}

	return false, nil
}

func (uc *Authenticate) read(ctx context.Context, before *knownKeys) (*knownKeys, error) {
	list, err := uc.store.UsableAPIKeys(ctx)
	if err != nil {
		return nil, err
	}

	now := &knownKeys{byPrefix: make(map[string]*knownKey, len(list))}

	for _, key := range list {
		one := &knownKey{Key: key, uses: new(uses)}
		if before != nil && before.byPrefix[key.Prefix] != nil {
			one.uses = before.byPrefix[key.Prefix].uses
		}

		now.byPrefix[key.Prefix] = one
	}

	uc.keepUses(before, now)

	return now, nil
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
		if at, is := key.uses.unwritten(); is && now.byPrefix[prefix] == nil {
			uc.left[key.ID] = at
		}
	}
}

// RecordUses records when the keys were last used. Call it once a minute.
func (uc *Authenticate) RecordUses(ctx context.Context) error {
	each := map[uuid.UUID]*uses{}

	if known, _ := uc.keys.latest(time.Now()); known != nil {
		for _, key := range known.byPrefix {
			each[key.ID] = key.uses
		}
	}

	left := uc.takeLeft()

	err := record(each, left, func(used map[uuid.UUID]time.Time) error { return uc.store.TouchAPIKeys(ctx, used) })
	if err != nil {
		uc.putBack(left)
	}

	return err
}

func (uc *Authenticate) takeLeft() map[uuid.UUID]time.Time {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	left := uc.left
	uc.left = make(map[uuid.UUID]time.Time)

	return left
}

func (uc *Authenticate) putBack(left map[uuid.UUID]time.Time) {
	uc.mu.Lock()
	defer uc.mu.Unlock()

	maps.Copy(uc.left, left)
}
