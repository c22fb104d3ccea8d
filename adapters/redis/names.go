package redis

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

// MinSecret is the fewest bytes that a secret may have.
const MinSecret = 16

const (
	limiterPrefix = "marketflow:limit:v1:"
	// namingContext separates this key from others of the secret (RFC 5869 section 3.2).
	namingContext = "marketflow redis names v1"
)

// namer makes Redis keys. They are keyed hashes, because a plain hash of a
// client's address is found by trying.
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
