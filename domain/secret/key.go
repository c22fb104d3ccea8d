// Package secret seals what must be kept and must not be read in the database: the secrets with
// which the provider signs its events.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
)

// KeySize is the length of a key in bytes: AES-256.
const KeySize = 32

const (
	// HowToMake is told to whoever needs a key.
	HowToMake = "make one with: openssl rand -base64 32"

	// A key of chance has about thirty different bytes. One with fewer than these, or one that
	// can be read as text, was made by hand: of a billion keys of chance not one is like that.
	fewestDifferent = 16
)

// The errors of ParseKey. None of them shows the text.
var (
	ErrNotBase64 = errors.New("is not base64; " + HowToMake)
	ErrLength    = errors.New("must have 32 bytes in base64; " + HowToMake)
	ErrNotChance = errors.New("is a placeholder or a password, not 32 bytes of chance; " + HowToMake)
)

// Key is a key that seals and opens. It shows only its id.
type Key struct {
	id   KeyID
	aead cipher.AEAD
}

// KeyID names a key and tells nothing about it. It is made of the key, so that it is the same
// everywhere.
type KeyID [6]byte

// String is the id as people see it.
func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKey reads a key as `openssl rand -base64 32` prints it. Its errors are above.
func ParseKey(text string) (Key, error) {
	bytes, err := base64.StdEncoding.Strict().DecodeString(text)

	switch {
	case err != nil:
		return Key{}, ErrNotBase64
	case len(bytes) != KeySize:
		return Key{}, ErrLength
	case !isChance(bytes):
		return Key{}, ErrNotChance
	default:
		return newKey(bytes), nil
	}
}

// NewKey draws a key, and returns it as text too.
func NewKey() (key Key, text string) {
	bytes := make([]byte, KeySize)
	_, _ = rand.Read(bytes) // it never returns an error

	return newKey(bytes), base64.StdEncoding.EncodeToString(bytes)
}

func newKey(bytes []byte) Key {
	block, err := aes.NewCipher(bytes)
	if err != nil {
		panic(err) // the length is right
	}

	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // the block is AES
	}

	mac := hmac.New(sha256.New, bytes)
	mac.Write([]byte("marketflow: the id of a key")) // a hash never returns an error

	key := Key{aead: aead}
	copy(key.id[:], mac.Sum(nil))

	return key
}

func isChance(bytes []byte) bool {
	different := map[byte]bool{}
	for _, b := range bytes {
		different[b] = true
	}

	isText := !slices.ContainsFunc(bytes, func(b byte) bool { return b < ' ' || b > '~' })

	return len(different) >= fewestDifferent && !isText
}

// ID is the key's name.
func (k Key) ID() KeyID { return k.id }

// String shows the id alone.
func (k Key) String() string { return "key " + k.id.String() }
