package secret

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
)

// The errors of Keys.
var (
	// ErrNoKey: there is no key, so nothing can be sealed.
	ErrNoKey = errors.New("SECRETS_KEY is not set; " + HowToMake)
	// ErrDoubled: a key is in the list twice.
	ErrDoubled = errors.New("lists a key twice")
	// ErrOtherKey: it was sealed with a key that is not in the list.
	ErrOtherKey = errors.New("it was sealed with a key that SECRETS_KEY does not have")
	// ErrBroken: it was changed after it was sealed, or it was sealed for another place.
	ErrBroken = errors.New("it was changed or moved since it was sealed")
)

// Keys seal with the first of them, and open with all: while one replaces another there are two.
// The zero value has no key. They are safe for concurrent use.
type Keys struct{ list []Key }

// NewKeys returns keys in this order. If one is there twice: ErrDoubled.
func NewKeys(list ...Key) (Keys, error) {
	for i, key := range list {
		if slices.ContainsFunc(list[:i], func(k Key) bool { return k.id == key.id }) {
			return Keys{}, ErrDoubled
		}
	}

	return Keys{list: slices.Clone(list)}, nil
}

// First is the id of the key that seals. Without one: ErrNoKey.
func (k Keys) First() (KeyID, error) {
	if len(k.list) == 0 {
		return KeyID{}, ErrNoKey
	}

	return k.list[0].id, nil
}

// Sealed is a secret as the database keeps it: a version, the id of the key, a nonce, and what
// AES-256-GCM makes of the secret. All that comes before the nonce is bound to it.
type Sealed []byte

const (
	sealVersion = 1
	headSize    = 1 + len(KeyID{})
	// nonceSize is GCM's. It is drawn, which is safe for four billion secrets under one key
	// (NIST SP 800-38D, section 8.3).
	nonceSize = 12
	tagSize   = 16
	leastSize = headSize + nonceSize + tagSize
)

// KeyID names the key that it was sealed with.
func (s Sealed) KeyID() KeyID {
	var id KeyID
	if len(s) >= headSize {
		copy(id[:], s[1:headSize])
	}

	return id
}

// Seal seals a secret with the first key. It can be opened only for the same place. Without a
// key: ErrNoKey.
func (k Keys) Seal(secret []byte, place Place) (Sealed, error) {
	if len(k.list) == 0 {
		return nil, ErrNoKey
	}

	key := k.list[0]
	sealed := make([]byte, 0, leastSize+len(secret))
	sealed = append(append(sealed, sealVersion), key.id[:]...)
	sealed = sealed[:headSize+nonceSize]
	_, _ = rand.Read(sealed[headSize:]) // it never returns an error

	return key.aead.Seal(sealed, sealed[headSize:], secret, place.bound(sealed[:headSize])), nil
}

// Open returns a secret. If none of the keys sealed it: ErrOtherKey. If it is not as it was
// sealed, or not for this place: ErrBroken.
func (k Keys) Open(sealed Sealed, place Place) ([]byte, error) {
	if len(sealed) < leastSize || sealed[0] != sealVersion {
		return nil, ErrBroken
	}

	id := sealed.KeyID()

	at := slices.IndexFunc(k.list, func(key Key) bool { return key.id == id })
	if at < 0 {
		return nil, ErrOtherKey
	}

	nonce, rest := sealed[headSize:headSize+nonceSize], sealed[headSize+nonceSize:]

	secret, err := k.list[at].aead.Open(nil, nonce, rest, place.bound(sealed[:headSize]))
	if err != nil {
		return nil, ErrBroken
	}

	return secret, nil
}

// Reseal seals anew with the first key what was sealed with another one. done says that the
// first key has sealed it already; then it is returned as it is. Its errors are those of Open
// and Seal.
func (k Keys) Reseal(sealed Sealed, place Place) (anew Sealed, done bool, err error) {
	secret, err := k.Open(sealed, place)

	switch {
	case len(k.list) == 0:
		return nil, false, ErrNoKey
	case err != nil:
		return nil, false, err
	case sealed.KeyID() == k.list[0].id:
		return sealed, true, nil
	default:
		anew, err = k.Seal(secret, place)

		return anew, false, err
	}
}

// Place is where a sealed secret belongs. A row that is copied over another one does not open.
type Place struct {
	// Table and Row name it.
	Table, Row string
}

// bound is what a sealed text is bound to.
func (p Place) bound(head []byte) []byte {
	return fmt.Appendf(bytes.Clone(head), "%q %q", p.Table, p.Row)
}
