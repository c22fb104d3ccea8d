package redis

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/marketflow/marketflow/domain/operation"
	"github.com/marketflow/marketflow/ports"
)

// MinSecret is the fewest bytes that a secret may have.
const MinSecret = 16

// Contexts of the derived keys (RFC 5869 section 3.2). What a value holds or
// how it is sealed changes only together with the version: values of another
// one are then simply not found.
const (
	replayPrefix  = "marketflow:replay:v1:"
	limiterPrefix = "marketflow:limit:v1:"
	sealContext   = "marketflow replay cache v1 seal "
	namingContext = "marketflow redis names v1"
)

// errTampered: a value under our name that we did not write there.
var errTampered = errors.New("the value was not sealed by us for this key")

// sealer hides and authenticates what is kept in Redis. Whoever can write to
// Redis, but does not have the secret, can make it forget and nothing more:
// AES-256-GCM refuses a value that was altered, is foreign or belongs to
// another key.
//
// Every idempotency key has an AES key of its own. It seals one frozen answer,
// so random nonces stay far from the 2^32 of NIST SP 800-38D section 8.3
// however long the secret lives.
type sealer struct {
	secret []byte
	names  namer
}

func newSealer(secret []byte) (*sealer, error) {
	names, err := newNamer(secret)
	if err != nil {
		return nil, err
	}

	return &sealer{secret: append([]byte(nil), secret...), names: names}, nil
}

func (s *sealer) aead(key operation.Key) (cipher.AEAD, error) {
	const keySize = 32

	derived, err := hkdf.Key(sha256.New, s.secret, nil, sealContext+string(key), keySize)
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w", err)
	}

	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}

	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making the cipher: %w", err)
	}

	return aead, nil
}

func (s *sealer) seal(key operation.Key, replay ports.Replay) ([]byte, error) {
	aead, err := s.aead(key)
	if err != nil {
		return nil, err
	}

	return aead.Seal(nil, nil, encode(replay), []byte(key)), nil //nolint:gosec // the nonce is made inside
}

// open returns errTampered for everything that seal did not make of key.
func (s *sealer) open(key operation.Key, sealed []byte) (ports.Replay, error) {
	aead, err := s.aead(key)
	if err != nil {
		return ports.Replay{}, err
	}

	form, err := aead.Open(nil, nil, sealed, []byte(key))
	if err != nil {
		return ports.Replay{}, errTampered
	}

	return decode(form)
}

// The form of a replay: payment id, fingerprint, status in two bytes big
// endian, and the body to the end.
const (
	idEnd          = len(uuid.UUID{})
	fingerprintEnd = idEnd + len(operation.Fingerprint{})
	statusEnd      = fingerprintEnd + 2
)

func encode(r ports.Replay) []byte {
	form := make([]byte, 0, statusEnd+len(r.Response.Body))
	form = append(form, r.PaymentID[:]...)
	form = append(form, r.Fingerprint[:]...)
	form = binary.BigEndian.AppendUint16(form, uint16(r.Response.Status)) //nolint:gosec // an HTTP status

	return append(form, r.Response.Body...)
}

func decode(form []byte) (ports.Replay, error) {
	if len(form) < statusEnd {
		return ports.Replay{}, errTampered
	}

	return ports.Replay{
		PaymentID:   uuid.UUID(form[:idEnd]),
		Fingerprint: operation.Fingerprint(form[idEnd:fingerprintEnd]),
		Response: ports.FrozenResponse{
			Status: int(binary.BigEndian.Uint16(form[fingerprintEnd:statusEnd])),
			Body:   form[statusEnd:],
		},
	}, nil
}

// namer makes Redis keys. They are keyed hashes, because a plain hash of a
// client's address or of "order_123" is found by trying.
type namer struct{ key []byte }

func newNamer(secret []byte) (namer, error) {
	if len(secret) < MinSecret {
		return namer{}, fmt.Errorf("the secret has %d bytes; at least %d are needed", len(secret), MinSecret)
	}

	key, err := hkdf.Key(sha256.New, secret, nil, namingContext, sha256.Size)
	if err != nil {
		return namer{}, fmt.Errorf("deriving a key: %w", err)
	}

	return namer{key: key}, nil
}

// name is prefix and a hash of both prefix and what is named.
func (n namer) name(prefix, named string) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write([]byte(prefix))
	mac.Write([]byte(named))

	return prefix + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
